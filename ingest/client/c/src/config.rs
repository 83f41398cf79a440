//! Settings, by name.

use crate::{KF_OK, guarded, text};
use killfeed_client::{Compression, Config, Delivery, OnFull, Sync};
use std::ffi::c_char;
use std::time::Duration;

/// Settings of a client. Made by `kf_config_new`, freed by `kf_config_free`.
pub struct KfConfig(pub(crate) Config);

/// Settings with defaults, for the server at `url` (`https://events.example.com`), and for events whose `source` is this
/// (`/my-game/client`). Null if a text is null or no UTF-8.
///
/// Memory: the texts are copied and stay the caller's. The handle is freed by `kf_config_free`.
///
/// # Safety
/// The texts are null or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_config_new(url: *const c_char, source: *const c_char) -> *mut KfConfig {
    let mut config = std::ptr::null_mut();
    guarded(|| {
        // SAFETY: as this function asks.
        let (url, source) = unsafe { (text::read(url)?, text::read(source)?) };
        config = Box::into_raw(Box::new(KfConfig(Config::new(url, source))));
        Some(KF_OK)
    });
    config
}

/// Sets a text: `key`; `store` (a directory); `on_full` (`oldest` or `newest`); `compression` (`zstd`, `gzip` or `none`).
///
/// Memory: the texts are copied and stay the caller's.
///
/// # Safety
/// `config` is null or from `kf_config_new`, and not freed; texts are null or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_config_set_text(config: *mut KfConfig, name: *const c_char, value: *const c_char) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        let (config, name, value) = unsafe { (&mut config.as_mut()?.0, text::read(name)?, text::read(value)?) };
        match (name, value) {
            ("key", _) => config.key = Some(value.to_owned()),
            ("store", _) => config.store = Some(value.into()),
            ("on_full", "oldest") => config.on_full = OnFull::Oldest,
            ("on_full", "newest") => config.on_full = OnFull::Newest,
            ("compression", "zstd") => config.compression = Compression::Zstd,
            ("compression", "gzip") => config.compression = Compression::Gzip,
            ("compression", "none") => config.compression = Compression::None,
            _ => return None,
        }
        Some(KF_OK)
    })
}

/// Sets a number: `batch_events` `batch_bytes` `batch_ms` `event_bytes` `queue_events` `queue_bytes` `backoff_first_ms`
/// `backoff_cap_ms` `circuit_failures` `request_timeout_ms` `store_bytes` `store_ms` `store_sync_ms` (0: after each write)
/// `loss_report_ms` (0: never) `consent` (0 or 1). Limits are checked by `kf_start`.
///
/// # Safety
/// `config` is null or from `kf_config_new`, and not freed; `name` is null or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_config_set_number(config: *mut KfConfig, name: *const c_char, value: u64) -> i32 {
    guarded(|| {
        // SAFETY: as this function asks.
        let (config, name) = unsafe { (&mut config.as_mut()?.0, text::read(name)?) };
        let size = usize::try_from(value).unwrap_or(usize::MAX);
        let time = Duration::from_millis(value);
        match name {
            "batch_events" => config.batch_events = size,
            "batch_bytes" => config.batch_bytes = size,
            "batch_ms" => config.batch_time = time,
            "event_bytes" => config.event_bytes = size,
            "queue_events" => config.queue_events = size,
            "queue_bytes" => config.queue_bytes = size,
            "backoff_first_ms" => config.backoff_first = time,
            "backoff_cap_ms" => config.backoff_cap = time,
            "circuit_failures" => config.circuit_failures = u32::try_from(value).ok()?,
            "request_timeout_ms" => config.request_timeout = time,
            "store_bytes" => config.store_bytes = value,
            "store_ms" => config.store_time = time,
            "store_sync_ms" => config.store_sync = if value == 0 { Sync::Always } else { Sync::Within(time) },
            "loss_report_ms" => config.loss_report = Some(time).filter(|time| !time.is_zero()),
            "consent" => config.consent = value != 0,
            _ => return None,
        }
        Some(KF_OK)
    })
}

/// Sets how hard to try with events of a type, or, if `event_type` is null, with all others: 0 holds them in memory, 1 writes them
/// to the store, where they outlive the process.
///
/// Memory: the text is copied and stays the caller's.
///
/// # Safety
/// `config` is null or from `kf_config_new`, and not freed; `event_type` is null or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_config_set_delivery(config: *mut KfConfig, event_type: *const c_char, stored: i32) -> i32 {
    guarded(|| {
        let delivery = if stored == 0 { Delivery::Memory } else { Delivery::Stored };
        // SAFETY: as this function asks.
        let config = unsafe { &mut config.as_mut()?.0 };
        if event_type.is_null() {
            config.delivery_default = delivery;
        } else {
            // SAFETY: as this function asks.
            config.delivery.insert(unsafe { text::read(event_type)? }.to_owned(), delivery);
        }
        Some(KF_OK)
    })
}

/// Frees settings.
///
/// Memory: the handle is gone. Clients that were started with it don't need it. Null is no error.
///
/// # Safety
/// `config` is null or from `kf_config_new`, and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kf_config_free(config: *mut KfConfig) {
    guarded(|| {
        if !config.is_null() {
            // SAFETY: as this function asks; made by `Box::into_raw`.
            drop(unsafe { Box::from_raw(config) });
        }
        Some(KF_OK)
    });
}
