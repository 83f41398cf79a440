//! Who looks: the holder of a key that was pasted once, and remembered by a cookie.
//!
//! A browser can't send a key with each request by itself, and must not store it where a script could read it.
//! So the key is given once, in a form; what the browser keeps is a random word that stands for whoever gave it,
//! in this process' memory and for [`LASTS`] only. See docs/decisions/0018-dashboard.md.

use axum::response::{IntoResponse as _, Response};
use edge::{Keys, Principal, Problem, Scope};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use parking_lot::Mutex;
use rand::RngCore as _;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a key counts as given.
pub const LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// Who may be remembered at once; past it the one that ends first is forgotten.
const SESSIONS_MAX: usize = 1_000;
/// The cookie's name.
const COOKIE: &str = "killfeed_session";

/// Those whose key was given.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    keys: Keys,
    held: Arc<Mutex<HashMap<String, Session>>>,
}

#[derive(Debug)]
struct Session {
    principal: Principal,
    ends: Instant,
}

impl Sessions {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, held: Arc::default() }
    }

    /// Whether there are keys to be given.
    pub(crate) fn are_needed(&self) -> bool {
        !self.keys.is_none()
    }

    /// Whom a request speaks for, if it may ask questions: by the key that it brings, else by its cookie.
    ///
    /// # Errors
    /// 401 if it speaks for nobody; 403 without the scope `query`, or from a page of another site; 429 past the
    /// key's rate.
    pub(crate) fn who(&self, headers: &HeaderMap) -> Result<Principal, Problem> {
        let brings_key = headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key");
        if brings_key || !self.are_needed() {
            return self.keys.authorize(headers, Scope::Query);
        }
        let principal = cookie(headers).and_then(|word| self.remembered(word));
        let principal = principal.ok_or_else(|| Problem::unauthorized("sign in with an API key"))?;
        self.keys.again(&principal, Scope::Query)?;
        Ok(principal)
    }

    fn remembered(&self, word: &str) -> Option<Principal> {
        let mut held = self.held.lock();
        let session = held.get(word)?;
        if session.ends <= Instant::now() {
            held.remove(word);
            return None;
        }
        Some(session.principal.clone())
    }

    /// Takes a key; gives the cookie that stands for its holder.
    ///
    /// # Errors
    /// As [`Self::who`].
    pub(crate) fn sign_in(&self, key: &str, headers: &HeaderMap) -> Result<HeaderValue, Problem> {
        let mut shown = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
        shown.insert(header::AUTHORIZATION, bearer.map_err(|_| Problem::unauthorized("unknown API key"))?);
        let principal = self.keys.authorize(&shown, Scope::Query)?;
        let word = random_word();
        let mut held = self.held.lock();
        let now = Instant::now();
        held.retain(|_, session| session.ends > now);
        if held.len() >= SESSIONS_MAX
            && let Some(first) = held.iter().min_by_key(|(_, session)| session.ends).map(|(word, _)| word.clone())
        {
            held.remove(&first);
        }
        held.insert(word.clone(), Session { principal, ends: now + LASTS });
        cookie_of(&word, LASTS, headers)
    }

    /// Forgets who looks; gives the cookie that takes the old one away.
    pub(crate) fn sign_out(&self, headers: &HeaderMap) -> Result<HeaderValue, Problem> {
        if let Some(word) = cookie(headers) {
            self.held.lock().remove(word);
        }
        cookie_of("", Duration::ZERO, headers)
    }
}

/// Where the browser came by TLS (its own `Origin` says so), the cookie never travels without.
fn cookie_of(word: &str, lasts: Duration, headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let is_tls = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let secure = if is_tls { "; Secure" } else { "" };
    let text = format!("{COOKIE}={word}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}", lasts.as_secs());
    HeaderValue::from_str(&text).map_err(|error| Problem::internal(error.to_string()))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, word)| word)
}

