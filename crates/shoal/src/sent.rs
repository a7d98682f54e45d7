//! Server-sent events of a peer, one after the other.
//!
//! Promises that a peer which falls silent is noticed: they say something every 15 s.

use crate::ask::Asker;
use model::Problem;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;
use ureq::BodyReader;

/// Longer than a peer that lives is ever silent.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(40);
/// A line longer than this is not read.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// What a peer sends by itself.
pub(crate) struct Sent {
    lines: BufReader<BodyReader<'static>>,
    base: String,
}

impl Sent {
    /// Asks for it; a refusal is told.
    pub(crate) fn of(asker: &Asker, path: &str, query: &[(&str, &str)]) -> Result<Self, Problem> {
        let body = asker.open(path, query)?;
        Ok(Self { lines: BufReader::new(body.into_reader()), base: asker.base().to_owned() })
    }

    /// Waits for the next event.
    pub(crate) fn next(&mut self) -> Result<Value, Problem> {
        loop {
            let mut line = String::new();
            match self.lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line) {
                Ok(0) => return Err(self.ended("it stops, or has closed the connection")),
                Ok(_) => {}
                Err(error) => return Err(self.ended(&error.to_string())),
            }
            if let Some(event) = line.strip_prefix("data:") {
                let nonsense = |_| self.ended("what it sent is no JSON");
                return serde_json::from_str(event.trim()).map_err(nonsense);
            }
        }
    }

    fn ended(&self, because: &str) -> Problem {
        let what = format!("{} sends nothing any more", self.base);
        Problem::new("SH0101", what, because, "shoal health, or --peer with another peer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn events_come_in_order_and_an_end_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut asked = String::new();
            BufReader::new(&stream).read_line(&mut asked).expect("a request");
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            let sent = ": nothing new\n\ndata: {\"n\":1}\n\nevent: x\ndata:{\"n\":2}\n\n";
            stream.write_all(format!("{head}{sent}").as_bytes()).expect("it reads");
            asked
        });
        let asker = Asker::new(&address).expect("an address");
        let mut sent = Sent::of(&asker, "/v1/x/watch", &[("key", "a b")]).expect("an answer");
        assert_eq!(sent.next().expect("the first")["n"], 1);
        assert_eq!(sent.next().expect("the second")["n"], 2);
        assert_eq!(sent.next().expect_err("the end").exit_code(), 3);
        let asked = peer.join().expect("it does not panic");
        assert!(asked.starts_with("GET /v1/x/watch?key=a%20b "), "{asked}");
    }
}
