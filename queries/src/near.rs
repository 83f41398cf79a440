//! Names like the one that was meant.

/// Up to three of `names` that are close to `name`, as the clause of a sentence; or an empty text.
pub(crate) fn clause(name: &str, names: &[String]) -> String {
    let allowed = (name.chars().count() / 3).max(2);
    let mut close: Vec<(usize, &String)> = names
        .iter()
        .filter_map(|candidate| {
            // A short name is in many: "id" was hardly meant by "playerid".
            let within = name.contains(candidate.as_str()) && candidate.len() * 2 > name.len();
            let contained = !name.is_empty() && (candidate.contains(name) || within);
            let distance = if contained { 1 } else { distance(name, candidate) };
            (distance <= allowed).then_some((distance, candidate))
        })
        .collect();
    close.sort();
    let close: Vec<String> = close.iter().take(3).map(|(_, name)| format!("{name:?}")).collect();
    if close.is_empty() { String::new() } else { format!(" (near: {})", close.join(", ")) }
}

/// Levenshtein's distance: insertions, deletions and replacements of characters.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_named_nearest_first() {
        let names = ["lol_champion_kill", "lol_game_end", "chat_message", "dead_letters"].map(str::to_owned);
        for (name, expected) in [
            ("lol_champion_kils", " (near: \"lol_champion_kill\")"),
            ("chat_massage", " (near: \"chat_message\")"),
            ("dead_letter", " (near: \"dead_letters\")"),
            ("x", ""),
            ("players", ""),
        ] {
            assert_eq!(clause(name, &names), expected, "{name}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
