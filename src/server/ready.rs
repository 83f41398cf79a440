//! Which parts are up: what `/readyz` answers.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The state of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Not yet.
    Starting,
    /// At work.
    Ready,
    /// At work, and somebody should look at this.
    Warned(String),
    /// Not at work, for this reason.
    Not(String),
    /// On its way out.
    Stopping,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Ready => f.write_str("ready"),
            Self::Warned(reason) | Self::Not(reason) => f.write_str(reason),
            Self::Stopping => f.write_str("stopping"),
        }
    }
}

type Probe = Box<dyn Fn() -> State + Send + Sync>;

/// The parts by name, each with a way to ask how it is.
#[derive(Clone, Default)]
pub(crate) struct Readiness(Arc<Mutex<BTreeMap<&'static str, Probe>>>);

impl Readiness {
    /// From now on the part is asked by `probe`.
    pub(crate) fn watch(&self, part: &'static str, probe: impl Fn() -> State + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(part, Box::new(probe));
    }

    /// From now on the part is in this state.
    pub(crate) fn set(&self, part: &'static str, state: State) {
        self.watch(part, move || state.clone());
    }

    /// From now on every part is stopping.
    pub(crate) fn stopping(&self) {
        for probe in self.0.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            *probe = Box::new(|| State::Stopping);
        }
    }

    /// Sets the gauges that say the same as [`Self::report`].
    pub(crate) fn measure(&self) {
        let states = self.states();
        for (name, state) in &states {
            let ready = f64::from(u8::from(is_ready(state)));
            metrics::gauge!("killfeed_part_ready", "part" => *name).set(ready);
        }
        metrics::gauge!("killfeed_ready").set(f64::from(u8::from(all_ready(&states))));
    }

    fn states(&self) -> Vec<(&'static str, State)> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().map(|(name, probe)| (*name, probe())).collect()
    }

    /// Whether all are ready, and how each is.
    pub(crate) fn report(&self) -> (bool, Value) {
        let states = self.states();
        let ready = all_ready(&states);
        let parts: Map<String, Value> =
            states.into_iter().map(|(name, state)| (name.to_owned(), json!(state.to_string()))).collect();
        (ready, json!({ "ready": ready, "parts": parts }))
    }
}

fn all_ready(states: &[(&'static str, State)]) -> bool {
    !states.is_empty() && states.iter().all(|(_, state)| is_ready(state))
}

fn is_ready(state: &State) -> bool {
    matches!(state, State::Ready | State::Warned(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_part_is() {
        let readiness = Readiness::default();
        assert!(!readiness.report().0);
        readiness.set("log", State::Ready);
        assert!(readiness.report().0);
        readiness.set("sinks", State::Not("store unreachable".into()));
        let (ready, report) = readiness.report();
        assert!(!ready);
        assert_eq!(report["parts"], json!({ "log": "ready", "sinks": "store unreachable" }));
        readiness.set("sinks", State::Warned("behind".into()));
        let (ready, report) = readiness.report();
        assert!(ready);
        assert_eq!(report["parts"], json!({ "log": "ready", "sinks": "behind" }));
        readiness.stopping();
        assert_eq!(readiness.report().1["parts"]["log"], "stopping");
    }
}
