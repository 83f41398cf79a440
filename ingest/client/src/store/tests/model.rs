//! Any order of appends, reads, acknowledgements, syncs, power cuts, torn ends, full disks: against a list in memory.

use super::unsafe_files::UnsafeFiles;
use super::{AppendError, DiskQueue, record};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const LIMIT: u64 = 262_144;

#[derive(Debug, Clone)]
enum Step {
    /// Events of these sizes in one call.
    Append(Vec<usize>),
    Read(usize),
    /// Of what was read and is not done with: every so-manieth.
    Done(usize),
    Sent,
    Sync,
    DropOldest,
    Purge,
    /// The process dies: the operating system keeps all.
    Kill,
    /// The power goes: what was not forced down is there in part.
    Crash(u8),
    /// The process dies, and the last segment's end is torn off.
    Tear(usize),
    FillUp(usize),
    MakeRoom,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(0..12_000_usize, 1..6).prop_map(Step::Append),
        6 => (1..20_usize).prop_map(Step::Read),
        6 => (1..4_usize).prop_map(Step::Done),
        2 => Just(Step::Sent),
        2 => Just(Step::Sync),
        1 => Just(Step::DropOldest),
        1 => Just(Step::Purge),
        2 => Just(Step::Kill),
        2 => any::<u8>().prop_map(Step::Crash),
        1 => (0..30_000_usize).prop_map(Step::Tear),
        1 => (0..20_000_usize).prop_map(Step::FillUp),
        2 => Just(Step::MakeRoom),
    ]
}

/// What the queue must hold.
struct Model {
    files: UnsafeFiles,
    queue: DiskQueue,
    next: u64,
    /// Events that the queue may give, by order: whether a crash may have taken them.
    held: BTreeMap<u64, bool>,
    /// Done with, and forced down as that or not.
    done: BTreeMap<u64, bool>,
    /// Read in this run and not done with: order by index.
    read: BTreeMap<u64, u64>,
    /// Read in this run at all.
    seen: BTreeSet<u64>,
    /// Said to be sent, and that forced down or not.
    sent: BTreeMap<u64, bool>,
}

