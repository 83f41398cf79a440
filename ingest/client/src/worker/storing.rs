//! Between memory and the store. What the store doesn't take stays in memory; what fails is tried again, and said in
//! the statistics.

use super::{Line, Place, When, Worker};
use crate::config::{OnFull, Sync};
use crate::event::{Event, LOSS_TYPE};
use crate::loss::Reason;
use crate::ports::micros;
use crate::shared::{Held, Report};
use crate::store::{AppendError, Record, WRITE};
use std::time::Duration;

impl Worker {
    /// The store's events that nobody has read.
    pub(super) fn unread(&self) -> u64 {
        let read = self.front.iter().filter(|line| matches!(line.place, Place::Stored { .. })).count() as u64;
        self.store.as_ref().map_or(0, |store| store.held().saturating_sub(read))
    }

    /// Writes what has come for the store.
    pub(super) fn store_arrivals(&mut self, now: Duration) {
        let arrivals = std::mem::take(&mut self.shared.lock().arriving);
        if arrivals.is_empty() {
            return;
        }
        self.last_stored = Some(now);
        let (mut chunk, mut records, mut bytes) = (Vec::new(), Vec::new(), 0);
        for held in arrivals {
            let Some(record) = self.record_of(&held) else { continue };
            if bytes + record.bytes() > WRITE && !records.is_empty() {
                self.append(std::mem::take(&mut chunk), &std::mem::take(&mut records), now);
                bytes = 0;
            }
            bytes += record.bytes();
            chunk.push(held);
            records.push(record);
        }
        if !records.is_empty() {
            self.append(chunk, &records, now);
        }
        match self.config.store_sync {
            Sync::Never => {}
            Sync::Always => self.sync_at = Some(now),
            Sync::Within(time) => self.sync_at = self.sync_at.or(Some(now + time)),
        }
    }

    /// An event as the store keeps it; `None` if it is too large, which is counted.
    fn record_of(&mut self, held: &Held) -> Option<Record> {
        let members = self.members(held);
        if members.len() + crate::line::TIMES > self.event_bytes() {
            self.shared.lock().settle(1, held.cost);
            self.shared.lose_event(Reason::TooLarge, &held.event.event_type, None);
            return None;
        }
        let (time_us, server_time) = match held.event.local_us {
            Some(us) => (us, false),
            None => (self.time.at_us(held.at), self.time.is_measured()),
        };
        Some(Record { order: held.order, time_us, server_time, event_type: held.event.event_type.to_string(), members })
    }

    fn append(&mut self, chunk: Vec<Held>, records: &[Record], now: Duration) {
        let bytes: u64 = records.iter().map(Record::bytes).sum();
        loop {
            let Some(store) = &mut self.store else { return };
            let error = match store.append(records) {
                Ok(()) => {
                    self.unread_bytes += bytes;
                    self.unread_since.get_or_insert(now);
                    let cost = chunk.iter().map(|held| held.cost).sum();
                    self.shared.lock().settle(chunk.len(), cost);
                    self.shared.numbers.lock().store_error = None;
                    return;
                }
                Err(error) => error,
            };
            self.shared.numbers.lock().store_error = Some(error.to_string());
            match error {
                AppendError::Full if self.config.on_full == OnFull::Oldest && self.drop_oldest() => {}
                AppendError::Full => {
                    let cost = chunk.iter().map(|held| held.cost).sum();
                    self.shared.lock().settle(chunk.len(), cost);
                    return self.shared.lose_all(chunk, Reason::DiskFull);
                }
                // The disk doesn't take them: memory still does.
                AppendError::Io(_) => {
                    let mut queue = self.shared.lock();
                    chunk.into_iter().for_each(|held| queue.put_back(held));
                    return;
                }
            }
        }
    }

    /// Makes room in the store: whether anything was removed.
    fn drop_oldest(&mut self) -> bool {
        let Some(store) = &mut self.store else { return false };
        let before = store.bytes();
        let Ok((below, dropped)) = store.drop_oldest() else { return false };
        let gone = store.bytes() < before;
        {
            let mut losses = self.shared.losses.lock();
            dropped.iter().for_each(|(event_type, events)| losses.add(Reason::DiskFull, event_type, *events));
        }
        // What is in hand is kept in memory from now on.
        let mut queue = self.shared.lock();
        for line in &mut self.front {
            if matches!(line.place, Place::Stored { index } if index < below) {
                let cost = line.members.len();
                line.place = Place::Memory { cost };
                queue.events += 1;
                queue.bytes += cost;
            }
        }
        gone
    }

    /// The order of the next event in the store.
    pub(super) fn peek_store(&mut self) -> Option<u64> {
        let peeked = self.store.as_mut().map_or(Ok(None), |store| store.peek_order());
        let peeked = self.heard(peeked).flatten();
        self.count_damage();
        peeked
    }

    /// The next event in the store, in hand from now on.
    pub(super) fn read_store(&mut self) -> Option<Line> {
        let read = self.store.as_mut().map_or(Ok(None), |store| store.read());
        let stored = self.heard(read).flatten()?;
        let now = self.clock.now();
        let age_us = |sent_us: i64| (self.time.local_us(now) - sent_us).max(0);
        let record = stored.record;
        let since = if stored.earlier { None } else { self.unread_since };
        self.unread_bytes = self.unread_bytes.saturating_sub(record.bytes());
        if self.unread() == 1 {
            (self.unread_since, self.earlier_due) = (None, false);
        }
        Some(Line {
            order: if stored.earlier { 0 } else { record.order },
            place: Place::Stored { index: stored.index },
            earlier: stored.earlier,
            doubt: stored.sent_us.map(|sent_us| micros(now).saturating_sub(age_us(sent_us))),
            event_type: record.event_type,
            when: When::Fixed { us: record.time_us, server: record.server_time },
            members: record.members,
            since: since.unwrap_or_default(),
            tried: stored.earlier,
            doomed: false,
        })
    }

