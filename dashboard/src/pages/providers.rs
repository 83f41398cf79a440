//! The provider leaderboard, as a player would like it: with which provider the connection is best here.

use crate::app::Look;
use crate::data::Table;
use crate::form::{Fields, SHOWN_MAX, address};
use crate::page::{Here, alert, empty, heading};
use crate::show::{cut, fixed, whole};
use axum::response::Response;
use edge::Problem;
use http::StatusCode;
use maud::{Markup, html};

/// The report that it shows.
const REPORT: &str = "provider_leaderboard";
/// Providers that it shows.
const ROWS_MAX: usize = 200;
/// Cities to choose from.
const CITIES_MAX: usize = 500;
const CITIES: &str = "SELECT geo_city AS city, count(DISTINCT player_id) AS players FROM network_quality \
                      WHERE geo_city IS NOT NULL AND geo_isp IS NOT NULL GROUP BY geo_city ORDER BY geo_city";
/// The grades with their columns, the best first.
const GRADES: [(&str, &str); 4] = [("great", "Great"), ("good", "Good"), ("ok", "OK"), ("poor", "Poor")];

const TITLE: &str = "Providers";
const LEAD: &str = "Which internet provider gives players the best connection? The score weighs every measured \
                    connection: great counts 100, good 75, OK 40, poor 0.";

/// A provider with its figures: a score of 0 to 100, else shares of 1.
#[derive(Debug, Clone, PartialEq)]
struct Provider {
    name: String,
    score: f64,
    share: f64,
    players: Option<f64>,
    grades: [f64; 4],
}

/// What the address asks for.
struct Asked<'a> {
    city: &'a str,
    by_share: bool,
    compared: [&'a str; 2],
}

impl<'a> Asked<'a> {
    fn of(fields: &'a Fields) -> Result<Self, Problem> {
        let by_share = match fields.get("sort") {
            "" | "score" => false,
            "share" => true,
            other => {
                let shown = cut(other, SHOWN_MAX);
                return Err(Problem::bad_request(format!("sort must be score or share, not {shown:?}")));
            }
        };
        Ok(Self { city: fields.get("city"), by_share, compared: [fields.get("a"), fields.get("b")] })
    }
}

/// GET `/providers`.
pub(crate) async fn page(look: Look) -> Response {
    let asked = match Asked::of(&look.fields) {
        Ok(asked) => asked,
        Err(problem) => {
            let main = html! {
                (heading(TITLE, LEAD))
                (alert(&problem))
                p { a href="/providers" { "All providers, by score" } }
            };
            return look.page_of(problem.status, Here::Providers, TITLE, &main);
        }
    };
    let mut given = vec![("sort".to_owned(), if asked.by_share { "share" } else { "score" }.to_owned())];
    if !asked.city.is_empty() {
        given.push(("city".to_owned(), asked.city.to_owned()));
    }
    let source = &look.app.source;
    let (answer, cities) = tokio::join!(
        source.report(REPORT, &given, &look.who.principal, ROWS_MAX),
        source.query(CITIES, &[], &look.who.principal, CITIES_MAX),
    );
    let status = answer.as_ref().err().map_or(StatusCode::OK, |problem| match problem.status {
        StatusCode::NOT_FOUND => StatusCode::OK,
        status => status,
    });
    let main = html! {
        (heading(TITLE, LEAD))
        @match &answer {
            Err(problem) if problem.status == StatusCode::NOT_FOUND =>
                (empty("No connection has been measured yet", &problem.detail)),
            Err(problem) => (alert(problem)),
            Ok(answer) => (board(&asked, &providers(answer), &cities)),
        }
    };
    look.page_of(status, Here::Providers, TITLE, &main)
}

fn providers(answer: &Table) -> Vec<Provider> {
    let number = |row: usize, column: &str| answer.rows[row][answer.place(column)?].number();
    let provider = |row: usize| {
        Some(Provider {
            name: answer.rows[row][answer.place("provider")?].text()?.to_owned(),
            score: number(row, "score")?,
            share: number(row, "share")?,
            players: number(row, "players"),
            grades: GRADES.map(|(column, _)| number(row, column).unwrap_or_default()),
        })
    };
    (0..answer.rows.len()).filter_map(provider).collect()
}

fn board(asked: &Asked<'_>, providers: &[Provider], cities: &Result<Table, Problem>) -> Markup {
    html! {
        (form(asked, providers, cities))
        (comparison(asked, providers))
        @if providers.is_empty() {
            (empty("No provider here", "Nobody has measured a connection in this city yet."))
        } @else {
            (legend())
            div.scroll role="region" aria-label="Leaderboard" tabindex="0" {
                table.board {
                    caption.hidden {
                        "Providers " @if asked.city.is_empty() { "in all cities" } @else { "in " (asked.city) }
                        @if asked.by_share { ", by share of players" } @else { ", by score" }
                    }
                    thead { tr {
                        th.num scope="col" { "#" }
                        th scope="col" { "Provider" }
                        th.num scope="col" aria-sort=[(!asked.by_share).then_some("descending")] { (sorted(asked, false)) }
                        th.wide scope="col" { "Connections" }
                        th.num scope="col" aria-sort=[asked.by_share.then_some("descending")] { (sorted(asked, true)) }
                        @for (_, name) in GRADES { th.num scope="col" { (name) } }
                    } }
                    tbody {
                        @for (place, provider) in providers.iter().enumerate() { (row(place + 1, provider)) }
                    }
                }
            }
        }
        p.note { "The same as a report, with downloads: " a href={ "/reports/" (REPORT) } { (REPORT) } }
    }
}

