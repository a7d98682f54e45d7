//! The dashboard's files, as they were when this binary was built.
//!
//! Promises that a page loads nothing from elsewhere: the browser is told to refuse it.

use super::answer::{nothing_at, ok};
use super::{Failure, Json};
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const PAGE: &str = "text/html; charset=utf-8";
/// Nothing from elsewhere, nothing inline, and in no frame.
const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const FILES: &[(&str, &str, &str)] = &[
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("main.js", SCRIPT, include_str!("page/main.js")),
    ("chart.js", SCRIPT, include_str!("page/chart.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("graph.js", SCRIPT, include_str!("page/graph.js")),
    ("pipelines.js", SCRIPT, include_str!("page/pipelines.js")),
    ("ring.js", SCRIPT, include_str!("page/ring.js")),
    ("views.js", SCRIPT, include_str!("page/views.js")),
    ("shoal.css", "text/css; charset=utf-8", include_str!("page/shoal.css")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// `GET /`.
pub async fn index() -> Response {
    file(PAGE, include_str!("page/index.html"))
}

/// `GET /api`.
pub async fn api() -> Response {
    file(PAGE, include_str!("page/api.html"))
}

/// `GET /openapi.json`.
pub async fn openapi() -> Result<Json<utoipa::openapi::OpenApi>, Failure> {
    ok(door::http::openapi())
}

/// `GET /page/{name}`.
pub async fn part(Path(name): Path<String>) -> Result<Response, Failure> {
    let found = FILES.iter().find(|(known, _, _)| *known == name);
    found
        .map(|(_, kind, text)| file(kind, text))
        .ok_or_else(|| nothing_at(&format!("/page/{name}")))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another version may answer at this address tomorrow.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
