//! Transactions: all or nothing, and only by who holds the id and the generation.

use super::*;
use crate::log::{Error, Step};

pub(super) async fn all(factory: Factory<'_>) {
    a_step_is_whole(factory).await;
    a_refused_step_writes_nothing(factory).await;
    a_younger_transactor_fences_the_older(factory).await;
    an_older_generation_is_fenced(factory).await;
}

fn step(appends: Vec<Append>, positions: &[(TopicPartition, Offset)], generation: Generation) -> Step {
    Step { appends, positions: positions.to_vec(), generation }
}

async fn a_step_is_whole(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    bench.append(&bench.raw(0), &["in"]).await;
    let mut member = bench.join(&[bench.stream.raw()], "m").await;
    assigned(&mut *member).await;
    let mut transactor = bench.log.transactor("t").await.unwrap();
    let appends =
        vec![append(&bench.clean(0), &["a", "b"]), append(&bench.clean(2), &["c"]), append(&bench.clean(0), &["d"])];
    transactor.commit(step(appends, &[(bench.raw(0), 1)], member.generation())).await.unwrap();
    assert_eq!(names(&bench.read(&bench.clean(0), 0, 3).await), ["a", "b", "d"]);
    assert_eq!(names(&bench.read(&bench.clean(2), 0, 1).await), ["c"]);
    assert_eq!(bench.log.committed("readers", &bench.raw(0)).await.unwrap(), Some(1));
    transactor.commit(step(Vec::new(), &[(bench.raw(0), 2)], member.generation())).await.expect("positions alone");
    transactor
        .commit(step(vec![append(&bench.clean(1), &["e"])], &[], member.generation()))
        .await
        .expect("records alone");
    assert_eq!(bench.log.committed("readers", &bench.raw(0)).await.unwrap(), Some(2));
    assert_eq!(names(&bench.read(&bench.clean(1), 0, 1).await), ["e"]);
}

async fn a_refused_step_writes_nothing(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let mut member = bench.join(&[bench.stream.raw()], "m").await;
    assigned(&mut *member).await;
    let mut transactor = bench.log.transactor("t").await.unwrap();
    let bad = [append(&bench.clean(PARTITIONS), &["x"]), append(&bench.clean(0), &[])];
    for bad in bad {
        let appends = vec![append(&bench.clean(0), &["a"]), bad];
        let refused = transactor.commit(step(appends, &[(bench.raw(0), 1)], member.generation())).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
    assert_eq!(bench.log.committed("readers", &bench.raw(0)).await.unwrap(), None);
    let good = step(vec![append(&bench.clean(0), &["b"])], &[], member.generation());
    transactor.commit(good).await.expect("a refused step does not spend the transactor");
    assert_eq!(names(&bench.read(&bench.clean(0), 0, 1).await), ["b"], "nothing of the refused steps");
}

async fn a_younger_transactor_fences_the_older(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let mut member = bench.join(&[bench.stream.raw()], "m").await;
    assigned(&mut *member).await;
    let mut older = bench.log.transactor("t").await.unwrap();
    let mut other = bench.log.transactor("u").await.unwrap();
    let mut younger = bench.log.transactor("t").await.unwrap();
    for _ in 0..2 {
        let zombie = step(vec![append(&bench.clean(0), &["zombie"])], &[(bench.raw(0), 9)], member.generation());
        let fenced = older.commit(zombie).await;
        assert!(matches!(fenced, Err(Error::Fenced(_))), "each commit of the older one: {fenced:?}");
    }
    let (one, two) = (append(&bench.clean(0), &["one"]), append(&bench.clean(0), &["two"]));
    younger.commit(step(vec![one], &[(bench.raw(0), 1)], member.generation())).await.unwrap();
    other.commit(step(vec![two], &[], member.generation())).await.expect("another id is not concerned");
    assert_eq!(names(&bench.read(&bench.clean(0), 0, 2).await), ["one", "two"]);
    assert_eq!(bench.log.committed("readers", &bench.raw(0)).await.unwrap(), Some(1));
}

async fn an_older_generation_is_fenced(factory: Factory<'_>) {
    let bench = Bench::new(factory).await;
    let mut first = bench.join(&[bench.stream.raw()], "first").await;
    assigned(&mut *first).await;
    let generation = first.generation();
    let foreign = step(vec![append(&bench.clean(0), &["x"])], &[(bench.clean(0), 1)], generation.clone());
    let mut transactor = bench.log.transactor("t").await.unwrap();
    let outcome = transactor.commit(foreign).await;
    assert!(matches!(outcome, Err(Error::Fenced(_))), "a position that isn't the member's: {outcome:?}");

    let second = bench.join(&[bench.stream.raw()], "second").await;
    let Poll::Revoked(_) = told(&mut *first).await else { panic!("the first is told to give up") };
    let mut transactor = bench.log.transactor("t").await.unwrap();
    let late = step(vec![append(&bench.clean(0), &["late"])], &[(bench.raw(0), 1)], generation);
    let outcome: Result<()> = transactor.commit(late).await;
    assert!(matches!(outcome, Err(Error::Fenced(_))), "the group has moved on: {outcome:?}");
    drop((first, second));
    let ends = bench.log.ends(&bench.clean(0)).await.unwrap();
    let batch = bench.log.read(&bench.clean(0), 0, ReadLimit::default()).await.unwrap();
    assert!(batch.records.is_empty(), "nothing of fenced steps is read below {ends:?}");
}