fn row(place: usize, provider: &Provider) -> Markup {
    html! {
        tr {
            td.num.rank { (place) }
            th scope="row" { (provider.name) }
            td.num.score { (fixed(provider.score, 1)) }
            td.wide { (stack(provider)) }
            td.num { (percent(provider.share)) }
            @for grade in provider.grades { td.num { (percent(grade)) } }
        }
    }
}

/// A heading that sorts.
fn sorted(asked: &Asked<'_>, by_share: bool) -> Markup {
    let (sort, name) = if by_share { ("share", "Players") } else { ("score", "Score") };
    let [a, b] = asked.compared;
    let fields = [("city", asked.city), ("sort", sort), ("a", a), ("b", b)];
    let to = address("/providers", fields.into_iter().filter(|(_, value)| !value.is_empty()));
    html! { a href=(to) { (name) @if asked.by_share == by_share { span aria-hidden="true" { " ↓" } } } }
}

fn percent(share: f64) -> String {
    format!("{} %", fixed(100.0 * share, 2))
}

/// The grades as parts of a bar; the figures stand beside it.
fn stack(provider: &Provider) -> Markup {
    let mut from = 0.0;
    let parts = GRADES.iter().zip(provider.grades).map(|((class, _), share)| {
        let part = (*class, from, 100.0 * share);
        from += 100.0 * share;
        part
    });
    html! {
        svg.stack viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            @for (class, from, width) in parts {
                rect class=(class) x=(format!("{from:.2}")) y="0" width=(format!("{width:.2}")) height="10" {}
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        ul.legend aria-label="Grades" {
            @for (class, name) in GRADES { li { span class={ "swatch " (class) } {} (name) } }
        }
    }
}

fn form(asked: &Asked<'_>, providers: &[Provider], cities: &Result<Table, Problem>) -> Markup {
    let cities: Vec<&str> = match cities {
        Ok(cities) => cities.rows.iter().filter_map(|row| row.first()?.text()).collect(),
        Err(_) => Vec::new(),
    };
    let is_listed = asked.city.is_empty() || cities.contains(&asked.city);
    let choice = |name: &'static str, label: &'static str, chosen: &str| {
        html! {
            div.field {
                label for=(name) { (label) }
                select id=(name) name=(name) {
                    option value="" selected[chosen.is_empty()] { "nobody" }
                    @for provider in providers {
                        option value=(provider.name) selected[provider.name == chosen] { (provider.name) }
                    }
                }
            }
        }
    };
    html! {
        form.params method="get" action="/providers" {
            div.field {
                label for="city" { "City" }
                select #city name="city" {
                    option value="" selected[asked.city.is_empty()] { "All cities" }
                    @if !is_listed { option value=(asked.city) selected { (asked.city) } }
                    @for city in cities { option value=(city) selected[city == asked.city] { (city) } }
                }
            }
            div.field {
                label for="sort" { "Order by" }
                select #sort name="sort" {
                    option value="score" selected[!asked.by_share] { "score" }
                    option value="share" selected[asked.by_share] { "share of players" }
                }
            }
            (choice("a", "Compare", asked.compared[0]))
            (choice("b", "with", asked.compared[1]))
            button.primary type="submit" { "Show" }
        }
    }
}

fn comparison(asked: &Asked<'_>, providers: &[Provider]) -> Markup {
    let find = |name: &str| providers.iter().find(|provider| provider.name == name);
    let [a, b] = asked.compared;
    let (Some(left), Some(right)) = (find(a), find(b)) else {
        let given = asked.compared.into_iter().filter(|name| !name.is_empty());
        let absent: Vec<&str> = given.filter(|name| find(name).is_none()).collect();
        return html! { @for name in absent { p.warning role="note" { (name) " has no measured connection here." } } };
    };
    let line = |label: &str, a: f64, b: f64, less_is_better: bool, text: &dyn Fn(f64) -> String| {
        let is_better = |this: f64, other: f64| if less_is_better { this < other } else { this > other };
        html! {
            tr {
                th scope="row" { (label) }
                td.num .better[is_better(a, b)] { (text(a)) }
                td.num .better[is_better(b, a)] { (text(b)) }
            }
        }
    };
    html! {
        section.card.compare aria-labelledby="compare-title" {
            h2 #compare-title { (left.name) " and " (right.name) }
            table {
                caption.hidden { "Two providers compared; the better figure stands bold" }
                thead { tr { td {} th.num scope="col" { (left.name) } th.num scope="col" { (right.name) } } }
                tbody {
                    (line("Score", left.score, right.score, false, &|score| fixed(score, 1)))
                    @for (place, (_, name)) in GRADES.iter().enumerate() {
                        (line(name, left.grades[place], right.grades[place], place >= 2, &percent))
                    }
                    tr {
                        th scope="row" { "Share of players" }
                        td.num { (percent(left.share)) } td.num { (percent(right.share)) }
                    }
                    @if let (Some(a), Some(b)) = (left.players, right.players) {
                        tr { th scope="row" { "Players" } td.num { (count(a)) } td.num { (count(b)) } }
                    }
                    tr { th scope="row" { "Connections" } td { (stack(left)) } td { (stack(right)) } }
                }
            }
        }
    }
}

fn count(players: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    whole(players.max(0.0) as u64)
}
