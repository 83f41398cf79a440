//! What becomes of a batch: the step itself, without IO.
//!
//! Records go in, and each comes out as exactly one of: a clean record, a duplicate (counted), a
//! dead letter. The order of clean records is that of raw. The payload is hashed and handed on,
//! never opened; headers are copied in two pieces around the address, and what the look-up of the
//! address gave, the schema's version and the raw offset are put behind.
//!
//! Per record, in this order:
//!
//! 1. no `ce_id`, `ce_source` or `ce_type`, or a declared dedupe key of which the event has no
//!    attribute: dead letter `envelope_invalid`. It claims no key, since it has none.
//! 2. dedupe, unless it carries the redrive marker: a duplicate ends here, a conflict is a dead letter.
//! 3. no schema where there must be one: dead letter. Its key stays claimed: once is once, and the
//!    way back from the dead letters is redrive.
//! 4. enriched, and on to clean.

use crate::enrich::Enricher;
use crate::error::Error;
use crate::fingerprint::{Fingerprinter, payload_hash};
use crate::partition::Partition;
use crate::route::Router;
use crate::state::{Entry, Head, pack};
use crate::window::Verdict;
use bytes::Bytes;
use events::dead::Reason;
use events::headers::{self, Headers, HeadersBuilder};
use events::log::{Batch, NewRecord, Offset, Record};
use std::collections::BTreeMap;

/// Records whose table look-ups wait for memory together.
const TOUCHED_TOGETHER: usize = 32;
/// Room that a record's headers need beside what it brought, for the usual look-up, in bytes.
const ADDED_HEADER_BYTES: usize = 160;

/// What was counted in a step; see [`events::ledger::Count::Process`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub accepted: u64,
    /// Handed on.
    pub clean: u64,
    /// Same key, same data.
    pub duplicates: u64,
    /// Dead letters by reason.
    pub dead: BTreeMap<Reason, u64>,
    /// Past dedupe by the marker, among whatever they became.
    pub redriven: u64,
}

/// What a step makes of a batch.
#[derive(Debug)]
pub struct Output {
    /// First raw offset covered.
    pub from: Offset,
    /// Position in raw after the step.
    pub to: Offset,
    /// For `.clean`, in raw order.
    pub clean: Vec<NewRecord>,
    /// For `.dead`, in raw order.
    pub dead: Vec<NewRecord>,
    /// For `.state`: never empty.
    pub state: Vec<Bytes>,
    /// For `.ledger`.
    pub counts: Counts,
}

/// What the steps of one worker share: routes, look-ups and buffers.
#[derive(Debug)]
pub struct Stage {
    router: Router,
    enricher: Enricher,
    fingerprinter: Fingerprinter,
    builder: HeadersBuilder,
    scanned: Vec<Scanned>,
}

/// What one look at a record's headers found.
#[derive(Debug, Clone, Copy)]
struct Scanned {
    fingerprint: u128,
    payload_hash: u64,
    route: usize,
    /// The address's header, from and to, and its value's length; all 0 if there is none.
    address: (usize, usize, usize),
    /// End of the last header.
    end: usize,
    /// There are headers to leave out besides one address.
    odd: bool,
    redriven: bool,
    invalid: Option<&'static str>,
}

impl Stage {
    /// With these.
    pub fn new(router: Router, enricher: Enricher) -> Self {
        Self {
            router,
            enricher,
            fingerprinter: Fingerprinter::default(),
            builder: HeadersBuilder::default(),
            scanned: Vec::new(),
        }
    }

