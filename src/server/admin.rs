//! The endpoints for operators: flush, forget, schemas.

use super::flush::Flusher;
use arrow::datatypes::{DataType, Fields};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use axum::{Json, Router};
use edge::{Keys, Problem, Scope, body, options};
use events::Clock;
use events::log::Log;
use events::schema::{Schema, SharedRegistry, compat, declared};
use serde::Deserialize;
use serde_json::{Value, json};
use sinks::Maintenance;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tables::Store;

/// How long a flush may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(60);

/// What the endpoints work on.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) keys: Keys,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) registry: SharedRegistry,
    pub(crate) store: Store,
    /// Where this process has all parts that a flush goes through.
    pub(crate) flusher: Option<Flusher>,
    /// Where this process has the part that writes to tables: how it takes rows out of them.
    pub(crate) maintenance: Option<Maintenance>,
}

type Answer = Result<Json<Value>, Problem>;
type Body = Result<Bytes, BytesRejection>;
/// The event type that the path names.
type Named = Result<Path<String>, PathRejection>;

/// The routes.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/v1/flush", post(flush))
        .route("/v1/forget", post(forget))
        .route("/v1/schemas", get(list))
        .route("/v1/schemas/{type}", get(show))
        .route("/v1/schemas/{type}/check", post(check))
        .route("/v1/schemas/{type}/diff", post(diff))
        .route("/v1/schemas/{type}/apply", post(apply))
        .route_layer(from_fn(options::none))
        .with_state(admin)
}

async fn flush(State(admin): State<Admin>, headers: HeaderMap) -> Answer {
    admin.keys.authorize(&headers, Scope::Admin)?;
    let Some(flusher) = &admin.flusher else {
        return Err(Problem::not_found(
            "this process is one role of several: only `killfeed up` can flush all of them",
        ));
    };
    let took = flusher.flush(FLUSH_LIMIT).await?;
    Ok(Json(json!({ "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX) })))
}

/// Whom to forget.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forget {
    player: String,
}

/// Flushes first: rows on their way would not be reached.
async fn forget(State(admin): State<Admin>, headers: HeaderMap, body: Body) -> Answer {
    admin.keys.authorize(&headers, Scope::Admin)?;
    let Forget { player } = body::json(&headers, body, "{\"player\": \"...\"}")?;
    if player.is_empty() {
        return Err(Problem::bad_request("player is empty: an event without a player has none to forget"));
    }
    let Some(maintenance) = &admin.maintenance else { return Err(not_here("forgets players")) };
    if let Some(flusher) = &admin.flusher {
        flusher.flush(FLUSH_LIMIT).await?;
    }
    let forgotten = sinks::forget(maintenance, &admin.log, &admin.store, &admin.clock, &player);
    Ok(Json(json!(forgotten.await.map_err(sink_failed)?)))
}

async fn list(State(admin): State<Admin>, headers: HeaderMap) -> Answer {
    admin.keys.authorize(&headers, Scope::Query)?;
    let mut types: BTreeMap<String, (Vec<i32>, Option<String>)> = BTreeMap::new();
    for schema in admin.registry.current().iter() {
        let table = decode::table_name(&schema.event_type).ok();
        let entry = types.entry(schema.event_type.to_string()).or_insert_with(|| (Vec::new(), table));
        entry.0.push(schema.version);
    }
    for name in admin.store.table_names().await.map_err(failed)? {
        let head = admin.store.head(&name).await.map_err(failed)?;
        if let Some(event_type) = head.as_ref().and_then(tables::Head::event_type) {
            types.entry(event_type.to_owned()).or_insert_with(|| (Vec::new(), Some(name)));
        }
    }
    let types: Vec<Value> = types
        .into_iter()
        .map(|(event_type, (versions, table))| json!({ "type": event_type, "versions": versions, "table": table }))
        .collect();
    Ok(Json(json!({ "types": types })))
}

async fn show(State(admin): State<Admin>, event_type: Named, headers: HeaderMap) -> Answer {
    admin.keys.authorize(&headers, Scope::Query)?;
    let event_type = body::path(event_type)?;
    let versions: Vec<Value> = admin
        .registry
        .current()
        .versions(&event_type)
        .iter()
        .map(|schema| json!({ "version": schema.version, "document": *schema.document }))
        .collect();
    let head = head(&admin, &event_type).await?;
    if versions.is_empty() && head.is_none() {
        return Err(unknown(&event_type));
    }
    let columns: Vec<Value> = head
        .iter()
        .flat_map(|head| head.schema().fields())
        .map(|field| {
            json!({
                "name": field.name(),
                "type": field.data_type().to_string(),
                "path": field.metadata().get(decode::NAME_KEY),
                "proposed": field.metadata().contains_key(decode::WIDEN_KEY).then_some("float64"),
            })
        })
        .collect();
    Ok(Json(json!({ "type": event_type, "versions": versions, "columns": columns })))
}

/// A schema that wants to be the next version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proposal {
    /// One past the newest if absent.
    version: Option<i32>,
    document: Value,
}

async fn check(State(admin): State<Admin>, event_type: Named, headers: HeaderMap, body: Body) -> Answer {
    admin.keys.authorize(&headers, Scope::Query)?;
    let event_type = body::path(event_type)?;
    let proposal: Proposal = body::json(&headers, body, "{\"version\": 2, \"document\": {...}}")?;
    let registry = admin.registry.current();
    let newest = registry.newest(&event_type).map_or(0, |schema| schema.version);
    let version = proposal.version.unwrap_or(newest + 1);
    let schema = match declared::read(&event_type, version, proposal.document) {
        Ok(schema) => schema,
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.place, fault.rule)).collect();
            return Ok(Json(json!({ "type": event_type, "version": version, "faults": faults, "changes": [] })));
        }
    };
    // The version itself, where it stands already: rewriting it is a change like any other.
    let before = registry.versions(&event_type).into_iter().rfind(|known| known.version <= version);
    let changes = before.as_ref().map(|before| compat::diff(before, &schema)).unwrap_or_default();
    let mut faults: Vec<String> = refusals(before.as_deref(), &schema);
    if let Some(head) = head(&admin, &event_type).await? {
        faults.extend(decode::disagreements(head.schema(), &[Arc::new(schema)]));
    }
    Ok(Json(json!({ "type": event_type, "version": version, "faults": faults, "changes": changes })))
}

