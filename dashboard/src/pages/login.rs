//! The form for the key.

use crate::app::{App, form};
use crate::form::Fields;
use crate::page::{self, Here};
use crate::session::{LASTS, check_origin, path_of_ours, redirect};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use edge::Problem;
use http::{HeaderMap, StatusCode, Uri, header};
use maud::html;

/// Asks for a key; `next` says where to go with it.
fn asked(app: &App, next: &str, problem: Option<&Problem>) -> Response {
    if !app.sessions.are_needed() {
        return redirect("/");
    }
    let status = problem.map_or(StatusCode::OK, |problem| problem.status);
    let hours = LASTS.as_secs() / 3_600;
    let main = html! {
        div.login {
            h1 { "Sign in" }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(path_of_ours(next));
                div.field {
                    label for="key" { "API key" }
                    input #key type="password" name="key" autocomplete="current-password" required autofocus
                        spellcheck="false" aria-describedby=[problem.map(|_| "key-error")]
                        aria-invalid=[problem.map(|_| "true")];
                    @if let Some(problem) = problem { p.error #key-error role="alert" { (problem.detail) } }
                }
                button.primary type="submit" { "Sign in" }
            }
            p.note {
                "A key with the scope " code { "query" } "; " code { "killfeed key new" } " makes one. It counts for "
                (hours) " hours in this browser, which keeps a random word in its place."
            }
        }
    };
    page::page(status, Here::Nowhere, "Sign in", None, &main)
}

/// GET.
pub(crate) async fn page(State(app): State<App>, uri: Uri) -> Response {
    let fields = Fields::read(uri.query().unwrap_or_default().as_bytes());
    match fields.and_then(|fields| fields.check(&["next"]).map(|()| fields)) {
        Ok(fields) => asked(&app, fields.get("next"), None),
        Err(problem) => page::failed(&problem, Here::Nowhere, None),
    }
}

/// POST.
pub(crate) async fn sign_in(State(app): State<App>, headers: HeaderMap, request: Request) -> Response {
    let fields = match form(request).await {
        Ok(fields) => fields,
        Err(problem) => return asked(&app, "/", Some(&problem)),
    };
    let signed = check_origin(&headers).and_then(|()| app.sessions.sign_in(fields.get("key"), &headers));
    match signed {
        Ok(cookie) => {
            let mut response = redirect(path_of_ours(fields.get("next")));
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Err(problem) => asked(&app, fields.get("next"), Some(&problem)),
    }
}

/// POST.
pub(crate) async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Response {
    match check_origin(&headers).and_then(|()| app.sessions.sign_out(&headers)) {
        Ok(cookie) => {
            let mut response = redirect("/login");
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Err(problem) => problem.into_response(),
    }
}
