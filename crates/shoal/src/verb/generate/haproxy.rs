//! `shoal gen haproxy`: a proxy before the HTTP ports of all peers.
//!
//! Peers are alike, so the file is the classic one: a `server … check` line each, and a check of `/readyz`.

use super::Target;

/// The file.
pub(super) fn file(targets: &[Target], listen: &str) -> String {
    let servers: Vec<String> =
        targets.iter().map(|it| format!("    server {} {} check", it.name, it.http)).collect();
    format!(
        "# HAProxy before a mesh of shoal. Any peer answers any request, so requests go round; a peer that
# is not ready (starting, stopping, cut off) says so at /readyz and gets none after two checks.
global
    maxconn 4096

defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    # What a killed peer has not answered another one does; a POST only when it was never sent.
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response response-timeout 503
    http-reuse safe
    option http-keep-alive

frontend shoal
    bind {listen}
    # Appends have effects: they are repeated only if their connection failed, or by the client with its key.
    http-request disable-l7-retry if METH_POST
    default_backend peers

backend peers
    balance roundrobin
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost
    http-check expect status 200
    default-server inter 500ms fall 2 rise 2
{}
",
        servers.join("\n")
    )
}
