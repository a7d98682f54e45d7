//! Kafka's bytes by hand: what no client library would send, and what comes back.

use anyhow::{Context, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PRODUCE: (i16, i16) = (0, 7);
const FETCH: (i16, i16) = (1, 4);
const VERSIONS: (i16, i16) = (18, 0);

/// One connection to a Kafka door.
pub struct Raw {
    stream: TcpStream,
}

/// What a door did about what it was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It answered a frame.
    Answer(Vec<u8>),
    Closed,
    /// Nothing, for as long as was waited.
    Silent,
}

impl Raw {
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Sends bytes as they are; a connection that the other end has closed takes none.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits for what comes next.
    pub fn reaction(&mut self, limit: Duration) -> Reaction {
        let until = Instant::now() + limit;
        let mut head = [0; 4];
        match self.fill(&mut head, until) {
            Ok(()) => {}
            Err(reaction) => return reaction,
        }
        let size = u32::from_be_bytes(head) as usize;
        assert!(size < 1 << 20, "an answer of {size} bytes");
        let mut frame = vec![0; size];
        match self.fill(&mut frame, until) {
            Ok(()) => Reaction::Answer(frame),
            Err(reaction) => reaction,
        }
    }

    fn fill(&mut self, mut bytes: &mut [u8], until: Instant) -> Result<(), Reaction> {
        while !bytes.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Reaction::Silent);
            }
            self.stream.set_read_timeout(Some(left)).expect("not zero");
            match self.stream.read(bytes) {
                Ok(0) => return Err(Reaction::Closed),
                Ok(read) => bytes = &mut bytes[read..],
                Err(error) if is_timeout(error.kind()) => {}
                Err(_) => return Err(Reaction::Closed),
            }
        }
        Ok(())
    }

    /// Asks for the versions that the door speaks: the smallest honest request.
    pub fn is_served(&mut self, limit: Duration) -> bool {
        let sent = self.send(&framed(&head(VERSIONS, 7)));
        sent.is_ok() && matches!(self.reaction(limit), Reaction::Answer(_))
    }

    /// Produces bytes as one partition's batches; Kafka's error code and the first offset.
    pub fn produce(
        &mut self,
        stream: &str,
        partition: i32,
        batches: &[u8],
    ) -> anyhow::Result<(i16, i64)> {
        let mut ask = head(PRODUCE, 9);
        ask.extend((-1i16).to_be_bytes());
        ask.extend((-1i16).to_be_bytes());
        ask.extend(5_000i32.to_be_bytes());
        ask.extend(1i32.to_be_bytes());
        ask.extend((stream.len() as i16).to_be_bytes());
        ask.extend(stream.as_bytes());
        ask.extend(1i32.to_be_bytes());
        ask.extend(partition.to_be_bytes());
        ask.extend((batches.len() as i32).to_be_bytes());
        ask.extend(batches);
        self.send(&framed(&ask))?;
        let reaction = self.reaction(Duration::from_secs(10));
        let Reaction::Answer(answer) = reaction else { anyhow::bail!("{reaction:?}") };
        // Correlation, one topic, its name, one partition, its number: then the error and the offset.
        let at = 4 + 4 + 2 + stream.len() + 4 + 4;
        ensure!(answer.len() >= at + 10, "an answer of {} bytes", answer.len());
        let error = i16::from_be_bytes(answer[at..at + 2].try_into()?);
        Ok((error, i64::from_be_bytes(answer[at + 2..at + 10].try_into()?)))
    }
}

/// A fetch of partitions of one stream, each from an offset on, that may wait 100 ms for events.
pub fn fetch(stream: &str, from: &[(i32, i64)]) -> Vec<u8> {
    let mut ask = Vec::new();
    for number in [-1, 100, 1, 1 << 20] {
        ask.extend(i32::to_be_bytes(number));
    }
    // Also what is not committed; one stream.
    ask.push(0);
    ask.extend(1i32.to_be_bytes());
    ask.extend((stream.len() as i16).to_be_bytes());
    ask.extend(stream.as_bytes());
    ask.extend((from.len() as i32).to_be_bytes());
    for (partition, offset) in from {
        ask.extend(partition.to_be_bytes());
        ask.extend(offset.to_be_bytes());
        ask.extend((1i32 << 20).to_be_bytes());
    }
    request(FETCH, &ask)
}

/// Kafka's error code of each partition in the answer to [`fetch`].
pub fn fetched(answer: &[u8]) -> Option<Vec<(i32, i16)>> {
    fn number<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
        let (number, after) = rest.split_first_chunk()?;
        *rest = after;
        Some(*number)
    }
    // Correlation, throttling, one stream and its name.
    let mut rest = answer.get(12..)?;
    let name = usize::try_from(i16::from_be_bytes(number(&mut rest)?)).ok()?;
    rest = rest.get(name..)?;
    let count = i32::from_be_bytes(number(&mut rest)?);
    let mut errors = Vec::new();
    for _ in 0..count {
        let partition = i32::from_be_bytes(number(&mut rest)?);
        errors.push((partition, i16::from_be_bytes(number(&mut rest)?)));
        // Two ends, transactions that were aborted, and batches.
        rest = rest.get(16..)?;
        let aborted = i32::from_be_bytes(number(&mut rest)?).max(0);
        rest = rest.get(16 * usize::try_from(aborted).ok()?..)?;
        let bytes = i32::from_be_bytes(number(&mut rest)?).max(0);
        rest = rest.get(usize::try_from(bytes).ok()?..)?;
    }
    Some(errors)
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// A request's head: API, version, correlation, no client id.
fn head((api, version): (i16, i16), correlation: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(api.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(correlation.to_be_bytes());
    bytes.extend((-1i16).to_be_bytes());
    bytes
}

/// A request of an API and version.
pub fn request(what: (i16, i16), body: &[u8]) -> Vec<u8> {
    framed(&[&head(what, 11), body].concat())
}

/// A request with its length before it.
pub fn framed(request: &[u8]) -> Vec<u8> {
    [&(request.len() as i32).to_be_bytes()[..], request].concat()
}
