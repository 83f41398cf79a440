//! Credentials from the files that AWS' tools share: `~/.aws/credentials` and `~/.aws/config`.
//!
//! Read again every now and then, so that keys can be changed under a process. Only keys that stand in
//! the files: a profile that asks for a role, a login or a program is refused by name.

use async_trait::async_trait;
use ini::{Ini, ParseOption};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long keys are believed before the file is read again.
const FRESH: Duration = Duration::from_secs(30);
/// The profile of who names none.
const DEFAULT: &str = "default";

/// One profile of the files.
pub(super) struct Profile {
    name: String,
    files: Files,
    /// What its section says of the region.
    pub(super) region: Option<String>,
    read: Mutex<(Instant, Arc<AwsCredential>)>,
}

#[derive(Debug, Clone)]
struct Files {
    credentials: Option<PathBuf>,
    config: Option<PathBuf>,
}

/// What the two files say of one profile.
#[derive(Default)]
struct Section {
    keys: Option<AwsCredential>,
    region: Option<String>,
    /// Something that would have to be run or asked for keys.
    needs: Option<&'static str>,
    exists: bool,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Profile({}, {:?})", self.name, self.files)
    }
}

impl Profile {
    /// The profile of this name, or `default`; `None` if none was asked for and there is no default
    /// with keys.
    pub(super) fn find(
        name: Option<&String>,
        credentials: Option<&String>,
        config: Option<&String>,
        home: Option<&str>,
    ) -> Result<Option<Self>, String> {
        let beside_home = |file: &str| home.map(|home| Path::new(home).join(".aws").join(file));
        let files = Files {
            credentials: credentials.map(PathBuf::from).or_else(|| beside_home("credentials")),
            config: config.map(PathBuf::from).or_else(|| beside_home("config")),
        };
        let asked = name.is_some();
        let name = name.map_or(DEFAULT, String::as_str).to_owned();
        let section = files.section(&name)?;
        if let Some(keys) = section.keys {
            let read = Mutex::new((Instant::now(), Arc::new(keys)));
            return Ok(Some(Self { name, files, region: section.region, read }));
        }
        match section.needs {
            _ if !asked => Ok(None),
            Some(what) => Err(format!("profile {name} has {what}, which isn't supported, and no aws_access_key_id")),
            None if section.exists => Err(format!("profile {name} has no aws_access_key_id and aws_secret_access_key")),
            None => Err(format!("there is no profile {name} in {}", files.names())),
        }
    }
}

impl Files {
    fn names(&self) -> String {
        let names: Vec<String> =
            [&self.credentials, &self.config].into_iter().flatten().map(|p| p.display().to_string()).collect();
        if names.is_empty() { "any file: HOME is not set".into() } else { names.join(" or ") }
    }

    fn section(&self, name: &str) -> Result<Section, String> {
        let mut section = Section::default();
        let headed = if name == DEFAULT { DEFAULT.to_owned() } else { format!("profile {name}") };
        for (file, heading) in [(&self.config, headed.as_str()), (&self.credentials, name)] {
            let Some(file) = file else { continue };
            let text = match std::fs::read_to_string(file) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
            };
            section.add(&text, heading).map_err(|detail| format!("{}: {detail}", file.display()))?;
        }
        Ok(section)
    }
}

impl Section {
    /// Adds what the section says. What is wrong with a file is told by its line, never by its text.
    fn add(&mut self, text: &str, heading: &str) -> Result<(), String> {
        let options = ParseOption { enabled_quote: false, enabled_escape: false, ..ParseOption::default() };
        let file = Ini::load_from_str_opt(text, options)
            .map_err(|error| format!("line {} is not understood", error.line + 1))?;
        let Some(found) = file.section(Some(heading)) else { return Ok(()) };
        self.exists = true;
        let value = |key: &str| found.get(key).map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
        self.region = value("region").or(self.region.take());
        if let (Some(key_id), Some(secret_key)) = (value("aws_access_key_id"), value("aws_secret_access_key")) {
            self.keys = Some(AwsCredential { key_id, secret_key, token: value("aws_session_token") });
        }
        let run = ["role_arn", "sso_session", "sso_start_url", "credential_process", "web_identity_token_file"];
        self.needs = self.needs.or_else(|| run.into_iter().find(|key| found.contains_key(key)));
        Ok(())
    }
}

