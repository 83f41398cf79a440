//! From a body to records: each event read, stamped, and put with the others of its partition.

use crate::Config;
use crate::answer::{Outcome, Slot};
use crate::append::GROWING;
use crate::form::Form;
use crate::stamp::Stamp;
use crate::tally::Streams;
use bytes::Bytes;
use edge::Problem;
use events::envelope::{self, Attribute, Event, Invalid, Refused};
use events::log::{Durability, NewRecord};
use events::schema::{Registry, Resolved, Schema};
use events::{Headers, HeadersBuilder, keys};
use std::borrow::Cow;
use std::sync::Arc;

/// Room for the headers of this many bytes is taken at a time.
const HEADERS_STEP_BYTES: usize = 32 << 10;

/// Records of one partition, in order, and the slots that wait for what becomes of them.
#[derive(Debug)]
pub(crate) struct Group {
    /// Place of the stream in [`Streams`].
    pub(crate) stream: usize,
    pub(crate) partition: i32,
    /// The strongest that any of its records asks for: one append keeps their order.
    pub(crate) durability: Durability,
    pub(crate) records: Vec<NewRecord>,
    pub(crate) slots: Vec<usize>,
}

/// The events of a request.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    /// One for each event, in request order.
    pub(crate) slots: Vec<Slot<'a>>,
    pub(crate) groups: Vec<Group>,
}

/// What every event of the request is read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) config: &'a Config,
    pub(crate) stamp: &'a Stamp,
    pub(crate) registry: &'a Registry,
    pub(crate) streams: &'a Streams,
}

/// Reads the whole body.
///
/// # Errors
/// 400 if no event of it can be told from the next, 413 with more events than the limit.
pub(crate) fn read<'a>(
    form: Form,
    headers: &'a axum::http::HeaderMap,
    body: &'a Bytes,
    context: Context<'a>,
) -> Result<Batch<'a>, Problem> {
    let text = body.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(body);
    let mut reader = Reader::new(body, context);
    match form {
        Form::Binary => {
            let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            reader.add(Event::from_http(headers, body));
        }
        Form::JsonEither if text.trim_ascii_start().starts_with(b"[") => reader.add_array(text)?,
        Form::Json | Form::JsonEither => reader.add(Event::from_json_bytes(text)),
        Form::JsonBatch => reader.add_array(text)?,
        Form::Lines => reader.add_lines(text)?,
    }
    Ok(reader.batch)
}

struct Reader<'a> {
    body: &'a Bytes,
    context: Context<'a>,
    headers: HeadersBuilder,
    batch: Batch<'a>,
    /// The schema of the last event: types come in runs.
    last: Option<(String, Option<String>, Option<Arc<Schema>>)>,
}

impl<'a> Reader<'a> {
    fn new(body: &'a Bytes, context: Context<'a>) -> Self {
        let headers = HeadersBuilder::with_capacity((body.len() / 2 + 512).min(HEADERS_STEP_BYTES));
        Self { body, context, headers, batch: Batch::default(), last: None }
    }

    fn add_array(&mut self, text: &'a [u8]) -> Result<(), Problem> {
        let text = std::str::from_utf8(text)
            .map_err(|error| Problem::bad_request(Invalid::Utf8 { at: error.valid_up_to() }.to_string()))?;
        let max = self.context.config.batch_events_max;
        let mut events = 0;
        let read = envelope::batch(text, |event| {
            events += 1;
            if events <= max {
                self.add(event);
            }
        });
        read.map_err(|why| Problem::bad_request(format!("the batch is {why}; nothing of it was accepted")))?;
        self.check_count(events)
    }

    fn add_lines(&mut self, text: &'a [u8]) -> Result<(), Problem> {
        // Whole if it can be: one look at a long text is quicker than many at short ones.
        let whole = std::str::from_utf8(text).ok();
        let mut rest = 0;
        let mut events = 0;
        while rest < text.len() {
            let end = memchr::memchr(b'\n', &text[rest..]).map_or(text.len(), |length| rest + length);
            let range = rest..end;
            rest = end + 1;
            if text[range.clone()].trim_ascii().is_empty() {
                continue;
            }
            events += 1;
            if events > self.context.config.batch_events_max {
                continue;
            }
            self.add(match whole.and_then(|whole| whole.get(range.clone())) {
                Some(line) => Event::from_json(line),
                None => Event::from_json_bytes(&text[range]),
            });
        }
        self.check_count(events)
    }

