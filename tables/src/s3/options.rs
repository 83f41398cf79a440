//! Settings to clients: names checked, limits set, credentials found.

use super::profile::Profile;
use crate::Access;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a request that may be repeated is.
const REPEATS_MAX: usize = 3;
/// After this long no further repeat begins. With the time of one request it stays below what a commit
/// may take, so that a writer hears of a store that is away before it gives up by itself.
const REPEATS_FOR: Duration = Duration::from_secs(15);
/// The longest pause before a repeat.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Settings that say where files are, not what S3 is to do.
const PROFILE: &str = "profile";
const CREDENTIALS_FILE: &str = "shared_credentials_file";
const CONFIG_FILE: &str = "config_file";
const OWN: [(&str, &str); 3] =
    [(PROFILE, "AWS_PROFILE"), (CREDENTIALS_FILE, "AWS_SHARED_CREDENTIALS_FILE"), (CONFIG_FILE, "AWS_CONFIG_FILE")];
/// What others call a setting of the client's.
const ALIASES: [(&str, AmazonS3ConfigKey); 1] =
    [("AWS_EC2_METADATA_SERVICE_ENDPOINT", AmazonS3ConfigKey::MetadataEndpoint)];

type Settings = HashMap<AmazonS3ConfigKey, String>;

/// The client that repeats requests, and the one that doesn't.
pub(super) fn clients(bucket: &str, access: &Access) -> Result<(AmazonS3, AmazonS3), String> {
    let (mut settings, own) = settings(access)?;
    let mut profile = None;
    if !settings.contains_key(&AmazonS3ConfigKey::AccessKeyId) && !is_set(&settings, AmazonS3ConfigKey::SkipSignature) {
        let home = access.environment.get("HOME").map(String::as_str);
        profile = Profile::find(own.get(PROFILE), own.get(CREDENTIALS_FILE), own.get(CONFIG_FILE), home)?;
    } else if !settings.contains_key(&AmazonS3ConfigKey::SecretAccessKey)
        && settings.contains_key(&AmazonS3ConfigKey::AccessKeyId)
    {
        return Err("there is an access key id and no secret access key: give both".into());
    }
    if let Some(region) = profile.as_ref().and_then(|profile| profile.region.clone())
        && !settings.contains_key(&AmazonS3ConfigKey::Region)
        && !settings.contains_key(&AmazonS3ConfigKey::DefaultRegion)
    {
        settings.insert(AmazonS3ConfigKey::Region, region);
    }
    check_endpoint(&settings)?;
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: PAUSE_MAX, ..BackoffConfig::default() },
        max_retries: REPEATS_MAX,
        retry_timeout: REPEATS_FOR,
    };
    let base =
        settings.into_iter().fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value));
    let mut base =
        base.with_bucket_name(bucket).with_conditional_put(S3ConditionalPut::ETagMatch).with_retry(retry.clone());
    if let Some(profile) = profile {
        base = base.with_credentials(Arc::new(profile));
    }
    let one_line = |error: object_store::Error| crate::error::brief(&error);
    let repeating = base.clone().build().map_err(one_line)?;
    let never = RetryConfig { max_retries: 0, ..retry };
    let once = base.with_credentials(repeating.credentials().clone()).with_retry(never).build().map_err(one_line)?;
    Ok((repeating, once))
}

/// The environment's settings, then those given, by what they mean; and those that are ours.
fn settings(access: &Access) -> Result<(Settings, HashMap<&'static str, String>), String> {
    let (mut settings, mut own) = (Settings::new(), HashMap::new());
    for (name, value) in access.environment.iter().filter(|(_, value)| !value.is_empty()) {
        if let Some((known, _)) = OWN.iter().find(|(_, variable)| variable == name) {
            own.insert(*known, value.clone());
        } else if let Some((_, key)) = ALIASES.iter().find(|(variable, _)| variable == name) {
            settings.entry(*key).or_insert_with(|| value.clone());
        } else if name.starts_with("AWS_")
            && let Ok(key) = name.to_ascii_lowercase().parse()
            && !is_fixed(key)
        {
            settings.insert(key, value.clone());
        }
    }
    let mut faults = Vec::new();
    for (name, value) in &access.properties {
        let name = name.to_ascii_lowercase();
        if let Some((known, _)) = OWN.iter().find(|(known, _)| *known == name.trim_start_matches("aws_")) {
            own.insert(*known, value.clone());
            continue;
        }
        match name.parse::<AmazonS3ConfigKey>() {
            Ok(key) if is_fixed(key) => faults.push(format!("{name} can't be set: {WHY_FIXED}")),
            Ok(key) => drop(settings.insert(key, value.clone())),
            Err(_) => faults.push(format!("no setting is called {name}; docs/s3.md lists them")),
        }
    }
    if faults.is_empty() { Ok((settings, own)) } else { Err(faults.join("; ")) }
}

