//! Spans of requests, steps, flushes and queries, and how they hang together by W3C trace context.
//!
//! ```text
//! client ──traceparent──▶ ingest request       (a child of the client's span)
//!                              │ the event carries it: `traceparent`, to the column `trace_parent`
//!                              ├─▶ processor step   (linked to the traces of its events)
//!                              └─▶ sink flush       (the same)
//! ```
//!
//! Spans are made by [`span!`] under a target of their own. Nobody listens to it unless traces are
//! exported, and then a span is one look at a flag.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use std::collections::HashSet;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of all spans that are exported.
pub const TARGET: &str = "killfeed_traces";
/// The HTTP header, and the attribute of events.
pub const TRACEPARENT: &str = "traceparent";
/// Traces that one span is linked to at most: a step has events of thousands.
const LINKS_MAX: usize = 32;
/// Records that are looked at for them.
const LOOKS_MAX: usize = 1_024;

#[doc(hidden)]
pub use tracing as __tracing;

/// A span of this name, with fields: `span!("ingest request", "server")`. The second is OpenTelemetry's
/// word for its kind. Its parent is the span around it, unless [`follow`] says otherwise.
#[macro_export]
macro_rules! span {
    ($name:literal, $kind:literal $(, $($field:tt)*)?) => {
        $crate::__tracing::trace_span!(target: "killfeed_traces", $name, otel.kind = $kind $(, $($field)*)?)
    };
}

/// What a `traceparent` says, if it says it as W3C asks.
fn parse(text: &str) -> Option<SpanContext> {
    let parts: Vec<&str> = text.trim().split('-').collect();
    let [version, trace, span, flags, rest @ ..] = parts.as_slice() else { return None };
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let is_well = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    // A later version may say more behind it, the first may not.
    if !is_well || *version == "ff" || (*version == "00" && !rest.is_empty()) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::default())).filter(SpanContext::is_valid)
}

/// The request's `traceparent`, if it is one.
pub fn of_request(headers: &http::HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT)?.to_str().ok().map(str::trim).filter(|text| parse(text).is_some())
}

/// Makes the span a child of the one that `traceparent` names. Before the span is entered.
pub fn follow(span: &Span, traceparent: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = traceparent.and_then(parse) {
        // Refused only for a span that has begun.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Links the span with the sampled traces that `traceparents` name: the first few of them.
pub fn link<'a>(span: &Span, traceparents: impl IntoIterator<Item = &'a [u8]>) {
    if span.is_disabled() {
        return;
    }
    let mut linked = HashSet::new();
    for text in traceparents.into_iter().take(LOOKS_MAX) {
        let Some(context) = std::str::from_utf8(text).ok().and_then(parse).filter(SpanContext::is_sampled) else {
            continue;
        };
        if linked.len() < LINKS_MAX && linked.insert(context.trace_id()) {
            span.add_link(context);
        }
    }
}

/// Adds an attribute to the span.
pub fn note(span: &Span, name: &'static str, value: impl Into<opentelemetry::Value>) {
    if !span.is_disabled() {
        span.set_attribute(name, value);
    }
}

/// Marks the span as failed, for this reason.
pub fn fail(span: &Span, reason: &dyn std::fmt::Display) {
    if !span.is_disabled() {
        span.set_status(opentelemetry::trace::Status::error(reason.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_as_w3c_asks_or_none() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let read = parse(good).unwrap();
        assert_eq!(read.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(
            (read.span_id().to_string().as_str(), read.is_sampled(), read.is_remote()),
            ("b7ad6b7169203331", true, true)
        );
        assert!(!parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap().is_sampled());
        assert!(parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some(), "a later version");
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        let mut headers = http::HeaderMap::new();
        assert_eq!(of_request(&headers), None);
        headers.insert(TRACEPARENT, http::HeaderValue::from_static("nonsense"));
        assert_eq!(of_request(&headers), None);
        headers.insert(TRACEPARENT, http::HeaderValue::from_static(good));
        assert_eq!(of_request(&headers), Some(good));
    }

    #[test]
    fn without_a_listener_a_span_is_none() {
        let span = span!("ingest request", "server");
        assert!(span.is_disabled());
        follow(&span, Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        link(&span, [b"nothing".as_slice()]);
        note(&span, "events", 1);
        fail(&span, &"nothing");
    }
}
