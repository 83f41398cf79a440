//! The table in PostgreSQL.
//!
//! A relay has a lane by holding its advisory lock, which belongs to the session: the server lets go of it when the
//! session ends, whichever of the two was killed, and no clock or lease decides. A session that the network has cut
//! off ends by keepalives, which both sides ask for.

use crate::database::{Database, innermost};
use crate::row::Row;
use crate::schema::{LANES, Table};
use crate::sql::{self, Delivered};
use crate::store::{Settled, Store, StoreError, Want};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

/// A statement may take this long in the server.
const STATEMENT_MS: u32 = 30_000;
/// A statement that isn't answered in this time: the connection is taken for broken.
const ANSWER: Duration = Duration::from_secs(35);
/// How often it is counted how many relays there are.
const RECOUNT: Duration = Duration::from_secs(1);

/// The outbox table of one relay.
#[derive(Debug)]
pub struct PgStore {
    database: Database,
    table: Table,
    delivered: Delivered,
    /// Told when the connection hears something, or ends.
    heard: Arc<Notify>,
    session: Option<Session>,
    /// The lane to begin at.
    turn: i32,
}

#[derive(Debug)]
struct Session {
    client: Client,
    /// The first half of all advisory locks of this table.
    class: i32,
    relays: Statement,
    take_lanes: Statement,
    leave_lanes: Statement,
    claim: Statement,
    settle: Statement,
    /// Lanes that are ours now.
    lanes: Vec<i32>,
    /// How many lanes are our share, and when that was found out.
    share: (i64, Instant),
}

impl PgStore {
    /// The table of this name there. Nothing is connected yet.
    #[must_use]
    pub fn new(database: Database, table: Table, delivered: Delivered) -> Self {
        Self { database, table, delivered, heard: Arc::default(), session: None, turn: 0 }
    }

    async fn session(&mut self) -> Result<&mut Session, StoreError> {
        // Taken out meanwhile: a session that failed is closed, and its locks with it.
        let session = match self.session.take().filter(|session| !session.client.is_closed()) {
            Some(session) => session,
            None => in_time(self.connect()).await?,
        };
        Ok(self.session.insert(session))
    }

    async fn connect(&self) -> Result<Session, StoreError> {
        let heard = self.heard.clone();
        let client = self.database.connect(move || heard.notify_one()).await.map_err(store_error)?;
        // Defaults of the database or the role may be others. A claim that doesn't wait for the disk would not
        // mean anything. And an index is always right here, whatever statistics say of a table that is empty at times
        // and has a million rows at others.
        let setup = format!(
            "SET default_transaction_isolation = 'read committed'; SET statement_timeout = {STATEMENT_MS}; \
             SET lock_timeout = 5000; SET idle_in_transaction_session_timeout = 10000; \
             SET enable_seqscan = off; SET enable_bitmapscan = off; \
             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        );
        client.batch_execute(&setup).await.map_err(store_error)?;
        let name = self.table.to_string();
        let found = client.query_opt(sql::TABLE, &[&name]).await.map_err(store_error)?;
        let Some(found) = found else {
            return Err(StoreError::Setup(format!(
                "there is no table {name}; `killfeed outbox --print-schema` makes it"
            )));
        };
        let (oid, table): (i64, String) = (found.get(0), found.get(1));
        let lock = format!("SELECT hashtext('killfeed outbox {oid}') & 2147483647");
        let class: i32 = client.query_one(&lock, &[]).await.map_err(store_error)?.get(0);
        let listen = format!("LISTEN killfeed_outbox_{oid}");
        client.batch_execute(&listen).await.map_err(store_error)?;
        client.query_one(&sql::presence(), &[&class]).await.map_err(store_error)?;
        let session = Session {
            class,
            relays: client.prepare(&sql::relays()).await.map_err(store_error)?,
            take_lanes: client.prepare(&sql::take_lanes(&table)).await.map_err(store_error)?,
            leave_lanes: client.prepare(sql::LEAVE_LANES).await.map_err(store_error)?,
            claim: client.prepare(&sql::claim(&table)).await.map_err(store_error)?,
            settle: client.prepare(&sql::settle(&table, self.delivered)).await.map_err(store_error)?,
            lanes: Vec::new(),
            share: (0, Instant::now()),
            client,
        };
        Ok(session)
    }
}

impl Store for PgStore {
    async fn claim(&mut self, want: &Want) -> Result<Vec<Row>, StoreError> {
        self.turn = (self.turn + 1) % LANES;
        let turn = self.turn;
        let session = self.session().await?;
        let claimed = in_time(session.claim(want, turn)).await;
        if claimed.is_err() {
            self.session = None;
        }
        claimed
    }

