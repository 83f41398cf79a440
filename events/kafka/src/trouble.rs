//! Why appends fail at the moment.
//!
//! An append that failed for want of the cluster puts its partition here; one that works, or a look at
//! the partition's leader that finds enough replicas in sync, takes it away. Without the look nobody
//! would: who isn't ready is sent nothing.

use crate::reader::Readers;
use events::TopicPartition;
use events::log::{Error, Result};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// The partitions that appends failed for, each with the last error.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<TopicPartition, String>>);

impl Troubles {
    /// Takes an append's outcome up.
    pub(crate) fn note<T>(&self, of: &TopicPartition, outcome: &Result<T>) {
        match outcome {
            Ok(_) => drop(self.0.lock().remove(of)),
            Err(error @ (Error::Unavailable(_) | Error::InDoubt(_))) => {
                self.0.lock().insert(of.clone(), error.to_string());
            }
            Err(_) => {}
        }
    }

    /// One of them, if there is any.
    pub(crate) fn current(&self) -> Option<String> {
        self.0.lock().values().next().cloned()
    }

    /// Looks at each whether an append would work by now. Blocks.
    pub(crate) fn look(&self, readers: &Readers, in_sync: i32) {
        let troubled: Vec<TopicPartition> = self.0.lock().keys().cloned().collect();
        for of in troubled {
            if !readers.takes_appends(&of, in_sync, LOOK_LIMIT) {
                // The next is mostly no better off, and has its look in the next round.
                break;
            }
            self.0.lock().remove(&of);
        }
    }
}