#[async_trait]
impl CredentialProvider for Profile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        {
            let read = self.read.lock();
            if read.0.elapsed() < FRESH {
                return Ok(read.1.clone());
            }
        }
        // Two small files, each half minute.
        let section = self.files.section(&self.name).map_err(refused)?;
        let keys = section.keys.ok_or_else(|| refused(format!("profile {} has no keys any more", self.name)))?;
        let keys = Arc::new(keys);
        *self.read.lock() = (Instant::now(), keys.clone());
        Ok(keys)
    }
}

fn refused(detail: String) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "[default]\naws_access_key_id = AKDEFAULT\naws_secret_access_key = a/b+c=\\n\"\n\n\
        ; a remark\n[games]\naws_access_key_id=AKGAMES\naws_secret_access_key=of/games\naws_session_token = t==\n";
    const CONFIG: &str = "[default]\nregion = eu-west-1\n[profile games]\nregion=eu-north-1\n\
        s3 =\n  max_concurrent_requests = 20\n[profile role]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = games\n\
        [profile bare]\nregion = x\n";

    fn find(dir: &Path, name: Option<&str>) -> Result<Option<Profile>, String> {
        let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        Profile::find(name.map(str::to_owned).as_ref(), Some(&file("credentials")), Some(&file("config")), None)
    }

    #[tokio::test]
    async fn keys_and_region_come_from_the_two_files() {
        let dir = tempfile::tempdir().unwrap();
        assert!(find(dir.path(), None).unwrap().is_none(), "no file, and nobody asked");
        std::fs::write(dir.path().join("credentials"), CREDENTIALS).unwrap();
        std::fs::write(dir.path().join("config"), CONFIG).unwrap();
        for (name, key_id, secret_key, token, region) in [
            (None, "AKDEFAULT", "a/b+c=\\n\"", None, "eu-west-1"),
            (Some("games"), "AKGAMES", "of/games", Some("t=="), "eu-north-1"),
        ] {
            let profile = find(dir.path(), name).unwrap().unwrap();
            assert_eq!(profile.region.as_deref(), Some(region));
            let found = profile.get_credential().await.unwrap();
            assert_eq!((found.key_id.as_str(), found.secret_key.as_str()), (key_id, secret_key));
            assert_eq!(found.token.as_deref(), token);
            assert!(!format!("{profile:?}").contains(secret_key), "{profile:?}");
        }
        for (name, part) in [("role", "role_arn"), ("bare", "no aws_access_key_id"), ("gone", "no profile gone")] {
            let said = find(dir.path(), Some(name)).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
    }

    #[tokio::test]
    async fn keys_that_change_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("credentials"), CREDENTIALS).unwrap();
        let profile = find(dir.path(), Some("games")).unwrap().unwrap();
        std::fs::write(dir.path().join("credentials"), CREDENTIALS.replace("AKGAMES", "AKNEXT")).unwrap();
        assert_eq!(profile.get_credential().await.unwrap().key_id, "AKGAMES", "still believed");
        let long_ago = Instant::now().checked_sub(FRESH).unwrap();
        profile.read.lock().0 = long_ago;
        assert_eq!(profile.get_credential().await.unwrap().key_id, "AKNEXT");
    }

    #[test]
    fn a_broken_file_is_told_by_its_line_and_not_by_its_text() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("credentials"), "[default]\naws_secret_access_key hush-hush\n").unwrap();
        let said = find(dir.path(), None).unwrap_err();
        assert!(said.contains("line") && !said.contains("hush"), "{said}");
    }
}
