//! From the front of the queue into a request, and what comes of it.

use super::{Line, Place, UnderWay, When, Worker};
use crate::answer::{Fate, Verdict, judge};
use crate::event::LOSS_TYPE;
use crate::line;
use crate::loss::Reason;
use crate::ports::{Answer, NoAnswer, Request, micros};
use crate::shared::{Held, Queue};
use std::time::Duration;

/// Events taken from memory at once: the lock is held no longer.
const TAKEN: usize = 64;

impl Worker {
    pub(super) fn batch_events(&self) -> usize {
        self.remote.batch_events(self.config.batch_events)
    }

    pub(super) fn batch_bytes(&self) -> usize {
        self.remote.batch_bytes(self.config.batch_bytes)
    }

    /// Whether anything waits to be sent, and since when the oldest does.
    pub(super) fn waits(&self, queue: &Queue) -> (bool, Duration) {
        let front = self.front.front().map(|line| line.since);
        let memory = queue.waiting.front().map(|held| held.at);
        let store = (self.unread() > 0).then(|| self.unread_since.unwrap_or_default());
        let oldest = [front, memory, store].into_iter().flatten().min();
        (oldest.is_some(), oldest.unwrap_or_default())
    }

    /// Whether a request is to be made: for something has to go again, there is enough, it waited long enough, or
    /// somebody asked.
    pub(super) fn is_due(&self, queue: &Queue, now: Duration) -> bool {
        let (waits, since) = self.waits(queue);
        let unread = self.unread();
        let in_hand: usize = self.front.iter().map(Line::bytes).sum();
        let events = (self.front.len() + queue.waiting.len()) as u64 + unread;
        let bytes = (in_hand + queue.waiting_bytes) as u64 + if unread > 0 { self.unread_bytes } else { 0 };
        let first = self.front.front();
        let oldest = [first.map(|line| line.order), queue.waiting.front().map(|held| held.order), self.unread_order];
        let asked = oldest.into_iter().flatten().min().is_some_and(|order| order < queue.due_below);
        let again = first.is_some_and(|line| line.tried) || (self.earlier_due && unread > 0);
        let enough = events >= self.batch_events() as u64 || bytes >= self.batch_bytes() as u64;
        waits && (again || asked || enough || now >= since + self.config.batch_time)
    }

    /// Makes a request if one is due.
    pub(super) fn begin_request(&mut self, now: Duration) {
        let not_before = self.backoff.not_before().max(self.config_awaited.unwrap_or_default());
        if self.under_way.is_some() || now < not_before {
            return;
        }
        let queue = self.shared.lock();
        if !queue.consent || !self.is_due(&queue, now) {
            return;
        }
        drop(queue);
        self.expire();
        let most = if self.backoff.is_open() { 1 } else { self.batch_events() };
        self.fill_front(most);
        let events = self.fitting(most);
        // Also if all of it has expired: what was counted once must not be found again by the next start.
        self.note_doubts(events, now);
        if events == 0 {
            return;
        }
        let sent_us = self.time.at_us(now);
        let mut body = String::with_capacity(self.batch_bytes().min(1 << 20));
        for line in self.front.iter_mut().take(events) {
            line.tried = true;
            let time_us = match line.when {
                When::At(at) => self.time.at_us(at),
                When::Fixed { us, server: true } => us,
                When::Fixed { us, server: false } => us + self.time.first_offset_us(),
            };
            line::write(&mut body, &line.members, time_us, sent_us);
        }
        let (body, compression) = line::pack(body, self.config.compression);
        self.shared.numbers.lock().body_bytes += body.len() as u64;
        self.under_way = Some(UnderWay { events, began: now });
        self.transport.post(Request { events, body, compression });
    }

    /// How many lines of the front fit into one request; at least one if there is any.
    fn fitting(&self, most: usize) -> usize {
        let (mut bytes, limit) = (0, self.batch_bytes());
        let fits = self.front.iter().take(most).take_while(|line| {
            bytes += line.bytes();
            bytes <= limit
        });
        fits.count().max(usize::from(!self.front.is_empty()))
    }

    /// Gives up what is in doubt for longer than the server tells duplicates, less the time that a request may take.
    fn expire(&mut self) {
        let now_us = self.now_us();
        for line in std::mem::take(&mut self.front) {
            self.push_unless_expired(line, now_us);
        }
    }

    /// Puts a line at the end of the front: its bytes. Or gives it up.
    fn push_unless_expired(&mut self, line: Line, now_us: i64) -> usize {
        let window = self.remote.window(&line.event_type).saturating_sub(self.config.request_timeout);
        if line.doubt.is_some_and(|since| since.saturating_add(micros(window)) <= now_us) {
            self.give_up(line, Reason::Expired);
            return 0;
        }
        let bytes = line.bytes();
        self.front.push_back(line);
        bytes
    }

    /// Takes events from memory and store, in their order, until the front has enough for a request.
    fn fill_front(&mut self, most: usize) {
        let now_us = self.now_us();
        let mut bytes: usize = self.front.iter().map(Line::bytes).sum();
        while self.front.len() < most && bytes < self.batch_bytes() {
            let stored = self.peek_store();
            let taken =
                self.take_memory(stored.unwrap_or(u64::MAX), most - self.front.len(), self.batch_bytes() - bytes);
            if taken.is_empty() && stored.is_none() {
                break;
            }
            let lines: Vec<_> = if taken.is_empty() {
                self.read_store().into_iter().collect()
            } else {
                taken.into_iter().filter_map(|held| self.line_of(held)).collect()
            };
            for line in lines {
                bytes += self.push_unless_expired(line, now_us);
            }
        }
    }

