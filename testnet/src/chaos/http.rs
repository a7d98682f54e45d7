//! A small HTTP/1.1 client that tells apart what other clients hide: nobody was reached, or nobody knows what became
//! of the request.

use anyhow::Context;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer has no more than this; it only guards against reading garbage for ever.
const BODY_MAX: usize = 64 << 20;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// Nobody listens there, and the machine said so at once. The request was not sent: it had no effect.
    Refused,
    /// The request was not sent for another reason.
    Unreached(String),
    /// It was sent, and no answer came: it may have had an effect, or have one yet.
    Unanswered(String),
}

/// What a peer said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// As it is, unless it is one that no fault excuses: the peer met what it has no word for.
    pub fn unbroken(self) -> anyhow::Result<Self> {
        let foreseen = self.body["code"].as_str().is_some_and(|code| code != "SH0901");
        anyhow::ensure!(self.status != 500 || foreseen, "a peer says 500: {}", self.body);
        Ok(self)
    }
}

/// One connection, kept open, to one of several peers.
pub struct Caller {
    doors: Vec<SocketAddr>,
    /// Which of them is asked.
    at: usize,
    connection: Option<BufReader<TcpStream>>,
    patience: Duration,
}

/// A request, without its headers.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// POST with this body; GET without one.
    pub body: Option<Value>,
    pub idempotency_key: Option<String>,
}

impl Request {
    pub fn get(path: impl Into<String>) -> Self {
        Self { path: path.into(), body: None, idempotency_key: None }
    }

    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self { path: path.into(), body: Some(body), idempotency_key: None }
    }

    fn text(&self, host: SocketAddr) -> String {
        let key = self.idempotency_key.as_ref();
        let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
        match &self.body {
            None => format!("GET {} HTTP/1.1\r\nhost: {host}\r\n{key}\r\n", self.path),
            Some(body) => {
                let body = body.to_string();
                format!(
                    "POST {} HTTP/1.1\r\nhost: {host}\r\n{key}content-type: application/json\r\n\
                     content-length: {}\r\n\r\n{body}",
                    self.path,
                    body.len()
                )
            }
        }
    }
}

impl Caller {
    pub fn new(doors: Vec<SocketAddr>, at: usize, patience: Duration) -> Self {
        let at = at % doors.len();
        Self { doors, at, connection: None, patience }
    }

    /// Asks another peer from now on.
    pub fn turn(&mut self) {
        self.at = (self.at + 1) % self.doors.len();
        self.connection = None;
    }

    /// Asks the peer of this number, from 0.
    pub fn turn_to(&mut self, at: usize) {
        if self.at != at % self.doors.len() {
            self.at = at % self.doors.len();
            self.connection = None;
        }
    }

    /// Asks the peers in turn until one does not refuse the connection, each once at most.
    pub async fn call_any(&mut self, request: &Request) -> Result<Answer, Failure> {
        for _ in 1..self.doors.len() {
            match self.call(request).await {
                Err(Failure::Refused) => self.turn(),
                found => return found,
            }
        }
        self.call(request).await
    }

    pub async fn call(&mut self, request: &Request) -> Result<Answer, Failure> {
        let door = self.doors[self.at];
        let mut connection = match self.connection.take() {
            Some(open) if is_open(&open) => open,
            _ => connect(door).await?,
        };
        let text = request.text(door);
        let asked = timeout(self.patience, ask(&mut connection, &text)).await;
        match asked {
            Ok(Ok(answer)) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Ok(Err(error)) => Err(Failure::Unanswered(format!("{error:#}"))),
            Err(_) => Err(Failure::Unanswered(format!("no answer in {:?}", self.patience))),
        }
    }
}

/// Whether the other side has not hung up: an idle connection has nothing to read.
fn is_open(connection: &BufReader<TcpStream>) -> bool {
    let mut byte = [0];
    let found = connection.get_ref().try_read(&mut byte);
    matches!(found, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

async fn connect(door: SocketAddr) -> Result<BufReader<TcpStream>, Failure> {
    let unreached = |error: std::io::Error| Failure::Unreached(error.to_string());
    match timeout(CONNECT, TcpStream::connect(door)).await {
        Ok(Ok(stream)) => {
            stream.set_nodelay(true).map_err(unreached)?;
            Ok(BufReader::new(stream))
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(Failure::Refused)
        }
        Ok(Err(error)) => Err(unreached(error)),
        Err(_) => Err(Failure::Unreached(format!("no connection in {CONNECT:?}"))),
    }
}

async fn ask(connection: &mut BufReader<TcpStream>, text: &str) -> anyhow::Result<Answer> {
    connection.write_all(text.as_bytes()).await?;
    let mut line = String::new();
    connection.read_line(&mut line).await?;
    let status = line.split(' ').nth(1).context("hung up")?.parse()?;
    let mut length = None;
    loop {
        line.clear();
        connection.read_line(&mut line).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>()?);
        }
    }
    let length = length.context("an answer without a length")?;
    anyhow::ensure!(length <= BODY_MAX, "an answer of {length} bytes");
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    // Not everything is JSON; the status says enough then.
    Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}
