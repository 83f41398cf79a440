//! Texts that others wrote, made fit to be drawn: short, and without characters that XML refuses or that
//! turn the direction of what follows.

/// Characters of a row's name.
pub(crate) const LABEL_CHARS: usize = 34;
/// Of a series' name.
pub(crate) const NAME_CHARS: usize = 24;
/// Of a title.
pub(crate) const TITLE_CHARS: usize = 200;
/// Of a description.
pub(crate) const DESCRIPTION_CHARS: usize = 1_000;

/// `text` in at most `most` characters, the last of them `…` if something was cut.
pub(crate) fn clean(text: &str, most: usize) -> String {
    let mut kept = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !misleads(*c));
    let mut cut: String = kept.by_ref().take(most).collect();
    if kept.next().is_some() {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// Whether a character has no place in text that somebody else wrote: controls (line ends and tabs are some), what
/// turns the direction of all that follows, what Unicode has set aside for nobody.
pub fn misleads(c: char) -> bool {
    let set_aside = matches!(c as u32 & 0xffff, 0xfffe | 0xffff) || matches!(c, '\u{fdd0}'..='\u{fdef}');
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || set_aside || turns
}

/// Text for the content of an element of HTML or XML, and for attributes between double quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Pixels that a text takes at this size, roughly: nobody asks a font. Wide scripts count double.
pub(crate) fn width(text: &str, size: u32) -> u32 {
    let tenths = text.chars().fold(0u32, |sum, c| sum.saturating_add(if (c as u32) < 0x1100 { 6 } else { 11 }));
    tenths.saturating_mul(size) / 10
}
