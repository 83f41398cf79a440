//! Bytes that somebody sent, as people can read them: JSON in lines, text as it is, anything else in hex.

use crate::show::visible;
use maud::{Markup, html};
use std::fmt::Write as _;

/// Bytes of a payload that are shown.
const BYTES_MAX: usize = 4 << 10;
/// Bytes in a line of hex.
const LINE: usize = 16;

/// What the bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Text, of which JSON is indented.
    Text(String),
    /// Offset, hex, and what of it is ASCII.
    Hex(String),
}

/// The bytes, up to [`BYTES_MAX`] of them.
pub(crate) fn read(bytes: &[u8]) -> Shown {
    if let Some(text) = text(bytes) {
        // Only what is read whole reads back as JSON.
        let indented = (bytes.len() <= BYTES_MAX).then(|| indented(text)).flatten();
        return Shown::Text(indented.unwrap_or_else(|| visible(text)));
    }
    let mut dump = String::new();
    for (place, line) in bytes[..bytes.len().min(BYTES_MAX)].chunks(LINE).enumerate() {
        let hex = line.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string can't fail.
            let _ = write!(hex, "{byte:02x} ");
            hex
        });
        let ascii: String =
            line.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect();
        let _ = writeln!(dump, "{:08x}  {hex:<48} {ascii}", place * LINE);
    }
    Shown::Hex(dump)
}

/// The first bytes as text: UTF-8 without control characters but those that part lines and columns.
fn text(bytes: &[u8]) -> Option<&str> {
    let whole = bytes.len() <= BYTES_MAX;
    let first = &bytes[..bytes.len().min(BYTES_MAX)];
    let text = match std::str::from_utf8(first) {
        Ok(text) => text,
        // A character that the cut went through.
        Err(error) if !whole && error.valid_up_to() + 4 > first.len() => {
            std::str::from_utf8(&first[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    (!text.chars().any(is_odd)).then_some(text)
}

/// JSON with a line for each member; numbers and repeated names stay as they were written, since nothing is read
/// but where strings begin and end.
fn indented(text: &str) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let (mut lines, mut depth, mut in_string, mut escaped) = (String::new(), 0_usize, false, false);
    let break_line = |lines: &mut String, depth: usize| {
        lines.push('\n');
        lines.extend(std::iter::repeat_n("  ", depth.min(20)));
    };
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            lines.push(c);
            continue;
        }
        match c {
            '{' | '[' => {
                depth += 1;
                lines.push(c);
                break_line(&mut lines, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut lines, depth);
                lines.push(c);
            }
            ',' => {
                lines.push(c);
                break_line(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            c if c.is_whitespace() => {}
            c => {
                in_string = c == '"';
                lines.push(c);
            }
        }
    }
    Some(visible(&lines))
}

/// The payload with its size.
pub(crate) fn shown(bytes: &[u8]) -> Markup {
    let (kind, text) = match read(bytes) {
        Shown::Text(text) => ("Payload", text),
        Shown::Hex(dump) => ("Payload in hex", dump),
    };
    html! {
        h3 { (kind) span.count { " " (crate::show::size(bytes.len() as u64)) } }
        pre tabindex="0" aria-label=(kind) { (text) }
        @if bytes.len() > BYTES_MAX { p.note { "The first " (crate::show::size(BYTES_MAX as u64)) "." } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_as_it_was_written() {
        let json = br#"{"a":1.10,"a":"x:,{\"}","b":[1,2]}"#;
        let expected = "{\n  \"a\": 1.10,\n  \"a\": \"x:,{\\\"}\",\n  \"b\": [\n    1,\n    2\n  ]\n}";
        assert_eq!(read(json), Shown::Text(expected.into()));
        assert_eq!(read(b"{broken"), Shown::Text("{broken".into()));
        assert_eq!(read("<b>\u{202e}".as_bytes()), Shown::Text("<b>\\u{202e}".into()));
    }

    #[test]
    fn what_is_no_text_stands_in_hex() {
        let expected = format!("00000000  00 41 ff {} .A.\n", " ".repeat(39));
        assert_eq!(read(&[0, b'A', 0xff]), Shown::Hex(expected));
        assert!(matches!(read(&[0xc3; BYTES_MAX]), Shown::Hex(_)));
        let mut cut = vec![b'a'; BYTES_MAX - 1];
        cut.extend("ü and more".as_bytes());
        assert_eq!(read(&cut), Shown::Text("a".repeat(BYTES_MAX - 1)));
    }
}
