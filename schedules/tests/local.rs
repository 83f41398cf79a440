//! On a directory: what people find there, what another process finds after a restart, and reports that fail.

use crate::support::{NoMail, http, schedule, scheduler};
use object_store::local::LocalFileSystem;
use schedules::{Outcome, Progress, Scheduler};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn on(dir: &std::path::Path, lines: &str) -> Scheduler {
    let store = Arc::new(LocalFileSystem::new_with_prefix(dir).unwrap());
    scheduler(store, schedule(lines), http(None), Arc::new(NoMail))
}

async fn run_for_a_while(scheduler: &Scheduler, until: impl AsyncFn() -> bool) {
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (scheduler, stop) = (scheduler.clone(), stop.clone());
        async move { scheduler.run(stop).await }
    });
    let reached = tokio::time::timeout(Duration::from_secs(30), async {
        while !until().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    reached.await.expect("not reached");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn outputs_are_files_and_every_process_tells_the_same_history() {
    let dir = tempfile::tempdir().unwrap();
    let first = on(dir.path(), "report = 'first_blood'");
    let tick = first.run_now("morning").await.unwrap();
    let is_stored = async || first.entry("morning", tick).await.unwrap().unwrap().outcome == Outcome::Stored;
    run_for_a_while(&first, is_stored).await;
    let file = dir.path().join(format!("_reports/morning/{tick}.csv"));
    assert_eq!(std::fs::read_to_string(file).unwrap(), "champion,games\nAhri,3\n");
    let second = on(dir.path(), "report = 'first_blood'");
    let history = second.history(None, 10).await.unwrap();
    assert_eq!(history, first.history(Some("morning"), 10).await.unwrap());
    let [entry] = &history[..] else { panic!("{history:?}") };
    assert_eq!((entry.rows, entry.bytes, entry.ticks, entry.manual), (Some(1), Some(22), 1, true));
    let listed = second.list().await.unwrap();
    assert_eq!((listed.len(), listed[0].cron.as_str(), listed[0].last.as_ref()), (1, "0 6 * * *", Some(entry)));
    assert!(second.history(Some("evening"), 1).await.unwrap_err().to_string().contains("no schedule \"evening\""));
    assert!(second.run_now("evening").await.is_err());
}

#[tokio::test]
async fn a_report_that_fails_or_panics_says_so_in_the_history() {
    for (report, said) in [("broken", "no such table"), ("panics", "the report panicked")] {
        let dir = tempfile::tempdir().unwrap();
        let scheduler = on(dir.path(), &format!("report = '{report}'"));
        let tick = scheduler.run_now("morning").await.unwrap();
        let has_failed = async || !scheduler.entry("morning", tick).await.unwrap().unwrap().failures.is_empty();
        run_for_a_while(&scheduler, has_failed).await;
        let entry = scheduler.entry("morning", tick).await.unwrap().unwrap();
        assert_eq!((entry.outcome, entry.detail.as_deref()), (Outcome::Running, Some(said)));
        assert!(matches!(entry.failures[0].retry_in_s, Some(30..=36)), "{entry:?}");
        assert!(entry.deliveries.iter().all(|delivery| delivery.progress == Progress::Waiting));
    }
}

#[tokio::test]
async fn an_output_that_was_deleted_stays_in_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let scheduler = on(dir.path(), "report = 'first_blood'");
    let tick = scheduler.run_now("morning").await.unwrap();
    let mark = dir.path().join(format!("_reports/_open/morning/{tick}"));
    run_for_a_while(&scheduler, async || !mark.exists()).await;
    std::fs::remove_file(dir.path().join(format!("_reports/morning/{tick}.csv"))).unwrap();
    let entry = scheduler.entry("morning", tick).await.unwrap().unwrap();
    assert_eq!((entry.outcome, entry.detail.as_deref()), (Outcome::Stored, Some("the output was deleted")));
    assert_eq!(entry.output, None);
}
