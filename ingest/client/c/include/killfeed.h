#ifndef KILLFEED_H
#define KILLFEED_H

// Generated from the Rust sources by cbindgen: KILLFEED_HEADER=write cargo test --package killfeed-client-c

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// Done, or yes.
#define KF_OK 0

// It was not reached in the time given.
#define KF_TIMEOUT 1

// A pointer is null, a text no UTF-8, a name unknown, or a number out of its limits.
#define KF_INVALID -1

// The client could not be started: the message says why.
#define KF_NOT_STARTED -2

// A fault inside the library. The call did nothing, or a part.
#define KF_FAULT -3

// The event was lost at once, and counted: memory is full.
#define KF_LOST_QUEUE_FULL -10

// The event was lost at once, and counted: it is no event, its payload no JSON, or an attribute is the client's own.
#define KF_LOST_REFUSED -11

// The event was left out on purpose, and counted: sampling.
#define KF_LOST_SAMPLED -12

// The event was lost at once, and counted: the player has not agreed.
#define KF_LOST_NO_CONSENT -13

// The event was lost at once, and counted: it is too large.
#define KF_LOST_TOO_LARGE -14

// The event was lost at once, and counted: the client is closed.
#define KF_LOST_CLOSED -15

// A client. Made by `kf_start`, freed by `kf_free`.
typedef struct KfClient KfClient;

// Settings of a client. Made by `kf_config_new`, freed by `kf_config_free`.
typedef struct KfConfig KfConfig;

// An attribute of an event: `gameid`, `playerid`. Both texts stay the caller's.
typedef struct {
  // Its name, of `a-z0-9`.
  const char *name;
  // Its value.
  const char *value;
} KfAttribute;

// How things stand. Nothing in it has to be freed.
typedef struct {
  // Events given to `kf_send`, and the sessions' own.
  uint64_t sent;
  // Events that an earlier run left in the store.
  uint64_t recovered;
  // Events that the server took.
  uint64_t delivered;
  // Of these, those that it has on every replica.
  uint64_t acknowledged;
  // Events held: in memory, in the store, or under way.
  uint64_t pending;
  // Of these, those in the store.
  uint64_t stored;
  // Memory of events, about, in bytes.
  uint64_t memory_bytes;
  // The store's files, in bytes.
  uint64_t store_bytes;
  // Requests that ended.
  uint64_t requests;
  // Of these, those after which something had to be sent again.
  uint64_t failures;
  // Whether only probes go, after many failures: 0 or 1.
  uint32_t circuit_open;
  // Whether the server's configuration has been read: 0 or 1.
  uint32_t configured;
  // Lost because memory was full.
  uint64_t lost_queue_full;
  // Lost because the store was full.
  uint64_t lost_disk_full;
  // Lost because they were in doubt past their dedupe window.
  uint64_t lost_expired;
  // Refused by the server, or no events.
  uint64_t lost_refused;
  // Left out on purpose.
  uint64_t lost_sampled;
  // Lost because the player has not agreed.
  uint64_t lost_no_consent;
  // Lost because they were too large.
  uint64_t lost_too_large;
  // Lost because the store was damaged.
  uint64_t lost_damaged;
  // Lost because the client was closed.
  uint64_t lost_closed;
} KfStats;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Starts a client: opens the store, and begins a thread. Never waits for the network.
//
// Memory: `config` stays the caller's, may be used again, and is freed by `kf_config_free`. On `KF_OK`, `*client` is a new
// handle, to be freed by `kf_free`; otherwise it is null, and `message` says why, if it isn't null and has room.
//
// # Safety
// `config` is null or from `kf_config_new`, and not freed; `client` is null or may be written; `message` is null or has
// `message_bytes` bytes that may be written.
int32_t kf_start(const KfConfig *config,
                 KfClient **client,
                 char *message,
                 size_t message_bytes);

// Takes an event. Never blocks on network or disk. `KF_OK`: it will be delivered, or counted as lost. `KF_LOST_...`: it was
// lost at once, and counted. `KF_INVALID`: it was not looked at, and not counted.
//
// Memory: all texts are copied and stay the caller's. `attributes` may be null if `count` is 0; `json`, the payload, may be
// null for none.
//
// # Safety
// `client` is null or from `kf_start`, and not freed; texts are null or end with NUL; `attributes` points to `count` of them.
int32_t kf_send(const KfClient *client,
                const char *event_type,
                const KfAttribute *attributes,
                size_t count,
                const char *json);

// Sets an attribute that every event from now on gets unless it has its own. A null `value` takes it away.
//
// Memory: the texts are copied and stay the caller's.
//
// # Safety
// `client` is null or from `kf_start`, and not freed; texts are null or end with NUL.
int32_t kf_set_attribute(const KfClient *client, const char *name, const char *value);

// Sets a member that the payload of every event from now on gets unless it has its own; `json` is its value: `"\"1.2\""`,
// `"7"`. A null `json` takes it away.
//
// Memory: the texts are copied and stay the caller's.
//
// # Safety
// `client` is null or from `kf_start`, and not freed; texts are null or end with NUL.
int32_t kf_set_data(const KfClient *client,
                    const char *name,
                    const char *json);

// Begins a session, and ends the one before. Every event from now on has its `sessionid`.
//
// Memory: `player` is copied, stays the caller's, and may be null. The session's id is written into `id`, if that isn't null:
// 33 bytes with its NUL.
//
// # Safety
// `client` is null or from `kf_start`, and not freed; `player` is null or ends with NUL; `id` is null or has `id_bytes` bytes
// that may be written.
int32_t kf_start_session(const KfClient *client,
                         const char *player,
                         char *id,
                         size_t id_bytes);

// Ends the session, if there is one.
//
// # Safety
// `client` is null or from `kf_start`, and not freed.
int32_t kf_end_session(const KfClient *client);

