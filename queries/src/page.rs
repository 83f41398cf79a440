//! An answer as a page: one HTML file with its chart inside, which asks for nothing outside itself, and runs
//! nothing. Whatever players wrote stays text.

use crate::present::{base64, is_lines};
use crate::reports::{Drawing, Report};
use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::LazyLock;

/// What stands around the rows of an answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// The question that it answers, or empty.
    pub question: String,
    /// What it was asked with: name and value.
    pub params: Vec<(String, String)>,
    /// How it is drawn.
    pub chart: Option<Drawing>,
    /// When it was asked for, as text; empty: not said.
    pub made: String,
}

impl Page {
    /// For a report, asked with these parameters.
    pub fn of(report: &Report, given: &[(String, String)], made: String) -> Self {
        let params = report.params.iter().map(|param| (param.name.clone(), report.text(param, given).to_owned()));
        Self {
            title: report.title.clone(),
            question: report.question.clone(),
            params: params.filter(|(_, value)| !value.is_empty()).collect(),
            chart: report.chart.clone(),
            made,
        }
    }

    /// The page. The rows come as text, numbers, or lists of texts; nothing else is nested.
    pub(crate) fn html(&self, batches: &[RecordBatch]) -> Result<String, ArrowError> {
        let title = escape(if self.title.is_empty() { "Answer" } else { &self.title });
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>{}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n",
            policy(),
            style()
        );
        if !self.question.is_empty() {
            let _ = writeln!(page, "<p>{}</p>", escape(&self.question));
        }
        if !self.params.is_empty() {
            page.push_str("<dl>\n");
            for (name, value) in &self.params {
                let _ = writeln!(page, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
            }
            page.push_str("</dl>\n");
        }
        if let Some(chart) = self.chart.as_ref().and_then(|chart| chart.chart(&self.title, batches)) {
            let _ = write!(page, "<figure>\n{}</figure>\n", charts::pictures(&chart));
        }
        table(&title, batches, &mut page)?;
        if !self.made.is_empty() {
            let _ = writeln!(page, "<footer>Asked at <time>{}</time></footer>", escape(&self.made));
        }
        page.push_str("</main>\n</body>\n</html>\n");
        Ok(page)
    }
}

/// The rows, the first cell of each as its heading. It scrolls by itself where it is wider than the screen, by keyboard, too.
fn table(title: &str, batches: &[RecordBatch], page: &mut String) -> Result<(), ArrowError> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    let _ = writeln!(
        page,
        "<div class=\"rows\" role=\"region\" aria-label=\"{title}\" tabindex=\"0\">\n<table>\n<caption>{title}: {rows}</caption>"
    );
    let Some(first) = batches.first() else {
        page.push_str("</table>\n</div>\n");
        return Ok(());
    };
    let schema = first.schema();
    let classes: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            data_type if data_type.is_numeric() => " class=\"number\"",
            data_type if is_lines(data_type) => " class=\"lines\"",
            _ => "",
        })
        .collect();
    page.push_str("<thead>\n<tr>");
    for (field, class) in schema.fields().iter().zip(&classes) {
        let _ = write!(page, "<th scope=\"col\"{class}>{}</th>", escape(field.name()));
    }
    page.push_str("</tr>\n</thead>\n<tbody>\n");
    let options = FormatOptions::default().with_null("");
    for batch in batches {
        let columns = batch.columns().iter().map(|column| Cells::of(column, &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            page.push_str("<tr>");
            for (place, (column, class)) in columns.iter().zip(&classes).enumerate() {
                let (open, close) = if place == 0 { ("th scope=\"row\"", "th") } else { ("td", "td") };
                let _ = write!(page, "<{open}{class}>{}</{close}>", column.cell(row)?);
            }
            page.push_str("</tr>\n");
        }
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
    Ok(())
}

/// A column's values, as they stand in cells.
enum Cells<'a> {
    Texts(ArrayFormatter<'a>),
    /// One below the other, as many as there are.
    Lines(&'a ArrayRef),
}

impl<'a> Cells<'a> {
    fn of(column: &'a ArrayRef, options: &FormatOptions<'a>) -> Result<Self, ArrowError> {
        if is_lines(column.data_type()) {
            return Ok(Self::Lines(column));
        }
        ArrayFormatter::try_new(column, options).map(Self::Texts)
    }

    fn cell(&self, row: usize) -> Result<String, ArrowError> {
        let column = match self {
            Self::Texts(texts) => return Ok(escape(&texts.value(row).try_to_string()?)),
            Self::Lines(column) => column,
        };
        if column.is_null(row) {
            return Ok(String::new());
        }
        let list = match column.as_list_opt::<i32>() {
            Some(list) => list.value(row),
            None => column.as_list::<i64>().value(row),
        };
        let list = cast(&list, &DataType::Utf8)?;
        let lines = list.as_string::<i32>().iter().flatten().map(|line| format!("<li>{}</li>", escape(line)));
        let lines: String = lines.collect();
        Ok(if lines.is_empty() { lines } else { format!("<ul>{lines}</ul>") })
    }
}

/// For text and for attributes in double quotes; what misleads the eye is replaced.
fn escape(text: &str) -> String {
    let shown = |c| if charts::misleads(c) && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c };
    charts::escape(&text.chars().map(shown).collect::<String>())
}

fn style() -> &'static str {
    static STYLE: LazyLock<String> = LazyLock::new(|| format!("{SHEET}{}", charts::STYLE));
    &STYLE
}

