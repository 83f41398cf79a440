//! Which database: its URL, and connections to it.

use crate::tls::{Check, Roots, Tls};
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};

/// A connection that can't be made in this time is given up.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection on which nothing is heard for this long is asked whether it still is.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// What is sent and isn't answered by the other side's system ends the connection.
const UNHEARD: Duration = Duration::from_secs(20);

/// A database to connect to. Its password shows nowhere.
#[derive(Clone)]
pub struct Database {
    config: Config,
    tls: Tls,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("name", &self.config.get_dbname()).finish_non_exhaustive()
    }
}

impl Database {
    /// From a URL as libpq has it: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`. Beside what
    /// `tokio_postgres::Config` knows, `sslmode` may be `verify-ca` or `verify-full`, and `sslrootcert` a file, or
    /// `system`. A password that the URL doesn't have is `password`.
    ///
    /// # Errors
    ///
    /// A sentence, without the URL.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, String> {
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err("the database's URL begins with neither postgresql:// nor postgres://".into());
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut rest) = (String::from("prefer"), None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => value.clone_into(&mut mode),
                Some(("sslrootcert", value)) => roots = Some(decode(value)?),
                _ => rest.push(pair),
            }
        }
        let (ssl, check) = match (mode.as_str(), roots.as_deref()) {
            ("disable", _) => (SslMode::Disable, Check::Nothing),
            ("prefer", _) => (SslMode::Prefer, Check::Nothing),
            ("require", None) => (SslMode::Require, Check::Nothing),
            // As libpq does: with roots it is verify-ca, and with the system's it is verify-full.
            ("require" | "verify-ca", Some("system")) | ("verify-full", _) => (SslMode::Require, Check::Full),
            ("require" | "verify-ca", _) => (SslMode::Require, Check::Chain),
            (other, _) => return Err(format!("sslmode={other}: disable, prefer, require, verify-ca or verify-full")),
        };
        let roots = match roots.as_deref() {
            None | Some("system") => Roots::System,
            Some(file) => Roots::File(file.into()),
        };
        let mut config: Config =
            format!("{base}?{}", rest.join("&")).parse().map_err(|error: tokio_postgres::Error| {
                format!("the database's URL can't be used: {}", innermost(&error))
            })?;
        config.ssl_mode(ssl).keepalives_idle(KEEPALIVE).tcp_user_timeout(UNHEARD);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("killfeed outbox");
        }
        if let (None, Some(password)) = (config.get_password(), password) {
            config.password(password);
        }
        Ok(Self { config, tls: Tls::new(check, &roots)? })
    }

    /// Connects. What the connection hears beside answers goes to `heard`, for as long as it lasts.
    ///
    /// # Errors
    ///
    /// The client's, of connecting.
    pub(crate) async fn connect(&self, heard: impl Fn() + Send + 'static) -> Result<Client, tokio_postgres::Error> {
        let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
        tokio::spawn(async move {
            // A notification, a notice, an error or the end: whoever waits looks for himself.
            while let Some(Ok(_)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                heard();
            }
            heard();
        });
        Ok(client)
    }
}

/// A value of a URL's query, without its escapes.
fn decode(value: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(&format!("x:/?v={}", value.replace('+', "%2B")));
    let url = url.map_err(|error| format!("the database's URL can't be used: {error}"))?;
    Ok(url.query_pairs().next().map(|(_, value)| value.into_owned()).unwrap_or_default())
}

/// What lies behind an error: what the server or the system said.
pub(crate) fn innermost(error: &tokio_postgres::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().lines().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_and_wrong_ones_refused_without_their_password() {
        for url in [
            "postgresql://game:secret@db.example:5433/game",
            "postgres://game@localhost/game?sslmode=disable&application_name=x",
            "postgres://game@h1,h2/game?target_session_attrs=read-write&sslmode=require",
            "postgresql:///game?host=/var/run/postgresql",
        ] {
            let database = Database::parse(url, None).unwrap();
            assert!(!format!("{database:?}").contains("secret"));
        }
        for (url, says) in [
            ("host=localhost password=secret", "begins with neither"),
            ("postgres://a:secret@h/d?sslmode=sometimes", "sslmode=sometimes"),
            ("postgres://a:secret@h/d?sslcert=x", "sslcert"),
            ("postgres://a:secret@h/d?sslmode=verify-full&sslrootcert=/no%20where.pem", "/no where.pem"),
        ] {
            let error = Database::parse(url, None).unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_password_from_elsewhere_counts_where_the_url_has_none() {
        let of = |url| Database::parse(url, Some("b")).unwrap().config.get_password().map(<[u8]>::to_vec);
        assert_eq!(of("postgres://u:a@h/d"), Some(b"a".to_vec()));
        assert_eq!(of("postgres://u@h/d"), Some(b"b".to_vec()));
    }
}
