//! The catalogue: every table, and what its columns mean.

use crate::app::Look;
use crate::data::TableInfo;
use crate::form::{address, segment};
use crate::page::{Here, alert, empty, heading};
use crate::show::{size, time, whole};
use axum::extract::Path;
use axum::response::Response;
use edge::Problem;
use maud::{Markup, html};
use std::time::Duration;

/// How long a page waits for tables that were never counted.
const PATIENCE: Duration = Duration::from_secs(60);

/// GET `/catalogue`.
pub(crate) async fn list(look: Look) -> Response {
    let tables = match look.app.tables(PATIENCE).await {
        Ok(tables) => tables,
        Err(problem) => return look.failed(Here::Catalogue, &problem),
    };
    let main = html! {
        (heading("Catalogue", "Every table that SQL sees."))
        @if tables.is_empty() {
            (empty("No tables yet", "A table comes with the first event of its type."))
        } @else {
            div.scroll role="region" aria-label="Tables" tabindex="0" {
                table {
                    caption.hidden { "Tables" }
                    thead { tr {
                        th scope="col" { "Table" } th.num scope="col" { "Columns" } th.num scope="col" { "Rows" }
                        th.num scope="col" { "Size" } th scope="col" { "Newest event" }
                    } }
                    tbody { @for table in &tables { tr {
                        th scope="row" { a href={ "/catalogue/" (segment(&table.name)) } { (table.name) } }
                        td.num { (table.columns.len()) }
                        td.num { (rows(table)) }
                        td.num { (bytes(table)) }
                        td { (newest(table)) }
                    } } }
                }
            }
        }
    };
    look.page(Here::Catalogue, "Catalogue", &main)
}

fn rows(table: &TableInfo) -> String {
    table.rows.map_or_else(|| "–".to_owned(), whole)
}

fn bytes(table: &TableInfo) -> String {
    table.bytes.map_or_else(|| "–".to_owned(), size)
}

fn newest(table: &TableInfo) -> Markup {
    html! { @match &table.newest { Some(at) => time datetime=(at) { (time(at)) }, None => "–" } }
}

/// GET `/catalogue/{table}`.
pub(crate) async fn page(Path(name): Path<String>, look: Look) -> Response {
    let tables = match look.app.tables(PATIENCE).await {
        Ok(tables) => tables,
        Err(problem) => return look.failed(Here::Catalogue, &problem),
    };
    let Some(table) = tables.iter().find(|table| table.name == name) else {
        return look.failed(Here::Catalogue, &Problem::not_found(format!("no table {name:?}")));
    };
    let first = format!("SELECT * FROM {} LIMIT 100", table.name);
    let main = html! {
        nav.crumbs aria-label="Where this is" { a href="/catalogue" { "Catalogue" } }
        (heading(&table.name, ""))
        dl.facts.inline {
            dt { "Rows" } dd { (rows(table)) }
            dt { "Size" } dd { (bytes(table)) }
            dt { "Newest event" } dd { (newest(table)) }
        }
        p { a.button href=(address("/sql", [("q", first.as_str())])) { "Ask it in SQL" } }
        @if table.columns.is_empty() { (alert(&Problem::internal("its columns are unknown"))) } @else {
            div.scroll role="region" aria-label="Columns" tabindex="0" {
                table {
                    caption.hidden { "Columns of " (table.name) }
                    thead { tr { th scope="col" { "Column" } th scope="col" { "Type" } th scope="col" { "Meaning" } } }
                    tbody { @for column in &table.columns { tr {
                        th scope="row" { code { (column.name) } }
                        td { (column.kind) }
                        td.text {
                            @if let Some(meaning) = &column.meaning { (meaning) }
                            @if let Some(note) = &column.note { p.warning role="note" { (note) } }
                        }
                    } } }
                }
            }
        }
    };
    look.page(Here::Catalogue, &table.name, &main)
}
