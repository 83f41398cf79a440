//! What was measured: for programs, for people, and as files that can be merged.

use crate::rate::Times;
use crate::tally::{Histogram, Tally};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the files.
const VERSION: u64 = 1;

/// Percentiles of a histogram, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// Of 100, 95 took no longer.
    pub p95_ms: f64,
    /// Of 100, 99 took no longer.
    pub p99_ms: f64,
    /// None took longer. A minute at most: what took longer counts as that.
    pub max_ms: f64,
}

impl From<&Histogram> for Latency {
    fn from(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            p50_ms: histogram.quantile_ms(0.5),
            p95_ms: histogram.quantile_ms(0.95),
            p99_ms: histogram.quantile_ms(0.99),
            max_ms: histogram.max_ms(),
        }
    }
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that were due by the schedule; of players, 0.
    pub due: u64,
    /// Of these, those for which no connection was free in time: they were never made.
    pub not_sent: u64,
    /// Of these, those that had a first answer, or are known to get none. Of players, all requests.
    pub answered: u64,
    /// Requests that were made and ended, resends included.
    pub requests: u64,
    /// Requests that did not go well, by kind: a status, or what broke.
    pub errors: BTreeMap<String, u64>,
    /// Events answered 202.
    pub acknowledged: u64,
    /// Events refused for good.
    pub refused: u64,
    /// Events that were not sent and never will be, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Events in doubt at the end: sent, and never answered.
    pub unknown: u64,
    /// Times that an event was sent again.
    pub resent: u64,
    /// Events acknowledged after they had been in doubt: the server may have seen each of them twice, and counts it once.
    pub repeated: u64,
    /// Bytes of request bodies, as they went over the wire.
    pub body_bytes: u64,
}

/// One stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Requests per second that were wanted; `None` with players.
    pub wanted_rate: Option<u64>,
    /// Players online; `None` with a rate.
    pub players: Option<u64>,
    /// Events of a request, with a rate.
    pub events_per_request: Option<u64>,
    /// From the begin to the last answer, in seconds; at least the duration, unless interrupted.
    pub elapsed_s: f64,
    /// Ctrl-C ended it early.
    pub interrupted: bool,
    /// What was counted.
    pub counts: Counts,
    /// From when it was due to its answer: with a rate of each request that was due, with players of each event.
    pub from_due: Histogram,
    /// From when it was sent to its answer: of each request that was made.
    pub from_send: Histogram,
}

impl Stage {
    pub(crate) fn new(wanted: Wanted, times: Times, tally: &Tally) -> Self {
        let by_rate = matches!(wanted, Wanted::Rate { .. });
        let counts = Counts {
            due: times.due,
            not_sent: times.not_sent,
            answered: if by_rate { tally.first } else { tally.requests },
            requests: tally.requests,
            errors: tally.errors.clone(),
            acknowledged: tally.taken(),
            refused: tally.refused,
            lost: tally.lost.clone(),
            unknown: tally.unknown(),
            resent: tally.resent,
            repeated: tally.repeated,
            body_bytes: tally.body_bytes,
        };
        let (wanted_rate, events_per_request, players) = match wanted {
            Wanted::Rate { rate, events } => (Some(u64::from(rate)), Some(events as u64), None),
            Wanted::Players(players) => (None, None, Some(players as u64)),
        };
        Self {
            wanted_rate,
            players,
            events_per_request,
            elapsed_s: times.elapsed.as_secs_f64(),
            interrupted: times.interrupted,
            counts,
            from_due: tally.from_due.clone(),
            from_send: tally.from_send.clone(),
        }
    }

