//! What others keep in the same place: left alone, and never written to.

use super::{Bench, clock, event, offsets, rows, spec};
use crate::{Error, Maintenance, maintain_once};
use arrow::array::{ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use deltalake::kernel::{Action, Add};
use events::log::Log;
use events::log::memory::MemoryLog;
use events::{Clock, SharedStreams};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use tables::{DEAD_LETTERS, Definition, Head, Outcome, Store, files};

/// A table as another writer would make it, with two files of one date.
async fn foreign(store: &Store, name: &str) -> Head {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let schema = Arc::new(Schema::new(vec![field("theirs", DataType::Int64), field("date", DataType::Date32)]));
    let definition = Definition { schema: schema.clone(), event_type: None };
    let mut head = store.create(name, &definition).await.unwrap();
    for value in 0..2 {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![value])), Arc::new(Date32Array::from(vec![20_000]))];
        let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let (date, rows) = files::by_date(&rows).unwrap().remove(0);
        let add: Add =
            files::put(head.object_store().as_ref(), files::encode(date, &rows).unwrap(), true).await.unwrap();
        assert!(matches!(head.commit("WRITE", vec![Action::Add(add)]).await.unwrap(), Outcome::Stands(_)));
    }
    head
}

async fn all_objects(store: &Store, below: &Path) -> Vec<(String, u64)> {
    let found: Vec<_> = futures::TryStreamExt::try_collect(store.object_store().list(Some(below))).await.unwrap();
    let mut found: Vec<_> = found.into_iter().map(|meta| (meta.location.to_string(), meta.size)).collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_files_of_others_are_left_alone() {
    let store = Store::open("memory:///lake").unwrap();
    foreign(&store, "game_kill").await;
    foreign(&store, "theirs").await;
    store.object_store().put(&store.path("notes.txt"), "theirs".into()).await.unwrap();
    store.object_store().put(&store.path("raw").join("old.parquet"), "theirs".into()).await.unwrap();
    let before =
        [all_objects(&store, &store.path("game_kill")).await, all_objects(&store, &store.path("theirs")).await];

    // A type whose table they have is a dead letter; another goes on.
    let bench = Bench::new(&store);
    let records = vec![event(0, "game.kill", "p", "{\"gold\":1}"), event(1, "game.chat", "p", "{}")];
    bench.flush(0, 2, records).await.unwrap();
    assert_eq!(offsets(&store, "game_chat").await, [1]);
    let dead = rows(&store, DEAD_LETTERS).await;
    let text = |name: &str| dead[0].column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
    assert_eq!(text("reason"), "table_name_taken");
    assert!(text("detail").contains("which killfeed didn't make"), "{}", text("detail"));

    // Nobody works on their tables, nor takes away what they put into ours.
    let stray = store.path("game_chat").join("backup").join("theirs.parquet");
    store.object_store().put(&stray, "theirs".into()).await.unwrap();
    assert_eq!(store.table_names().await.unwrap(), [DEAD_LETTERS, "game_chat"]);
    let clock = clock();
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(Arc::new(clock.clone())));
    let streams = SharedStreams::new(vec![log.create_stream(&spec(1)).await.unwrap()]);
    let config =
        Maintenance { small_files: 2, checkpoint_every: 1, keep_days: Some(1), ..Maintenance::new(streams, "m") };
    clock.advance_us(7 * 86_400_000_000);
    let clock: Arc<dyn Clock> = Arc::new(clock);
    maintain_once(&config, &log, &store, &clock).await.unwrap();
    let after = [all_objects(&store, &store.path("game_kill")).await, all_objects(&store, &store.path("theirs")).await];
    assert_eq!(before, after);
    for path in [stray, store.path("notes.txt"), store.path("raw").join("old.parquet")] {
        assert_eq!(store.object_store().get(&path).await.unwrap().bytes().await.unwrap(), "theirs", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_others_under_a_name_that_killfeed_needs_stops_the_sink() {
    let store = Store::open("memory:///lake").unwrap();
    foreign(&store, DEAD_LETTERS).await;
    let broken = event(0, "game.kill", "p", "{no json");
    let error = Bench::new(&store).flush(0, 1, vec![broken]).await.unwrap_err();
    assert!(matches!(&error, Error::Tables(tables::Error::Foreign { .. })) && !error.is_retryable(), "{error}");
    assert!(error.to_string().contains("table dead_letters in memory:///lake/ was not made by killfeed"), "{error}");
}
