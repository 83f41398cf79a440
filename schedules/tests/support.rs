//! What several tests need: a scheduler on a store in memory, a runner, receivers, certificates.

use async_trait::async_trait;
use bytes::Bytes;
use object_store::DynObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use rand::SeedableRng as _;
use schedules::{
    Config, Entry, HttpWebhooks, Mail, MailServer, Mailer, Outcome, Output, Parts, Progress, Refused, Request, Runner,
    Schedule, Scheduler, SmtpMailer, StoreClock, Webhooks,
};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The secret of Standard Webhooks' own examples.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A report of one row, whatever is asked.
#[derive(Debug)]
pub(crate) struct OneRow;

#[async_trait]
impl Runner for OneRow {
    async fn run(&self, request: &Request) -> Result<Output, String> {
        match request.report.as_str() {
            "broken" => Err("no such table".into()),
            "panics" => panic!("a bug in a report"),
            _ => Ok(Output { bytes: Bytes::from_static(b"champion,games\nAhri,3\n"), rows: 1 }),
        }
    }
}

/// Whoever calls it was not meant to.
#[derive(Debug)]
pub(crate) struct NoMail;

#[async_trait]
impl Mailer for NoMail {
    async fn send(&self, mail: &Mail) -> Result<String, Refused> {
        panic!("a mail: {mail:?}")
    }
}

/// Reads schedules as a config file has them.
pub(crate) fn read(text: &str) -> Result<Config, Vec<String>> {
    let mut table = text.parse().unwrap();
    let check = |name: &str, params: &[(String, String)]| {
        let faults: Vec<String> = match name {
            "first_blood" | "broken" | "panics" => {
                let unknown = params.iter().filter(|(param, _)| name != "first_blood" || param != "since");
                unknown.map(|(param, _)| format!("report {name:?} has no parameter {param:?}")).collect()
            }
            _ => vec![format!("there is no report {name:?}")],
        };
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    };
    let config = Config::take(&mut table, &check)?;
    assert!(table.is_empty(), "left over: {table:?}");
    Ok(config)
}

/// One schedule with these lines.
pub(crate) fn schedule(lines: &str) -> Schedule {
    let head = "[[schedules]]\nname = 'morning'\ncron = '0 6 * * *'\nzone = 'Europe/Berlin'\n";
    let mail = "\n[mail]\nserver = '127.0.0.1'\nsecurity = 'plain'\nfrom = 'killfeed <reports@example.com>'\n";
    read(&format!("{head}{lines}{mail}")).unwrap().schedules.remove(0)
}

/// A scheduler on this store.
pub(crate) fn scheduler(
    store: Arc<DynObjectStore>,
    schedule: Schedule,
    webhooks: Arc<dyn Webhooks>,
    mailer: Arc<dyn Mailer>,
) -> Scheduler {
    let root = Path::from("_reports");
    let clock = Arc::new(StoreClock::new(store.clone(), root.clone().join("_clock")));
    let random = Box::new(rand_chacha::ChaCha8Rng::seed_from_u64(1));
    let look_every = Duration::from_secs(60);
    Scheduler::new(
        [schedule],
        Parts { store, root, clock, runner: Arc::new(OneRow), webhooks, mailer, look_every, random },
    )
}

/// Runs the schedule once, and waits until this many tries of its delivery stand in the history.
pub(crate) async fn run_once(
    schedule: Schedule,
    webhooks: Arc<dyn Webhooks>,
    mailer: Arc<dyn Mailer>,
    tries: usize,
) -> Entry {
    let scheduler = scheduler(Arc::new(InMemory::new()), schedule, webhooks, mailer);
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (scheduler, stop) = (scheduler.clone(), stop.clone());
        async move { scheduler.run(stop).await }
    });
    let tick = scheduler.run_now("morning").await.unwrap();
    let entry = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let entry = scheduler.entry("morning", tick).await.unwrap().unwrap();
            if entry.deliveries.iter().all(|delivery| delivery.attempts.len() >= tries)
                && entry.outcome != Outcome::Running
            {
                return entry;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let entry = entry.await.expect("the delivery was not tried");
    stop.cancel();
    running.await.unwrap();
    assert_eq!((entry.outcome, entry.rows, entry.manual), (Outcome::Stored, Some(1), true));
    entry
}

/// How far the only delivery is, and what its last try said.
pub(crate) fn last_try(entry: &Entry) -> (Progress, &str) {
    let [delivery] = &entry.deliveries[..] else { panic!("{entry:?}") };
    (delivery.progress, &delivery.attempts.last().unwrap().detail)
}

/// HTTP with a short limit, trusting this authority beside the public ones.
pub(crate) fn http(authority: Option<&str>) -> Arc<HttpWebhooks> {
    Arc::new(HttpWebhooks::with_limit(authority.map(str::as_bytes), Duration::from_millis(500)).unwrap())
}

/// SMTP with a short limit.
pub(crate) fn smtp(server: &MailServer) -> Arc<SmtpMailer> {
    Arc::new(SmtpMailer::with_limit(server, Duration::from_millis(800)).unwrap())
}

/// A certificate for this name, its own authority, in PEM; and what a server needs to show it.
pub(crate) fn certificate(name: &str) -> (String, tokio_rustls::TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}
