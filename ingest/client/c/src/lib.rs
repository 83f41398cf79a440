//! killfeed's client SDK behind a C ABI: for engines in C and C++, and for C# by P/Invoke.
//!
//! The header `include/killfeed.h` is generated from this file. Rules that hold for every function:
//!
//! - Text that comes in is UTF-8, ends with NUL, and is copied: the caller keeps it and may free it at once.
//! - Text that goes out is written into the caller's buffer, cut to its size, and ends with NUL.
//! - Handles are made by `kf_config_new` and `kf_start`, and freed by `kf_config_free` and `kf_free`, once. No other function
//!   takes a handle away. A null handle or text is an error that is returned, never a crash.
//! - `KfClient` may be used from any number of threads at once, but for `kf_free`. `KfConfig` belongs to one thread.
//! - No function throws, aborts, or calls back. None blocks but those that take a time, and those no longer than it.
#![expect(unsafe_code, reason = "a C ABI is made of pointers; each function says what it asks of them")]

mod config;
mod text;

pub use config::{
    KfConfig, kf_config_free, kf_config_new, kf_config_set_delivery, kf_config_set_number, kf_config_set_text,
};

use killfeed_client::{Client, Event, Reason, Sent};
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Done, or yes.
pub const KF_OK: i32 = 0;
/// It was not reached in the time given.
pub const KF_TIMEOUT: i32 = 1;
/// A pointer is null, a text no UTF-8, a name unknown, or a number out of its limits.
pub const KF_INVALID: i32 = -1;
/// The client could not be started: the message says why.
pub const KF_NOT_STARTED: i32 = -2;
/// A fault inside the library. The call did nothing, or a part.
pub const KF_FAULT: i32 = -3;
/// The event was lost at once, and counted: memory is full.
pub const KF_LOST_QUEUE_FULL: i32 = -10;
/// The event was lost at once, and counted: it is no event, its payload no JSON, or an attribute is the client's own.
pub const KF_LOST_REFUSED: i32 = -11;
/// The event was left out on purpose, and counted: sampling.
pub const KF_LOST_SAMPLED: i32 = -12;
/// The event was lost at once, and counted: the player has not agreed.
pub const KF_LOST_NO_CONSENT: i32 = -13;
/// The event was lost at once, and counted: it is too large.
pub const KF_LOST_TOO_LARGE: i32 = -14;
/// The event was lost at once, and counted: the client is closed.
pub const KF_LOST_CLOSED: i32 = -15;

/// A client. Made by `kf_start`, freed by `kf_free`.
pub struct KfClient(Client);

/// An attribute of an event: `gameid`, `playerid`. Both texts stay the caller's.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KfAttribute {
    /// Its name, of `a-z0-9`.
    pub name: *const c_char,
    /// Its value.
    pub value: *const c_char,
}

/// How things stand. Nothing in it has to be freed.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct KfStats {
    /// Events given to `kf_send`, and the sessions' own.
    pub sent: u64,
    /// Events that an earlier run left in the store.
    pub recovered: u64,
    /// Events that the server took.
    pub delivered: u64,
    /// Of these, those that it has on every replica.
    pub acknowledged: u64,
    /// Events held: in memory, in the store, or under way.
    pub pending: u64,
    /// Of these, those in the store.
    pub stored: u64,
    /// Memory of events, about, in bytes.
    pub memory_bytes: u64,
    /// The store's files, in bytes.
    pub store_bytes: u64,
    /// Requests that ended.
    pub requests: u64,
    /// Of these, those after which something had to be sent again.
    pub failures: u64,
    /// Whether only probes go, after many failures: 0 or 1.
    pub circuit_open: u32,
    /// Whether the server's configuration has been read: 0 or 1.
    pub configured: u32,
    /// Lost because memory was full.
    pub lost_queue_full: u64,
    /// Lost because the store was full.
    pub lost_disk_full: u64,
    /// Lost because they were in doubt past their dedupe window.
    pub lost_expired: u64,
    /// Refused by the server, or no events.
    pub lost_refused: u64,
    /// Left out on purpose.
    pub lost_sampled: u64,
    /// Lost because the player has not agreed.
    pub lost_no_consent: u64,
    /// Lost because they were too large.
    pub lost_too_large: u64,
    /// Lost because the store was damaged.
    pub lost_damaged: u64,
    /// Lost because the client was closed.
    pub lost_closed: u64,
}

/// Runs what a function does; a panic becomes `KF_FAULT`, for nothing may unwind into C.
fn guarded(work: impl FnOnce() -> Option<i32>) -> i32 {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Some(KF_FAULT)).unwrap_or(KF_INVALID)
}