/// Nothing is loaded, nothing runs; the one style sheet is named by its hash. For the page itself, and for
/// the header of the answer that carries it.
pub(crate) fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let hash = base64(&Sha256::digest(style()));
        format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
    });
    &POLICY
}

const SHEET: &str = "\
:root{color-scheme:light dark}
body{margin:0;font:16px/1.5 system-ui,sans-serif;background:Canvas;color:CanvasText}
main{max-width:64rem;margin:0 auto;padding:1rem}
h1{line-height:1.2;margin:.5rem 0}
dl{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem}
dl div{display:flex;gap:.5rem}
dt{font-weight:600}
dd{margin:0}
figure{margin:1rem 0}
.rows{overflow-x:auto}
table{border-collapse:collapse;width:100%}
caption{text-align:left;padding:.5rem 0}
th,td{padding:.25rem .75rem;text-align:left;vertical-align:top;border-bottom:1px solid color-mix(in srgb,currentColor 20%,transparent)}
tbody th{font-weight:400}
.number{text-align:right;font-variant-numeric:tabular-nums}
td.lines{min-width:min(36rem,75vw)}
.lines ul{list-style:none;margin:0;padding:0}
.lines li{overflow-wrap:anywhere;padding-left:1rem;text-indent:-1rem}
footer{margin-top:1rem}
@media print{.rows{overflow:visible}}
";

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder};
    use std::sync::Arc;

    fn page(names: Vec<Option<&str>>) -> String {
        let counts = Int64Array::from_iter_values(0..i64::try_from(names.len()).unwrap());
        let rates = Float64Array::from(vec![0.5; names.len()]);
        let batch = RecordBatch::try_from_iter([
            ("name", Arc::new(StringArray::from(names)) as _),
            ("count", Arc::new(counts) as _),
            ("rate", Arc::new(rates) as _),
        ]);
        let page = Page {
            title: "Who & what".into(),
            question: "Who?".into(),
            params: vec![("city".into(), "\"><script>x</script>".into())],
            chart: Drawing::parse("bar x=name y=rate unit=percent").ok(),
            made: "2026-01-01T00:00:00Z".into(),
        };
        page.html(&[batch.unwrap()]).unwrap()
    }

    #[test]
    fn a_page_has_a_chart_and_a_table_that_say_what_they_are() {
        let page = page(vec![Some("ann"), None]);
        for part in [
            "<html lang=\"en\">",
            "<title>Who &amp; what</title>",
            "<caption>Who &amp; what: 2 rows</caption>",
            "<th scope=\"col\" class=\"number\">rate</th>",
            "<tr><th scope=\"row\">ann</th><td class=\"number\">0</td><td class=\"number\">0.5</td></tr>",
            "<tr><th scope=\"row\"></th>",
            "<svg role=\"img\" class=\"chart wide\"",
            "prefers-color-scheme:dark",
            "<time>2026-01-01T00:00:00Z</time>",
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
    }

    #[test]
    fn what_players_wrote_stays_text_and_nothing_is_loaded() {
        let page = page(vec![Some("</td><script src=//evil>alert(1)</script><img onerror=x>\u{0}\u{202e}")]);
        assert!(page.contains("default-src 'none'; style-src 'sha256-"));
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains(['\u{0}', '\u{202e}']), "{page}");
        for attribute in [" src=\"", " href=", "url(", "@import", " style=\""] {
            assert!(!page.contains(attribute), "{attribute}");
        }
        assert_eq!(page.matches("<style>").count(), 1);
    }

    #[test]
    fn a_list_of_texts_stands_in_lines() {
        let mut lines = ListBuilder::new(StringBuilder::new());
        lines.append_value([Some("ann: gg"), Some("! bob: <b>"), None]);
        lines.append_null();
        lines.append_value([None::<&str>; 0]);
        let names = StringArray::from(vec!["a", "b", "c"]);
        let batch =
            RecordBatch::try_from_iter([("game", Arc::new(names) as _), ("transcript", Arc::new(lines.finish()) as _)]);
        let page = Page::default().html(&[batch.unwrap()]).unwrap();
        for part in [
            "<th scope=\"col\" class=\"lines\">transcript</th>",
            "<td class=\"lines\"><ul><li>ann: gg</li><li>! bob: &lt;b&gt;</li></ul></td>",
            "<th scope=\"row\">b</th><td class=\"lines\"></td>",
            "<th scope=\"row\">c</th><td class=\"lines\"></td>",
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
    }

    #[test]
    fn an_answer_without_rows_is_a_page_too() {
        assert!(Page::default().html(&[]).unwrap().contains("<caption>Answer: 0 rows</caption>"));
    }
}
