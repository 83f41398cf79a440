//! The table: its name, and the statements that make it.

use std::fmt;
use std::str::FromStr;

/// Lanes: rows of one order are all in one of them, and a relay takes lanes.
pub(crate) const LANES: i32 = 16;

/// The name of an outbox table, perhaps with its schema: `killfeed_outbox`, `game.killfeed_outbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(String);

impl Table {
    /// The default.
    pub const DEFAULT: &'static str = "killfeed_outbox";

    /// Without its schema: what further names are made of.
    fn bare(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or(&self.0)
    }

    /// The statements that make the table, its index, and the trigger that wakes relays up. They may be run again.
    #[must_use]
    pub fn ddl(&self) -> String {
        DDL.replace("{table}", &self.0).replace("{bare}", self.bare()).replace("{last_lane}", &(LANES - 1).to_string())
    }
}

impl FromStr for Table {
    type Err = String;

    /// Takes names that need no quotes.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |part: &str| {
            part.len() <= 40
                && part.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if text.split('.').count() <= 2 && text.split('.').all(is_plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is no TABLE or SCHEMA.TABLE of a-z, 0-9 and _, at most 40 characters each"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const DDL: &str = r"-- The outbox of killfeed: insert into it in the transaction that an event tells of.
-- Give key what events are to be kept in order by: the game's or the player's id, as in the attributes.
CREATE TABLE IF NOT EXISTS {table} (
  seq        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id         uuid        NOT NULL DEFAULT gen_random_uuid(),
  key        text,
  source     text        NOT NULL CHECK (source <> '' AND octet_length(source) <= 2048),
  type       text        NOT NULL CHECK (type <> '' AND octet_length(type) <= 2048),
  subject    text        CHECK (subject <> '' AND octet_length(subject) <= 2048),
  time       timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(time)),
  attributes jsonb       NOT NULL DEFAULT '{}' CHECK (
    jsonb_typeof(attributes) = 'object' AND octet_length(attributes::text) <= 262144
    AND NOT attributes ?| array['specversion', 'id', 'source', 'type', 'subject', 'time', 'data', 'data_base64']),
  data       json,
  -- What follows is the relay's.
  attempts    integer    NOT NULL DEFAULT 0,
  doubt_since timestamptz,
  sent_at     timestamptz,
  error       text,
  lane        smallint   GENERATED ALWAYS AS
    ((CASE WHEN key IS NULL THEN uuid_hash(id) ELSE hashtext(key) END & {last_lane})::smallint) STORED
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Rows to be sent, and no others: it stays small where rows are kept.
CREATE INDEX IF NOT EXISTS {bare}_pending ON {table} (lane, seq) WHERE sent_at IS NULL AND error IS NULL;

-- Wakes relays up at once; without it they look every --poll. Transactions that notify commit one after the
-- other, in the whole server: leave it out where hundreds of them commit in a second.
CREATE OR REPLACE FUNCTION {table}_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('killfeed_outbox_' || TG_RELID, '');
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER {bare}_notify AFTER INSERT ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION {table}_notify();
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_quotes_are_refused() {
        for name in ["killfeed_outbox", "game.outbox2", "_x"] {
            assert_eq!(name.parse::<Table>().unwrap().to_string(), name);
        }
        for name in ["", "a.b.c", "A", "a b", "a;drop table x", "1a", "a.", &"a".repeat(41)] {
            assert!(name.parse::<Table>().is_err(), "{name}");
        }
    }

    #[test]
    fn the_statements_name_the_table_and_leave_no_gap() {
        let ddl = "game.events_out".parse::<Table>().unwrap().ddl();
        assert!(ddl.contains("EXISTS game.events_out (") && ddl.contains("events_out_pending ON game.events_out ("));
        assert!(
            ddl.contains("& 15)") && !ddl.contains("{table}") && !ddl.contains("{bare}") && !ddl.contains("_lane}")
        );
    }
}
