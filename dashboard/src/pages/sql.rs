//! A question in SQL.

use crate::app::{Look, form};
use crate::data::{Ask, Table};
use crate::form::address;
use crate::page::{Here, alert, heading};
use crate::pages::reports::file;
use crate::show::{self, size, whole};
use axum::extract::{Path, Request};
use axum::response::Response;
use edge::Problem;
use http::StatusCode;
use maud::{Markup, html};
use std::time::{Duration, Instant};

/// Rows that the page shows.
const ROWS_MAX: usize = 1_000;
/// What stands in the field at first.
const FIRST: &str = "SELECT * FROM killfeed_tables ORDER BY rows DESC NULLS LAST";
/// Bytes of a statement that an address can bear.
const ADDRESS_MAX: usize = 1_500;

/// GET `/sql`: `q` fills the field, and is not run: an address alone costs nothing.
pub(crate) async fn page(look: Look) -> Response {
    let asked = look.fields.get("q").to_owned();
    let asked = if asked.is_empty() { FIRST.to_owned() } else { asked };
    look.page(Here::Sql, "SQL", &main(&look, &asked, None))
}

/// POST `/sql`.
pub(crate) async fn run(look: Look, request: Request) -> Response {
    let fields = match form(request).await {
        Ok(fields) => fields,
        Err(problem) => return look.failed(Here::Sql, &problem),
    };
    let sql = fields.get("q");
    let started = Instant::now();
    let answer = look.app.source.query(sql, &[], &look.who.principal, ROWS_MAX).await;
    let status = answer.as_ref().err().map_or(StatusCode::OK, |problem| problem.status);
    let main = main(&look, sql, Some((&answer, started.elapsed())));
    look.page_of(status, Here::Sql, "SQL", &main)
}

/// POST `/sql/download/{format}`.
pub(crate) async fn download(Path(format): Path<String>, look: Look, request: Request) -> Response {
    let answered = async {
        let fields = form(request).await?;
        file(&look, &Ask::Sql(fields.get("q").to_owned()), &format, "answer").await
    };
    answered.await.unwrap_or_else(|problem| look.failed(Here::Sql, &problem))
}

fn main(look: &Look, sql: &str, answer: Option<(&Result<Table, Problem>, Duration)>) -> Markup {
    let limits = look.app.source.limits();
    let problem = answer.and_then(|(answer, _)| answer.as_ref().err());
    html! {
        (heading("SQL", ""))
        form.sql method="post" action="/sql" {
            label for="q" { "Statement" }
            textarea #q name="q" rows="8" spellcheck="false" autocapitalize="off" autocomplete="off" required
                data-submit="ctrl-enter" aria-describedby={ "limits" @if problem.is_some() { " sql-error" } }
                aria-invalid=[problem.map(|_| "true")] { "\n" (sql) }
            p.note #limits {
                "One SELECT of at most " (size(limits.sql_bytes as u64)) ", "
                (limits.time.as_secs()) " s and " (whole(limits.rows as u64)) " rows; " (whole(ROWS_MAX as u64))
                " of them are shown here. Nothing can be changed. " span.keys { "Ctrl+Enter runs it." }
            }
            div.actions {
                button.primary type="submit" { "Run" }
                span.spread {}
                span { "Download" }
                @for format in look.app.source.formats() {
                    button type="submit" formaction={ "/sql/download/" (format.name) } { (format.label) }
                }
            }
        }
        @match answer {
            None => {},
            Some((Err(problem), _)) => div #sql-error { (alert(problem)) (place(sql, &problem.detail)) },
            Some((Ok(table), took)) => {
                p.note role="status" { "Answered in " (show::ago(took.as_secs_f64())) }
                (show::table("Answer", table))
            }
        }
        @if answer.is_some() && sql.len() <= ADDRESS_MAX {
            p.note { a href=(address("/sql", [("q", sql)])) { "Address of this statement" } ", to pass on: it is filled in, not run." }
        }
    }
}

/// The line that an error is about, with a mark under the column.
fn place(sql: &str, detail: &str) -> Markup {
    let Some((line, column)) = position(detail) else { return html! {} };
    let Some(text) = line.checked_sub(1).and_then(|line| sql.lines().nth(line)) else { return html! {} };
    let before: String = text.chars().take(column.saturating_sub(1)).collect();
    let blank: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    html! { pre.place aria-label={ "Line " (line) ", column " (column) } tabindex="0" { (text) "\n" (blank) "▲" } }
}

/// `line L, column C` as errors say it.
fn position(detail: &str) -> Option<(usize, usize)> {
    let (_, rest) = detail.split_once("line ")?;
    let (line, rest) = rest.split_once(", column ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((line.parse().ok()?, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_under_its_place() {
        assert_eq!(position("line 2, column 8: no column x"), Some((2, 8)));
        assert_eq!(position("found: FORM at line 1, column 10"), Some((1, 10)));
        assert_eq!(position("a line of text, column less"), None);
        let shown = place("SELECT 1,\n\t<x> FROM t", "line 2, column 2: no column x").into_string();
        assert!(shown.contains(">\t&lt;x&gt; FROM t\n\t▲</pre>"), "{shown}");
        assert_eq!(place("a", "line 9, column 1: x").into_string(), "");
    }
}
