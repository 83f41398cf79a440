//! Where PostgreSQL's protocol is served, and whether it may be.

use super::Role;
use crate::exit::Failure;
use crate::options::Options;
use edge::{Keys, check_bind};
use pgserver::{Server, Tls};
use queries::Engine;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use tokio_util::sync::CancellationToken;

/// Where it is served unless told otherwise, if nobody else is there.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5433);

/// The address, taken.
pub(crate) struct Taken {
    listener: TcpListener,
    tls: Option<Tls>,
}

impl Taken {
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        self.listener.local_addr().map_err(Failure::usage)
    }

    /// Serves until `stop`.
    pub(crate) async fn serve(self, engine: Engine, keys: Keys, stop: CancellationToken) -> Result<(), String> {
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(|error| error.to_string())?;
        let server = Server::new(engine, keys, self.tls).map_err(|error| error.to_string())?;
        server.serve(listener, stop).await;
        Ok(())
    }
}

/// Takes the address for a role that answers questions; `None` if the default one is another's.
///
/// # Errors
/// An address that was asked for and can't be had, or may not; files that are no certificate.
pub(crate) fn take(role: Role, options: &Options, keys: &Keys) -> Result<Option<Taken>, Failure> {
    if !role.has(Role::Query) {
        return Ok(None);
    }
    let files = options.pg_tls_cert.as_ref().zip(options.pg_tls_key.as_ref());
    let tls = files.map(|(certificates, key)| Tls::load(certificates, key)).transpose();
    let tls = tls.map_err(|fault| Failure::usage(format!("--pg-tls-cert, --pg-tls-key: {fault}")))?;
    let asked = options.pg_listen;
    let address = asked.unwrap_or(DEFAULT);
    check_bind(address, keys).map_err(|error| Failure::usage(format!("--pg-listen: {error}")))?;
    if tls.is_none() && !address.ip().to_canonical().is_loopback() {
        return Err(Failure::usage(format!(
            "--pg-listen {address}: API keys would cross the network for all to read; give --pg-tls-cert and --pg-tls-key"
        )));
    }
    match TcpListener::bind(address) {
        Ok(listener) => {
            listener.set_nonblocking(true).map_err(Failure::usage)?;
            Ok(Some(Taken { listener, tls }))
        }
        Err(error) if asked.is_some() => {
            Err(Failure::usage(format!("--pg-listen: cannot listen on {address}: {error}")))
        }
        Err(_) => Ok(None),
    }
}

/// What the greeting says.
pub(crate) fn greeting(role: Role, served: Option<SocketAddr>) -> Option<String> {
    let line = match served {
        Some(address) => format!("psql -h {} -p {} -U killfeed killfeed", address.ip(), address.port()),
        None => format!("off: {DEFAULT} is another's, choose with --pg-listen"),
    };
    role.has(Role::Query).then_some(line)
}