    async fn settle(&mut self, settled: &Settled) -> Result<(), StoreError> {
        // Without the session of the claim the rows may be another's by now.
        let Some(session) = &mut self.session else {
            return Err(StoreError::Gone("the connection of the claim is gone".into()));
        };
        let done = in_time(session.settle(settled)).await;
        if done.is_err() {
            self.session = None;
        }
        done
    }

    async fn idle(&mut self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.heard.notified()).await;
    }
}

impl Session {
    async fn claim(&mut self, want: &Want, turn: i32) -> Result<Vec<Row>, StoreError> {
        self.take_lanes(&want.blocked, turn).await?;
        if self.lanes.is_empty() {
            return Ok(Vec::new());
        }
        let rows = i64::try_from(want.rows).unwrap_or(i64::MAX);
        // The statement sums up numerics of the server; its parameters are what they are compared with.
        let (bytes, row_bytes) = (as_i64(want.bytes), as_i32(want.row_bytes));
        let params: [&(dyn ToSql + Sync); 5] = [&self.lanes, &want.blocked, &rows, &bytes, &row_bytes];
        let found = self.client.query(&self.claim, &params).await.map_err(store_error)?;
        let mut rows = found.iter().map(row).collect::<Result<Vec<Row>, _>>()?;
        rows.sort_unstable_by_key(|row| row.seq);
        if rows.is_empty() {
            self.leave_lanes().await?;
        }
        Ok(rows)
    }

    async fn take_lanes(&mut self, blocked: &[String], turn: i32) -> Result<(), StoreError> {
        let (share, counted) = self.share;
        if share == 0 || counted.elapsed() > RECOUNT {
            let relays = self.client.query_one(&self.relays, &[&self.class]).await.map_err(store_error)?;
            let relays = relays.get::<_, i64>(0).max(1);
            self.share = ((i64::from(LANES) + relays - 1) / relays, Instant::now());
        }
        let params: [&(dyn ToSql + Sync); 4] = [&self.class, &self.share.0, &blocked, &turn];
        let taken = self.client.query(&self.take_lanes, &params).await.map_err(store_error)?;
        self.lanes = taken.iter().map(|row| row.get(0)).collect();
        Ok(())
    }

    async fn leave_lanes(&mut self) -> Result<(), StoreError> {
        let lanes = std::mem::take(&mut self.lanes);
        let left = self.client.query_one(&self.leave_lanes, &[&self.class, &lanes]).await.map_err(store_error)?;
        if usize::try_from(left.get::<_, i64>(0)) == Ok(lanes.len()) {
            return Ok(());
        }
        Err(StoreError::Gone("the session lost its locks: does a pooler stand before the database?".into()))
    }

    async fn settle(&mut self, settled: &Settled) -> Result<(), StoreError> {
        let (refused, reasons): (Vec<i64>, Vec<&str>) =
            settled.refused.iter().map(|(seq, why)| (*seq, why.as_str())).unzip();
        let params: [&(dyn ToSql + Sync); 4] = [&settled.delivered, &refused, &reasons, &settled.cleared];
        self.client.query_one(&self.settle, &params).await.map_err(store_error)?;
        self.leave_lanes().await
    }
}

fn row(found: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let read = || -> Result<Row, tokio_postgres::Error> {
        Ok(Row {
            seq: found.try_get(0)?,
            id: found.try_get(1)?,
            order: found.try_get(2)?,
            doubt: found.try_get::<_, Option<f64>>(3)?.map(|age| Duration::try_from_secs_f64(age).unwrap_or_default()),
            event_type: found.try_get(4)?,
            source: found.try_get(5)?,
            subject: found.try_get(6)?,
            time: found.try_get(7)?,
            attributes: found.try_get(8)?,
            data: found.try_get(9)?,
            size: u64::try_from(found.try_get::<_, i64>(10)?).unwrap_or_default(),
            claimed_at: found.try_get(11)?,
        })
    };
    read().map_err(|error| StoreError::Setup(format!("the table isn't as it should be: {}", innermost(&error))))
}

fn as_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn as_i32(value: u64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = StoreError::Gone(format!("no answer in {} s", ANSWER.as_secs()));
    tokio::time::timeout(ANSWER, work).await.unwrap_or(Err(late))
}

/// Whether waiting may help.
fn store_error(error: tokio_postgres::Error) -> StoreError {
    let why = innermost(&error);
    let Some(code) = error.code() else { return StoreError::Gone(why) };
    let setup = [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        SqlState::INVALID_CATALOG_NAME,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::INVALID_SCHEMA_NAME,
    ];
    if setup.contains(code) { StoreError::Setup(why) } else { StoreError::Gone(why) }
}
