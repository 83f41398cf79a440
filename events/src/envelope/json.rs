//! A validating scanner over JSON text: it says where values lie, and copies nothing.
//!
//! A general parser builds or visits every value of a payload that nobody here will look at. This
//! one checks the grammar of RFC 8259 in one pass, eight bytes at a time inside strings, without
//! recursion, and hands out slices of the text. That the text is UTF-8 is known before.

use std::borrow::Cow;

/// Where the text stops being JSON, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Byte of the text, counted from 0.
    pub(crate) at: usize,
    /// What was expected there.
    pub(crate) expected: &'static str,
}

/// What a value is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl Kind {
    /// With its article, for errors.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
        }
    }
}

/// A string as it stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Its content; `None` if an escape names half a surrogate pair.
    pub(crate) fn decode(self) -> Option<Cow<'a, str>> {
        if self.escaped { unescape(self.raw).map(Cow::Owned) } else { Some(Cow::Borrowed(self.raw)) }
    }
}

/// A value as it stands in the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) kind: Kind,
    /// All of it, quotes or brackets included.
    pub(crate) text: &'a str,
    /// Whether a string holds escapes.
    escaped: bool,
    /// Levels of arrays and objects: 0 for a scalar.
    pub(crate) depth: usize,
}

impl<'a> Value<'a> {
    /// The string that it is, if it is one.
    pub(crate) fn as_text(&self) -> Option<Text<'a>> {
        let raw = self.text.strip_prefix('"')?.strip_suffix('"')?;
        Some(Text { raw, escaped: self.escaped })
    }
}

/// Walks one text from its start.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is not blank, without taking it.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.at = blank(self.text.as_bytes(), self.at);
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes `byte` if it is next.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `byte`, which must be next.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Broken> {
        if self.take(byte) { Ok(()) } else { Err(self.broken(expected)) }
    }

    /// Nothing but blanks may be left.
    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.broken("the end")),
        }
    }

    /// The next string.
    #[inline]
    pub(crate) fn string(&mut self, expected: &'static str) -> Result<Text<'a>, Broken> {
        self.expect(b'"', expected)?;
        let start = self.at;
        let (end, escaped) = string_end(self.text.as_bytes(), start)?;
        self.at = end;
        Ok(Text { raw: self.slice(start, end - 1), escaped })
    }

    /// The next value, whatever it is.
    #[inline]
    pub(crate) fn value(&mut self) -> Result<Value<'a>, Broken> {
        let kind = match self.peek() {
            Some(b'"') => Kind::String,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') => Kind::Null,
            Some(_) => Kind::Number,
            None => return Err(self.broken("a value")),
        };
        let start = self.at;
        let mut escaped = false;
        let mut depth = 0;
        self.at = match kind {
            Kind::String => {
                let (end, found) = string_end(self.text.as_bytes(), start + 1)?;
                escaped = found;
                end
            }
            Kind::Object | Kind::Array => {
                let (end, deepest) = nested_end(self.text.as_bytes(), start)?;
                depth = deepest;
                end
            }
            _ => scalar_end(self.text.as_bytes(), start)?,
        };
        Ok(Value { kind, text: self.slice(start, self.at), escaped, depth })
    }

    pub(crate) fn broken(&self, expected: &'static str) -> Broken {
        Broken { at: self.at, expected }
    }

    /// Both ends stand beside an ASCII byte, so they are boundaries of characters.
    #[inline]
    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }
}

#[inline]
fn blank(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The high bit of each byte of `word` that ends a run of plain characters: a quote, a backslash
/// or a control character. Exact up to the lowest such byte.
#[inline]
const fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash | controls) & (ONES * 0x80)
}