    /// One look at a record: what its key is, where it goes by, and what is to be cut out.
    #[inline]
    fn scan(&mut self, record: &Record) -> Scanned {
        let packed = record.headers.packed();
        let base = packed.as_ptr() as usize;
        let (mut id, mut source, mut event_type, mut dataschema, mut content_type) = (None, None, None, None, None);
        let mut scanned = Scanned {
            fingerprint: 0,
            payload_hash: 0,
            route: 0,
            address: (0, 0, 0),
            end: 0,
            odd: false,
            redriven: false,
            invalid: None,
        };
        for (name, value) in record.headers.iter() {
            let start = scanned.end;
            scanned.end = value.as_ptr_range().end as usize - base;
            match name {
                b"ce_id" => id = id.or(Some(value)),
                b"ce_source" => source = source.or(Some(value)),
                b"ce_type" => event_type = event_type.or(Some(value)),
                b"ce_dataschema" => dataschema = dataschema.or(Some(value)),
                b"content-type" => content_type = content_type.or(Some(value)),
                b"ce_clientaddress" => {
                    scanned.odd |= scanned.address.1 > 0;
                    scanned.address = (start, scanned.end, value.len());
                }
                b"ce_redriveof" => scanned.redriven = true,
                [b'k', b'f', b'_', ..] => scanned.odd = true,
                _ => {}
            }
        }
        let filled = |value: Option<&&[u8]>| value.is_some_and(|value| !value.is_empty());
        let (Some(id), Some(source), Some(event_type)) = (
            id.filter(|v| filled(Some(v))),
            source.filter(|v| filled(Some(v))),
            event_type.filter(|v| filled(Some(v))),
        ) else {
            scanned.invalid = Some(match (filled(id.as_ref()), filled(source.as_ref())) {
                (false, _) => "the record has no ce_id",
                (true, false) => "the record has no ce_source",
                (true, true) => "the record has no ce_type",
            });
            return scanned;
        };
        scanned.route = self.router.place(event_type, dataschema);
        scanned.payload_hash = payload_hash(content_type, record.payload.as_deref());
        match &self.router.route(scanned.route).dedupe_key {
            None => scanned.fingerprint = self.fingerprinter.of([event_type, source, id, &record.key]),
            Some(names) => {
                let values = names.iter().map(|name| record.headers.get(name).unwrap_or_default());
                if values.clone().all(<[u8]>::is_empty) {
                    scanned.invalid = Some("the record has no attribute of its type's dedupe key");
                }
                scanned.fingerprint = self.fingerprinter.of(std::iter::once(event_type).chain(values));
            }
        }
        scanned
    }

    /// A record's headers on their way out: without address and killfeed's own, with what the
    /// look-up gave; the caller goes on pushing.
    #[inline]
    fn copy_headers(&mut self, headers: &Headers, scanned: &Scanned) {
        let packed = headers.packed();
        let (start, stop, value) = scanned.address;
        if scanned.odd {
            let keeps_geo = scanned.redriven && stop == 0;
            self.copy_but_own(headers, keeps_geo);
        } else {
            self.builder.extend_packed(&packed[..start]);
            self.builder.extend_packed(&packed[stop..scanned.end]);
        }
        if stop > 0 {
            self.builder.extend_packed(self.enricher.headers_for(&packed[stop - value..stop]));
        }
    }

    /// A redriven event comes without address, but with what was once found out about it.
    #[cold]
    fn copy_but_own(&mut self, headers: &Headers, keeps_geo: bool) {
        const GEO: [&str; 5] =
            [headers::GEO_COUNTRY, headers::GEO_CITY, headers::GEO_ASN, headers::GEO_ISP, headers::GEO_CONNECTION];
        for (name, value) in headers.iter() {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            let is_own = name.starts_with("kf_") && !(keeps_geo && GEO.contains(&name));
            if name != headers::CLIENTADDRESS && !is_own {
                self.builder.push(name, value);
            }
        }
    }

    fn dead(&mut self, record: Record, scanned: &Scanned, reason: Reason, detail: &str) -> NewRecord {
        self.copy_headers(&record.headers, scanned);
        if scanned.invalid.is_none()
            && let Ok(version) = &self.router.route(scanned.route).verdict
        {
            self.builder.push(headers::SCHEMA_VERSION, version.as_bytes());
        }
        self.builder.push(headers::DEAD_REASON, reason.as_str().as_bytes());
        self.builder.push(headers::DEAD_DETAIL, detail.as_bytes());
        self.builder.push(headers::DEAD_STAGE, b"process");
        self.builder.push(headers::RAW_OFFSET, itoa::Buffer::new().format(record.offset).as_bytes());
        NewRecord { key: record.key, headers: self.builder.split(), payload: record.payload }
    }

