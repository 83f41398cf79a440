//! Labelled messages: a CSV file with a header, of which every bad row is named.
//!
//! | column | meaning |
//! |---|---|
//! | `text` | the message |
//! | `label` | `none` (or `0`, or nothing), `toxic` (or `1`), or how: `insult`, `hate`, `threat`, `sexual`, `spam`, several with `;` between |
//! | `group` | optional: what belongs together, such as the match; training never tunes on what it learnt from the same group |
//!
//! Other columns are passed over.

mod quotes;

use self::quotes::Watched;
use crate::verdict::Label;
use std::io::Read;

/// What people say of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// Whether it is toxic.
    pub toxic: bool,
    /// In which ways; none if nobody said: a message may be toxic, and how is not known.
    pub labels: Option<Vec<Label>>,
}

/// A labelled message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The line of the file on which its row begins, from 1.
    pub line: u64,
    /// What was said.
    pub text: String,
    /// What people say of it.
    pub truth: Truth,
    /// What it belongs to, if the file says so.
    pub group: Option<String>,
}

/// A row that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The line of the file on which it begins, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: String,
}

/// All of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The messages, in the order of the file.
    pub messages: Vec<Message>,
    /// The first [`Labels::NAMED`] rows that could not be used.
    pub bad: Vec<BadRow>,
    /// How many could not.
    pub bad_rows: u64,
}

/// A file that is no file of labels.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// The header can't be read.
    #[error("cannot read the header: {0}")]
    Header(csv::Error),
    /// A quote is never closed: all behind it would be one field.
    #[error("line {line}: the quote that opens here is never closed, and takes all behind it with it")]
    Quote {
        /// The line on which it opens, from 1.
        line: u64,
    },
    /// A column is missing.
    #[error("the header has no column {0}: it needs text and label")]
    Column(&'static str),
    /// Reading failed half way.
    #[error("cannot read on after line {line}: {source}")]
    Read {
        /// The last line that was read.
        line: u64,
        /// Why.
        source: csv::Error,
    },
}

impl Labels {
    /// Bad rows that are named at most; the others are counted.
    pub const NAMED: usize = 100;

    /// Reads a file. A bad row is named and counted, and the next one read.
    ///
    /// # Errors
    /// The header is none, a quote is never closed, or reading fails.
    pub fn read(from: impl Read) -> Result<Self, LabelsError> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(Watched::new(from));
        let header = reader.byte_headers().map_err(LabelsError::Header)?.clone();
        if let Some(line) = reader.get_ref().unclosed() {
            return Err(LabelsError::Quote { line });
        }
        let column = |name: &str| {
            header.iter().position(|column| {
                column.trim_ascii().strip_prefix(b"\xef\xbb\xbf").unwrap_or(column.trim_ascii()) == name.as_bytes()
            })
        };
        let text = column("text").ok_or(LabelsError::Column("text"))?;
        let label = column("label").ok_or(LabelsError::Column("label"))?;
        let group = column("group");
        let mut labels = Self::default();
        let mut row = csv::ByteRecord::new();
        loop {
            let line = reader.position().line();
            match reader.read_byte_record(&mut row) {
                Ok(true) => {}
                Ok(false) => return Ok(labels),
                Err(source) => return Err(LabelsError::Read { line, source }),
            }
            // The library ends an open quote with the file, and says nothing.
            if let Some(line) = reader.get_ref().unclosed() {
                return Err(LabelsError::Quote { line });
            }
            let line = row.position().map_or(line, csv::Position::line);
            match message(&row, header.len(), (text, label, group)) {
                Ok((text, truth, group)) => labels.messages.push(Message { line, text, truth, group }),
                Err(fault) => labels.refuse(line, fault),
            }
        }
    }

    fn refuse(&mut self, line: u64, fault: String) {
        self.bad_rows += 1;
        if self.bad.len() < Self::NAMED {
            self.bad.push(BadRow { line, fault });
        }
    }
}

type Row = (String, Truth, Option<String>);

fn message(
    row: &csv::ByteRecord,
    columns: usize,
    (text, label, group): (usize, usize, Option<usize>),
) -> Result<Row, String> {
    if row.len() != columns {
        return Err(format!("{} columns, the header has {columns}", row.len()));
    }
    let field =
        |place: usize| std::str::from_utf8(row.get(place).unwrap_or_default()).map_err(|_| "no UTF-8".to_owned());
    let message = field(text)?;
    if message.trim().is_empty() {
        return Err("the text is empty".into());
    }
    let truth = truth(field(label)?.trim())?;
    let group = group.map(field).transpose()?.filter(|group| !group.is_empty()).map(str::to_owned);
    Ok((message.to_owned(), truth, group))
}