fn refusals(before: Option<&Schema>, after: &Schema) -> Vec<String> {
    let Some(before) = before else { return Vec::new() };
    let refused = compat::refusals(before, after).into_iter();
    refused
        .map(|change| format!("{}: not compatible with version {}: {}", change.place, before.version, change.what))
        .collect()
}

async fn diff(State(admin): State<Admin>, event_type: Named, headers: HeaderMap) -> Answer {
    admin.keys.authorize(&headers, Scope::Query)?;
    let event_type = body::path(event_type)?;
    let Some(head) = head(&admin, &event_type).await? else { return Err(unknown(&event_type)) };
    let mut columns = Vec::new();
    marked(head.schema().fields(), "", &mut columns);
    Ok(Json(json!({ "type": event_type, "table": head.name(), "changes": changes(&columns) })))
}

async fn apply(State(admin): State<Admin>, event_type: Named, headers: HeaderMap) -> Answer {
    admin.keys.authorize(&headers, Scope::Admin)?;
    let event_type = body::path(event_type)?;
    if admin.maintenance.is_none() {
        return Err(not_here("writes to tables"));
    }
    let applied = sinks::apply(&admin.store, &event_type).await.map_err(sink_failed)?;
    let changes = changes(&applied.columns);
    let sinks::Applied { table, files, rows, restored, .. } = applied;
    Ok(Json(json!({
        "type": event_type, "table": table, "changes": changes, "files": files, "rows": rows, "restored": restored,
    })))
}

/// Columns that met a value which they can't hold, dotted where nested.
fn marked(fields: &Fields, prefix: &str, found: &mut Vec<String>) {
    for field in fields {
        let name = if prefix.is_empty() { field.name().clone() } else { format!("{prefix}.{}", field.name()) };
        if field.metadata().contains_key(decode::WIDEN_KEY) {
            found.push(name.clone());
        }
        match field.data_type() {
            DataType::Struct(inner) => marked(inner, &name, found),
            DataType::List(item) => marked(&Fields::from(vec![item.clone()]), &name, found),
            _ => {}
        }
    }
}

fn changes(columns: &[String]) -> Vec<Value> {
    columns.iter().map(|column| json!({ "column": column, "from": "int64", "to": "float64" })).collect()
}

async fn head(admin: &Admin, event_type: &str) -> Result<Option<tables::Head>, Problem> {
    let Ok(table) = decode::table_name(event_type) else { return Ok(None) };
    let head = admin.store.head(&table).await.map_err(failed)?;
    Ok(head.filter(|head| head.event_type() == Some(event_type)))
}

fn unknown(event_type: &str) -> Problem {
    Problem::not_found(format!("no schema and no table of type `{event_type}`; GET /v1/schemas lists what there is"))
}

fn not_here(what: &str) -> Problem {
    Problem::not_found(format!("this process is one role of several: it is `killfeed up` that {what}"))
}

fn sink_failed(error: sinks::Error) -> Problem {
    match &error {
        sinks::Error::Refused(_) => Problem::bad_request(error.to_string()),
        _ if error.is_retryable() => Problem::unavailable(error.to_string(), Duration::from_secs(1)),
        _ => Problem::internal(error.to_string()),
    }
}

fn failed(error: tables::Error) -> Problem {
    if error.is_retryable() {
        Problem::unavailable(error.to_string(), Duration::from_secs(1))
    } else {
        Problem::internal(error.to_string())
    }
}
