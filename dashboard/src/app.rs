//! The routes, and what each of them knows of its request.

use crate::cached::Cached;
use crate::data::{Books, Source, TableInfo};
use crate::form::{FORM_MAX, Fields, address};
use crate::page::{self, Here, Who};
use crate::session::{Sessions, check_origin, redirect};
use crate::{Live, Pulse, assets, pages};
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use edge::{Keys, Problem};
use http::request;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use std::sync::Arc;
use std::time::Duration;

/// How long the books are shown before they are counted anew.
const BOOKS_LAST: Duration = Duration::from_secs(15);
/// The same for rows and newest events of tables.
const TABLES_LAST: Duration = Duration::from_secs(2);

/// What the address of a page may bring, where it is anything. A report's page knows the report's parameters.
const FIELDS: [(&str, &[&str]); 5] = [
    ("/providers", &["city", "sort", "a", "b"]),
    ("/tail", &["type", "text"]),
    ("/tail/stream", &["type", "text"]),
    ("/dead-letters", &["reason", "page"]),
    ("/sql", &["q"]),
];
/// Paths under this one look at their fields themselves.
const OF_REPORTS: &str = "/reports/";

/// What the dashboard is made of.
#[derive(Clone)]
pub struct Parts {
    /// Who answers.
    pub source: Arc<dyn Source>,
    /// Who may look; without keys everyone who reaches the address.
    pub keys: Keys,
    /// The moving figures.
    pub pulse: Pulse,
    /// The live tail.
    pub live: Live,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) sessions: Sessions,
    pub(crate) pulse: Pulse,
    pub(crate) live: Live,
    books: Cached<Books>,
    tables: Cached<Vec<TableInfo>>,
}

impl App {
    /// The books and how old they are.
    pub(crate) async fn books(&self, patience: Duration) -> Result<(Books, Duration), Problem> {
        let source = self.source.clone();
        self.books.get(patience, async move { source.books().await }).await
    }

    /// The catalogue.
    pub(crate) async fn tables(&self, patience: Duration) -> Result<Vec<TableInfo>, Problem> {
        let source = self.source.clone();
        let tables = self.tables.get(patience, async move { source.catalogue().await }).await;
        tables.map(|(tables, _)| tables)
    }
}

/// The pages, from `/` on.
pub fn router(parts: Parts) -> Router {
    let Parts { source, keys, pulse, live } = parts;
    let (books, tables) = (Cached::new(BOOKS_LAST), Cached::new(TABLES_LAST));
    let app = App { source, sessions: Sessions::new(keys), pulse, live, books, tables };
    Router::new()
        .route("/", get(pages::overview::page))
        .route("/overview/figures", get(pages::overview::figures))
        .route("/reports", get(pages::reports::list))
        .route("/reports/{name}", get(pages::reports::page))
        .route("/reports/{name}/download/{format}", get(pages::reports::download))
        .route("/providers", get(pages::providers::page))
        .route("/tail", get(pages::tail::page))
        .route("/tail/stream", get(pages::tail::stream))
        .route("/dead-letters", get(pages::letters::page))
        .route("/sql", get(pages::sql::page).post(pages::sql::run))
        .route("/sql/download/{format}", post(pages::sql::download))
        .route("/catalogue", get(pages::catalogue::list))
        .route("/catalogue/{table}", get(pages::catalogue::page))
        .route("/login", get(pages::login::page).post(pages::login::sign_in))
        .route("/logout", post(pages::login::sign_out))
        .route("/assets/{file}", get(async |uri: Uri| assets::serve(uri.path())))
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .with_state(app)
}

/// A request of somebody who may look.
pub(crate) struct Look {
    pub(crate) app: App,
    pub(crate) who: Who,
    /// Of the address.
    pub(crate) fields: Fields,
}

impl Look {
    /// A page for them.
    pub(crate) fn page(&self, here: Here, title: &str, main: &maud::Markup) -> Response {
        page::page(StatusCode::OK, here, title, Some(&self.who), main)
    }

    /// The same of another status.
    pub(crate) fn page_of(&self, status: StatusCode, here: Here, title: &str, main: &maud::Markup) -> Response {
        page::page(status, here, title, Some(&self.who), main)
    }

    /// An error as a page for them.
    pub(crate) fn failed(&self, here: Here, problem: &Problem) -> Response {
        page::failed(problem, here, Some(&self.who))
    }
}

impl FromRequestParts<App> for Look {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut request::Parts, app: &App) -> Result<Self, Response> {
        let wants_page = wants_page(&parts.headers);
        let looked = app.sessions.who(&parts.headers).and_then(|principal| {
            if parts.method != Method::GET {
                check_origin(&parts.headers)?;
            }
            Ok((principal, Fields::read(parts.uri.query().unwrap_or_default().as_bytes())?))
        });
        let (principal, fields) = looked.map_err(|problem| match problem.status {
            StatusCode::UNAUTHORIZED if wants_page && parts.method == Method::GET => {
                let next = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                redirect(&if next == "/" { "/login".to_owned() } else { address("/login", [("next", next)]) })
            }
            _ if wants_page => page::failed(&problem, Here::Nowhere, None),
            _ => problem.into_response(),
        })?;
        let may_leave = app.sessions.are_needed() && parts.headers.contains_key(header::COOKIE);
        let look = Self { app: app.clone(), who: Who { principal, may_leave }, fields };
        let path = parts.uri.path();
        if path.starts_with(OF_REPORTS) {
            return Ok(look);
        }
        let known = FIELDS.iter().find(|(of, _)| *of == path).map_or(&[] as &[&str], |(_, known)| known);
        match look.fields.check(known) {
            Ok(()) => Ok(look),
            Err(problem) if wants_page => Err(look.failed(Here::Nowhere, &problem)),
            Err(problem) => Err(problem.into_response()),
        }
    }
}

/// Whether a browser asks for a page, and not a script or a program for an answer.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|text| text.contains("text/html"))
}

/// The fields of a form.
pub(crate) async fn form(request: Request) -> Result<Fields, Problem> {
    let body = axum::body::to_bytes(request.into_body(), FORM_MAX).await;
    let body =
        body.map_err(|_| Problem::too_large(format!("the form is longer than {FORM_MAX} bytes, or broke off")))?;
    Fields::read(&body)
}
