//! What lies outside of the scheduler in the simulated world: the reports, and those who receive them.

use super::world::World;
use async_trait::async_trait;
use schedules::{Mail, Mailer, Output, Refused, Request, Runner, Webhook, Webhooks};
use std::sync::Arc;
use std::time::Duration;

/// Something that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    /// The address that it was sent to.
    pub(super) to: String,
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct Outside(pub(super) Arc<World>);

impl Outside {
    /// A receiver that is slow, refuses, takes and says it did not, or never answers.
    async fn receive(&self, received: Received) -> Result<String, Refused> {
        let world = &self.0;
        let (luck, pause) = (world.chance(), world.between(0, 5_000));
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let rate = world.receiver_faults();
        let take = |received| world.received.lock().push(received);
        if luck < rate {
            return Err(Refused::for_now("500"));
        }
        if luck < rate * 1.2 {
            return Err(Refused {
                detail: "429".into(),
                is_final: false,
                retry_after: Some(Duration::from_secs(7_200)),
            });
        }
        take(received);
        if luck < rate * 1.5 {
            return Err(Refused::for_now("the answer was lost"));
        }
        if luck < rate * 1.7 {
            return std::future::pending().await;
        }
        Ok("200".into())
    }
}

#[async_trait]
impl Runner for Outside {
    /// No two runs give the same: meanwhile there are more events.
    async fn run(&self, request: &Request) -> Result<Output, String> {
        let world = &self.0;
        let (luck, took) = (world.chance(), world.between(10, 400));
        tokio::time::sleep(Duration::from_secs(took)).await;
        if luck < world.report_faults() {
            return Err("no such table".into());
        }
        if luck < world.report_faults() * 1.2 {
            return std::future::pending().await;
        }
        let run = world.next_run();
        Ok(Output { bytes: format!("{} {:?} run {run}\n", request.report, request.params).into(), rows: run })
    }
}

#[async_trait]
impl Webhooks for Outside {
    async fn send(&self, webhook: &Webhook) -> Result<String, Refused> {
        let (to, id) = (webhook.url.to_string(), webhook.id.clone());
        self.receive(Received { to, id, body: webhook.body.to_vec() }).await
    }
}

#[async_trait]
impl Mailer for Outside {
    async fn send(&self, mail: &Mail) -> Result<String, Refused> {
        let body = mail.attached.as_ref().map(|(_, _, bytes)| bytes.to_vec()).unwrap_or_default();
        let id = mail.id.trim_matches(['<', '>']).trim_end_matches("@killfeed").to_owned();
        self.receive(Received { to: mail.to.join(","), id, body }).await
    }
}