    /// A number of the whole stage, per second.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn per_second(&self, count: u64) -> f64 {
        if self.elapsed_s > 0.0 { count as f64 / self.elapsed_s } else { 0.0 }
    }

    /// Requests answered per second.
    pub fn rate(&self) -> f64 {
        self.per_second(self.counts.answered)
    }

    /// Megabytes (10^6) of request bodies per second.
    pub fn mb_per_s(&self) -> f64 {
        self.per_second(self.counts.body_bytes) / 1e6
    }

    /// Whether nothing was refused, lost or left in doubt. What a server asked to leave out is not lost.
    pub fn is_good(&self) -> bool {
        let lost: u64 = self.counts.lost.iter().filter(|(reason, _)| *reason != "sampled").map(|(_, n)| n).sum();
        self.counts.refused == 0 && self.counts.unknown == 0 && lost == 0
    }

    /// What it is called: its rate or its players.
    pub fn name(&self) -> String {
        match (self.wanted_rate, self.players) {
            (Some(rate), _) => format!("{rate}/s"),
            (None, Some(players)) => format!("{players} players"),
            (None, None) => String::new(),
        }
    }

    fn merge(&mut self, other: &Self) -> Result<(), String> {
        let kind = |stage: &Self| (stage.wanted_rate.is_some(), stage.events_per_request);
        if kind(self) != kind(other) {
            return Err(format!("is {}, not {}", other.name(), self.name()));
        }
        for (mine, its) in [(&mut self.wanted_rate, other.wanted_rate), (&mut self.players, other.players)] {
            *mine = mine.zip(its).map(|(mine, its)| mine.saturating_add(its));
        }
        self.elapsed_s = self.elapsed_s.max(other.elapsed_s);
        self.interrupted |= other.interrupted;
        self.counts.add(&other.counts);
        self.from_due.add(&other.from_due)?;
        self.from_send.add(&other.from_send)
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        for (mine, its) in [
            (&mut self.due, other.due),
            (&mut self.not_sent, other.not_sent),
            (&mut self.answered, other.answered),
            (&mut self.requests, other.requests),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.refused, other.refused),
            (&mut self.unknown, other.unknown),
            (&mut self.resent, other.resent),
            (&mut self.repeated, other.repeated),
            (&mut self.body_bytes, other.body_bytes),
        ] {
            *mine = mine.saturating_add(its);
        }
        for (mine, its) in [(&mut self.errors, &other.errors), (&mut self.lost, &other.lost)] {
            for (kind, count) in its {
                let mine = mine.entry(kind.clone()).or_default();
                *mine = mine.saturating_add(*count);
            }
        }
    }
}

/// What a stage was to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    Rate { rate: u32, events: usize },
    Players(usize),
}

/// All stages of a run, or of several runs merged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// In order.
    pub stages: Vec<Stage>,
}

/// As a stage stands in JSON.
#[derive(Debug, Serialize, Deserialize)]
struct StageJson {
    wanted_rate: Option<u64>,
    players: Option<u64>,
    events_per_request: Option<u64>,
    elapsed_s: f64,
    interrupted: bool,
    counts: Counts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    histograms: Option<Histograms>,
    #[serde(flatten, skip_deserializing)]
    derived: Option<Derived>,
}

/// Base64 of HdrHistogram's V2 with compression.
#[derive(Debug, Serialize, Deserialize)]
struct Histograms {
    from_due: String,
    from_send: String,
}

/// What can be reckoned from the rest.
#[derive(Debug, Serialize)]
struct Derived {
    rate: f64,
    events_per_s: f64,
    mb_per_s: f64,
    from_due: Latency,
    from_send: Latency,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReportJson {
    killfeed_load: u64,
    stages: Vec<StageJson>,
}

/// Why a file of histograms can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is something else.
    #[error("is no file of `killfeed load --out`: {0}")]
    Foreign(String),
    /// It is of a version that we don't know.
    #[error("is of version {0}, and this killfeed reads version {known}", known = VERSION)]
    Version(u64),
    /// A histogram in it can't be read.
    #[error("stage {stage}: the histogram {name} {reason}")]
    Histogram {
        /// Counted from 1.
        stage: usize,
        /// `from_due` or `from_send`.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// It is of another plan than those before it.
    #[error("{0}; only runs of the same plan can be merged")]
    Differs(String),
}

impl Report {
    /// Whether every stage is good; see [`Stage::is_good`].
    pub fn is_good(&self) -> bool {
        self.stages.iter().all(Stage::is_good)
    }