/// Starts a client: opens the store, and begins a thread. Never waits for the network.
///
/// Memory: `config` stays the caller's, may be used again, and is freed by `kf_config_free`. On `KF_OK`, `*client` is a new
/// handle, to be freed by `kf_free`; otherwise it is null, and `message` says why, if it isn't null and has room.
///
/// # Safety
/// `config` is null or from `kf_config_new`, and not freed; `client` is null or may be written; `message` is null or has
/// `message_bytes` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_start(
    config: *const KfConfig,
    client: *mut *mut KfClient,
    message: *mut c_char,
    message_bytes: usize,
) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        let (config, client) = unsafe { (config.as_ref()?, client.as_mut()?) };
        *client = std::ptr::null_mut();
        match Client::start(config.0.clone()) {
            Ok(started) => {
                *client = Box::into_raw(Box::new(KfClient(started)));
                Some(KF_OK)
            }
            Err(error) => {
                // SAFETY: as this function asks.
                unsafe { text::write(&error.to_string(), message, message_bytes) };
                Some(KF_NOT_STARTED)
            }
        }
    })
}

/// Takes an event. Never blocks on network or disk. `KF_OK`: it will be delivered, or counted as lost. `KF_LOST_...`: it was
/// lost at once, and counted. `KF_INVALID`: it was not looked at, and not counted.
///
/// Memory: all texts are copied and stay the caller's. `attributes` may be null if `count` is 0; `json`, the payload, may be
/// null for none.
///
/// # Safety
/// `client` is null or from `kf_start`, and not freed; texts are null or end with NUL; `attributes` points to `count` of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_send(
    client: *const KfClient,
    event_type: *const c_char,
    attributes: *const KfAttribute,
    count: usize,
    json: *const c_char,
) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        let (client, event_type) = unsafe { (client.as_ref()?, text::read(event_type)?) };
        let mut event = Event::new(event_type.to_owned());
        let attributes: &[KfAttribute] = match count {
            0 => &[],
            _ if attributes.is_null() || count > 1000 => return None,
            // SAFETY: as this function asks, and not null.
            _ => unsafe { std::slice::from_raw_parts(attributes, count) },
        };
        for attribute in attributes {
            // SAFETY: as this function asks.
            let (name, value) = unsafe { (text::read(attribute.name)?, text::read(attribute.value)?) };
            event = event.attribute(name.to_owned(), value);
        }
        if !json.is_null() {
            // SAFETY: as this function asks.
            event = event.json(unsafe { text::read(json)? });
        }
        Some(match client.0.send(event) {
            Sent::Taken => KF_OK,
            Sent::Lost(Reason::QueueFull) => KF_LOST_QUEUE_FULL,
            Sent::Lost(Reason::Sampled) => KF_LOST_SAMPLED,
            Sent::Lost(Reason::NoConsent) => KF_LOST_NO_CONSENT,
            Sent::Lost(Reason::TooLarge) => KF_LOST_TOO_LARGE,
            Sent::Lost(Reason::Closed) => KF_LOST_CLOSED,
            Sent::Lost(_) => KF_LOST_REFUSED,
        })
    })
}

/// Sets an attribute that every event from now on gets unless it has its own. A null `value` takes it away.
///
/// Memory: the texts are copied and stay the caller's.
///
/// # Safety
/// `client` is null or from `kf_start`, and not freed; texts are null or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_set_attribute(client: *const KfClient, name: *const c_char, value: *const c_char) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        let (client, name) = unsafe { (client.as_ref()?, text::read(name)?) };
        // SAFETY: as this function asks.
        let value = if value.is_null() { None } else { Some(unsafe { text::read(value)? }) };
        client.0.set_attribute(name, value);
        Some(KF_OK)
    })
}

/// Sets a member that the payload of every event from now on gets unless it has its own; `json` is its value: `"\"1.2\""`,
/// `"7"`. A null `json` takes it away.
///
/// Memory: the texts are copied and stay the caller's.
///
/// # Safety
/// `client` is null or from `kf_start`, and not freed; texts are null or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_set_data(client: *const KfClient, name: *const c_char, json: *const c_char) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        let (client, name) = unsafe { (client.as_ref()?, text::read(name)?) };
        // SAFETY: as this function asks.
        let json = if json.is_null() { "null" } else { unsafe { text::read(json)? } };
        let value: serde_json::Value = serde_json::from_str(json).ok()?;
        client.0.set_data(name, &value);
        Some(KF_OK)
    })
}