/// From behind the opening quote to behind the closing one; and whether there are escapes.
#[inline]
fn string_end(bytes: &[u8], mut at: usize) -> Result<(usize, bool), Broken> {
    let mut escaped = false;
    loop {
        if let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let found = special(u64::from_le_bytes(*chunk));
            if found == 0 {
                at += 8;
                continue;
            }
            at += (found.trailing_zeros() / 8) as usize;
        }
        match bytes.get(at) {
            Some(b'"') => return Ok((at + 1, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = escape_end(bytes, at)?;
            }
            Some(0..0x20) => return Err(Broken { at, expected: "no bare control character in a string" }),
            Some(_) => at += 1,
            None => return Err(Broken { at, expected: "the end of a string" }),
        }
    }
}

fn escape_end(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') if bytes.get(at + 2..at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => Ok(at + 6),
        _ => Err(Broken { at, expected: "an escape that JSON knows" }),
    }
}

/// Behind a number or a word.
#[inline]
fn scalar_end(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    let word: &[u8] = match bytes.get(at) {
        Some(b't') => b"true",
        Some(b'f') => b"false",
        Some(b'n') => b"null",
        _ => return number_end(bytes, at),
    };
    if bytes.get(at..at + word.len()) == Some(word) {
        Ok(at + word.len())
    } else {
        Err(Broken { at, expected: "a value" })
    }
}

#[inline]
fn digits(bytes: &[u8], mut at: usize) -> Result<usize, Broken> {
    let start = at;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at > start { Ok(at) } else { Err(Broken { at, expected: "a digit" }) }
}

#[inline]
fn number_end(bytes: &[u8], start: usize) -> Result<usize, Broken> {
    let mut at = start;
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match bytes.get(at) {
        Some(b'0') => at + 1,
        Some(b'1'..=b'9') => digits(bytes, at)?,
        _ => return Err(Broken { at, expected: if at == start { "a value" } else { "a digit" } }),
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Ok(at)
}

/// Which brackets are open, a bit each: set for an object.
#[derive(Default)]
struct Open {
    word: u64,
    depth: usize,
    spilled: Vec<u64>,
}

impl Open {
    #[inline]
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.spilled.push(self.word);
        }
        self.word = (self.word << 1) | u64::from(object);
        self.depth += 1;
    }

    #[inline]
    fn pop(&mut self) {
        self.depth -= 1;
        self.word >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.word = self.spilled.pop().unwrap_or_default();
        }
    }

    #[inline]
    fn in_object(&self) -> bool {
        self.word & 1 == 1
    }
}

/// Behind the object or array that begins at `at`; and how many levels it has.
fn nested_end(bytes: &[u8], mut at: usize) -> Result<(usize, usize), Broken> {
    let mut open = Open::default();
    let mut deepest = 0;
    'value: loop {
        at = blank(bytes, at);
        match bytes.get(at) {
            Some(b'"') => (at, _) = string_end(bytes, at + 1)?,
            Some(&bracket @ (b'{' | b'[')) => {
                let object = bracket == b'{';
                open.push(object);
                deepest = deepest.max(open.depth);
                at = blank(bytes, at + 1);
                let closing = if object { b'}' } else { b']' };
                if bytes.get(at) == Some(&closing) {
                    at += 1;
                    open.pop();
                } else {
                    if object {
                        at = name_end(bytes, at)?;
                    }
                    continue 'value;
                }
            }
            _ => at = scalar_end(bytes, at)?,
        }
        loop {
            if open.depth == 0 {
                return Ok((at, deepest));
            }
            at = blank(bytes, at);
            let object = open.in_object();
            match bytes.get(at) {
                Some(b',') => {
                    at += 1;
                    if object {
                        at = name_end(bytes, blank(bytes, at))?;
                    }
                    continue 'value;
                }
                Some(b'}') if object => at += 1,
                Some(b']') if !object => at += 1,
                _ => return Err(Broken { at, expected: if object { "',' or '}'" } else { "',' or ']'" } }),
            }
            open.pop();
        }
    }
}

/// Behind a member's name and its colon.
#[inline]
fn name_end(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Broken { at, expected: "a member's name" });
    }
    let (at, _) = string_end(bytes, at + 1)?;
    let at = blank(bytes, at);
    if bytes.get(at) == Some(&b':') { Ok(at + 1) } else { Err(Broken { at, expected: "':'" }) }
}

