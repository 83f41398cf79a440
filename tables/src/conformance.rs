//! What an object store must promise, as a suite that each store passes: the local directory, the
//! one in memory, a bucket. A store that lets two writers win one conditional put loses
//! commits, and must not be used.

use crate::{Definition, Error, Head, Outcome, Result, Store, app_id, files, upload};
use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use deltalake::kernel::{Action, Transaction};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use std::sync::Arc;

/// Writers that race in one round.
const WRITERS: usize = 8;
/// Rounds of each race.
const ROUNDS: usize = 20;

/// Runs every check on an empty store.
///
/// # Errors
/// If the store fails by itself.
///
/// # Panics
/// If a promise is broken; the message says which.
pub async fn run(store: &Store) -> Result<()> {
    a_conditional_put_has_exactly_one_winner(store).await?;
    what_was_put_is_listed_and_read(store).await?;
    a_large_file_comes_back_whole(store).await?;
    a_table_is_made_once(store).await?;
    racing_commits_all_stand_in_some_order(store).await?;
    Ok(())
}

async fn a_conditional_put_has_exactly_one_winner(store: &Store) -> Result<()> {
    for round in 0..ROUNDS {
        let path = store.path("_conformance").join(format!("round-{round}"));
        let put = |writer: usize| {
            let (path, store) = (path.clone(), store.object_store().clone());
            async move { store.put_opts(&path, format!("{writer}").into(), PutMode::Create.into()).await }
        };
        let results = futures::future::join_all((0..WRITERS).map(put)).await;
        let winners: Vec<usize> = (0..WRITERS).filter(|writer| results[*writer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "winners of one conditional put: {results:?}");
        let stands = store.object_store().get(&path).await?.bytes().await?;
        assert_eq!(stands, winners[0].to_string(), "the winner's bytes stand");
    }
    Ok(())
}

async fn what_was_put_is_listed_and_read(store: &Store) -> Result<()> {
    let directory = store.path("_conformance").join("listed");
    for number in 0..ROUNDS {
        let path = directory.clone().join(format!("{number:020}.json"));
        store.object_store().put(&path, format!("{number}").into()).await?;
        let listed: Vec<_> = store.object_store().list(Some(&directory)).try_collect().await?;
        assert_eq!(listed.len(), number + 1, "a put is listed at once");
    }
    let after = directory.clone().join(format!("{:020}.json", ROUNDS / 2));
    let later: Vec<_> = store.object_store().list_with_offset(Some(&directory), &after).try_collect().await?;
    assert_eq!(later.len(), ROUNDS - ROUNDS / 2 - 1, "a listing begins after its offset");
    store.object_store().delete(&after).await?;
    let gone = store.object_store().get(&after).await;
    assert!(matches!(gone, Err(object_store::Error::NotFound { .. })), "deleted, and read: {gone:?}");
    let missing: Vec<Path> = store
        .object_store()
        .list(Some(&store.path("_conformance").join("nowhere")))
        .map_ok(|meta| meta.location)
        .try_collect()
        .await?;
    assert!(missing.is_empty(), "listing a place that was never written is no error");
    Ok(())
}

/// One that is sent in parts, the last of them short.
async fn a_large_file_comes_back_whole(store: &Store) -> Result<()> {
    let path = store.path("_conformance").join("large");
    let bytes: Vec<u8> = (0..upload::WHOLE_MAX + 12_345).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect();
    upload::put(store.object_store().as_ref(), &path, bytes.clone().into()).await?;
    let found = store.object_store().get(&path).await?.bytes().await?;
    assert!(found == bytes, "what was put in parts is whole and in order: {} bytes", found.len());
    Ok(())
}

fn columns() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("_offset", DataType::Int64),
        field("date", DataType::Date32),
        field("value", DataType::Int64),
    ]))
}

fn rows(offsets: std::ops::Range<i64>) -> Result<RecordBatch> {
    let count = usize::try_from(offsets.end - offsets.start).unwrap_or_default();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(offsets));
    let dates: ArrayRef = Arc::new(Date32Array::from_value(20_000, count));
    Ok(RecordBatch::try_new(columns(), vec![numbers.clone(), dates, numbers])?)
}

async fn a_table_is_made_once(store: &Store) -> Result<()> {
    let make = |owner: usize| {
        let definition = Definition { schema: columns(), event_type: Some(format!("type.{owner}")) };
        async move { store.create("conformance_made", &definition).await }
    };
    let heads = futures::future::try_join_all((0..WRITERS).map(make)).await?;
    let owner = heads[0].event_type();
    assert!(heads.iter().all(|head| head.event_type() == owner), "all see one owner");
    assert_eq!(store.table_names().await?, ["conformance_made"]);
    Ok(())
}

async fn racing_commits_all_stand_in_some_order(store: &Store) -> Result<()> {
    let definition = Definition { schema: columns(), event_type: None };
    let head = store.create("conformance_raced", &definition).await?;
    let write = |writer: usize| {
        let head = head.clone();
        async move { append_rounds(head, writer).await }
    };
    futures::future::try_join_all((0..WRITERS).map(write)).await?;
    let gone = || Error::Corrupt { table: "conformance_raced".into(), detail: "is gone".into() };
    let table = store.load("conformance_raced").await?.ok_or_else(gone)?;
    let mut found = 0;
    for file in files::live(&table)? {
        for batch in files::read(table.object_store().as_ref(), &file, columns()).await? {
            found += batch?.num_rows();
        }
    }
    assert_eq!(found, WRITERS * 3, "each commit's rows stand once");
    let txns = store.txns(&table).await?;
    for writer in 0..WRITERS {
        assert_eq!(txns.get(&app_id("conformance", "raced", i32::try_from(writer).unwrap_or_default())), Some(3));
    }
    Ok(())
}

/// Appends three rows, one commit each, as a writer that knows its transaction.
async fn append_rounds(mut head: Head, writer: usize) -> Result<()> {
    let id = app_id("conformance", "raced", i32::try_from(writer).unwrap_or_default());
    for to in 1..=3 {
        let date = chrono::NaiveDate::from_ymd_opt(2024, 10, 4).unwrap_or_default();
        let file = files::encode(date, &rows(to - 1..to)?)?;
        let add = files::put(head.object_store().as_ref(), file, true).await?;
        loop {
            assert_eq!(head.txn(&id).unwrap_or(0), to - 1, "only this writer moves its transaction");
            let actions = vec![Action::Add(add.clone()), Action::Txn(Transaction::new(&id, to))];
            if let Outcome::Stands(_) = head.commit("WRITE", actions).await? {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_store_in_memory() {
        run(&Store::open("memory:///lake").unwrap()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_local_directory() {
        let directory = tempfile::tempdir().unwrap();
        run(&Store::open(directory.path().join("new/lake").to_str().unwrap()).unwrap()).await.unwrap();
    }
}
