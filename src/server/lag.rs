//! How near what nobody has read is to its retention. Kafka deletes by age, read or not; so from 80 % on
//! this warns, while there is time: in the logs, in `/readyz`, and by a metric that alerts can watch.
//!
//! Every process looks, and at all groups: a role that doesn't run says nothing of itself.

use super::ready::State;
use events::log::{self, Log, Offset, ReadLimit, StreamInfo};
use events::streams::{PROCESSOR_GROUP, SINK_GROUP, TopicPartition};
use events::{Clock, SharedStreams};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often all partitions are looked at.
const INTERVAL: Duration = Duration::from_secs(30);
/// The share of the retention from which on a lag is an alarm.
const ALARM: f64 = 0.8;

/// Watches the lags of all groups. Clones are the same.
#[derive(Clone)]
pub(crate) struct LagWatch {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    streams: SharedStreams,
    /// The worst alarm of the last look.
    alarm: Arc<Mutex<Option<String>>>,
}

/// A reader's oldest unread record.
struct Oldest {
    group: &'static str,
    of: TopicPartition,
    /// Its age over the topic's retention; 1 or more where it is gone.
    share: f64,
}

impl LagWatch {
    pub(crate) fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>, streams: SharedStreams) -> Self {
        Self { log, clock, streams, alarm: Arc::default() }
    }

    /// What readiness says of it. An alarm is no reason to send clients elsewhere.
    pub(crate) fn state(&self) -> State {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(State::Ready, State::Warned)
    }

    /// Looks until `stop`.
    pub(crate) async fn keep(self, stop: CancellationToken) -> Result<(), String> {
        loop {
            match self.look().await {
                Ok(()) => {}
                Err(error) if error.is_retryable() => tracing::debug!(%error, "cannot see how old unread records are"),
                Err(error) => tracing::warn!(%error, "cannot see how old unread records are"),
            }
            if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Looks once.
    async fn look(&self) -> log::Result<()> {
        let mut worst: Option<Oldest> = None;
        for info in self.streams.current() {
            let stream = &info.stream;
            for (group, topic) in
                [(PROCESSOR_GROUP, stream.raw()), (SINK_GROUP, stream.clean()), (SINK_GROUP, stream.dead())]
            {
                for partition in 0..info.partitions {
                    let of = TopicPartition::new(topic.clone(), partition);
                    let share = self.share(&info, group, &of).await?;
                    metrics::gauge!("killfeed_log_oldest_unread_ratio", "group" => group, "topic" => of.topic.to_string(), "partition" => partition.to_string())
                        .set(share);
                    if share >= ALARM && worst.as_ref().is_none_or(|worst| worst.share < share) {
                        worst = Some(Oldest { group, of, share });
                    }
                }
            }
        }
        let alarm = worst.map(|Oldest { group, of, share }| {
            let percent = share * 100.0;
            format!(
                "{of}: what {group} has not read is at {percent:.0} % of its retention; past it Kafka deletes it unread"
            )
        });
        if let Some(alarm) = &alarm {
            tracing::warn!(alarm, "a group is far behind");
        }
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner) = alarm;
        Ok(())
    }

    /// The age of the group's oldest unread record over the retention.
    async fn share(&self, info: &StreamInfo, group: &str, of: &TopicPartition) -> log::Result<f64> {
        let ends = self.log.ends(of).await?;
        if ends.start == ends.last_stable {
            return Ok(0.0);
        }
        let position: Offset = self.log.committed(group, of).await?.unwrap_or(0);
        if position >= ends.last_stable {
            return Ok(0.0);
        }
        if position < ends.start {
            return Ok(1.0);
        }
        let batch = self.log.read(of, position, ReadLimit { records: 1, bytes: 1 }).await?;
        let Some(oldest) = batch.records.first() else { return Ok(0.0) };
        let age_ms = self.clock.now_ms().saturating_sub(oldest.time_ms).max(0).unsigned_abs();
        Ok(Duration::from_millis(age_ms).as_secs_f64() / info.retention.as_secs_f64().max(0.001))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::log::memory::MemoryLog;
    use events::log::{Append, Durability, NewRecord, StreamSpec};
    use events::{ManualClock, Stream};

    #[tokio::test]
    async fn from_80_percent_of_the_retention_on_a_lag_is_an_alarm() {
        let clock = ManualClock::at(1_700_000_000_000_000);
        let log = MemoryLog::new(Arc::new(clock.clone()));
        let stream = Stream::new("events").unwrap();
        let hour = Duration::from_secs(3_600);
        let spec = StreamSpec { stream: stream.clone(), partitions: 1, retention: hour, state_retention: 2 * hour };
        let info = log.create_stream(&spec).await.unwrap();
        let raw = TopicPartition::new(stream.raw(), 0);
        let watch = LagWatch::new(Arc::new(log.clone()), Arc::new(clock.clone()), SharedStreams::new(vec![info]));
        let look = async || {
            watch.look().await.unwrap();
            watch.state()
        };
        clock.advance_us(10 * 3_600_000_000);
        assert_eq!(look().await, State::Ready, "nothing is unread");
        for _ in 0..2 {
            let records = vec![NewRecord { payload: Some("x".into()), ..NewRecord::default() }];
            log.append(vec![Append { to: raw.clone(), records }], Durability::All).await.remove(0).unwrap();
            clock.advance_us(47 * 60_000_000);
        }
        // The first is past its retention by now, the second at 78 %.
        let State::Warned(text) = look().await else { panic!("94 minutes of 60") };
        assert!(text.starts_with("events.raw/0: what killfeed-process has not read is at 157 %"), "{text}");
        log.delete_below(&raw, 1);
        let State::Warned(text) = look().await else { panic!("gone unread") };
        assert!(text.contains("100 %"), "{text}");
        let mut member = log.join(PROCESSOR_GROUP, &[stream.raw()], "m").await.unwrap();
        let _ = member.poll(ReadLimit::default(), Duration::ZERO).await.unwrap();
        member.commit(&[(raw.clone(), 1)]).await.unwrap();
        assert_eq!(look().await, State::Ready, "78 %");
        clock.advance_us(59_000_000);
        assert_eq!(look().await, State::Ready, "80 % is 48 minutes");
        clock.advance_us(1_000_000);
        assert!(matches!(look().await, State::Warned(_)));
        member.commit(&[(raw, 2)]).await.unwrap();
        assert_eq!(look().await, State::Ready, "all is read");
    }
}