fn truth(text: &str) -> Result<Truth, String> {
    match text {
        "" | "none" | "0" => return Ok(Truth { toxic: false, labels: Some(Vec::new()) }),
        "toxic" | "1" => return Ok(Truth { toxic: true, labels: None }),
        _ => {}
    }
    let mut labels = Vec::new();
    for name in text.split(';').map(str::trim) {
        let label = Label::from_name(name).ok_or_else(|| {
            let name: String = name.chars().take(40).collect();
            format!("{name:?} is no label: none, toxic, insult, hate, threat, sexual, spam, several with ;")
        })?;
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(Truth { toxic: true, labels: Some(labels) })
}

#[cfg(test)]
mod tests {
    use super::{Label, Labels, LabelsError};

    #[test]
    fn rows_are_messages_and_bad_ones_are_named_by_line() {
        let file = "group,text,label,note\nm1,\"gg,\nwp\",none,\nm1,you oaf,insult;hate,x\n,oaf,toxic,\nm2,hm,rude,\nm2,,none,\nm2,short,1\nm3,ok,0,\n";
        let labels = Labels::read(file.as_bytes()).unwrap();
        let texts: Vec<(u64, &str, bool)> =
            labels.messages.iter().map(|one| (one.line, one.text.as_str(), one.truth.toxic)).collect();
        assert_eq!(texts, [(2, "gg,\nwp", false), (4, "you oaf", true), (5, "oaf", true), (9, "ok", false)]);
        assert_eq!(labels.messages[1].truth.labels, Some(vec![Label::Insult, Label::Hate]));
        assert_eq!((labels.messages[2].truth.labels.clone(), labels.messages[2].group.clone()), (None, None));
        assert_eq!(labels.bad_rows, 3);
        let bad: Vec<(u64, &str)> = labels.bad.iter().map(|bad| (bad.line, bad.fault.as_str())).collect();
        assert_eq!(bad[0].0, 6);
        assert!(bad[0].1.starts_with("\"rude\" is no label"), "{bad:?}");
        assert_eq!(bad[1..], [(7, "the text is empty"), (8, "3 columns, the header has 4")]);
    }

    #[test]
    fn bytes_that_are_no_text_are_a_bad_row() {
        let labels = Labels::read(&b"text,label\n\xff\xfe,none\nok,none\n"[..]).unwrap();
        assert_eq!((labels.messages.len(), labels.bad_rows), (1, 1));
        assert_eq!(labels.bad[0].fault, "no UTF-8");
    }

    #[test]
    fn a_quote_that_is_never_closed_is_named_by_its_line() {
        for (file, line) in [
            ("text,label\nok,none\n\"oops,toxic\nlast,none\n", 3),
            // It opens within a row that began before it.
            ("text,label,note\n\"two\nlines\",none,\"oops\nlast,none,\n", 3),
            ("text,label\n\"\"\"oops\"\",none\n", 2),
            ("text,\"label\nok,none\n", 1),
            ("text,label\nok,\"", 2),
        ] {
            let refused = Labels::read(file.as_bytes()).unwrap_err();
            assert!(matches!(refused, LabelsError::Quote { line: found } if found == line), "{file}: {refused}");
            assert!(refused.to_string().starts_with(&format!("line {line}: the quote that opens here")), "{refused}");
        }
        // A quote within a field is a letter like others, and the file may end behind one that closes.
        for file in ["text,label\n5\" long,none\n", "text,label\na,\"none\"", "\u{feff}\"text\",label\r\na,none\r\n"] {
            assert_eq!(Labels::read(file.as_bytes()).unwrap().messages.len(), 1, "{file}");
        }
    }

    #[test]
    fn a_file_without_the_columns_is_refused() {
        for file in ["", "text,toxic\na,1\n", "label\n1\n"] {
            assert!(matches!(Labels::read(file.as_bytes()), Err(LabelsError::Column(_))), "{file}");
        }
    }

    #[test]
    fn bad_rows_past_the_limit_are_counted() {
        let mut file = String::from("text,label\n");
        for _ in 0..250 {
            file.push_str("a,b\n");
        }
        let labels = Labels::read(file.as_bytes()).unwrap();
        assert_eq!((labels.bad.len(), labels.bad_rows), (Labels::NAMED, 250));
    }
}
