//! `/v1/queries`: what runs, how it is ended, and answers page by page.
//!
//! An asker sees and ends what was asked with their own key; a key with scope `admin` all. Pages are for nobody but the
//! asker, since they show what that key may see.

use crate::format::Format;
use crate::http::{Answered, Shared, asked_of, document, id_of, viewer};
use crate::paging::Kept;
use crate::running::Key;
use crate::{Engine, Question};
use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Json};
use edge::{Problem, Scope, body};
use std::sync::Arc;

/// The parameter that asks for pages of so many rows.
pub(crate) const PAGE_ROWS: &str = "page_rows";

/// What it says, if it is there.
pub(crate) fn page_rows(engine: &Engine, given: &[(String, String)]) -> Result<Option<usize>, Problem> {
    let Some((_, rows)) = given.iter().find(|(name, _)| name == PAGE_ROWS) else { return Ok(None) };
    let limit = engine.config().rows_max;
    let number = rows.parse().ok().filter(|rows| (1..=limit).contains(rows));
    let number = number.ok_or_else(|| Problem::bad_request(format!("{PAGE_ROWS} must be 1 to {limit}, not {rows:?}")));
    number.map(Some)
}

/// Answers the first page, and keeps the others if there are any.
pub(crate) async fn first_page(
    engine: &Engine,
    headers: &HeaderMap,
    format: Format,
    page_rows: usize,
    question: Question,
) -> Answered {
    let problem = |error: crate::Error| error.to_problem();
    let name = question.viewer.name.clone();
    engine.open().check(&name, id_of(headers)?.as_deref()).map_err(problem)?;
    let answer = asked_of(engine, headers, question).await?;
    let key = (name, answer.id());
    let kept = Arc::new(engine.open().take(answer, format, page_rows).await.map_err(problem)?);
    let first = cut(&key, &kept, 1)?;
    if kept.pages() > 1 {
        engine.open().keep(key, kept).map_err(problem)?;
    }
    Ok(first)
}

/// A page as an answer; its links lead to the first one and to the next.
fn cut((_, id): &Key, kept: &Kept, number: usize) -> Answered {
    let pages = kept.pages();
    let page = kept.page(number).map_err(|error| error.to_problem())?;
    let page =
        page.ok_or_else(|| Problem::not_found(format!("no page {number}: the answer has pages 1 to {pages}")))?;
    let mut response = document(Body::from(page), kept.format, id, &kept.warnings, kept.fresh_to_us);
    let link = |number: usize, rel: &str| format!("</v1/queries/{id}/pages/{number}>; rel=\"{rel}\"");
    let mut links = Vec::new();
    if pages > 1 {
        links.push(link(1, "first"));
    }
    if number < pages {
        links.push(link(number + 1, "next"));
    }
    if let Some(links) = Some(links.join(", ")).filter(|links| !links.is_empty())
        && let Ok(links) = HeaderValue::from_str(&links)
    {
        response.headers_mut().insert(header::LINK, links);
    }
    Ok(response)
}

/// A further page, or the same one again.
pub(crate) async fn page(
    State(shared): State<Shared>,
    place: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Answered {
    let viewer = viewer(&shared, &headers)?;
    let (id, number) = body::path(place)?;
    let number = number.parse().map_err(|_| Problem::bad_request(format!("a page has a number, not {number:?}")))?;
    let key = (viewer.name, Arc::from(id));
    let kept = shared.engine.open().find(&key).ok_or_else(|| {
        let idle = shared.engine.config().pages_idle.as_secs_f64();
        let detail =
            format!("no answer {:?} of yours is open; one is closed {idle} s after the last look at it", key.1);
        Problem::new(StatusCode::GONE, detail)
    })?;
    cut(&key, &kept, number)
}

/// Whose queries a request may see and end: `None` for everybody's.
fn whose(shared: &Shared, headers: &HeaderMap) -> Result<Option<Arc<str>>, Problem> {
    let principal = match shared.keys.authorize(headers, Scope::Query) {
        Err(problem) if problem.status == StatusCode::FORBIDDEN => shared.keys.authorize(headers, Scope::Admin),
        other => other,
    }?;
    Ok((!principal.has(Scope::Admin)).then_some(principal.name))
}

/// What runs, and what is open.
pub(crate) async fn list(State(shared): State<Shared>, headers: HeaderMap) -> Answered {
    let only = whose(&shared, &headers)?;
    let mut listed = shared.engine.queries().list(only.as_deref());
    listed.extend(shared.engine.open().list(only.as_deref()));
    Ok(Json(listed).into_response())
}

/// Ends a query, or closes an answer.
pub(crate) async fn end(
    State(shared): State<Shared>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Answered {
    let only = whose(&shared, &headers)?;
    let id = body::path(id)?;
    let ended = shared.engine.queries().cancel(&id, only.as_deref());
    let closed = shared.engine.open().close(&id, only.as_deref());
    if ended || closed {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(Problem::not_found(format!("no query {id:?} of yours runs, and no answer of that id is open")))
}