fn random_word() -> String {
    let mut bits = [0_u8; 32];
    rand::rng().fill_bytes(&mut bits);
    bits.iter().fold(String::with_capacity(64), |mut word, byte| {
        // Writing to a string can't fail.
        let _ = write!(word, "{byte:02x}");
        word
    })
}

/// Refuses a form that a page of another site made the browser send. Browsers say with each form where it came
/// from; what says nothing is no browser, and brings its key itself.
///
/// # Errors
/// 403.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let same = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            // `null`, which a browser says of pages without an origin, has no scheme.
            let from = origin.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some());
            let from = from.and_then(|uri| uri.authority().map(ToString::to_string));
            from.is_some() && from.as_deref() == text("host")
        }
        (None, None) => cookie(headers).is_none(),
    };
    if same { Ok(()) } else { Err(Problem::forbidden("this form was sent by a page of another site")) }
}

/// To another page of ours.
pub(crate) fn redirect(to: &str) -> Response {
    let Ok(to) = HeaderValue::from_str(to) else { return StatusCode::BAD_REQUEST.into_response() };
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// A path of ours to go to, from a form or an address that anyone may have written; else the overview.
pub(crate) fn path_of_ours(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    if is_path && next.bytes().all(|byte| (0x21..0x7f).contains(&byte)) { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge::KeyConfig;

    fn sessions() -> Sessions {
        let key = |name: &str, scope| KeyConfig::new(name, name, [scope]);
        Sessions::new(Keys::from_config(&[key("ann", Scope::Query), key("game", Scope::Ingest)]).unwrap())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_cookie_stands_for_its_key_until_its_time_or_the_sign_out() {
        let sessions = sessions();
        assert_eq!(sessions.sign_in("wrong", &HeaderMap::new()).unwrap_err().status, StatusCode::UNAUTHORIZED);
        assert_eq!(sessions.sign_in("game", &HeaderMap::new()).unwrap_err().status, StatusCode::FORBIDDEN);
        let cookie = sessions.sign_in(" ann\n", &HeaderMap::new()).unwrap();
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        let back = headers(&[("cookie", &format!("a=b; {pair}"))]);
        assert_eq!(&*sessions.who(&back).unwrap().name, "ann");
        assert_eq!(sessions.who(&headers(&[("cookie", "killfeed_session=x")])).unwrap_err().status, 401);
        tokio::time::advance(LASTS).await;
        assert_eq!(sessions.who(&back).unwrap_err().status, 401);

        let cookie = sessions.sign_in("ann", &headers(&[("origin", "https://a.example")])).unwrap();
        assert!(cookie.to_str().unwrap().ends_with("; Secure"));
        let back = headers(&[("cookie", cookie.to_str().unwrap().split(';').next().unwrap())]);
        assert!(sessions.who(&back).is_ok());
        sessions.sign_out(&back).unwrap();
        assert!(sessions.who(&back).is_err());
    }

    #[tokio::test]
    async fn no_more_are_remembered_than_there_is_room_for() {
        let sessions = sessions();
        for _ in 0..SESSIONS_MAX + 5 {
            sessions.sign_in("ann", &HeaderMap::new()).unwrap();
        }
        assert_eq!(sessions.held.lock().len(), SESSIONS_MAX);
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        for (pairs, good) in [
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")][..], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://a.example"), ("host", "a.example")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("origin", "https://a.example"), ("host", "a.example")], true),
            (&[("origin", "https://b.example"), ("host", "a.example")], false),
            (&[("origin", "null"), ("host", "null")], false),
            (&[("cookie", "killfeed_session=x")], false),
            (&[], true),
        ] {
            assert_eq!(check_origin(&headers(pairs)).is_ok(), good, "{pairs:?}");
        }
    }

    #[test]
    fn only_paths_of_ours_are_gone_to() {
        for (next, to) in [
            ("/sql?q=1", "/sql?q=1"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/a\r\nset-cookie: b", "/"),
            ("", "/"),
        ] {
            assert_eq!(path_of_ours(next), to);
        }
    }
}
