//! Schedules in the query role: the scheduler on the store of the tables, with the engine as its runner.

use crate::exit::Failure;
use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use queries::format::{Encoder, Format as Written};
use queries::{Answer, Engine, Viewer, reports};
use rand::SeedableRng as _;
use schedules::{
    Config, Format, HttpWebhooks, Mail, Mailer, Output, Parts, Refused, Request, Runner, Scheduler, SmtpMailer,
    StoreClock,
};
use std::sync::Arc;
use std::time::Duration;
use tables::Store;

/// Where outputs and history lie beside the tables.
const ROOT: &str = "_reports";
/// The pause between two looks for ticks that another replica left behind.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Bytes of an output: it is held in memory as a whole while it is made, stored and delivered.
const OUTPUT_MAX: usize = 64 << 20;

/// The scheduler of a configuration with schedules; `None` without any.
pub(super) fn scheduler(config: &Config, store: &Store, engine: Engine) -> Result<Option<Scheduler>, Failure> {
    if config.schedules.is_empty() {
        return Ok(None);
    }
    let objects = store.object_store().clone();
    let root: Path = store.path(ROOT);
    let mailer: Arc<dyn Mailer> = match &config.mail {
        Some(server) => Arc::new(SmtpMailer::new(server).map_err(Failure::usage)?),
        None => Arc::new(NoMail),
    };
    let parts = Parts {
        store: objects.clone(),
        root: root.clone(),
        clock: Arc::new(StoreClock::new(objects, root.join("_clock"))),
        runner: Arc::new(Reports(engine)),
        webhooks: Arc::new(HttpWebhooks::new(config.authorities.as_deref()).map_err(Failure::usage)?),
        mailer,
        look_every: LOOK_EVERY,
        random: Box::new(rand::rngs::StdRng::from_os_rng()),
    };
    Ok(Some(Scheduler::new(config.schedules.clone(), parts)))
}

/// Whether there is such a report, and takes these parameters; if not, all that is wrong.
pub(crate) fn check_report(name: &str, params: &[(String, String)]) -> Result<(), Vec<String>> {
    let report =
        reports::find(name).map_err(|_| vec![format!("no report {name:?}; `killfeed report list` names them")])?;
    let faults = report.faults(params);
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Runs reports on the engine, for nobody in particular: personal fields are hidden.
#[derive(Debug)]
struct Reports(Engine);

#[async_trait]
impl Runner for Reports {
    async fn run(&self, request: &Request) -> Result<Output, String> {
        self.rows(request).await.map_err(|error| error.to_string().lines().collect::<Vec<_>>().join(" "))
    }
}

impl Reports {
    /// The same columns and formats as `killfeed report run` gives.
    async fn rows(&self, request: &Request) -> queries::Result<Output> {
        let viewer = Viewer { name: "schedules".into(), personal: false };
        let (question, page) = reports::find(&request.report)?.asked(&request.params, &viewer)?;
        let answer = self.0.ask(question).await?;
        let encoder = Encoder::of_page(written(request.format), answer.schema(), page)?;
        whole(answer, encoder, OUTPUT_MAX).await
    }
}

const fn written(format: Format) -> Written {
    match format {
        Format::Csv => Written::Csv,
        Format::Json => Written::Json,
        Format::Ndjson => Written::Ndjson,
        Format::Parquet => Written::Parquet,
        Format::Markdown => Written::Markdown,
        Format::Html => Written::Html,
        Format::Table => Written::Table,
    }
}

/// An answer to its end, if that fits.
async fn whole(mut answer: Answer, mut encoder: Encoder, bytes_max: usize) -> queries::Result<Output> {
    let (mut bytes, mut rows) = (Vec::new(), 0);
    let mut add = |part: Vec<u8>| {
        bytes.extend(part);
        if bytes.len() > bytes_max {
            let detail = format!("the output has more than {bytes_max} bytes, which is the limit");
            return Err(queries::Error::Refused(detail));
        }
        Ok(())
    };
    while let Some(batch) = answer.next().await {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        add(encoder.rows(&batch)?)?;
    }
    add(encoder.finish()?)?;
    Ok(Output { bytes: Bytes::from(bytes), rows })
}

/// In place of a server for mail; no schedule that delivers by mail gets past the configuration without one.
#[derive(Debug)]
struct NoMail;

#[async_trait]
impl Mailer for NoMail {
    async fn send(&self, _: &Mail) -> Result<String, Refused> {
        Err(Refused::for_now("no server for mail is configured"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::schema::{Registry, SharedRegistry};
    use queries::{Parameters, Question};

    #[test]
    fn all_that_is_wrong_with_a_question_is_told() {
        let given = [("evidence", "-1"), ("player", "ann"), ("min_toxic", "many"), ("town", "x")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let faults = check_report("toxic_players", &given).unwrap_err();
        let parts = ["from 0 to 1000, not \"-1\"", "of 1 or more, not \"many\"", "has no parameter \"town\""];
        assert_eq!(faults.len(), parts.len(), "{faults:?}");
        assert!(faults.iter().zip(parts).all(|(fault, part)| fault.contains(part)), "{faults:?}");
        assert!(check_report("nope", &[]).unwrap_err()[0].contains("`killfeed report list` names them"));
        assert_eq!(check_report("toxic_players", &given[1..2]), Ok(()));
    }

    #[tokio::test]
    async fn an_output_is_whole_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().to_str().unwrap()).unwrap();
        let registry = SharedRegistry::new(Registry::default());
        let engine = Engine::new(store, registry, queries::Config::default()).unwrap();
        let viewer = Viewer { name: "schedules".into(), personal: false };
        let sql = "SELECT * FROM (VALUES ('Ahri', 3), ('Zed', 2)) AS t(champion, games)";
        let written = async |bytes_max| {
            let answer = engine.ask(Question::new(sql, Parameters::new(), &viewer)).await.unwrap();
            let encoder = Encoder::new(Written::Csv, answer.schema()).unwrap();
            whole(answer, encoder, bytes_max).await
        };
        let output = written(28).await.unwrap();
        assert_eq!((&output.bytes[..], output.rows), (&b"champion,games\nAhri,3\nZed,2\n"[..], 2));
        let refused = written(27).await.unwrap_err().to_string();
        assert!(refused.contains("more than 27 bytes"), "{refused}");
    }
}