/// The content of a string with escapes, which the scanner has checked; `None` for half a surrogate pair.
fn unescape(raw: &str) -> Option<String> {
    let mut content = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        content.push_str(rest.get(..at)?);
        let escape = *rest.as_bytes().get(at + 1)?;
        rest = rest.get(at + 2..)?;
        content.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = u32::from_str_radix(rest.get(..4)?, 16).ok()?;
                rest = rest.get(4..)?;
                if (0xd800..0xdc00).contains(&high) {
                    let low = u32::from_str_radix(rest.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
                    rest = rest.get(6..)?;
                    let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x10000 + ((high - 0xd800) << 10) + low)?
                } else {
                    char::from_u32(high)?
                }
            }
            other => char::from(other),
        });
    }
    content.push_str(rest);
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value().and_then(|_| scanner.end()).is_ok()
    }

    #[test]
    fn each_text_is_json_or_broken_where_it_says() {
        for text in ["{}", " [ ] ", "0", "-0.5e+10", "\"\\u00e9\\n\"", "{\"a\":[1,{\"b\":null}],\"c\":\"\"}", "true"] {
            assert!(accepts(text), "{text}");
        }
        for (text, at) in [
            ("", 0),
            ("01", 1),
            ("-", 1),
            ("1.", 2),
            ("1e", 2),
            ("tru", 0),
            ("+1", 0),
            ("NaN", 0),
            ("[1,]", 3),
            ("[1 2]", 3),
            ("{\"a\" 1}", 5),
            ("{\"a\":1,}", 7),
            ("{a:1}", 1),
            ("[1}", 2),
            ("\"abc", 4),
            ("\"a\nb\"", 2),
            ("\"\\x\"", 1),
            ("\"\\u12g4\"", 1),
            ("{} {}", 3),
            ("\"0123456789\u{1}\"", 11),
        ] {
            let mut scanner = Scanner::new(text);
            let broken = scanner.value().and_then(|_| scanner.end()).unwrap_err();
            assert_eq!(broken.at, at, "{text}: {broken:?}");
        }
    }

    #[test]
    fn nesting_far_past_any_limit_is_walked_without_recursion() {
        let deep = 1_000_000;
        let text = "[".repeat(deep) + &"]".repeat(deep);
        let value = Scanner::new(&text).value().unwrap();
        assert_eq!(value.depth, deep);
        let mixed = "{\"a\":[".repeat(100) + &"]}".repeat(100);
        assert_eq!(Scanner::new(&mixed).value().unwrap().depth, 200);
        assert!(Scanner::new(&("{\"a\":[".repeat(100) + &"}]".repeat(100))).value().is_err());
    }

    #[test]
    fn escapes_become_what_they_name() {
        for (raw, content) in [
            (r"a\u0041\u00e9", Some("aAé")),
            (r"\ud83d\ude00!", Some("😀!")),
            (r#"\"\\\/\b\f\n\r\t"#, Some("\"\\/\u{8}\u{c}\n\r\t")),
            (r"\ud83d", None),
            (r"\ud83dx", None),
            (r"\ude00", None),
            (r"\ud83d\u0041", None),
        ] {
            assert_eq!(unescape(raw).as_deref(), content, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}:,"\\ntrufalse0-9eE+. \n\x00ué]{0,24}"#) {
            prop_assert_eq!(accepts(&text), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
        }

        #[test]
        fn accepts_and_unescapes_whatever_serde_json_writes(content in any::<String>(), number in any::<f64>()) {
            let text = serde_json::json!({"a": [content, number], &content: {"b": content}}).to_string();
            prop_assert!(accepts(&text));
            let quoted = serde_json::to_string(&content).unwrap();
            let value = Scanner::new(&quoted).value().unwrap();
            prop_assert_eq!(value.as_text().unwrap().decode().unwrap(), content);
        }
    }
}
