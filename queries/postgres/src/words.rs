//! Errors by the codes that drivers know.

use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use queries::Error;

/// The code of PostgreSQL for what went wrong.
fn code(error: &Error) -> &'static str {
    match error {
        Error::NoTable { .. } => "42P01",
        Error::Time(_) | Error::Cancelled => "57014",
        Error::Rows(_) | Error::Pages(_) => "54000",
        Error::Memory { .. } | Error::NoRoom { .. } => "53200",
        Error::Busy { .. } | Error::Open { .. } => "53300",
        Error::Store(_) | Error::Log(_) => "58030",
        Error::Internal(_) => "XX000",
        Error::Refused(text) if text.contains("is not allowed") => "25006",
        Error::Refused(_) | Error::NoReport(_) | Error::Taken(_) => "42601",
    }
}

/// As a client sees it: what is for the operator alone stays in the log. `sql` is the client's text, where the error
/// is about that: clients mark the place in it.
pub(crate) fn of(error: &Error, sql: Option<&str>) -> PgWireError {
    if matches!(error, Error::Store(_) | Error::Internal(_)) {
        tracing::error!(%error, "a query failed");
    }
    let text = error.to_problem().detail;
    let mut info = ErrorInfo::new("ERROR".into(), code(error).into(), text.clone());
    info.position = sql.and_then(|sql| position(sql, &text)).map(|position| position.to_string());
    PgWireError::UserError(Box::new(info))
}

/// The place in `sql` that an error names, as the number of a character from 1 on.
fn position(sql: &str, error: &str) -> Option<usize> {
    if error.contains("the statement ends where") {
        return Some(sql.trim_end_matches([';', ' ', '\n', '\t', '\r']).chars().count() + 1);
    }
    let (line, rest) = error.split_once("line ")?.1.split_once(", column ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (line, column): (usize, usize) = (line.parse().ok()?, rest[..digits].parse().ok()?);
    let before: usize = sql.split('\n').take(line.checked_sub(1)?).map(|line| line.chars().count() + 1).sum();
    let length = sql.split('\n').nth(line - 1)?.chars().count();
    (1..=length + 1).contains(&column).then_some(before + column)
}

/// An error with a code of our choice.
pub(crate) fn said(code: &str, text: &str) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), code.into(), text.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_number_of_a_character() {
        for (sql, error, place) in [
            ("selec 1", "syntax error at line 1, column 1: expected an SQL statement, found selec", Some(1)),
            ("SELECT 'ä',\n nope", "line 2, column 2: no column \"nope\"", Some(14)),
            ("SELECT 1", "division by zero", None),
            ("SELECT 1", "line 7, column 1: far away", None),
            ("SELECT 1", "line 1, column 99: far away", None),
            ("SELECT 1", "line 0, column 0: nowhere", None),
            ("SELECT ( ;\n", "syntax error: the statement ends where an expression is expected", Some(9)),
        ] {
            assert_eq!(position(sql, error), place, "{sql}: {error}");
        }
    }
}