// Says whether the player agrees to telemetry: 0 is no. Without it everything that is held is purged, in memory and store,
// and nothing is taken or sent.
//
// # Safety
// `client` is null or from `kf_start`, and not freed.
int32_t kf_set_consent(const KfClient *client,
                       int32_t given);

// Sends what is held, and waits for at most `limit_ms`: `KF_OK` if all of it is delivered or lost, else `KF_TIMEOUT`.
//
// # Safety
// `client` is null or from `kf_start`, and not freed.
int32_t kf_flush(const KfClient *client, uint64_t limit_ms);

// Ends the client: takes nothing more, flushes for at most `limit_ms`, writes what is left to the store. `KF_OK` if nothing
// is left, else `KF_TIMEOUT`.
//
// Memory: the handle stays good, for `kf_stats`, and is freed by `kf_free`.
//
// # Safety
// `client` is null or from `kf_start`, and not freed.
int32_t kf_close(const KfClient *client,
                 uint64_t limit_ms);

// Writes how things stand.
//
// Memory: `stats` is the caller's, and nothing in it has to be freed.
//
// # Safety
// `client` is null or from `kf_start`, and not freed; `stats` is null or may be written.
int32_t kf_stats(const KfClient *client, KfStats *stats);

// Frees a client. One that was not closed is closed without waiting: what memory holds goes to the store soon after, if there
// is one.
//
// Memory: the handle is gone, and no thread may be in a call with it. Null is no error.
//
// # Safety
// `client` is null or from `kf_start`, not freed, and in no other call.
void kf_free(KfClient *client);

// Settings with defaults, for the server at `url` (`https://events.example.com`), and for events whose `source` is this
// (`/my-game/client`). Null if a text is null or no UTF-8.
//
// Memory: the texts are copied and stay the caller's. The handle is freed by `kf_config_free`.
//
// # Safety
// The texts are null or end with NUL.
KfConfig *kf_config_new(const char *url, const char *source);

// Sets a text: `key`; `store` (a directory); `on_full` (`oldest` or `newest`); `compression` (`zstd`, `gzip` or `none`).
//
// Memory: the texts are copied and stay the caller's.
//
// # Safety
// `config` is null or from `kf_config_new`, and not freed; texts are null or end with NUL.
int32_t kf_config_set_text(KfConfig *config,
                           const char *name,
                           const char *value);

// Sets a number: `batch_events` `batch_bytes` `batch_ms` `event_bytes` `queue_events` `queue_bytes` `backoff_first_ms`
// `backoff_cap_ms` `circuit_failures` `request_timeout_ms` `store_bytes` `store_ms` `store_sync_ms` (0: after each write)
// `loss_report_ms` (0: never) `consent` (0 or 1). Limits are checked by `kf_start`.
//
// # Safety
// `config` is null or from `kf_config_new`, and not freed; `name` is null or ends with NUL.
int32_t kf_config_set_number(KfConfig *config,
                             const char *name,
                             uint64_t value);

// Sets how hard to try with events of a type, or, if `event_type` is null, with all others: 0 holds them in memory, 1 writes them
// to the store, where they outlive the process.
//
// Memory: the text is copied and stays the caller's.
//
// # Safety
// `config` is null or from `kf_config_new`, and not freed; `event_type` is null or ends with NUL.
int32_t kf_config_set_delivery(KfConfig *config,
                               const char *event_type,
                               int32_t stored);

// Frees settings.
//
// Memory: the handle is gone. Clients that were started with it don't need it. Null is no error.
//
// # Safety
// `config` is null or from `kf_config_new`, and not freed.
void kf_config_free(KfConfig *config);

// Settings with defaults, for the server at `url` (`https://events.example.com`), and for events whose `source` is this
// (`/my-game/client`). Null if a text is null or no UTF-8.
//
// Memory: the texts are copied and stay the caller's. The handle is freed by `kf_config_free`.
//
// # Safety
// The texts are null or end with NUL.
KfConfig *kf_config_new(const char *url, const char *source);

// Sets a text: `key`; `store` (a directory); `on_full` (`oldest` or `newest`); `compression` (`zstd`, `gzip` or `none`).
//
// Memory: the texts are copied and stay the caller's.
//
// # Safety
// `config` is null or from `kf_config_new`, and not freed; texts are null or end with NUL.
int32_t kf_config_set_text(KfConfig *config,
                           const char *name,
                           const char *value);

// Sets a number: `batch_events` `batch_bytes` `batch_ms` `event_bytes` `queue_events` `queue_bytes` `backoff_first_ms`
// `backoff_cap_ms` `circuit_failures` `request_timeout_ms` `store_bytes` `store_ms` `store_sync_ms` (0: after each write)
// `loss_report_ms` (0: never) `consent` (0 or 1). Limits are checked by `kf_start`.
//
// # Safety
// `config` is null or from `kf_config_new`, and not freed; `name` is null or ends with NUL.
int32_t kf_config_set_number(KfConfig *config,
                             const char *name,
                             uint64_t value);

// Sets how hard to try with events of a type, or, if `event_type` is null, with all others: 0 holds them in memory, 1 writes them
// to the store, where they outlive the process.
//
// Memory: the text is copied and stays the caller's.
//
// # Safety
// `config` is null or from `kf_config_new`, and not freed; `event_type` is null or ends with NUL.
int32_t kf_config_set_delivery(KfConfig *config,
                               const char *event_type,
                               int32_t stored);

// Frees settings.
//
// Memory: the handle is gone. Clients that were started with it don't need it. Null is no error.
//
// # Safety
// `config` is null or from `kf_config_new`, and not freed.
void kf_config_free(KfConfig *config);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KILLFEED_H */
