//! The reports: a page for each, with its parameters in the address, so that a view can be passed on.

use crate::app::Look;
use crate::data::{Ask, Input, Param, Report};
use crate::form::{Fields, address, segment};
use crate::page::{Here, alert, empty, heading};
use crate::show;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use edge::Problem;
use http::{HeaderValue, StatusCode, header};
use maud::{Markup, PreEscaped, html};
use std::collections::BTreeMap;

/// Rows that a page shows.
const ROWS_MAX: usize = 500;

/// GET `/reports`.
pub(crate) async fn list(look: Look) -> Response {
    let main = html! {
        (heading("Reports", "Questions that were asked before. Each takes its parameters from its address."))
        ul.cards {
            @for report in look.app.source.reports() {
                li { a.card href={ "/reports/" (segment(&report.name)) } {
                    strong { (report.title) }
                    span { (report.question) }
                } }
            }
        }
    };
    look.page(Here::Reports, "Reports", &main)
}

/// GET `/reports/{name}`.
pub(crate) async fn page(Path(name): Path<String>, look: Look) -> Response {
    let report = match find(&look, &name) {
        Ok(report) => report,
        Err(problem) => return look.failed(Here::Reports, &problem),
    };
    let asked = Asked::of(&look, &report);
    let answer = match asked.checked() {
        Ok(()) => look.app.source.report(&report.name, &asked.given, &look.who.principal, ROWS_MAX).await,
        Err(problem) => Err(problem),
    };
    let status = match &answer {
        Ok(_) => StatusCode::OK,
        // The page is there; it only has nothing to show yet.
        Err(problem) if problem.status == StatusCode::NOT_FOUND => StatusCode::OK,
        Err(problem) => problem.status,
    };
    let main = html! {
        nav.crumbs aria-label="Where this is" { a href="/reports" { "Reports" } }
        (heading(&report.title, &report.question))
        @if !report.params.is_empty() { (form(&report, &asked)) }
        @match &answer {
            // Told beside its field.
            Err(_) if asked.fields.is_ok() && !asked.faults.is_empty() => {},
            Err(problem) if problem.status == StatusCode::NOT_FOUND => (empty("Nothing to show yet", &problem.detail)),
            Err(problem) => (alert(problem)),
            Ok(answer) => {
                @if let Some(chart) = answer.chart.as_ref().filter(|_| !answer.rows.is_empty()) {
                    div class={ "scroll drawn of-" (report.name) } role="region" aria-label="Chart" tabindex="0" {
                        (PreEscaped(charts::pictures(chart)))
                    }
                }
                @if let Some(age_s) = answer.freshness_s { p.note { "The newest event came " (show::ago(age_s)) " ago." } }
                (downloads(&look, &report, &asked))
                (show::table(&report.title, answer))
            }
        }
    };
    look.page_of(status, Here::Reports, &report.title, &main)
}

fn find(look: &Look, name: &str) -> Result<Report, Problem> {
    let found = look.app.source.reports().into_iter().find(|report| report.name == name);
    found.ok_or_else(|| Problem::not_found(format!("no report {name:?}")))
}

/// What a report is asked with.
pub(crate) struct Asked {
    /// What was given.
    pub(crate) given: Vec<(String, String)>,
    /// What is wrong, by parameter.
    faults: BTreeMap<String, String>,
    /// Whether each field is a parameter, and there once.
    fields: Result<(), Problem>,
}

impl Asked {
    /// From the address. An empty field stands for the default, as does none.
    pub(crate) fn of(look: &Look, report: &Report) -> Self {
        let known: Vec<&str> = report.params.iter().map(|param| param.name.as_str()).collect();
        let mut asked = Self { given: Vec::new(), faults: BTreeMap::new(), fields: look.fields.check(&known) };
        for param in &report.params {
            let value = value(&look.fields, param);
            if value == param.default {
                continue;
            }
            if let Err(fault) = look.app.source.check(&report.name, &param.name, &value) {
                asked.faults.insert(param.name.clone(), fault);
            }
            asked.given.push((param.name.clone(), value));
        }
        asked
    }