    /// Events from memory that come before this order.
    fn take_memory(&self, below: u64, events: usize, bytes: usize) -> Vec<Held> {
        let mut taken = Vec::with_capacity(events.min(TAKEN));
        let mut taken_bytes = 0;
        let mut queue = self.shared.lock();
        // What has come for the store since this step began is on its way there, and goes in its place.
        let below = queue.arriving.front().map_or(below, |held| below.min(held.order));
        while taken.len() < events.min(TAKEN) && taken_bytes < bytes {
            if queue.waiting.front().is_none_or(|held| held.order >= below) {
                break;
            }
            let Some(held) = queue.waiting.pop_front() else { break };
            queue.waiting_bytes -= held.cost;
            taken_bytes += held.cost;
            taken.push(held);
        }
        taken
    }

    /// The line of an event; `None` if that is too large, which is counted.
    fn line_of(&mut self, held: Held) -> Option<Line> {
        let line = Line {
            order: held.order,
            place: Place::Memory { cost: held.cost },
            earlier: false,
            members: self.members(&held),
            since: held.at,
            tried: false,
            when: held.event.local_us.map_or(When::At(held.at), |us| When::Fixed { us, server: false }),
            event_type: held.event.event_type.into_owned(),
            doubt: None,
            doomed: false,
        };
        if line.bytes() > self.event_bytes() {
            self.give_up(line, Reason::TooLarge);
            return None;
        }
        Some(line)
    }

    /// An event as it stands in requests and in the store.
    pub(super) fn members(&self, held: &Held) -> String {
        let id = format!("{}-{}", self.shared.prefix, held.order);
        line::members(&id, &self.config.source, &held.event, &held.common, held.rate)
    }

    /// What a line may have.
    pub(super) fn event_bytes(&self) -> usize {
        self.remote.event_bytes(self.config.event_bytes)
    }

    /// The answer to the request under way, or that there is none.
    pub(super) fn answered(&mut self, now: Duration, answer: Result<Answer, NoAnswer>) {
        let Some(UnderWay { events, began }) = self.under_way.take() else { return };
        let Verdict { fates, retry_after, error } = judge(answer, events);
        let rest = self.front.split_off(events.min(self.front.len()));
        let answered = std::mem::replace(&mut self.front, rest);
        let (mut delivered, mut counted, mut durable, mut again) = (0, 0, 0, 0);
        // From the last on, so that each goes back in front of those behind it.
        for (mut line, fate) in answered.into_iter().zip(fates).rev() {
            match fate {
                Fate::Delivered { durable: is_durable } => {
                    delivered += 1;
                    counted += u64::from(line.is_counted());
                    durable += u64::from(is_durable && line.is_counted());
                    self.settle(&line);
                }
                Fate::Refused => self.give_up(line, Reason::Refused),
                Fate::Again { .. } if line.doomed => self.give_up(line, Reason::NoConsent),
                Fate::Again { in_doubt } => {
                    if in_doubt {
                        line.doubt.get_or_insert(micros(began));
                    }
                    again += 1;
                    self.front.push_front(line);
                }
            }
        }
        {
            let mut numbers = self.shared.numbers.lock();
            numbers.delivered += counted;
            numbers.durable += durable;
            numbers.requests += 1;
            numbers.failures += u64::from(again > 0);
            numbers.round_trip = Some(now - began);
            numbers.last_error = error.or(numbers.last_error.take());
        }
        if again > 0 {
            self.backoff.failed(now, delivered > 0, retry_after, &mut *self.random);
        } else {
            self.backoff.succeeded();
        }
        self.note_doubts(0, now);
    }

    /// An event is done with.
    fn settle(&mut self, line: &Line) {
        match line.place {
            Place::Memory { cost } => self.shared.lock().settle(1, cost),
            Place::Stored { index } => {
                if let Some(store) = &mut self.store {
                    store.done(index);
                }
            }
        }
    }

    /// An event will not be delivered.
    pub(super) fn give_up(&mut self, line: Line, reason: Reason) {
        self.settle(&line);
        if line.event_type == LOSS_TYPE && line.earlier {
            // Counted when it was found in the store, so counted now.
            self.shared.losses.lock().add(reason, LOSS_TYPE, 1);
            return;
        }
        let data = (line.event_type == LOSS_TYPE).then(|| serde_json::from_str(&format!("{{{}}}", line.members)).ok());
        let data = data.flatten().and_then(|event: serde_json::Value| event.get("data").map(ToString::to_string));
        self.shared.lose_event(reason, &line.event_type, data.as_deref());
    }
}

impl Line {
    /// Bytes of its line in a request.
    fn bytes(&self) -> usize {
        self.members.len() + line::TIMES
    }

    /// Whether the numbers take it in: a report of losses of this run is nobody's event.
    fn is_counted(&self) -> bool {
        self.earlier || self.event_type != LOSS_TYPE
    }
}