const WHY_FIXED: &str = "the bucket is the location's, and commits are always conditional puts";

/// Settings by which commits could be lost, or that the location makes.
const fn is_fixed(key: AmazonS3ConfigKey) -> bool {
    use AmazonS3ConfigKey::{Bucket, ConditionalPut, CopyIfNotExists};
    matches!(key, Bucket | ConditionalPut | CopyIfNotExists)
}

fn is_set(settings: &Settings, key: AmazonS3ConfigKey) -> bool {
    settings.get(&key).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
}

/// An endpoint without TLS must be wanted: else the client would refuse it later, at each request.
fn check_endpoint(settings: &Settings) -> Result<(), String> {
    let endpoint =
        [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint].iter().find_map(|key| settings.get(key));
    let Some(endpoint) = endpoint else { return Ok(()) };
    let url = url::Url::parse(endpoint).map_err(|error| format!("endpoint {endpoint:?} is no URL: {error}"))?;
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_set(settings, AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)) => Ok(()),
        "http" => {
            Err(format!("endpoint {endpoint} has no TLS: if that is wanted, set allow_http=true (AWS_ALLOW_HTTP)"))
        }
        _ => Err(format!("endpoint {endpoint:?} is neither https:// nor http://")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(environment: &[(&str, &str)], properties: &[(&str, &str)]) -> Access {
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Access { environment: own(environment).into_iter().collect(), properties: own(properties) }
    }

    #[test]
    fn properties_win_over_the_environment_and_both_go_by_meaning() {
        let environment =
            [("AWS_ENDPOINT_URL", "https://a"), ("AWS_REGION", "x"), ("AWS_BUCKET", "other"), ("PATH", "/")];
        let (found, _) = settings(&access(&environment, &[("endpoint", "https://b"), ("ALLOW_HTTP", "true")])).unwrap();
        assert_eq!(found[&AmazonS3ConfigKey::Endpoint], "https://b");
        assert_eq!(found[&AmazonS3ConfigKey::Region], "x");
        assert!(is_set(&found, AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)));
        assert!(!found.contains_key(&AmazonS3ConfigKey::Bucket), "the location says it");
    }

    #[test]
    fn what_is_wrong_is_said_before_anything_is_asked() {
        let keys = [("access_key_id", "k"), ("secret_access_key", "s")];
        for (wrong, part) in [
            (vec![("colour", "red"), ("size", "9")], "no setting is called colour"),
            (vec![("colour", "red"), ("size", "9")], "no setting is called size"),
            (vec![("conditional_put", "disabled")], "can't be set"),
            (vec![("bucket", "other")], "can't be set"),
            (vec![("endpoint", "http://127.0.0.1:9")], "allow_http=true"),
            (vec![("endpoint", "127.0.0.1:9")], "endpoint"),
            (vec![("allow_http", "maybe")], "maybe"),
        ] {
            let said = clients("lake", &access(&[], &[&keys[..], &wrong].concat())).unwrap_err();
            assert!(said.contains(part) && !said.contains('\n'), "{wrong:?}: {said}");
        }
        let said = clients("lake", &access(&[("AWS_ACCESS_KEY_ID", "k")], &[])).unwrap_err();
        assert!(said.contains("no secret access key"), "{said}");
        let said = clients("lake", &access(&[("AWS_PROFILE", "gone"), ("HOME", "/nowhere")], &[])).unwrap_err();
        assert!(said.contains("gone"), "{said}");
    }
}
