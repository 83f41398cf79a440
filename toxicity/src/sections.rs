//! How the files of word lists are written: sections of words, each with what its words mean.

use crate::verdict::Label;

/// What a word is to others, as bits.
pub(crate) mod class {
    pub(crate) const YOU: u16 = 1;
    pub(crate) const ME: u16 = 1 << 1;
    pub(crate) const THEM: u16 = 1 << 2;
    pub(crate) const NOT: u16 = 1 << 3;
    pub(crate) const VERY: u16 = 1 << 4;
    pub(crate) const FILLER: u16 = 1 << 5;
    /// Insults as it stands.
    pub(crate) const INSULT: u16 = 1 << 6;
    /// Where somebody is from.
    pub(crate) const ORIGIN: u16 = 1 << 7;
    /// Means no harm, exactly as written.
    pub(crate) const PLAIN: u16 = 1 << 8;
    /// A low rank, such as `2k`.
    pub(crate) const RANK: u16 = 1 << 9;
}

/// How strongly a word speaks for a label, by what stands beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weight {
    /// None: swearing, which has a label only when it is aimed at somebody.
    pub(crate) label: Option<Label>,
    pub(crate) base: f32,
    /// When somebody is named beside it.
    pub(crate) aimed: f32,
    /// When the speaker means themselves.
    pub(crate) myself: f32,
    /// When nothing else is said.
    pub(crate) alone: f32,
}

/// What the words of a section mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Meaning {
    pub(crate) class: u16,
    pub(crate) weight: Option<Weight>,
    /// How it feels, from -1 to 1.
    pub(crate) feeling: f32,
}

impl Meaning {
    /// A word of several sections means all of them; of two weights the higher one counts.
    pub(crate) fn add(&mut self, other: Self) {
        self.class |= other.class;
        if other.feeling.abs() > self.feeling.abs() {
            self.feeling = other.feeling;
        }
        self.weight = match (self.weight, other.weight) {
            (Some(mine), Some(theirs)) => Some(if theirs.base > mine.base { theirs } else { mine }),
            (mine, theirs) => mine.or(theirs),
        };
    }
}

/// Below this strength a word is no insult by itself, for phrases that ask for one.
const INSULTS: f32 = 0.6;

/// The words of a file, each with its meaning.
///
/// # Errors
/// A line that can't be read, in words.
pub(crate) fn parse(text: &str) -> Result<Vec<(&str, Meaning)>, String> {
    let mut words = Vec::new();
    let mut meaning = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(head) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            meaning = Some(section(head).map_err(|fault| format!("line {}: {fault}", number + 1))?);
        } else if !line.is_empty() {
            let meaning = meaning.ok_or_else(|| format!("line {}: words before any section", number + 1))?;
            words.extend(line.split_whitespace().map(|word| (word, meaning)));
        }
    }
    Ok(words)
}

fn section(head: &str) -> Result<Meaning, String> {
    let mut parts = head.split_whitespace();
    let name = parts.next().ok_or("a section without a name")?;
    let class = match name {
        "you" => class::YOU,
        "me" => class::ME,
        "them" => class::THEM,
        "not" => class::NOT,
        "very" => class::VERY,
        "filler" => class::FILLER,
        "plain" => class::PLAIN,
        _ => 0,
    };
    if class != 0 {
        return Ok(Meaning { class, ..Meaning::default() });
    }
    let strength = number(parts.next())?;
    match name {
        "good" => return Ok(Meaning { feeling: strength, ..Meaning::default() }),
        "bad" => return Ok(Meaning { feeling: -strength, ..Meaning::default() }),
        _ => {}
    }
    let label = match name {
        "swear" => None,
        _ => Some(Label::from_name(name).ok_or_else(|| format!("no section is called {name}"))?),
    };
    let mut weight = Weight { label, base: strength, aimed: strength, myself: strength, alone: strength };
    while let Some(when) = parts.next() {
        let strength = number(parts.next())?;
        match when {
            "aimed" => weight.aimed = strength,
            "self" => weight.myself = strength,
            "alone" => weight.alone = strength,
            _ => return Err(format!("{when} is none of aimed, self, alone")),
        }
    }
    let origin = label == Some(Label::Hate) && strength < INSULTS / 2.0 + 0.05;
    let class = match (origin, strength >= INSULTS) {
        (true, _) => class::ORIGIN,
        (false, true) => class::INSULT,
        _ => 0,
    };
    Ok(Meaning { class, weight: Some(weight), feeling: -weight.aimed })
}

/// A strength from 0 to 1.
pub(crate) fn number(text: Option<&str>) -> Result<f32, String> {
    let text = text.ok_or("a strength is missing")?;
    let strength: f32 = text.parse().map_err(|_| format!("{text} is no strength"))?;
    if (0.0..=1.0).contains(&strength) { Ok(strength) } else { Err(format!("{text} is not from 0 to 1")) }
}

#[cfg(test)]
mod tests {
    use super::{Label, class, parse};

    #[test]
    fn a_section_gives_its_words_their_meaning() {
        let words = parse("# nothing\n[insult 0.5 aimed 0.7]\noaf oafs # both\n[me]\ni\n").unwrap();
        assert_eq!(words.iter().map(|(word, _)| *word).collect::<Vec<_>>(), ["oaf", "oafs", "i"]);
        let weight = words[0].1.weight.unwrap();
        assert_eq!((weight.label, weight.base, weight.aimed, weight.myself), (Some(Label::Insult), 0.5, 0.7, 0.5));
        assert_eq!(words[2].1.class, class::ME);
    }

    #[test]
    fn a_line_that_means_nothing_is_named() {
        for (text, fault) in [
            ("oaf", "line 1: words before any section"),
            ("[rude 0.5]", "line 1: no section is called rude"),
            ("\n[insult]", "line 2: a strength is missing"),
            ("[insult 2]", "line 1: 2 is not from 0 to 1"),
            ("[insult 0.5 often 0.1]", "line 1: often is none of aimed, self, alone"),
        ] {
            assert_eq!(parse(text).unwrap_err(), fault);
        }
    }
}