/// Begins a session, and ends the one before. Every event from now on has its `sessionid`.
///
/// Memory: `player` is copied, stays the caller's, and may be null. The session's id is written into `id`, if that isn't null:
/// 33 bytes with its NUL.
///
/// # Safety
/// `client` is null or from `kf_start`, and not freed; `player` is null or ends with NUL; `id` is null or has `id_bytes` bytes
/// that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_start_session(
    client: *const KfClient,
    player: *const c_char,
    id: *mut c_char,
    id_bytes: usize,
) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        let client = unsafe { client.as_ref()? };
        // SAFETY: as this function asks.
        let player = if player.is_null() { None } else { Some(unsafe { text::read(player)? }) };
        let session = client.0.start_session(player);
        // SAFETY: as this function asks.
        unsafe { text::write(&session, id, id_bytes) };
        Some(KF_OK)
    })
}

/// Ends the session, if there is one.
///
/// # Safety
/// `client` is null or from `kf_start`, and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_end_session(client: *const KfClient) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        unsafe { client.as_ref()? }.0.end_session();
        Some(KF_OK)
    })
}

/// Says whether the player agrees to telemetry: 0 is no. Without it everything that is held is purged, in memory and store,
/// and nothing is taken or sent.
///
/// # Safety
/// `client` is null or from `kf_start`, and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_set_consent(client: *const KfClient, given: i32) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        unsafe { client.as_ref()? }.0.set_consent(given != 0);
        Some(KF_OK)
    })
}

/// Sends what is held, and waits for at most `limit_ms`: `KF_OK` if all of it is delivered or lost, else `KF_TIMEOUT`.
///
/// # Safety
/// `client` is null or from `kf_start`, and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_flush(client: *const KfClient, limit_ms: u64) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        let done = unsafe { client.as_ref()? }.0.flush(Duration::from_millis(limit_ms));
        Some(if done { KF_OK } else { KF_TIMEOUT })
    })
}

/// Ends the client: takes nothing more, flushes for at most `limit_ms`, writes what is left to the store. `KF_OK` if nothing
/// is left, else `KF_TIMEOUT`.
///
/// Memory: the handle stays good, for `kf_stats`, and is freed by `kf_free`.
///
/// # Safety
/// `client` is null or from `kf_start`, and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_close(client: *const KfClient, limit_ms: u64) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        let done = unsafe { client.as_ref()? }.0.close(Duration::from_millis(limit_ms));
        Some(if done { KF_OK } else { KF_TIMEOUT })
    })
}

/// Writes how things stand.
///
/// Memory: `stats` is the caller's, and nothing in it has to be freed.
///
/// # Safety
/// `client` is null or from `kf_start`, and not freed; `stats` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_stats(client: *const KfClient, stats: *mut KfStats) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        let (client, to) = unsafe { (client.as_ref()?, stats.as_mut()?) };
        let stats = client.0.stats();
        let lost = |reason| stats.lost.get(&reason).copied().unwrap_or(0);
        *to = KfStats {
            sent: stats.sent,
            recovered: stats.recovered,
            delivered: stats.delivered,
            acknowledged: stats.acknowledged,
            pending: stats.pending,
            stored: stats.stored,
            memory_bytes: stats.memory_bytes,
            store_bytes: stats.store_bytes,
            requests: stats.requests,
            failures: stats.failures,
            circuit_open: stats.circuit_open.into(),
            configured: stats.configured.into(),
            lost_queue_full: lost(Reason::QueueFull),
            lost_disk_full: lost(Reason::DiskFull),
            lost_expired: lost(Reason::Expired),
            lost_refused: lost(Reason::Refused),
            lost_sampled: lost(Reason::Sampled),
            lost_no_consent: lost(Reason::NoConsent),
            lost_too_large: lost(Reason::TooLarge),
            lost_damaged: lost(Reason::Damaged),
            lost_closed: lost(Reason::Closed),
        };
        Some(KF_OK)
    })
}

/// Frees a client. One that was not closed is closed without waiting: what memory holds goes to the store soon after, if there
/// is one.
///
/// Memory: the handle is gone, and no thread may be in a call with it. Null is no error.
///
/// # Safety
/// `client` is null or from `kf_start`, not freed, and in no other call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_free(client: *mut KfClient) {
    guarded(|| {
        if !client.is_null() {
            // SAFETY: as this function asks; made by `Box::into_raw`.
            drop(unsafe { Box::from_raw(client) });
        }
        Some(KF_OK)
    });
}
