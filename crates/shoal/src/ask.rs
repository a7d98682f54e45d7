//! Asking a peer over HTTP. Every failure becomes a [`Problem`]: the peer's own, or one that says why none came.
//!
//! Answers are read as plain JSON, so that an older command shows what a newer peer says.

use crate::sent::SILENCE_MAX;
use model::Problem;
use serde_json::Value;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use ureq::http::Response;
use ureq::{Agent, Body};

/// An answer larger than this is not read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// A door holds a request 2 s across a leader change; a scan of every shard may take longer.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// What a Kafka or mesh port does when it is asked in HTTP, and a peer that ends.
const CLOSED: &str = "closed without an answer: the peer ended, or this is not its HTTP port";
/// Nobody should wonder for longer whether something still happens.
const SILENCE: Duration = Duration::from_secs(2);
const CONNECT_WAIT: Duration = Duration::from_secs(3);

/// One peer's HTTP address.
pub(crate) struct Asker {
    base: String,
    agent: Agent,
}

impl Asker {
    /// Takes `http://host:port` or `host:port`.
    pub(crate) fn new(peer: &str) -> Result<Self, Problem> {
        if peer.starts_with("https://") {
            return Err(Problem::new(
                "SH0001",
                format!("{peer} cannot be asked"),
                "peers speak http, without TLS",
                format!("--peer {}", peer.replacen("https", "http", 1)),
            ));
        }
        Ok(Self::with_wait(peer, ANSWER_WAIT))
    }

    pub(crate) fn with_wait(peer: &str, wait: Duration) -> Self {
        let peer = peer.trim_end_matches('/');
        let base = match peer.contains("://") {
            true => peer.to_owned(),
            false => format!("http://{peer}"),
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(wait))
            .timeout_connect(Some(CONNECT_WAIT.min(wait)))
            .build()
            .new_agent();
        Self { base, agent }
    }

    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Problem> {
        let url = self.url(path, query);
        self.read(&url, self.patiently(|| self.agent.get(&url).call()))
    }

    /// What lies at a path, as text.
    pub(crate) fn text(&self, path: &str) -> Result<String, Problem> {
        let sent = self.patiently(|| self.agent.get(self.url(path, &[])).call());
        let mut response = sent.map_err(|error| self.unanswered(&error))?;
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        text.map_err(|error| self.unanswered(&error))
    }

    /// Says whom it waits for when that takes long.
    fn patiently<T>(&self, ask: impl FnOnce() -> T) -> T {
        let (done, waits) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let began = Instant::now();
                while waits.recv_timeout(SILENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let waited = began.elapsed().as_secs();
                    eprintln!("waiting for {}: no answer for {waited} s", self.base);
                }
            });
            let answer = ask();
            drop(done);
            answer
        })
    }

    /// Posts JSON, with an idempotency key if there is one.
    pub(crate) fn post(
        &self,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Result<Value, Problem> {
        let url = self.url(path, &[]);
        let mut request = self.agent.post(&url).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.read(&url, self.patiently(|| request.send(body.to_string())))
    }

    /// Asks for what comes by itself and never ends.
    pub(crate) fn open(&self, path: &str, query: &[(&str, &str)]) -> Result<Body, Problem> {
        let url = self.url(path, query);
        let request = self.agent.get(&url).config();
        let request = request.timeout_global(None).timeout_per_read(Some(SILENCE_MAX)).build();
        let sent = self.patiently(|| request.call());
        match sent {
            Ok(response) if response.status().is_success() => Ok(response.into_body()),
            refused => Err(match self.read(&url, refused) {
                Err(problem) => problem,
                Ok(answer) => told(&answer, 0),
            }),
        }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Changes some of what is there.
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Result<Value, Problem> {
        let url = self.url(path, &[]);
        let request = self.agent.patch(&url).header("content-type", "application/json");
        self.read(&url, self.patiently(|| request.send(body.to_string())))
    }

    /// Makes what is there be no more.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Problem> {
        let url = self.url(path, &[]);
        self.read(&url, self.patiently(|| self.agent.delete(&url).call()))
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        let pairs: Vec<String> = query.iter().map(|(k, v)| format!("{k}={}", encoded(v))).collect();
        let sign = if pairs.is_empty() { "" } else { "?" };
        format!("{}{path}{sign}{}", self.base, pairs.join("&"))
    }

    fn read(&self, url: &str, sent: Result<Response<Body>, ureq::Error>) -> Result<Value, Problem> {
        let mut response = sent.map_err(|error| self.unanswered(&error))?;
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| self.unanswered(&error))?;
        let value: Value = serde_json::from_str(&text).map_err(|_| {
            Problem::new(
                "SH0103",
                format!("{} is not a peer", self.base),
                format!("{url} answered {} without JSON", response.status()),
                "--peer with a peer's HTTP address; shoal start prints it, 8080 unless told otherwise",
            )
        })?;
        match response.status().is_success() {
            true => Ok(value),
            false => Err(told(&value, response.status().as_u16())),
        }
    }

    fn unanswered(&self, error: &ureq::Error) -> Problem {
        let fix = "shoal start or shoal testnet up, or --peer with another peer's HTTP address";
        match error {
            ureq::Error::Timeout(wait) if !matches!(wait, ureq::Timeout::Connect) => Problem::new(
                "SH0504",
                format!("{} did not answer in time", self.base),
                format!("waited too long for the {wait}; whether it was done is not known"),
                format!("shoal health --peer {}", self.base),
            ),
            error => Problem::new(
                "SH0101",
                format!("no peer answers at {}", self.base),
                because(error),
                fix,
            ),
        }
    }
}

fn because(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connection refused: nothing listens there".to_owned()
        }
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionReset => {
            CLOSED.to_owned()
        }
        ureq::Error::Protocol(_) => format!("what answers there does not speak HTTP: {error}"),
        ureq::Error::HostNotFound => "the host's name is not known".to_owned(),
        ureq::Error::Timeout(_) => "no connection in time: wrong address, or a wall between".into(),
        other => other.to_string(),
    }
}

/// The problem that a peer told.
fn told(value: &Value, status: u16) -> Problem {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    match value["code"].as_str() {
        Some(code) => Problem {
            code: code.to_owned(),
            what: text("detail"),
            because: text("because"),
            fix: text("try"),
        },
        None => Problem::new(
            "SH0901",
            format!("the peer answered {status}"),
            value.to_string(),
            "shoal health, and the peer's own log",
        ),
    }
}

/// A text as one segment of a path or value of a query (RFC 3986: all but unreserved characters are escaped).
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_any_kind_stay_one_segment() {
        assert_eq!(encoded("a/b ?é"), "a%2Fb%20%3F%C3%A9");
    }

    #[test]
    fn a_peers_problem_is_told_as_it_came() {
        let body = json!({"code": "SH0301", "detail": "no x", "because": "b", "try": "t"});
        let problem = told(&body, 404);
        assert_eq!(problem.to_string(), "error[SH0301]: no x\n  because: b\n  try: t");
        assert_eq!(problem.exit_code(), 4);
        assert_eq!(told(&json!("?"), 500).code, "SH0901");
    }

    #[test]
    fn nobody_there_is_told_with_exit_code_3() {
        let asker = Asker::new("127.0.0.1:1").expect("an address");
        let problem = asker.get("/v1/members", &[]).expect_err("nothing listens on port 1");
        assert_eq!((problem.code.as_str(), problem.exit_code()), ("SH0101", 3));
    }
}
