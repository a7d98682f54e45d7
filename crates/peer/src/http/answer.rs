//! How handlers answer: JSON, or a problem in JSON (RFC 9457).

use axum::body::{Bytes, to_bytes};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use door::http::{MEDIA_TYPE, ProblemBody, status};
use model::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A JSON answer with its status.
pub struct Json<T>(pub StatusCode, pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.1) {
            Ok(body) => {
                (self.0, [(header::CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(error) => {
                Failure::from(crate::problems::internal("an answer cannot be written", error))
                    .into_response()
            }
        }
    }
}

/// 200 with JSON.
pub fn ok<T>(value: T) -> Result<Json<T>, Failure> {
    Ok(Json(StatusCode::OK, value))
}

/// A problem as an answer.
pub struct Failure(pub Box<Problem>);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<crate::router::Failed> for Failure {
    fn from(error: crate::router::Failed) -> Self {
        crate::gateway::failed(&error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(status(&self.0.code));
        let code = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&ProblemBody::from(*self.0)).unwrap_or_default();
        let mut response = (code, body).into_response();
        let kind = HeaderValue::from_static(MEDIA_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// Reads a request's body, which is an object: an array would be taken for its fields in their order.
pub fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Failure> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|first| *first == b'[') {
        return Err(Problem::new(
            "SH0404",
            "the body is not what this endpoint takes",
            "it is a list, and an object is wanted",
            "see `shoal explain SH0404`",
        )
        .into());
    }
    serde_json::from_slice(bytes).map_err(|error| door::http::body_problem(&error).into())
}

pub async fn no_such_path(uri: Uri) -> Failure {
    nothing_at(uri.path())
}

pub fn nothing_at(path: &str) -> Failure {
    Problem::new(
        "SH0308",
        format!("there is nothing at {path}"),
        "the path is not one of the HTTP API's",
        "GET /openapi.json lists all paths; /api shows them",
    )
    .into()
}

pub async fn no_such_method(uri: Uri) -> Response {
    let failure: Failure = Problem::new(
        "SH0404",
        format!("{} does not take this method", uri.path()),
        "each path takes some methods only: the answer's header Allow names them",
        "GET /openapi.json says what each path takes; /api shows it",
    )
    .into();
    let mut response = failure.into_response();
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// What the framework refused in plain text (a query, a path, a length) becomes a problem like all others.
pub async fn refused(response: Response) -> Response {
    let status = response.status();
    let is_problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == MEDIA_TYPE);
    if !status.is_client_error() || is_problem {
        return response;
    }
    let said = to_bytes(response.into_body(), REFUSED_BYTES).await.unwrap_or_default();
    let because = String::from_utf8_lossy(&said).into_owned();
    let problem = match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            "SH0401",
            "the request's body is too large",
            format!("it may have {} bytes: {because}", door::http::BODY_BYTES_MAX),
            "send fewer events at once",
        ),
        _ => Problem::new(
            "SH0404",
            "the request is not what this endpoint takes",
            because,
            "GET /openapi.json says what each path takes; /api shows it",
        ),
    };
    let mut response = Failure::from(problem).into_response();
    *response.status_mut() = status;
    response
}

/// What is read of a refusal's text.
const REFUSED_BYTES: usize = 4096;
