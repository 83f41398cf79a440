//! Watches the quotes of a CSV file as it is read: one that never closes takes all behind it into one field, and the
//! library that reads the file says nothing of it.

use std::io::Read;

/// Where the text stands between two bytes, by the rules of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// A field begins: only here a quote opens.
    Start,
    /// Within a field without quotes.
    Bare,
    /// Within quotes.
    Quoted,
    /// Behind a quote within quotes: the end, or half of a doubled one.
    MaybeClosed,
}

/// A reader that knows of the quotes in what it gave.
#[derive(Debug)]
pub(super) struct Watched<R> {
    from: R,
    at: At,
    line: u64,
    /// The line on which the newest quote opened.
    opened: u64,
    bytes: u64,
    has_ended: bool,
}

impl<R> Watched<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, at: At::Start, line: 1, opened: 1, bytes: 0, has_ended: false }
    }

    /// The line on which a quote opens that is never closed; known when all was read.
    pub(super) fn unclosed(&self) -> Option<u64> {
        (self.has_ended && self.at == At::Quoted).then_some(self.opened)
    }

    fn see(&mut self, byte: u8) {
        // What editors put in front of UTF-8 belongs to no field.
        let is_mark = self.bytes < 3 && [0xef, 0xbb, 0xbf].contains(&byte);
        self.bytes += 1;
        self.at = match (self.at, byte) {
            (At::Start, _) if is_mark => At::Start,
            (At::Start, b'"') => {
                self.opened = self.line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::MaybeClosed,
            (At::Quoted, _) | (At::MaybeClosed, b'"') => At::Quoted,
            (_, b',' | b'\n' | b'\r') => At::Start,
            _ => At::Bare,
        };
        self.line += u64::from(byte == b'\n');
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(into)?;
        self.has_ended |= read == 0 && !into.is_empty();
        for byte in &into[..read] {
            self.see(*byte);
        }
        Ok(read)
    }
}
