//! Watches what one peer shows: asks it every millisecond, on one kept connection, how far its copy of one bucket of
//! the view is. One bucket is enough to measure, and sixteen would cost more than what is measured.
//!
//! A plain thread with a plain socket: a general HTTP client would cost more than what it measures. Reports only
//! what is new. Never judges latency; that is `visible`'s.

use anyhow::{Context, bail};
use door::http::ViewPositions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Between two questions.
const PERIOD: Duration = Duration::from_millis(1);
/// Between two looks at who leads.
const LOOK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
/// News that may wait for the load.
const NEWS_MAX: usize = 4096;
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What the watcher saw.
#[derive(Debug)]
pub enum News {
    /// The bucket has read its partition up to this offset; and when the answer had arrived.
    Position { at: Instant, offset: i64 },
    /// Whether the watched peer leads the bucket.
    Led(bool),
    /// It does not answer any more.
    Lost(String),
}

/// A running watch; it ends when dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// Starts watching `bucket` of `view` at the peer whose HTTP door is `address`; `led` tells whether that peer leads
/// it. As many buckets as partitions are wanted: then an event of a partition is counted in the bucket of its number.
pub fn start(
    address: &str,
    view: &str,
    bucket: u32,
    mut led: impl FnMut() -> anyhow::Result<bool> + Send + 'static,
) -> anyhow::Result<(Watch, mpsc::Receiver<News>)> {
    let (sender, receiver) = mpsc::channel(NEWS_MAX);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let path = format!("/v1/views/{view}/positions?consistency=any");
    let mut line = Line::open(address, &format!("{path}&bucket={bucket}"))?;
    if line.ask().is_err() {
        // A peer that cannot tell buckets apart tells the least of all.
        line = Line::open(address, &path)?;
    }
    let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
        if let Err(error) = watch(&mut line, bucket, &mut led, &stopped, &sender) {
            // Nobody listens any more when the run is over.
            let _ = sender.blocking_send(News::Lost(format!("{error:#}")));
        }
    })?;
    Ok((Watch { stop, thread: Some(thread) }, receiver))
}

fn watch(
    line: &mut Line,
    partition: u32,
    led: &mut impl FnMut() -> anyhow::Result<bool>,
    stop: &AtomicBool,
    news: &mpsc::Sender<News>,
) -> anyhow::Result<()> {
    let mut known = 0;
    let mut looked: Option<Instant> = None;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if looked.is_none_or(|at| at.elapsed() > LOOK) {
            looked = Some(Instant::now());
            if news.blocking_send(News::Led(led()?)).is_err() {
                return Ok(());
            }
        }
        let shown: ViewPositions = serde_json::from_slice(line.ask()?)?;
        let at = Instant::now();
        let position = shown.positions.iter().find(|position| position.partition == partition);
        let offset = position.map_or(0, |position| position.offset);
        if offset > known {
            known = offset;
            if news.blocking_send(News::Position { at, offset }).is_err() {
                return Ok(());
            }
        }
        next = (next + PERIOD).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// One kept HTTP connection that always asks the same.
struct Line {
    socket: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Line {
    fn open(address: &str, path: &str) -> anyhow::Result<Self> {
        let socket =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
        Ok(Self { socket, request, answer: Vec::new() })
    }

    /// Asks once and returns the body.
    fn ask(&mut self) -> anyhow::Result<&[u8]> {
        self.socket.write_all(&self.request)?;
        self.answer.clear();
        let mut chunk = [0; 8192];
        loop {
            let read = self.socket.read(&mut chunk)?;
            if read == 0 || self.answer.len() > ANSWER_BYTES_MAX {
                bail!("the answer ends too early or never");
            }
            self.answer.extend_from_slice(&chunk[..read]);
            if let Some((from, size)) = body(&self.answer)?
                && self.answer.len() >= from + size
            {
                return Ok(&self.answer[from..from + size]);
            }
        }
    }
}

/// Where the body begins and how long it is, once the head is whole.
fn body(answer: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&answer[..end])?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("the peer answers `{}`", head.lines().next().unwrap_or_default());
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse())
    });
    let size: usize = length.context("the answer does not say its length")??;
    Ok(Some((end + 4, size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_found_once_the_head_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(body(answer).expect("well-formed"), Some((38, 2)));
        assert_eq!(body(&answer[..30]).expect("not yet"), None);
        assert!(body(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").is_err());
    }
}
