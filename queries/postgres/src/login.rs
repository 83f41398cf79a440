//! Who a connection speaks for: the holder of the API key that it shows as its password.
//!
//! Keys are kept as hashes, so the password has to come as it is; who listens beyond this machine has to have a
//! certificate. The user's name is for the log only.

use crate::settings;
use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::{
    ClientInfo, ConnectionGuard, ConnectionHandle, ConnectionManager, PgWireConnectionState, PidSecretKeyGenerator,
    RandomPidSecretKeyGenerator,
};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::Authentication;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use edge::{Keys, Scope};
use futures::{Sink, SinkExt as _};
use queries::Viewer;
use std::fmt::Debug;
use std::sync::Arc;

/// Asks for the key.
#[derive(Debug)]
pub(crate) struct Login {
    keys: Keys,
    connections: Arc<ConnectionManager>,
    parameters: DefaultServerParameterProvider,
}

impl Login {
    pub(crate) fn new(keys: Keys, connections: Arc<ConnectionManager>) -> Self {
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.server_version = format!("{} (killfeed {})", settings::VERSION, env!("CARGO_PKG_VERSION"));
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        Self { keys, connections, parameters }
    }

    /// Lets the holder of `key` in.
    async fn let_in<C>(&self, client: &mut C, key: &str) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let principal = self.keys.authorize_key(key, Scope::Query).map_err(|problem| {
            // 28P01: the password is wrong, which is what drivers ask their user for again.
            PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".into(), "28P01".into(), problem.detail.to_string())))
        })?;
        let (pid, secret) = RandomPidSecretKeyGenerator::default().generate(client);
        client.set_pid_and_secret_key(pid, secret.clone());
        let (handle, guard) = self.connections.register(pid, secret);
        let extensions = client.session_extensions();
        extensions.insert::<Arc<ConnectionHandle>>(handle);
        extensions.insert::<ConnectionGuard>(guard);
        extensions.insert::<Viewer>(Viewer::of(&principal));
        finish_authentication(client, &self.parameters).await
    }
}

#[async_trait]
impl StartupHandler for Login {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                if self.keys.is_none() {
                    return self.let_in(client, "").await;
                }
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                client.send(PgWireBackendMessage::Authentication(Authentication::CleartextPassword)).await?;
                Ok(())
            }
            PgWireFrontendMessage::PasswordMessageFamily(password) => {
                let password = password.into_password()?;
                self.let_in(client, &password.password).await
            }
            _ => Ok(()),
        }
    }
}
