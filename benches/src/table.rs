//! Prints figures: aligned for people, and as Markdown that can be pasted into docs/performance.md.

/// One row: what, a figure, the limit's figure in the same run, and their ratio.
pub(crate) struct Row {
    /// What was measured.
    pub what: String,
    /// Our figure.
    pub ours: f64,
    /// The limit's figure; `None` where there is none.
    pub limit: Option<f64>,
    /// Anything else worth knowing.
    pub note: String,
}

/// Prints rows under a title, all in `unit`.
pub(crate) fn print(title: &str, unit: &str, rows: &[Row]) {
    println!("\n### {title}\n");
    println!("| what | {unit} | limit | ratio | |");
    println!("|---|---:|---:|---:|---|");
    for row in rows {
        let limit = row.limit.map_or_else(String::new, grouped);
        let ratio = row.limit.map_or_else(String::new, |limit| format!("{:.2}", row.ours / limit));
        println!("| {} | {} | {limit} | {ratio} | {} |", row.what, grouped(row.ours), row.note);
    }
}

/// 1234567.8 as `1,234,568`; below 100 with two decimals.
pub(crate) fn grouped(number: f64) -> String {
    if number < 100.0 {
        return format!("{number:.2}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
