//! Reports on time: when they are due, where their outputs lie, who gets them.
//!
//! | start here | to learn |
//! |---|---|
//! | [`Scheduler`] | the loop, which any number of replicas may run on one store |
//! | [`Config`] | what stands in the config file, and how it is checked |
//! | [`decide`] | what becomes of a tick, missed ones too |
//! | [`Timetable`] | cron and time zones, and hours that are skipped or doubled |
//! | [`Parts`] | what is handed in: store, clock, runner, senders, chance |
//!
//! Two things are put only if they don't exist: what is decided about a tick, and its output. So there
//! is one of each, however many replicas try, die, or wake up late. Everything else may be done again.

mod backoff;
mod config;
mod deliver;
mod error;
mod history;
mod http;
mod journal;
mod mail;
mod policy;
mod records;
mod report;
mod schedule;
mod scheduler;
mod tick;
mod time;
mod timetable;
mod webhook;
mod work;

pub use config::{CheckReport, Config, SECTIONS};
pub use deliver::{Delivery, Mail, Mailer, Refused, Secret, Target, Webhook, Webhooks};
pub use error::{Error, Result};
pub use history::{Delivered, Entry, Outcome, Progress, Summary};
pub use http::router;
pub use mail::{MailServer, Security, SmtpMailer};
pub use policy::{CATCH_UP_MAX, Missed, Verdict, decide};
pub use records::{Attempt, Decision, Fate, Plan, Run};
pub use report::{Format, Output, Request, Runner};
pub use schedule::Schedule;
pub use scheduler::{Parts, Scheduler};
pub use tick::Tick;
pub use time::{SharedClock, StoreClock};
pub use timetable::Timetable;
pub use webhook::HttpWebhooks;
pub use work::RUNS_MAX;
