//! Text as it is typed or piped, cut into statements and commands.
//!
//! A statement ends at a `;` outside of quotes (`'...'`, `"..."`), dollar quotes (`$tag$...$tag$`) and comments (`-- ...`,
//! `/* ... */`), as the tokenizer sees it that the server reads statements with, too. Where a statement may begin, a
//! backslash begins a command, which ends with its line.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// Something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input<'a> {
    /// A statement, without its `;`.
    Statement(&'a str),
    /// A command, with its backslash.
    Command(&'a str),
}

/// Where a text stands at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Between statements.
    Whole,
    /// Within a statement, or a comment.
    Open,
    /// Behind something that is no SQL; a statement may have ended there.
    Unreadable,
}

/// A text, cut.
#[derive(Debug)]
pub(super) struct Cut<'a> {
    /// What is whole, each with the line that it begins in, from 1 on.
    pub(super) inputs: Vec<(Input<'a>, usize)>,
    /// What comes behind it, and its line.
    pub(super) rest: (&'a str, usize),
    /// What that is.
    pub(super) end: End,
}

/// Cuts a text.
pub(super) fn cut(text: &str) -> Cut<'_> {
    let mut inputs = Vec::new();
    // Where the text is read from: behind each command anew, whose words are no SQL.
    let mut from = 0;
    'read: loop {
        let part = &text[from..];
        let (tokens, failure) = tokens(part);
        let mut places = Places::new(part);
        let (mut begun, mut behind) = (None, from);
        for TokenWithSpan { token, span } in &tokens {
            let at = from + places.byte(span.start);
            match token {
                Token::Whitespace(_) | Token::EOF => {}
                Token::Backslash if begun.is_none() => {
                    let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
                    inputs.push((Input::Command(text[at..end].trim_end()), line(text, at)));
                    from = end;
                    continue 'read;
                }
                // The check is for hints in comments, whose words all stand where their comment does.
                Token::SemiColon if text[at..].starts_with(';') => {
                    if let Some(begin) = begun.take() {
                        inputs.push((Input::Statement(text[begin..at].trim_end()), line(text, begin)));
                    }
                    behind = at + 1;
                }
                _ => {
                    begun.get_or_insert(at);
                }
            }
        }
        let begin = begun.unwrap_or(behind);
        let end = match failure {
            Some(Unread::Unended) => End::Open,
            Some(Unread::Wrong) => End::Unreadable,
            None if begun.is_some() => End::Open,
            None => End::Whole,
        };
        let rest = if end == End::Whole { "" } else { &text[begin..] };
        return Cut { inputs, rest: (rest, line(text, begin)), end };
    }
}

/// Why a text has no more tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// A quote or comment doesn't end.
    Unended,
    /// Something that is no SQL.
    Wrong,
}

/// The tokens of a text, up to where it can't be read.
pub(super) fn tokens(text: &str) -> (Vec<TokenWithSpan>, Option<Unread>) {
    let mut tokens = Vec::new();
    let read = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location_into_buf(&mut tokens);
    let failure = read.err().map(|error| {
        let is_unended =
            ["Unterminated", "before EOF", "Unexpected EOF"].iter().any(|word| error.message.contains(word));
        if is_unended { Unread::Unended } else { Unread::Wrong }
    });
    (tokens, failure)
}

fn line(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

/// Bytes of a text by line and column, asked for in order.
struct Places<'a> {
    rest: std::str::Chars<'a>,
    length: usize,
    place: Location,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.chars(), length: text.len(), place: Location { line: 1, column: 1 } }
    }

    fn byte(&mut self, place: Location) -> usize {
        while self.place < place {
            match self.rest.next() {
                None => break,
                Some('\n') => self.place = Location { line: self.place.line + 1, column: 1 },
                Some(_) => self.place.column += 1,
            }
        }
        self.length - self.rest.as_str().len()
    }
}

#[cfg(test)]
mod tests {
    use super::Input::{Command, Statement};
    use super::*;

    fn inputs(text: &str) -> Vec<(Input<'_>, usize)> {
        cut(text).inputs
    }

    #[test]
    fn statements_end_at_semicolons_that_are_nothing_else() {
        let text = "SELECT 1; ;\n-- one; two\nSELECT ';' AS \"a;b\", $x$;$x$ /* ; */\n, 'é' ;SELECT 3 ;";
        assert_eq!(
            inputs(text),
            [
                (Statement("SELECT 1"), 1),
                (Statement("SELECT ';' AS \"a;b\", $x$;$x$ /* ; */\n, 'é'"), 3),
                (Statement("SELECT 3"), 4)
            ]
        );
        assert_eq!(cut(text).end, End::Whole);
    }

    #[test]
    fn a_command_begins_where_a_statement_may_and_ends_with_its_line() {
        let text = "\\x on\nSELECT 1; \\d it's\n -- a comment\n \\timing\nSELECT 2;";
        let expected = [
            (Command("\\x on"), 1),
            (Statement("SELECT 1"), 2),
            (Command("\\d it's"), 2),
            (Command("\\timing"), 4),
            (Statement("SELECT 2"), 5),
        ];
        assert_eq!(inputs(text), expected);
        let within = cut("SELECT 1\n\\x");
        assert_eq!((within.inputs.len(), within.rest, within.end), (0, ("SELECT 1\n\\x", 1), End::Open));
    }

    #[test]
    fn the_rest_is_what_has_not_ended() {
        for (text, rest, end) in [
            ("", ("", 1), End::Whole),
            (" \n-- SELECT", ("", 1), End::Whole),
            ("SELECT 1", ("SELECT 1", 1), End::Open),
            ("SELECT 1;\nSELECT 'a;", ("SELECT 'a;", 2), End::Open),
            ("SELECT \"a;", ("SELECT \"a;", 1), End::Open),
            ("SELECT $a$;", ("SELECT $a$;", 1), End::Open),
            ("SELECT 1;/* a;", ("/* a;", 1), End::Open),
            ("SELECT U&'\\zzzz';", ("SELECT U&'\\zzzz';", 1), End::Unreadable),
            ("SELECT /*! 1; */ 2;", ("", 1), End::Whole),
        ] {
            let cut = cut(text);
            assert_eq!((cut.rest, cut.end), (rest, end), "{text}");
        }
    }
}