    /// Writes down which of the store's events may be with the server: those in doubt, and the first `sending` of the
    /// front.
    pub(super) fn note_doubts(&mut self, sending: usize, now: Duration) {
        let Some(store) = &mut self.store else { return };
        let (mut below, mut first) = (0, micros(now));
        let mut any = false;
        for (place, line) in self.front.iter().enumerate() {
            let Place::Stored { index } = line.place else { continue };
            any = true;
            if place < sending || line.doubt.is_some() {
                below = below.max(index + 1);
                first = first.min(line.doubt.unwrap_or(first));
            }
        }
        if any || store.is_behind() {
            store.set_sent(below, self.time.local_us(Duration::ZERO).saturating_add(first));
            let committed = store.commit();
            self.heard(committed);
        }
    }

    /// Forces the store down if that is due.
    pub(super) fn sync(&mut self, now: Duration) {
        if self.sync_at.is_some_and(|at| at <= now) {
            self.sync_at = None;
            let synced = self.store.as_mut().map_or(Ok(()), |store| store.sync());
            self.heard(synced);
        }
    }

    pub(super) fn purge_store(&mut self) {
        let Some(store) = &mut self.store else { return };
        let in_hand = self.front.iter().filter(|line| matches!(line.place, Place::Stored { .. })).count() as u64;
        let purged = store.purge().map(|held| held.saturating_sub(in_hand));
        let _ = store.set_session("");
        let events = self.heard(purged).unwrap_or(0);
        self.shared.losses.lock().add(Reason::NoConsent, "(stored)", events);
        let mut queue = self.shared.lock();
        for line in &mut self.front {
            if matches!(line.place, Place::Stored { .. }) {
                let cost = line.members.len();
                line.place = Place::Memory { cost };
                queue.events += 1;
                queue.bytes += cost;
            }
        }
        (self.unread_bytes, self.unread_since, self.earlier_due) = (0, None, false);
    }

    /// What memory holds goes to the store, for the client ends. It stands behind what is there.
    pub(super) fn store_the_rest(&mut self) {
        if self.store.is_none() {
            return;
        }
        let now = self.clock.now();
        let in_hand = std::mem::take(&mut self.front);
        let under_way = self.under_way.take();
        for (place, mut line) in in_hand.into_iter().enumerate() {
            let sent = under_way.filter(|request| place < request.events);
            line.doubt = line.doubt.or(sent.map(|request| micros(request.began)));
            if let Place::Memory { cost } = line.place
                && let Some(index) = self.store_line(&line)
            {
                self.shared.lock().settle(1, cost);
                line.place = Place::Stored { index };
            }
            self.front.push_back(line);
        }
        self.note_doubts(0, now);
        let mut queue = self.shared.lock();
        let rest = std::mem::take(&mut queue.waiting);
        queue.waiting_bytes = 0;
        queue.arriving.extend(rest);
        queue.arriving.make_contiguous().sort_by_key(|held| held.order);
        drop(queue);
        self.store_arrivals(now);
        self.sync_at = Some(now);
        self.sync(now);
    }

    fn store_line(&mut self, line: &Line) -> Option<u64> {
        let (time_us, server_time) = match line.when {
            When::At(at) => (self.time.at_us(at), self.time.is_measured()),
            When::Fixed { us, server } => (us, server),
        };
        let (event_type, members) = (line.event_type.clone(), line.members.clone());
        let record = Record { order: line.order, time_us, server_time, event_type, members };
        let appended = self.store.as_mut()?.append(&[record]);
        appended.ok().and_then(|()| self.store.as_ref()?.last_index())
    }

    /// What no report has told yet waits in the store for the next start to tell.
    pub(super) fn store_report(&mut self) {
        if self.store.is_none() || self.config.loss_report.is_none() || !self.shared.lock().consent {
            return;
        }
        let lost = self.shared.losses.lock().tell();
        if lost.is_empty() {
            return;
        }
        let (order, common) = {
            let mut queue = self.shared.lock();
            queue.next_order += 1;
            (queue.next_order - 1, queue.common.clone())
        };
        let event = Event::new(LOSS_TYPE).data(&Report { lost });
        let held = Held { order, at: self.clock.now(), cost: 0, rate: 1, common, event };
        let Some(record) = self.record_of(&held) else { return };
        self.report = order;
        let stored = self.store.as_mut().map_or(Ok(()), |store| {
            store.append(&[record])?;
            store.sync().map_err(AppendError::from)
        });
        if let Err(error) = stored {
            self.shared.numbers.lock().store_error = Some(error.to_string());
        }
    }

    fn count_damage(&mut self) {
        let damaged = self.store.as_mut().map_or(0, |store| store.take_damaged());
        if damaged > 0 {
            self.shared.losses.lock().add(Reason::Damaged, "(unreadable)", damaged);
        }
    }

    fn heard<T>(&mut self, result: std::io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.shared.numbers.lock().store_error = Some(error.to_string());
                None
            }
        }
    }
}
