//! Pages of other origins: whose may send events, and what their browsers let them ask and read.

use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use std::str::FromStr;
use std::time::Duration;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// How long a browser may go by the answer to a preflight.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// Whose pages may send: those of one origin, or `*` for everybody's. A page's key is no secret either
/// way; this is about whose visitors' browsers do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Pages of any origin.
    Any,
    /// Pages of this one, as browsers write it.
    One(HeaderValue),
}

impl FromStr for Origin {
    type Err = String;

    /// Takes `*` or `SCHEME://HOST[:PORT]`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let told = || format!("`{text}` is no origin: give SCHEME://HOST[:PORT] in lower case, without a path, or *");
        let uri: Uri = text.parse().map_err(|_| told())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(told()) };
        // What a browser sends is compared byte by byte: an origin in other words would never match.
        let written = format!("{scheme}://{authority}").to_ascii_lowercase();
        let port = authority.port_u16();
        let default_port = matches!((scheme, port), ("http", Some(80)) | ("https", Some(443)));
        if written != text || authority.as_str().contains('@') || default_port {
            return Err(told());
        }
        HeaderValue::from_str(text).map(Self::One).map_err(|_| told())
    }
}

/// Answers preflights of these origins, and lets their pages read the answers; `None` without any.
pub(crate) fn layer(origins: &[Origin]) -> Option<CorsLayer> {
    let one = |origin: &Origin| match origin {
        Origin::Any => None,
        Origin::One(value) => Some(value.clone()),
    };
    let origins = match origins.iter().map(one).collect::<Option<Vec<HeaderValue>>>() {
        Some(values) if values.is_empty() => return None,
        Some(values) => AllowOrigin::list(values),
        None => Any.into(),
    };
    let asked = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        HeaderName::from_static("x-api-key"),
        HeaderName::from_static("traceparent"),
    ];
    let layer = CorsLayer::new().allow_origin(origins).allow_methods([Method::GET, Method::POST]);
    Some(layer.allow_headers(asked).expose_headers([header::RETRY_AFTER, header::DATE]).max_age(MAX_AGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_writes() {
        for good in ["https://play.example", "http://127.0.0.1:3000", "http://[::1]:3000", "capacitor://localhost", "*"]
        {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "null",
            "play.example",
            "https://play.example/",
            "https://Play.example",
            "https://a@b",
            "https://a:443",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
        assert_eq!("*".parse(), Ok(Origin::Any));
    }
}
