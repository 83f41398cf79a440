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

/// As a client sees it: what is for the operator alone stays in the log.
pub(crate) fn of(error: &Error) -> PgWireError {
    if matches!(error, Error::Store(_) | Error::Internal(_)) {
        tracing::error!(%error, "a query failed");
    }
    said(code(error), &error.to_problem().detail)
}

/// An error with a code of our choice.
pub(crate) fn said(code: &str, text: &str) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".into(), code.into(), text.into())))
}