impl Model {
    fn new() -> Self {
        let files = UnsafeFiles::default();
        let queue = DiskQueue::open(Box::new(files.clone()), LIMIT).unwrap();
        let (held, done, read, seen, sent) = Default::default();
        Self { files, queue, next: 1, held, done, read, seen, sent }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Append(sizes) => self.append(&sizes),
            Step::Read(events) => self.read(events),
            Step::Done(nth) => self.done(nth),
            Step::Sent => self.say_sent(),
            Step::Sync => self.sync(),
            Step::DropOldest => self.drop_oldest(),
            Step::Purge => self.purge(),
            Step::Kill => self.reopen(false),
            Step::Crash(keep) => {
                self.files.crash(keep);
                self.reopen(true);
            }
            Step::Tear(bytes) => {
                self.files.cut_last(".kfq", bytes);
                // Any event may have stood there, forced down or not.
                self.held.values_mut().for_each(|unsure| *unsure = true);
                self.reopen(true);
            }
            Step::FillUp(left) => self.files.fill_up_to(left),
            Step::MakeRoom => self.files.make_room(),
        }
        assert!(self.files.bytes() as u64 <= LIMIT, "{} bytes on disk", self.files.bytes());
    }

    fn append(&mut self, sizes: &[usize]) {
        let records: Vec<_> = (self.next..).zip(sizes).map(|(order, size)| record(order, *size)).collect();
        self.next += records.len() as u64;
        match self.queue.append(&records) {
            Ok(()) => self.held.extend(records.iter().map(|record| (record.order, true))),
            Err(AppendError::Full) => {
                let more: u64 = records.iter().map(super::Record::bytes).sum();
                assert!(self.queue.bytes() + more + 8 > LIMIT, "refused with room left: {}", self.queue.bytes());
            }
            Err(AppendError::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::StorageFull),
        }
    }

    /// Reads in order what is held and unread, nothing else, and skips nothing that is sure to be there.
    fn read(&mut self, events: usize) {
        for _ in 0..events {
            let peeked = self.queue.peek_order().unwrap();
            let Some(stored) = self.queue.read().unwrap() else {
                assert_eq!(peeked, None);
                let missed = self.held.iter().find(|(order, unsure)| !**unsure && !self.seen.contains(order));
                assert_eq!(missed, None, "not given");
                return;
            };
            let order = stored.record.order;
            assert_eq!(peeked, Some(if stored.earlier { 0 } else { order }));
            assert!(self.seen.last().is_none_or(|last| *last < order), "{order} after {:?}", self.seen.last());
            // What was done with may come again only if that was not forced down.
            let forgotten = self.done.get(&order).is_some_and(|sure| !sure);
            assert!(self.held.contains_key(&order) || forgotten, "{order} was not held");
            let missed = self.held.range(..order).find(|(order, unsure)| !**unsure && !self.seen.contains(order));
            assert_eq!(missed, None, "passed over before {order}");
            assert_eq!(stored.record, record(order, stored.record.members.len() - record(order, 0).members.len()));
            if stored.earlier && self.sent.get(&order) == Some(&true) {
                assert!(stored.sent_us.is_some(), "{order} may be with the server");
            }
            self.seen.insert(order);
            self.read.insert(stored.index, order);
            self.held.entry(order).or_insert(true);
        }
    }

    fn done(&mut self, nth: usize) {
        let chosen: Vec<_> = self.read.iter().step_by(nth).map(|(index, order)| (*index, *order)).collect();
        for (index, order) in chosen {
            self.queue.done(index);
            self.read.remove(&index);
            self.held.remove(&order);
            self.done.insert(order, false);
        }
        self.queue.commit().unwrap();
    }

    fn say_sent(&mut self) {
        if let Some(last) = self.read.keys().last() {
            self.queue.set_sent(last + 1, 9);
            self.queue.commit().unwrap();
            self.sent = self.read.values().map(|order| (*order, false)).collect();
        }
    }

    fn sync(&mut self) {
        self.queue.sync().unwrap();
        self.held.values_mut().for_each(|unsure| *unsure = false);
        self.done.values_mut().for_each(|sure| *sure = true);
        self.sent.values_mut().for_each(|sure| *sure = true);
    }

    fn drop_oldest(&mut self) {
        let unread = |model: &Self| model.held.keys().filter(|order| !model.seen.contains(order)).count() as u64;
        let before = unread(self);
        let (below, dropped) = self.queue.drop_oldest().unwrap();
        self.read.retain(|index, order| {
            if *index < below {
                self.held.remove(order);
                self.done.insert(*order, false);
            }
            *index >= below
        });
        // The oldest that nobody had read are gone, as many as it says.
        let dropped: u64 = dropped.values().sum();
        assert!(dropped <= before);
        let gone: Vec<_> = self.held.keys().filter(|order| !self.seen.contains(order)).copied().collect();
        for order in gone.into_iter().take(usize::try_from(dropped).unwrap()) {
            self.held.remove(&order);
            self.done.insert(order, false);
            self.seen.insert(order);
        }
    }

    fn purge(&mut self) {
        assert_eq!(self.queue.purge().unwrap(), self.held.len() as u64);
        for (order, _) in std::mem::take(&mut self.held) {
            self.done.insert(order, false);
        }
        self.read.clear();
        self.done.values_mut().for_each(|sure| *sure = true);
    }

    /// Opens again. After a power cut, what was not sure may be gone; else all is there.
    fn reopen(&mut self, crashed: bool) {
        self.files.make_room();
        self.queue = DiskQueue::open(Box::new(self.files.clone()), LIMIT).unwrap();
        self.read.clear();
        self.seen.clear();
        if crashed {
            self.sent.retain(|_, sure| *sure);
        } else {
            self.held.values_mut().for_each(|unsure| *unsure = false);
            self.done.values_mut().for_each(|sure| *sure = true);
            self.sent.values_mut().for_each(|sure| *sure = true);
        }
        // What is there now is there: read it, and open again to begin anew.
        let mut found = BTreeSet::new();
        let held = self.queue.held();
        while self.queue.peek_order().unwrap().is_some() {
            let before: BTreeSet<_> = self.seen.clone();
            self.read(1);
            found.extend(self.seen.difference(&before));
        }
        assert_eq!(held, found.len() as u64);
        self.read(1);
        self.held = found.iter().map(|order| (*order, true)).collect();
        self.queue.take_damaged();
        self.queue = DiskQueue::open(Box::new(self.files.clone()), LIMIT).unwrap();
        assert_eq!(self.queue.held(), found.len() as u64);
        self.sync();
        self.read.clear();
        self.seen.clear();
    }
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(400), ..ProptestConfig::default() })]

    #[test]
    fn the_queue_is_the_list_that_it_stands_for(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in steps {
            model.apply(step);
        }
        model.reopen(false);
    }
}
