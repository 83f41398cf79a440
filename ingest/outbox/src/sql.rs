//! The statements of a relay, for one table. All are short, and none leaves a transaction open.

use crate::schema::LANES;

/// What is neither sent nor refused.
const PENDING: &str = "sent_at IS NULL AND error IS NULL";

/// What becomes of a row once it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivered {
    /// It is deleted.
    #[default]
    Delete,
    /// Its `sent_at` is set, and it stays.
    Mark,
}

/// The table by name: its number, its name with schema and quotes. `$1` name.
pub(crate) const TABLE: &str = "SELECT c.oid::int8, format('%I.%I', n.nspname, c.relname) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)";

/// Relays of a table at work, this one among them. `$1` lock class.
pub(crate) fn relays() -> String {
    format!(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1::int4::oid AND objid = {LANES} \
         AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
}

/// Says that this relay is there, for as long as its session is. `$1` lock class.
pub(crate) fn presence() -> String {
    format!("SELECT pg_try_advisory_lock_shared($1, {LANES})")
}

/// Takes lanes in which something can be sent, and which no other session has. `$1` lock class, `$2` lanes at most,
/// `$3` blocked orders, `$4` the lane to begin at, so that none is always the last.
pub(crate) fn take_lanes(table: &str) -> String {
    // The subquery is a fence (OFFSET 0): a lock is taken for a row that is looked at, so none may be that isn't wanted.
    format!(
        "SELECT heads.lane FROM (\
           SELECT lanes.lane FROM generate_series(0, {LANES} - 1) AS lanes(lane) CROSS JOIN LATERAL (\
             SELECT FROM {table} o WHERE {head} AND coalesce(o.key, o.id::text) <> ALL ($3::text[]) \
             ORDER BY o.lane, o.seq LIMIT 1) AS head \
           ORDER BY (lanes.lane + $4) % {LANES} OFFSET 0) AS heads \
         WHERE pg_try_advisory_lock($1, heads.lane) LIMIT $2",
        head = pending_in("lanes.lane"),
    )
}

/// Rows of `o` that are pending in a lane, to be taken `ORDER BY o.lane, o.seq`. Said by ranges, and not `o.lane =`,
/// because then the primary key would do for the order too, and the planner, who knows little of a table that was
/// empty a minute ago, would walk through all lanes by it.
fn pending_in(lane: &str) -> String {
    format!(
        "(o.lane, o.seq) >= ({lane}::int2, 0::int8) AND (o.lane, o.seq) < ({lane}::int2 + 1::int2, 0::int8) \
         AND o.sent_at IS NULL AND o.error IS NULL"
    )
}

/// Lets go of lanes. `$1` lock class, `$2` lanes.
pub(crate) const LEAVE_LANES: &str =
    "SELECT count(*) FILTER (WHERE pg_advisory_unlock($1, lane)) FROM unnest($2::int4[]) AS lane";

/// Claims rows. `$1` lanes, `$2` blocked orders, `$3` rows at most, `$4` bytes at most, `$5` bytes of a row whose
/// payload is wanted.
///
/// It is an UPDATE that commits before anything is sent, for three reasons: the row's doubt is on record; a commit of
/// this session, which waits for the disk, puts on the disk all that it could see, also rows of transactions that did
/// not wait; and no transaction stays open while the API is waited for. Rows that somebody else has locked are passed
/// over, and so is all behind them in their order.
///
/// Rows are named by arrays: so the plan goes by the primary key, also while the server has no statistics of a table
/// that was empty a minute ago. A doubt of this very statement is a new one.
pub(crate) fn claim(table: &str) -> String {
    format!(
        "WITH pending AS MATERIALIZED (\
           SELECT head.* FROM unnest($1::int4[]) AS lanes(lane) CROSS JOIN LATERAL (\
             SELECT o.seq, coalesce(o.key, o.id::text) AS ord FROM {table} o \
             WHERE {head} AND coalesce(o.key, o.id::text) <> ALL ($2::text[]) ORDER BY o.lane, o.seq LIMIT $3) AS head \
           ORDER BY head.seq LIMIT $3), \
         locked AS MATERIALIZED (\
           SELECT seq, coalesce(octet_length(data::text), 0) + octet_length(attributes::text) AS size \
           FROM {table} WHERE seq = ANY (ARRAY(SELECT seq FROM pending)) FOR UPDATE SKIP LOCKED), \
         ours AS (\
           SELECT p.seq, l.size, bool_or(l.seq IS NULL) OVER (PARTITION BY p.ord ORDER BY p.seq) AS behind_another \
           FROM pending p LEFT JOIN locked l ON l.seq = p.seq), \
         counted AS (\
           SELECT seq, sum(size) OVER (ORDER BY seq) AS total, row_number() OVER (ORDER BY seq) AS nth \
           FROM ours WHERE NOT behind_another) \
         UPDATE {table} o SET attempts = attempts + 1, doubt_since = coalesce(doubt_since, statement_timestamp()) \
         WHERE seq = ANY (ARRAY(SELECT seq FROM counted WHERE total <= $4 OR nth = 1)) AND {PENDING} \
         RETURNING seq, id::text, coalesce(key, id::text), CASE WHEN doubt_since <> statement_timestamp() THEN \
           extract(epoch FROM statement_timestamp() - doubt_since)::float8 END, type, source, subject, \
           to_char(time AT TIME ZONE 'UTC', '{RFC_3339}'), attributes::text, \
           CASE WHEN octet_length(data::text) <= $5 THEN data::text END, \
           coalesce(octet_length(data::text), 0)::int8, \
           to_char(clock_timestamp() AT TIME ZONE 'UTC', '{RFC_3339}')",
        head = pending_in("lanes.lane"),
    )
}

/// As `to_char` spells it.
const RFC_3339: &str = r#"YYYY-MM-DD"T"HH24:MI:SS.US"Z""#;

/// Takes down what became of rows, in one statement and so in one transaction. `$1` delivered, `$2` refused, `$3` the
/// reasons of these, `$4` no longer in doubt. A delivered row that somebody else has locked is left: it will be sent
/// again, and deduplicated, where waiting would hold up all the others.
pub(crate) fn settle(table: &str, delivered: Delivered) -> String {
    let free =
        format!("seq = ANY (ARRAY(SELECT seq FROM {table} WHERE seq = ANY ($1::int8[]) FOR UPDATE SKIP LOCKED))");
    let done = match delivered {
        Delivered::Delete => format!("DELETE FROM {table} WHERE {free}"),
        Delivered::Mark => {
            format!(
                "UPDATE {table} SET sent_at = clock_timestamp(), doubt_since = NULL WHERE {free} AND sent_at IS NULL"
            )
        }
    };
    format!(
        "WITH done AS ({done} RETURNING 1), refused AS (\
           UPDATE {table} o SET error = r.error FROM unnest($2::int8[], $3::text[]) AS r(seq, error) \
           WHERE o.seq = ANY ($2) AND o.seq = r.seq AND o.sent_at IS NULL RETURNING 1), cleared AS (\
           UPDATE {table} SET doubt_since = NULL WHERE seq = ANY ($4::int8[]) RETURNING 1) \
         SELECT (SELECT count(*) FROM done) + (SELECT count(*) FROM refused) + (SELECT count(*) FROM cleared)"
    )
}
