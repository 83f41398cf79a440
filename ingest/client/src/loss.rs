//! What was not delivered, by reason and type.

use serde::Serialize;
use std::collections::BTreeMap;

/// Types that are counted by name; what comes beyond is counted as `(other)`, so that memory stays bounded.
const TYPES_MAX: usize = 256;

/// Why an event was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Memory held as much as it may.
    QueueFull,
    /// The store held as much as it may, or could not be written while memory was full, too.
    DiskFull,
    /// In doubt for longer than the server tells duplicates.
    Expired,
    /// The server refused it for good, or it was no event to begin with.
    Refused,
    /// Left out on purpose, as the server asked.
    Sampled,
    /// The player has not agreed, or no longer.
    NoConsent,
    /// Larger than an event may be.
    TooLarge,
    /// What stood in the store can't be read any more.
    Damaged,
    /// The hook said no.
    Hook,
    /// Still in memory when the client was closed, with no store to keep it.
    Closed,
}

impl Reason {
    /// All of them, in the order of [`Stats::lost`](crate::Stats::lost).
    pub const ALL: [Self; 10] = [
        Self::QueueFull,
        Self::DiskFull,
        Self::Expired,
        Self::Refused,
        Self::Sampled,
        Self::NoConsent,
        Self::TooLarge,
        Self::Damaged,
        Self::Hook,
        Self::Closed,
    ];

    /// As one word, in reports: `queue_full`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::DiskFull => "disk_full",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Sampled => "sampled",
            Self::NoConsent => "no_consent",
            Self::TooLarge => "too_large",
            Self::Damaged => "damaged",
            Self::Hook => "hook",
            Self::Closed => "closed",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Counts by reason and type; those that no report has told are kept apart.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    total: BTreeMap<Reason, u64>,
    untold: BTreeMap<(Reason, String), u64>,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(crate) struct Told {
    pub(crate) reason: String,
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    pub(crate) events: u64,
}

impl Losses {
    pub(crate) fn add(&mut self, reason: Reason, event_type: &str, events: u64) {
        if events == 0 {
            return;
        }
        *self.total.entry(reason).or_default() += events;
        let key = (reason, event_type.to_owned());
        let known = self.untold.len() < TYPES_MAX || self.untold.contains_key(&key);
        let key = if known { key } else { (reason, "(other)".to_owned()) };
        *self.untold.entry(key).or_default() += events;
    }

    pub(crate) fn total(&self) -> &BTreeMap<Reason, u64> {
        &self.total
    }

    pub(crate) fn is_told(&self) -> bool {
        self.untold.is_empty()
    }

    /// What no report has told yet; from now on it counts as told.
    pub(crate) fn tell(&mut self) -> Vec<Told> {
        let untold = std::mem::take(&mut self.untold);
        untold
            .into_iter()
            .map(|((reason, event_type), events)| Told { reason: reason.as_str().to_owned(), event_type, events })
            .collect()
    }

    /// A report that did not arrive: its counts go with the next one.
    pub(crate) fn untell(&mut self, report: &[Told]) {
        for told in report {
            let Some(reason) = Reason::ALL.into_iter().find(|reason| reason.as_str() == told.reason) else { continue };
            *self.untold.entry((reason, told.event_type.clone())).or_default() += told.events;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_is_told_once_and_again_only_if_the_report_was_lost() {
        let mut losses = Losses::default();
        losses.add(Reason::QueueFull, "a", 2);
        losses.add(Reason::QueueFull, "a", 1);
        losses.add(Reason::Expired, "b", 0);
        let report = losses.tell();
        assert_eq!(report, [Told { reason: "queue_full".into(), event_type: "a".into(), events: 3 }]);
        assert!(losses.is_told());
        losses.untell(&report);
        assert_eq!(losses.tell(), report);
        assert_eq!(losses.total()[&Reason::QueueFull], 3);
    }

    #[test]
    fn a_thousand_types_take_no_more_memory_than_the_bound() {
        let mut losses = Losses::default();
        for n in 0..1000 {
            losses.add(Reason::Sampled, &format!("type{n}"), 1);
        }
        let report = losses.tell();
        assert_eq!(report.len(), TYPES_MAX + 1);
        assert_eq!(report.iter().map(|told| told.events).sum::<u64>(), 1000);
    }
}
