//! What is needed to reach a store that is not on this machine: settings, and the environment that
//! they and the credentials may come from. Both hold secrets, so neither is ever printed.

use std::collections::BTreeMap;

/// Settings of a store by name, on top of the environment's. A setting wins over the environment.
#[derive(Clone, Default)]
pub struct Access {
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) properties: Vec<(String, String)>,
}

impl Access {
    /// What this process' environment says. Variables that aren't text are left out.
    pub fn from_environment() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { environment: std::env::vars_os().filter_map(text).collect(), properties: Vec::new() }
    }

    /// The same with these settings; names are those of [`crate::Store::open_with`].
    #[must_use]
    pub fn with(mut self, properties: impl IntoIterator<Item = (String, String)>) -> Self {
        self.properties.extend(properties);
        self
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Access").field("properties", &names).finish_non_exhaustive()
    }
}