    /// As JSON; `histograms` puts them in, which makes it a file that can be merged.
    ///
    /// # Errors
    /// Never, as long as numbers are numbers.
    pub fn json(&self, histograms: bool) -> serde_json::Result<String> {
        let stages = self.stages.iter().map(|stage| stage_json(stage, histograms)).collect();
        serde_json::to_string(&ReportJson { killfeed_load: VERSION, stages })
    }

    /// The report that a file has.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn read(text: &[u8]) -> Result<Self, FileError> {
        let foreign = |error: serde_json::Error| FileError::Foreign(error.to_string());
        #[derive(Deserialize)]
        struct Head {
            killfeed_load: u64,
        }
        let head: Head = serde_json::from_slice(text).map_err(foreign)?;
        if head.killfeed_load != VERSION {
            return Err(FileError::Version(head.killfeed_load));
        }
        let json: ReportJson = serde_json::from_slice(text).map_err(foreign)?;
        let stages = json.stages.into_iter().enumerate().map(|(at, stage)| stage_read(at + 1, stage));
        Ok(Self { stages: stages.collect::<Result<_, _>>()? })
    }

    /// Takes in the report of another machine that ran the same plan at the same time: rates and counts are added, histograms
    /// become one without loss.
    ///
    /// # Errors
    /// [`FileError::Differs`] if the stages aren't alike; this report is then of no use any more.
    pub fn merge(&mut self, other: &Self) -> Result<(), FileError> {
        let (mine, its) = (self.stages.len(), other.stages.len());
        if mine != its {
            return Err(FileError::Differs(format!("has {its} stages, not {mine}")));
        }
        for (at, (mine, its)) in self.stages.iter_mut().zip(&other.stages).enumerate() {
            mine.merge(its).map_err(|reason| FileError::Differs(format!("stage {} {reason}", at + 1)))?;
        }
        Ok(())
    }
}

fn stage_json(stage: &Stage, histograms: bool) -> StageJson {
    let text = |histogram: &Histogram| STANDARD.encode(histogram.encode());
    StageJson {
        wanted_rate: stage.wanted_rate,
        players: stage.players,
        events_per_request: stage.events_per_request,
        elapsed_s: stage.elapsed_s,
        interrupted: stage.interrupted,
        counts: stage.counts.clone(),
        histograms: histograms
            .then(|| Histograms { from_due: text(&stage.from_due), from_send: text(&stage.from_send) }),
        derived: Some(Derived {
            rate: stage.rate(),
            events_per_s: stage.per_second(stage.counts.acknowledged),
            mb_per_s: stage.mb_per_s(),
            from_due: (&stage.from_due).into(),
            from_send: (&stage.from_send).into(),
        }),
    }
}

fn stage_read(number: usize, json: StageJson) -> Result<Stage, FileError> {
    let Some(histograms) = json.histograms else {
        return Err(FileError::Foreign("it has no histograms".to_owned()));
    };
    let histogram = |name, text: &str| {
        let bytes = STANDARD.decode(text).map_err(|error| format!("is broken: {error}"));
        let read = bytes.and_then(|bytes| Histogram::decode(&bytes));
        read.map_err(|reason| FileError::Histogram { stage: number, name, reason })
    };
    Ok(Stage {
        wanted_rate: json.wanted_rate,
        players: json.players,
        events_per_request: json.events_per_request,
        elapsed_s: json.elapsed_s,
        interrupted: json.interrupted,
        counts: json.counts,
        from_due: histogram("from_due", &histograms.from_due)?,
        from_send: histogram("from_send", &histograms.from_send)?,
    })
}
