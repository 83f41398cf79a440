//! What a key may do.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One thing that a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Send events.
    Ingest,
    /// Send events on behalf of players: the event's own `clientaddress` counts. Contains `ingest`.
    Server,
    /// Ask questions: SQL, reports, the audit, schemas.
    Query,
    /// See fields that a schema declares personal.
    Personal,
    /// Flush, forget players, apply schemas.
    Admin,
}

impl Scope {
    /// Every scope, in the order of the docs.
    pub const ALL: [Self; 5] = [Self::Ingest, Self::Server, Self::Query, Self::Personal, Self::Admin];

    /// The word for it in configuration and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Server => "server",
            Self::Query => "query",
            Self::Personal => "personal",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope `{0}`: there are ingest, server, query, personal and admin")]
pub struct UnknownScope(pub String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word).ok_or_else(|| UnknownScope(word.to_owned()))
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self(0b1_1111);

    /// Whether `scope` is in it; `server` contains `ingest`.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0 || (matches!(scope, Scope::Ingest) && self.0 & Scope::Server.bit() != 0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for scope in Scope::ALL.into_iter().filter(|scope| self.0 & scope.bit() != 0) {
            write!(f, "{separator}{scope}")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_it_was_made_of_and_server_contains_ingest() {
        let scopes: Scopes = [Scope::Server, Scope::Query].into_iter().collect();
        let found: Vec<_> = Scope::ALL.into_iter().filter(|scope| scopes.has(*scope)).collect();
        assert_eq!(found, [Scope::Ingest, Scope::Server, Scope::Query]);
        assert_eq!(scopes.to_string(), "server, query");
        assert_eq!(Scope::ALL.into_iter().collect::<Scopes>(), Scopes::ALL);
    }

    #[test]
    fn words_read_back_and_others_are_refused() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert_eq!(serde_json::to_string(&scope).unwrap(), format!("\"{scope}\""));
        }
        assert_eq!("root".parse::<Scope>(), Err(UnknownScope("root".into())));
    }
}