    #[inline]
    fn clean(&mut self, record: Record, scanned: &Scanned) -> NewRecord {
        self.copy_headers(&record.headers, scanned);
        if let Ok(version) = &self.router.route(scanned.route).verdict {
            self.builder.push(headers::SCHEMA_VERSION, version.as_bytes());
        }
        self.builder.push(headers::RAW_OFFSET, itoa::Buffer::new().format(record.offset).as_bytes());
        NewRecord { key: record.key, headers: self.builder.split(), payload: record.payload }
    }
}

/// Makes of a batch what becomes of it, and claims the keys of what it admits. `incarnation` is the
/// stream's, for the state records.
///
/// # Errors
/// If claims that went to disk can't be read; then `partition` is half-way through the batch and
/// must be dropped.
pub fn process(
    mut batch: Batch,
    incarnation: &str,
    partition: &mut Partition,
    stage: &mut Stage,
) -> Result<Output, Error> {
    stage.router.follow();
    stage.enricher.follow();
    // Where a generation ends, there is no event.
    batch.records.retain(|record| !record.is_end());
    let count = batch.records.len();
    let header_bytes: usize = batch.records.iter().map(|record| record.headers.len() + ADDED_HEADER_BYTES).sum();
    stage.builder = HeadersBuilder::with_capacity(header_bytes);
    let mut output = Output {
        from: batch.position,
        to: batch.next,
        clean: Vec::with_capacity(count),
        dead: Vec::new(),
        state: Vec::new(),
        counts: Counts { accepted: count as u64, ..Counts::default() },
    };
    let mut admitted = Vec::with_capacity(count);
    let mut records = batch.records.into_iter();
    loop {
        let mut scanned = std::mem::take(&mut stage.scanned);
        scanned.clear();
        scanned.extend(records.as_slice().iter().take(TOUCHED_TOGETHER).map(|record| stage.scan(record)));
        let met = scanned.iter().filter(|scanned| partition.window().touch(scanned.fingerprint)).count();
        std::hint::black_box(met);
        for (scanned, record) in scanned.iter().zip(records.by_ref()) {
            decide(record, scanned, partition, stage, &mut admitted, &mut output)?;
        }
        let done = scanned.is_empty();
        stage.scanned = scanned;
        if done {
            break;
        }
    }
    output.counts.clean = output.clean.len() as u64;
    partition.settle()?;
    let head = Head {
        incarnation,
        from: output.from,
        to: output.to,
        time_ms: partition.time_ms(),
        horizon_ms: partition.horizon_ms(),
    };
    output.state = pack(head, &admitted);
    Ok(output)
}

/// Puts one record where it belongs.
#[inline]
fn decide(
    record: Record,
    scanned: &Scanned,
    partition: &mut Partition,
    stage: &mut Stage,
    admitted: &mut Vec<(Offset, Entry)>,
    output: &mut Output,
) -> Result<(), Error> {
    partition.reach_time(record.time_ms);
    output.counts.redriven += u64::from(scanned.redriven);
    if let Some(detail) = scanned.invalid {
        bury(record, scanned, Reason::EnvelopeInvalid, detail, stage, output);
        return Ok(());
    }
    if !scanned.redriven {
        let entry = Entry {
            fingerprint: scanned.fingerprint,
            payload_hash: scanned.payload_hash,
            key_hash: murmur2::murmur2(&record.key, murmur2::KAFKA_SEED),
            time_ms: partition.time_ms(),
            window_ms: stage.router.route(scanned.route).window_ms,
        };
        match partition.admit(&entry)? {
            Verdict::Admitted => admitted.push((record.offset, entry)),
            Verdict::Duplicate => {
                output.counts.duplicates += 1;
                return Ok(());
            }
            Verdict::Conflict => {
                let detail = "an event with the same dedupe key and other data was admitted before";
                bury(record, scanned, Reason::Conflict, detail, stage, output);
                return Ok(());
            }
        }
    }
    if let Err((reason, detail)) = &stage.router.route(scanned.route).verdict {
        let (reason, detail) = (*reason, detail.clone());
        bury(record, scanned, reason, &detail, stage, output);
        return Ok(());
    }
    output.clean.push(stage.clean(record, scanned));
    Ok(())
}

#[cold]
fn bury(record: Record, scanned: &Scanned, reason: Reason, detail: &str, stage: &mut Stage, output: &mut Output) {
    *output.counts.dead.entry(reason).or_default() += 1;
    output.dead.push(stage.dead(record, scanned, reason, detail));
}
