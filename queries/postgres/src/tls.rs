//! Certificates, so that passwords and answers can cross a network.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// A certificate chain and its key.
#[derive(Debug, Clone)]
pub struct Tls(Arc<ServerConfig>);

/// Why they can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A file can't be read, or holds something else.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// They don't belong together, or aren't of a kind that is spoken.
    #[error("the certificate and the key: {0}")]
    Pair(#[from] rustls::Error),
}

impl Tls {
    /// From files in PEM.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, TlsFault> {
        let fault =
            |path: &Path, why: &dyn std::fmt::Display| TlsFault::File { path: path.into(), why: why.to_string() };
        let chain = CertificateDer::pem_file_iter(certificates)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fault(certificates, &error))?;
        if chain.is_empty() {
            return Err(fault(certificates, &"there is no certificate in it"));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, private)?;
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.clone())
    }
}
