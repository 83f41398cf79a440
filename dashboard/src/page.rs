//! What every page has: its frame, the headers that keep others out of it, and how an error looks.

use crate::assets;
use axum::response::{IntoResponse as _, Response};
use edge::{Principal, Problem};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Nothing from elsewhere, nothing in the page itself, nobody around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Where the navigation leads, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Here {
    Overview,
    Reports,
    Providers,
    Tail,
    Letters,
    Sql,
    Catalogue,
    /// A page that the navigation doesn't list.
    Nowhere,
}

impl Here {
    const LISTED: [(Self, &'static str, &'static str); 7] = [
        (Self::Overview, "/", "Overview"),
        (Self::Reports, "/reports", "Reports"),
        (Self::Providers, "/providers", "Providers"),
        (Self::Tail, "/tail", "Live tail"),
        (Self::Letters, "/dead-letters", "Dead letters"),
        (Self::Sql, "/sql", "SQL"),
        (Self::Catalogue, "/catalogue", "Catalogue"),
    ];
}

/// Who looks, as far as the frame shows it.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) principal: Principal,
    /// Whether there is a session to end.
    pub(crate) may_leave: bool,
}

/// A whole page.
pub(crate) fn page(status: StatusCode, here: Here, title: &str, who: Option<&Who>, main: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · killfeed" }
                link rel="stylesheet" href=(assets::STYLE.path());
                link rel="icon" type="image/svg+xml" href=(assets::ICON.path());
                script type="module" src=(assets::SCRIPT.path()) {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/" aria-label="killfeed, overview" {
                        (mark()) span { "killfeed" }
                    }
                    @if who.is_some() {
                        nav aria-label="Main" {
                            ul {
                                @for (place, path, name) in Here::LISTED {
                                    li { a href=(path) aria-current=[(place == here).then_some("page")] { (name) } }
                                }
                            }
                        }
                    }
                    @if let Some(who) = who {
                        div.who {
                            span title="The API key that you look with" { (who.principal.name) }
                            @if who.may_leave {
                                form method="post" action="/logout" { button.quiet type="submit" { "Sign out" } }
                            }
                        }
                    }
                }
                main #main tabindex="-1" { (main) }
            }
        }
    };
    let mut response = (status, page.into_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    guard(headers);
    response
}

/// The headers of everything that is answered here.
pub(crate) fn guard(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Not `no-referrer`: browsers would then send forms of our own pages with the origin `null`.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}

fn mark() -> Markup {
    PreEscaped(
        r#"<svg class="mark" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><rect class="m1" x="2" y="4" width="20" height="4" rx="2"/><rect class="m2" x="2" y="10" width="14" height="4" rx="2"/><rect class="m3" x="2" y="16" width="8" height="4" rx="2"/></svg>"#
            .to_owned(),
    )
}

/// The head of a page's content.
pub(crate) fn heading(title: &str, lead: &str) -> Markup {
    html! {
        div.heading {
            h1 { (title) }
            @if !lead.is_empty() { p.lead { (lead) } }
        }
    }
}

/// An error as a part of a page.
pub(crate) fn alert(problem: &Problem) -> Markup {
    html! {
        div.alert role="alert" {
            p { strong { (problem.title) } }
            p { (problem.detail) }
        }
    }
}

/// Nothing to show yet, and why.
pub(crate) fn empty(title: &str, why: &str) -> Markup {
    html! { div.empty { p { strong { (title) } } p { (why) } } }
}

/// A page that is an error and no more.
pub(crate) fn failed(problem: &Problem, here: Here, who: Option<&Who>) -> Response {
    let main = html! {
        (heading(&problem.title, ""))
        (alert(problem))
        p { a href="/" { "To the overview" } }
    };
    let mut response = page(problem.status, here, &problem.title, who, &main);
    if let Some(wait) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}
