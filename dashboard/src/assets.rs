//! The stylesheet, the script and the icon: in the binary, under addresses that change with their content.

use axum::response::{IntoResponse as _, Response};
use edge::Problem;
use http::{HeaderValue, header};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::LazyLock;

/// A file that pages load.
#[derive(Debug)]
pub(crate) struct Asset {
    path: String,
    media_type: &'static str,
    text: String,
}

impl Asset {
    fn new(name: &str, ending: &str, media_type: &'static str, text: String) -> Self {
        let mut path = format!("/assets/{name}-");
        for byte in Sha256::digest(&text).iter().take(8) {
            // Writing to a string can't fail.
            let _ = write!(path, "{byte:02x}");
        }
        path.push_str(ending);
        Self { path, media_type, text }
    }

    /// Where it is, with the hash of its content.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let text = format!("{}\n{}", include_str!("../assets/style.css"), charts::STYLE);
    Asset::new("style", ".css", "text/css; charset=utf-8", text)
});
pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("script", ".js", "text/javascript; charset=utf-8", include_str!("../assets/script.js").into())
});
pub(crate) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", ".svg", "image/svg+xml", include_str!("../assets/icon.svg").into()));

/// The file of this path: to be kept for a year, since another content has another path.
pub(crate) fn serve(path: &str) -> Response {
    let found = [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|asset| asset.path == path);
    let Some(asset) = found else {
        return Problem::not_found("no such file; load the page anew").into_response();
    };
    let mut response = asset.text.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    crate::page::guard(headers);
    response
}
