//! Refuses what a page of another origin could make a browser send (DNS rebinding, cross-site requests).

use super::{Asked, Failure};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::Problem;

/// Passes a request on if its Host is this peer's and its Origin, if any, is too.
pub async fn check(State(asked): State<Asked>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Some(refusal) = host(&asked, headers) {
        return refusal;
    }
    if let Some(refusal) = origin(headers) {
        return refusal;
    }
    if request.method() == Method::POST && !is_json(headers) {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is not declared as JSON",
            "a form of another site could send anything else",
            "send the header content-type: application/json",
        );
    }
    next.run(request).await
}

fn host(asked: &Asked, headers: &HeaderMap) -> Option<Response> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let (Some(host), None) = (host, hosts.next()) else {
        return Some(refuse(
            StatusCode::BAD_REQUEST,
            "the request names no host, or several",
            "HTTP/1.1 asks for exactly one Host header",
            "send one Host header",
        ));
    };
    if known(asked, name_of(host)) {
        return None;
    }
    Some(refuse(
        StatusCode::MISDIRECTED_REQUEST,
        &format!("this peer is not called `{host}`"),
        "a foreign name in Host is how a web page reaches into a private network",
        "use the peer's address, or start it with --advertise NAME",
    ))
}

/// A page may ask only what served it: also another port of the same machine is another origin.
fn origin(headers: &HeaderMap) -> Option<Response> {
    let origin = headers.get(header::ORIGIN)?.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_own(origin, host) {
        return None;
    }
    Some(refuse(
        StatusCode::FORBIDDEN,
        &format!("a page of `{origin}` may not ask this peer"),
        "its origin is another one than the peer's own",
        "ask from a page that this peer serves, or without a browser",
    ))
}

/// Whether an origin (`scheme://name:port`) is the one that Host names; a scheme's own port is often left out.
fn is_own(origin: &str, host: &str) -> bool {
    let Some((scheme, place)) = origin.split_once("://") else { return false };
    let usual = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let bare = |place: &str| place.strip_suffix(usual).unwrap_or(place).to_ascii_lowercase();
    !place.is_empty() && bare(place) == bare(host)
}

/// The name in `name:port` or `[v6]:port`.
fn name_of(host: &str) -> &str {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => host.split(':').next(),
    };
    name.unwrap_or_default()
}

fn known(asked: &Asked, name: &str) -> bool {
    let loopback = matches!(name, "localhost" | "127.0.0.1" | "::1");
    // An address cannot be rebound: the browser would have had to dial it itself.
    loopback
        || name.parse::<std::net::IpAddr>().is_ok()
        || asked.names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.split(';').next().unwrap_or_default().trim() == "application/json")
}

fn refuse(status: StatusCode, what: &str, because: &str, fix: &str) -> Response {
    let failure = Failure::from(Problem::new("SH0404", what, because, fix));
    let mut response = failure.into_response();
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_port_of_this_machine_is_another_origin() {
        for (origin, host) in [
            ("http://localhost:8080", "localhost:8080"),
            ("http://Peer.Example", "peer.example:80"),
            ("https://shoal.example", "shoal.example"),
            ("https://shoal.example:443", "shoal.example"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_own(origin, host), "{origin} at {host}");
        }
        for (origin, host) in [
            ("http://localhost:3000", "localhost:8080"),
            ("http://127.0.0.1:8080", "localhost:8080"),
            ("http://evil.example", "localhost:8080"),
            ("https://shoal.example", "shoal.example:80"),
            ("null", "null"),
            ("http://", ""),
        ] {
            assert!(!is_own(origin, host), "{origin} at {host}");
        }
    }
}