    fn check_count(&self, events: usize) -> Result<(), Problem> {
        let max = self.context.config.batch_events_max;
        if events <= max {
            return Ok(());
        }
        Err(Problem::too_large(format!("the request has {events} events, more than {max}; nothing of it was accepted")))
    }

    fn add(&mut self, event: Result<Event<'a>, Refused<'a>>) {
        let slot = match event {
            Ok(event) => self.place(event),
            Err(Refused { id, why }) => Slot { id, outcome: Outcome::refused(400, why.reason(), why.to_string()) },
        };
        self.batch.slots.push(slot);
    }

    fn place(&mut self, mut event: Event<'a>) -> Slot<'a> {
        let Context { config, stamp, streams, .. } = self.context;
        stamp.put(&mut event.attributes);
        let schema = self.schema(&event);
        event.attributes.write(&mut self.headers);
        let headers = self.headers.split();
        let payload = event.payload(self.body);
        let id = event.attributes.take(Attribute::Id);
        let bytes = headers.len() + payload.as_ref().map_or(0, Bytes::len);
        if bytes > config.event_bytes_max {
            let error = format!(
                "the event has {bytes} bytes, headers and payload together, more than {}",
                config.event_bytes_max
            );
            return Slot { id, outcome: Outcome::refused(413, "too_large", error) };
        }
        let Some(stream) = schema.as_ref().map_or(Some(streams.first()), |schema| streams.place(&schema.stream)) else {
            let name = schema.map(|schema| schema.stream.to_string()).unwrap_or_default();
            let error = format!(
                "type {} goes to stream {name:?}, which this process does not serve",
                event.attributes.event_type()
            );
            return Slot { id, outcome: Outcome::retryable(503, "stream_not_served", error) };
        };
        if streams.has_ended(stream) {
            let error = format!("{} takes no more events: its stream is growing; send again", streams.raw(stream));
            return Slot { id, outcome: Outcome::retryable(503, GROWING, error) };
        }
        let key = key_of(&headers, schema.as_deref());
        let partition = keys::partition_of(&key, streams.partitions(stream));
        let durability = schema.map_or(Durability::All, |schema| schema.durability);
        let place = self.batch.slots.len();
        let group = self.group(stream, partition);
        group.durability = group.durability.max(durability);
        group.records.push(NewRecord { key, headers, payload });
        group.slots.push(place);
        Slot { id, outcome: Outcome::pending(durability) }
    }

    /// The schema that says where the event goes. One of an unknown version goes where the newest
    /// goes; the processor has the last word on it.
    fn schema(&mut self, event: &Event<'a>) -> Option<Arc<Schema>> {
        let event_type = event.attributes.event_type();
        let dataschema = event.attributes.get(Attribute::DataSchema);
        match &self.last {
            Some((last_type, last_schema, schema))
                if last_type == event_type && last_schema.as_deref() == dataschema =>
            {
                schema.clone()
            }
            _ => {
                let registry = self.context.registry;
                let schema = match registry.resolve(event_type, dataschema) {
                    Resolved::Known(schema) => Some(schema),
                    Resolved::Discovered => None,
                    Resolved::UnknownVersion(_) => registry.newest(event_type).cloned(),
                };
                self.last = Some((event_type.to_owned(), dataschema.map(str::to_owned), schema.clone()));
                schema
            }
        }
    }

    fn group(&mut self, stream: usize, partition: i32) -> &mut Group {
        let groups = &mut self.batch.groups;
        let found = groups.iter().position(|group| group.partition == partition && group.stream == stream);
        let place = found.unwrap_or_else(|| {
            groups.push(Group {
                stream,
                partition,
                durability: Durability::None,
                records: Vec::new(),
                slots: Vec::new(),
            });
            groups.len() - 1
        });
        &mut groups[place]
    }
}

/// The partition key, as a slice of the headers where it is one of their values.
fn key_of(headers: &Headers, schema: Option<&Schema>) -> Bytes {
    if let Some(attributes) = schema.and_then(|schema| schema.partition_by.as_deref()) {
        return keys::declared_key(headers, attributes).into();
    }
    match keys::partition_key(headers) {
        Cow::Borrowed(key) => headers.packed().slice_ref(key),
        Cow::Owned(key) => key.into(),
    }
}
