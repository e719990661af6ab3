//! The console's files: built from `web/console`, part of the program.
//!
//! **Invariant:** the page runs its own scripts and styles and nothing else, whatever an event says: the policy names no
//! `unsafe-inline`, and the page talks to this listener alone.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "../../web/console/dist"]
struct Files;

const PREFIX: &str = "/console/";
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

fn find(path: &str) -> Option<(&str, EmbeddedFile)> {
    let name = if path == "/" { "index.html" } else { path.strip_prefix(PREFIX)? };
    Some((name, Files::get(name)?))
}

/// Whether there is a file at a path.
pub(super) fn has(path: &str) -> bool {
    find(path).is_some()
}

/// The file at a path.
pub(super) fn answer(path: &str, headers: &HeaderMap) -> Option<Response> {
    let (name, file) = find(path)?;
    let hash = file.metadata.sha256_hash();
    let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = HeaderValue::try_from(format!("\"{tag}\"")).ok()?;
    let is_known = headers.get(IF_NONE_MATCH) == Some(&tag);
    let mut response = Response::new(if is_known { Body::empty() } else { Body::from(file.data) });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    for (name, value) in [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        // After an update of the hub the page must be the new one.
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (ETAG, tag),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ] {
        response.headers_mut().insert(name, value);
    }
    Some(response)
}
