//! PostgreSQL's protocol over the query engine, for the tools that analysts have: psql, drivers, Grafana, DBeaver.
//!
//! ```text
//!  client ── startup, password = API key ──▶ login
//!         ── statements ──▶ statement: BEGIN, SET, SHOW ... are answered here
//!                           all else ──▶ queries::Engine, which checks, limits and logs it as it does for HTTP
//!                                         └─ names pg_catalog or no table: with what `catalogue` adds
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `login` | who a connection speaks for |
//! | `statement` | texts cut into statements, and which of them are none of the engine's |
//! | `session` | the two ways in which clients ask: at once, or in steps |
//! | `catalogue` | PostgreSQL's own tables and functions, about the tables of events |
//! | `standard` | `information_schema`, as views of those |
//! | `functions` | PostgreSQL's functions that tools call at their start |
//! | `settings` | what `SHOW`, `current_setting` and `pg_settings` say |
//! | `rewrite` | questions of tools whose answers are known beforehand |
//! | `words` | errors by the codes that drivers know |
//! | `tls` | certificates |

mod catalogue;
mod functions;
mod interrupt;
mod login;
mod rewrite;
mod session;
mod settings;
mod standard;
mod statement;
mod tls;
mod words;

pub use tls::{Tls, TlsFault};

use catalogue::Catalogue;
use datafusion_postgres::pgwire::api::auth::StartupHandler;
use datafusion_postgres::pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::{ConnectionManager, PgWireServerHandlers};
use datafusion_postgres::pgwire::tokio::process_socket;
use edge::Keys;
use login::Login;
use queries::Engine;
use session::Session;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at a time. What one of them runs counts among all queries.
pub const CONNECTIONS_MAX: usize = 100;
/// The wait after a connection that could not be accepted: there are too many open files, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server of one engine.
#[derive(Debug, Clone)]
pub struct Server {
    session: Arc<Session>,
    login: Arc<Login>,
    connections: Arc<ConnectionManager>,
    tls: Option<Tls>,
}

impl Server {
    /// Over `engine`, for the holders of `keys`. Without keys nobody is asked for a password, so the address must be
    /// loopback ([`edge::check_bind`]).
    ///
    /// # Errors
    /// If PostgreSQL's own tables can't be made, which is a fault of ours.
    pub fn new(engine: Engine, keys: Keys, tls: Option<Tls>) -> Result<Self, queries::Error> {
        let connections = Arc::new(ConnectionManager::new());
        let catalogue = Catalogue::new(engine.clone()).map_err(|error| queries::Error::Internal(error.to_string()))?;
        Ok(Self {
            session: Arc::new(Session::new(engine, Arc::new(catalogue))),
            login: Arc::new(Login::new(keys, connections.clone())),
            connections,
            tls,
        })
    }

    /// Serves until `stop`; then connections end with what they are doing.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                metrics::counter!("killfeed_postgres_refused_connections_total").increment(1);
                tracing::warn!(%peer, "refused: there are {CONNECTIONS_MAX} connections, which is the limit");
                continue;
            };
            let (server, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move {
                let connections = metrics::gauge!("killfeed_postgres_connections");
                connections.increment(1.0);
                tokio::select! {
                    () = stop.cancelled() => {}
                    ended = server.converse(socket) => {
                        if let Err(error) = ended {
                            tracing::debug!(%peer, %error, "connection ended");
                        }
                    }
                }
                connections.decrement(1.0);
                drop(place);
            });
        }
    }

    async fn converse(self, socket: TcpStream) -> std::io::Result<()> {
        let acceptor = self.tls.as_ref().map(Tls::acceptor);
        process_socket(socket, acceptor, self).await
    }
}

impl PgWireServerHandlers for Server {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.session.clone()
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        self.session.clone()
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        self.login.clone()
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(self.connections.clone()))
    }
}
