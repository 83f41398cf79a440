//! The turnstile, the draws and the history: what all processes of one run share.
//!
//! A call to log or store first waits at the turnstile until its ten of ms has come; then calls go
//! through one by one, a tick each, in an order drawn from the seed. What is drawn for a call depends on
//! seed, process and call and on how often that call was made before, never on the order in which
//! threads came by: deltalake reads tables on threads of its own.

use crate::Broken;
use crate::plan::Plan;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ThreadId;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A ten of virtual time: processes compute at its start, log and store change within it.
pub(crate) const TEN: u64 = 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    start: Instant,
    thread: ThreadId,
    home: Handle,
    state: Mutex<State>,
    lines: usize,
    /// Signalled when somebody came to the turnstile.
    pub(crate) came: Notify,
    /// Off once all is healed.
    faulty: AtomicBool,
    pub(crate) faults: AtomicU64,
    /// When the last of the calls that were held back arrives.
    pub(crate) last_straggler_ms: AtomicU64,
    /// What every clock of a process shows past virtual time, in ms.
    pub(crate) all_clocks_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    turns: BTreeMap<Turn, oneshot::Sender<()>>,
    made: HashMap<u64, u64>,
    step: u32,
    digest: u64,
    calls: u64,
    history: VecDeque<String>,
    broken: Option<Broken>,
}

/// A place at the turnstile: when it is due, and in which order within a ten.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    ten: u64,
    order: u64,
    process: u32,
    what: String,
}

/// Random bits for one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw(u64);

impl Draw {
    /// Further bits.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True in `per_mille` of a thousand cases.
    pub(crate) fn strikes(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

impl World {
    pub(crate) fn new(plan: Plan, lines: usize) -> Arc<Self> {
        Arc::new(Self {
            plan,
            start: Instant::now(),
            thread: std::thread::current().id(),
            home: Handle::current(),
            state: Mutex::default(),
            lines,
            came: Notify::new(),
            faulty: AtomicBool::new(true),
            faults: AtomicU64::new(0),
            last_straggler_ms: AtomicU64::new(0),
            all_clocks_ms: AtomicU64::new(0),
        })
    }

    /// Virtual time since the start, in ms.
    pub(crate) fn now_ms(&self) -> u64 {
        // Elsewhere another clock ticks.
        let _home = (!self.is_at_home()).then(|| self.home.enter());
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the caller is on the simulation's own thread, where time is virtual.
    pub(crate) fn is_at_home(&self) -> bool {
        std::thread::current().id() == self.thread
    }

    /// Sleeps until this ms.
    pub(crate) async fn sleep_until(&self, at_ms: u64) {
        tokio::time::sleep_until(self.start + Duration::from_millis(at_ms)).await;
    }

    /// Sleeps to the start of the next ten and `more` tens.
    pub(crate) async fn next_ten(&self, more: u64) {
        let ten = self.now_ms() / TEN + 1 + more;
        self.sleep_until(ten * TEN).await;
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::SeqCst)
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.faulty.store(false, Ordering::SeqCst);
    }

    /// Counts a fault.
    pub(crate) fn injected(&self) {
        self.faults.fetch_add(1, Ordering::SeqCst);
    }

    /// What is drawn for this call of this process, this time.
    pub(crate) fn draw(&self, process: u32, what: &str) -> Draw {
        let key = xxh3_64_with_seed(what.as_bytes(), self.plan.seed ^ (u64::from(process) << 40));
        let mut state = self.state.lock();
        let made = state.made.entry(key).or_default();
        *made += 1;
        Draw(key.wrapping_add(made.wrapping_mul(0x2545_f491_4f6c_dd1d)))
    }

    /// What is drawn for this call of this process now: for calls of other threads, which may come more or
    /// fewer times, as these threads read ahead.
    pub(crate) fn draw_now(&self, process: u32, what: &str) -> Draw {
        let key = xxh3_64_with_seed(what.as_bytes(), self.plan.seed ^ (u64::from(process) << 40));
        Draw(key ^ self.now_ms().wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// Waits until the call may take effect: `later` tens from the next one that begins.
    pub(crate) async fn turn(&self, process: u32, what: &str, later: u64, order: u64) {
        let (granted, grant) = oneshot::channel();
        {
            let ten = self.now_ms().div_ceil(TEN) + later;
            let mut turn = Turn { ten, order, process, what: what.to_owned() };
            let mut state = self.state.lock();
            while state.turns.contains_key(&turn) {
                turn.order = turn.order.wrapping_add(1);
            }
            state.turns.insert(turn, granted);
        }
        self.came.notify_one();
        // The driver lives as long as the runtime: it never drops a turn.
        let _ = grant.await;
    }

    /// When the next call is due, in ms.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        self.state.lock().turns.keys().next().map(|turn| turn.ten * TEN + 1)
    }

    /// Lets the next call through, if one is due.
    pub(crate) fn grant(&self) -> bool {
        let now_ms = self.now_ms();
        let mut state = self.state.lock();
        while let Some(first) = state.turns.first_entry() {
            if first.key().ten * TEN >= now_ms {
                return false;
            }
            // A call whose caller is gone takes no tick.
            if first.remove().send(()).is_ok() {
                state.calls += 1;
                return true;
            }
        }
        false
    }

    /// Writes down what happened.
    pub(crate) fn note(&self, who: &str, what: &str) {
        let now_ms = self.now_ms();
        let mut state = self.state.lock();
        let digest = xxh3_64_with_seed(who.as_bytes(), state.digest ^ now_ms);
        state.digest = xxh3_64_with_seed(what.as_bytes(), digest);
        if state.history.len() >= self.lines {
            state.history.pop_front();
        }
        let step = state.step;
        state.history.push_back(format!("{:>4} {:>8} ms  {who:<6} {what}", step, now_ms));
    }

    /// A law did not hold. The first one counts.
    pub(crate) fn breaks(&self, law: &'static str, detail: impl Into<String>) {
        let mut state = self.state.lock();
        let step = state.step;
        state.broken.get_or_insert(Broken { step, law, detail: detail.into() });
    }

    pub(crate) fn broken(&self) -> Option<Broken> {
        self.state.lock().broken.clone()
    }

    pub(crate) fn set_step(&self, step: u32) {
        self.state.lock().step = step;
    }

    pub(crate) fn digest(&self) -> u64 {
        self.state.lock().digest
    }

    pub(crate) fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    pub(crate) fn history(&self) -> Vec<String> {
        self.state.lock().history.iter().cloned().collect()
    }
}
