//! A step whose records arrived without an answer, and that is tried again.
//!
//! The broker knows a producer's records by their sequence numbers. What it took for a step that was then
//! aborted must never stand for a record of the next one.

use crate::{append, clean, put, raw, spec, stream};
use chaos::Cluster;
use events::log::{Error, Generation, Log, Member, Poll, ReadLimit, Step};
use kafka_log::{Config, KafkaLog};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const GROUP: &str = "steps";
/// How long a step may take until it is given up, and aborted.
const STEP: Duration = Duration::from_secs(3);
/// How Kafka's protocol names requests that bring records.
const PRODUCE: [u8; 2] = [0, 0];

/// Passes on what clients and a broker say to each other. While it is `deaf`, it tears connections on which
/// records were sent as soon as the broker answers, and nobody hears the answer.
async fn relay(listener: TcpListener, broker: u16, deaf: Arc<AtomicBool>) {
    while let Ok((client, _)) = listener.accept().await {
        let deaf = deaf.clone();
        tokio::spawn(async move {
            let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)).await else { return };
            let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
            let brings_records = AtomicBool::new(false);
            // Whichever ends first ends the connection.
            tokio::select! {
                _ = pass_requests(from_client, to_broker, &deaf, &brings_records) => {}
                _ = pass_answers(from_broker, to_client, &brings_records) => {}
            }
        });
    }
}

async fn pass_requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    deaf: &AtomicBool,
    brings_records: &AtomicBool,
) -> std::io::Result<()> {
    loop {
        let mut request = vec![0; 4];
        from.read_exact(&mut request).await?;
        let length = u32::from_be_bytes([request[0], request[1], request[2], request[3]]);
        request.resize(4 + usize::try_from(length).unwrap(), 0);
        from.read_exact(&mut request[4..]).await?;
        if request[4..6] == PRODUCE && deaf.load(Ordering::SeqCst) {
            brings_records.store(true, Ordering::SeqCst);
        }
        to.write_all(&request).await?;
    }
}

async fn pass_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    brings_records: &AtomicBool,
) -> std::io::Result<()> {
    let mut answer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut answer).await?;
        if length == 0 || brings_records.load(Ordering::SeqCst) {
            return Ok(());
        }
        to.write_all(&answer[..length]).await?;
    }
}

/// Waits for the partition, and gives the generation under which steps of it are admitted.
async fn joined(member: &mut dyn Member) -> Generation {
    loop {
        if let Poll::Assigned(partitions) = member.poll(ReadLimit::default(), Duration::from_secs(1)).await.unwrap() {
            partitions.iter().for_each(|of| member.seek(of, 0).unwrap());
            return member.generation();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_took_for_an_aborted_step_never_stands_for_a_record_of_the_next() {
    let _turn = crate::TURN.write().await;
    let dir = tempfile::tempdir().unwrap();
    let port = chaos::free_ports(3).unwrap().start;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clients = [listener.local_addr().unwrap().to_string()];
    let deaf = Arc::new(AtomicBool::new(false));
    let relaying = tokio::spawn(relay(listener, Cluster::clients_port(port, 1), deaf.clone()));
    let cluster = tokio::task::block_in_place(|| Cluster::behind(dir.path(), port, &clients));

    // The step is given up while the client itself would still go on with it, as it does when its time ran out
    // for other reasons.
    let patience = |name: &str| (name.to_owned(), "60000".to_owned());
    let properties = BTreeMap::from([patience("transaction.timeout.ms"), patience("message.timeout.ms")]);
    let config = Config { transaction_timeout: STEP, properties, ..crate::config(&cluster) };
    let log = KafkaLog::new(config).unwrap();
    log.create_stream(&spec(1)).await.unwrap();
    put(&log, &raw(0), &["a".into(), "b".into()]).await.unwrap();
    let mut transactor = log.transactor("steps").await.unwrap();
    let mut member = log.join(GROUP, &[stream().raw()], "steps").await.unwrap();
    let generation = joined(&mut *member).await;
    let step = |text: &str, position| Step {
        appends: vec![append(&clean(0), &[text.to_owned()])],
        positions: vec![(raw(0), position)],
        generation: generation.clone(),
    };
    transactor.commit(step("a", 1)).await.unwrap();

    deaf.store(true, Ordering::SeqCst);
    let failed = transactor.commit(step("b", 2)).await;
    assert!(matches!(&failed, Err(Error::Unavailable(said)) if said.contains("flush")), "{failed:?}");
    deaf.store(false, Ordering::SeqCst);
    transactor.commit(step("b", 2)).await.unwrap();

    assert_eq!(log.committed(GROUP, &raw(0)).await.unwrap(), Some(2));
    let texts: Vec<String> = crate::read_all(&log, &clean(0)).await.iter().map(|r| crate::text(r).to_owned()).collect();
    assert_eq!(texts, ["a", "b"], "as the positions say");
    drop((member, transactor));
    log.close(Duration::from_secs(5)).await;
    relaying.abort();
}
