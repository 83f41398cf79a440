//! A cursor over JSON text (RFC 8259): strict about the grammar, bounded in depth, and without a
//! copy of anything that needs none.

use events::limits::JSON_DEPTH_MAX;
use std::borrow::Cow;

/// The text is no JSON, or nests deeper than [`JSON_DEPTH_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct NotJson {
    /// What is wrong there.
    pub what: &'static str,
    /// Byte of the payload, counted from 0.
    pub at: usize,
}

/// A string's place in the text, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) escaped: bool,
}

/// A number, as a column can hold it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// Written without fraction and exponent, within 64 bits.
    Integer(i64),
    /// Written with fraction or exponent, and finite.
    Float(f64),
    /// An integer past 64 bits, or past the range of a double.
    Beyond,
}

/// Reads JSON from bytes that are known to be UTF-8.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    /// A part of the text.
    #[inline]
    pub(crate) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        &self.bytes[start..end]
    }

    /// The byte at the cursor; NUL past the end, which no token begins with.
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[cold]
    pub(crate) fn wrong<T>(&self, what: &'static str) -> Result<T, NotJson> {
        Err(NotJson { what, at: self.at })
    }

    #[inline]
    pub(crate) fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// After the one value of a document: nothing but space.
    pub(crate) fn end(&mut self) -> Result<(), NotJson> {
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { self.wrong("text after the value") }
    }

    /// At `{`: calls `member` with each key, the cursor at its value.
    #[inline]
    pub(crate) fn object(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, Text) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        if depth >= JSON_DEPTH_MAX {
            return self.wrong("nesting deeper than 64");
        }
        self.at += 1;
        self.skip_space();
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != b'"' {
                return self.wrong("no name of a member");
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != b':' {
                return self.wrong("no colon");
            }
            self.at += 1;
            self.skip_space();
            member(self, key)?;
            self.skip_space();
            match self.peek() {
                b',' => {
                    self.at += 1;
                    self.skip_space();
                }
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.wrong("neither comma nor end of object"),
            }
        }
    }

    /// At `[`: calls `item` with each index, the cursor at its value.
    #[inline]
    pub(crate) fn array(
        &mut self,
        depth: usize,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        if depth >= JSON_DEPTH_MAX {
            return self.wrong("nesting deeper than 64");
        }
        self.at += 1;
        self.skip_space();
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        let mut index = 0;
        loop {
            item(self, index)?;
            index += 1;
            self.skip_space();
            match self.peek() {
                b',' => {
                    self.at += 1;
                    self.skip_space();
                }
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.wrong("neither comma nor end of array"),
            }
        }
    }

    /// Passes over one value of any kind.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<(), NotJson> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'{' => self.object(depth, |cursor, _| cursor.skip(depth + 1)),
            b'[' => self.array(depth, |cursor, _| cursor.skip(depth + 1)),
            b't' | b'f' => self.boolean().map(drop),
            b'n' => self.null(),
            _ => self.number().map(drop),
        }
    }

    #[inline]
    pub(crate) fn null(&mut self) -> Result<(), NotJson> {
        self.word(b"null")
    }

    #[inline]
    pub(crate) fn boolean(&mut self) -> Result<bool, NotJson> {
        if self.peek() == b't' { self.word(b"true").map(|()| true) } else { self.word(b"false").map(|()| false) }
    }

    #[inline]
    fn word(&mut self, word: &'static [u8]) -> Result<(), NotJson> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.wrong("no value");
        }
        self.at += word.len();
        Ok(())
    }

    /// At `"`: passes over the string, and says where its content lies.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Text, NotJson> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at += plain_prefix(&self.bytes[at.min(self.bytes.len())..]);
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text { start, end: at, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    at += self.escape(at)?;
                }
                Some(_) => {
                    self.at = at;
                    return self.wrong("control character in a string");
                }
                None => {
                    self.at = self.bytes.len();
                    return self.wrong("string without end");
                }
            }
        }
    }

    /// Bytes that the escape at `at` takes.
    fn escape(&self, at: usize) -> Result<usize, NotJson> {
        match self.bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') if self.bytes.get(at + 2..at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => {
                Ok(6)
            }
            _ => Err(NotJson { what: "unknown escape", at }),
        }
    }

    /// The string's content; `None` if it holds half a surrogate pair, which is no text.
    #[inline]
    pub(crate) fn unescape(&self, text: Text) -> Option<Cow<'a, str>> {
        let raw = std::str::from_utf8(self.slice(text.start, text.end)).ok()?;
        if text.escaped { unescape(raw).map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) }
    }

    /// A number, by the grammar of RFC 8259.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Number, NotJson> {
        let start = self.at;
        let negative = self.peek() == b'-';
        self.at += usize::from(negative);
        let first = self.at;
        let mut mantissa: u64 = 0;
        self.digits(&mut mantissa);
        let whole = self.at - first;
        if whole == 0 || (whole > 1 && self.bytes[first] == b'0') {
            self.at = start;
            return self.wrong("no value");
        }
        if !matches!(self.peek(), b'.' | b'e' | b'E') {
            return Ok(integer(negative, mantissa, whole));
        }
        let mut scale: i64 = 0;
        if self.peek() == b'.' {
            self.at += 1;
            let point = self.at;
            self.digits(&mut mantissa);
            if self.at == point {
                return self.wrong("no digit after the point");
            }
            scale = -i64::try_from(self.at - point).unwrap_or(i64::MAX);
        }
        let digits = self.at - first;
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            let down = self.peek() == b'-';
            self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
            let (from, mut exponent) = (self.at, 0);
            self.digits(&mut exponent);
            if self.at == from {
                return self.wrong("no digit in the exponent");
            }
            let exponent =
                if self.at - from > 9 { i64::from(u32::MAX) } else { i64::try_from(exponent).unwrap_or(i64::MAX) };
            scale = if down { scale - exponent } else { scale + exponent };
        }
        Ok(self.float(start, negative, mantissa, digits, scale))
    }

    #[inline]
    fn digits(&mut self, value: &mut u64) {
        while let digit @ 0..=9 = self.peek().wrapping_sub(b'0') {
            *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
    }

    /// Where mantissa and power of ten are both exact doubles, one operation rounds right
    /// (Clinger 1990); the rest is left to the standard library.
    #[inline]
    fn float(&self, start: usize, negative: bool, mantissa: u64, digits: usize, scale: i64) -> Number {
        const EXACT: u64 = 1 << 53;
        if digits <= 19 && mantissa <= EXACT && (-22..=22).contains(&scale) {
            #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
            let mantissa = mantissa as f64;
            let power = POWERS_OF_TEN[usize::try_from(scale.unsigned_abs()).unwrap_or_default()];
            let value = if scale < 0 { mantissa / power } else { mantissa * power };
            return Number::Float(if negative { -value } else { value });
        }
        let text = std::str::from_utf8(self.slice(start, self.at)).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Number::Float(value),
            _ => Number::Beyond,
        }
    }
}