    /// Whether it can be asked: the first fault, else.
    fn checked(&self) -> Result<(), Problem> {
        self.fields.clone()?;
        match self.faults.values().next() {
            Some(fault) => Err(Problem::bad_request(fault.clone())),
            None => Ok(()),
        }
    }
}

fn value(fields: &Fields, param: &Param) -> String {
    match fields.get(&param.name) {
        "" if param.input == Input::Text && fields.has(&param.name) => String::new(),
        "" => param.default.clone(),
        value => value.to_owned(),
    }
}

fn form(report: &Report, asked: &Asked) -> Markup {
    html! {
        form.params method="get" action={ "/reports/" (segment(&report.name)) } {
            @for param in &report.params {
                @let fault = asked.faults.get(&param.name);
                @let given = asked.given.iter().find(|(name, _)| *name == param.name);
                @let value = given.map_or(param.default.as_str(), |(_, value)| value.as_str());
                (field(param, value, fault.map(String::as_str)))
            }
            button.primary type="submit" { "Apply" }
            @if !asked.given.is_empty() { a.button href={ "/reports/" (segment(&report.name)) } { "Reset" } }
        }
    }
}

/// A labelled field; what is wrong with it stands beside it.
fn field(param: &Param, value: &str, fault: Option<&str>) -> Markup {
    let id = format!("param-{}", param.name);
    let error = format!("{id}-error");
    let described = fault.map(|_| error.clone());
    let (number, step) = match &param.input {
        Input::Whole(bounds) => (Some(bounds), Some("1")),
        Input::Number(bounds) => (Some(bounds), Some("any")),
        _ => (None, None),
    };
    // A field of type `number` drops what is no number: what was typed is to stay, beside its error.
    let number = number.filter(|_| value.parse::<f64>().is_ok());
    let kind = match param.input {
        Input::Date => "date",
        _ if number.is_some() => "number",
        _ => "text",
    };
    let (min, max) = (number.and_then(|it| it.min.as_deref()), number.and_then(|it| it.max.as_deref()));
    let step = step.filter(|_| number.is_some());
    html! {
        div.field {
            label for=(id) { (param.label) }
            @if let Some(fault) = fault { p.error id=(error) { (fault) } }
            @if let Input::Choice(choices) = &param.input {
                select id=(id) name=(param.name) aria-describedby=[described] {
                    @for choice in choices { option value=(choice) selected[choice == value] { (choice) } }
                }
            } @else {
                input id=(id) name=(param.name) type=(kind) value=(value) min=[min] max=[max] step=[step]
                    autocomplete="off" aria-invalid=[fault.map(|_| "true")] aria-describedby=[described];
            }
        }
    }
}

fn downloads(look: &Look, report: &Report, asked: &Asked) -> Markup {
    let pairs = || asked.given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    html! {
        p.downloads {
            span { "Download" }
            @for format in look.app.source.formats() {
                @let path = format!("/reports/{}/download/{}", segment(&report.name), format.name);
                a.button href=(address(&path, pairs())) download { (format.label) }
            }
        }
    }
}

/// GET `/reports/{name}/download/{format}`.
pub(crate) async fn download(Path((name, format)): Path<(String, String)>, look: Look) -> Response {
    let answered = async {
        let report = find(&look, &name)?;
        let asked = Asked::of(&look, &report);
        asked.checked()?;
        file(&look, &Ask::Report(report.name.clone(), asked.given), &format, &report.name).await
    };
    answered.await.unwrap_or_else(|problem| look.failed(Here::Reports, &problem))
}

/// A download of this name.
pub(crate) async fn file(look: &Look, ask: &Ask, format: &str, name: &str) -> Result<Response, Problem> {
    if !look.app.source.formats().iter().any(|known| known.name == format) {
        return Err(Problem::not_found(format!("no format {format:?}")));
    }
    let mut response = look.app.source.download(ask, format, &look.who.principal).await?;
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let name = if is_plain { name } else { "answer" };
    let headers = response.headers_mut();
    let said = HeaderValue::from_str(&format!("attachment; filename=\"{name}.{format}\""));
    headers.insert(header::CONTENT_DISPOSITION, said.map_err(|error| Problem::internal(error.to_string()))?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A downloaded page is opened from here by some browsers: it may do nothing.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    crate::page::guard(headers);
    Ok(response.into_response())
}