const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

#[inline]
fn integer(negative: bool, magnitude: u64, digits: usize) -> Number {
    // Nineteen digits always fit 64 bits without sign; more of them may have wrapped.
    if digits > 19 {
        return Number::Beyond;
    }
    if negative {
        0i64.checked_sub_unsigned(magnitude).map_or(Number::Beyond, Number::Integer)
    } else {
        i64::try_from(magnitude).map_or(Number::Beyond, Number::Integer)
    }
}

/// Length of the part of a string before the first quote, backslash or control character.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    let mut at = 0;
    // Names and short values end within two words; what goes on is tested in larger pieces, which
    // the compiler turns into vector instructions.
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let stops = stops_in_word(u64::from_le_bytes(*word));
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
        if at == 16 {
            while let Some(piece) = bytes[at..].first_chunk::<32>() {
                if piece.iter().fold(false, |found, &byte| found | is_stop(byte)) {
                    break;
                }
                at += 32;
            }
        }
    }
    at + bytes[at..].iter().position(|&byte| is_stop(byte)).unwrap_or(bytes.len() - at)
}

#[inline]
const fn is_stop(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// The high bit of each byte that stops, of which the lowest is exact (Mycroft's zero byte test).
#[inline]
const fn stops_in_word(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * 0x22);
    let backslash = word ^ (ONES * 0x5c);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    ((quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash) | control) & HIGH
}

/// Resolves the escapes of a string that was scanned before; `None` for half a surrogate pair.
fn unescape(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (code, tail) = rest[at + 1..].split_at_checked(1)?;
        rest = tail;
        out.push(match code {
            "b" => '\u{8}',
            "f" => '\u{c}',
            "n" => '\n',
            "r" => '\r',
            "t" => '\t',
            "u" => {
                let (unit, tail) = hex(rest)?;
                rest = tail;
                if (0xd800..0xdc00).contains(&unit) {
                    let (low, tail) = hex(rest.strip_prefix("\\u")?)?;
                    rest = tail;
                    let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + low)?
                } else {
                    char::from_u32(unit)?
                }
            }
            other => other.chars().next()?,
        });
    }
    out.push_str(rest);
    Some(out)
}

fn hex(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

/// Whether the text is one JSON value within the bounds.
pub(crate) fn check(text: &str) -> Result<(), NotJson> {
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    cursor.skip(0)?;
    cursor.end()
}
