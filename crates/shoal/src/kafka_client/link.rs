//! One connection to one peer's Kafka door: frames in, frames out, and one last word when it ends.

use super::wire;
use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The largest answer that is believed.
const FRAME_BYTES_MAX: usize = 16 << 20;
const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(5);

/// What a link tells the producer.
#[derive(Debug)]
pub enum Event {
    /// An answer, without its length.
    Frame { peer: i32, link: u64, bytes: Bytes },
    /// The connection has ended; nothing more comes from it.
    Down { peer: i32, link: u64, why: String },
    /// Where the stream is led now.
    Layout(anyhow::Result<wire::Layout>),
}

/// Carries frames between the producer and one peer until either side ends.
pub async fn run(
    (peer, link): (i32, u64),
    address: String,
    frames: mpsc::Receiver<Bytes>,
    events: mpsc::Sender<Event>,
) {
    let why = match connect(&address).await {
        Ok(stream) => carry((peer, link), stream, frames, &events).await,
        Err(error) => error,
    };
    let why = format!("{why:#}");
    // The producer may be gone already: then nobody needs the word.
    let _ = events.send(Event::Down { peer, link, why }).await;
}

async fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let stream = timeout(CONNECT, TcpStream::connect(address))
        .await
        .with_context(|| format!("{address} does not answer"))?
        .with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn carry(
    (peer, link): (i32, u64),
    mut stream: TcpStream,
    mut frames: mpsc::Receiver<Bytes>,
    events: &mpsc::Sender<Event>,
) -> anyhow::Error {
    let (mut reader, mut writer) = stream.split();
    let reading = async {
        let mut buffer = BytesMut::with_capacity(64 * 1024);
        loop {
            let bytes = match next_frame(&mut reader, &mut buffer).await {
                Ok(bytes) => bytes,
                Err(error) => return error,
            };
            if events.send(Event::Frame { peer, link, bytes }).await.is_err() {
                return anyhow::anyhow!("nobody reads the answers");
            }
        }
    };
    let writing = async {
        while let Some(frame) = frames.recv().await {
            if let Err(error) = writer.write_all(&frame).await {
                return error.into();
            }
        }
        anyhow::anyhow!("closed by us")
    };
    tokio::select! { why = reading => why, why = writing => why }
}

async fn next_frame(
    reader: &mut (impl AsyncReadExt + Unpin),
    buffer: &mut BytesMut,
) -> anyhow::Result<Bytes> {
    loop {
        if let Some(head) = buffer.first_chunk::<4>() {
            let size = usize::try_from(i32::from_be_bytes(*head)).unwrap_or(usize::MAX);
            if size > FRAME_BYTES_MAX {
                bail!("the peer announces an answer of {size} bytes");
            }
            if buffer.len() >= size + 4 {
                let mut frame = buffer.split_to(size + 4).freeze();
                return Ok(frame.split_off(4));
            }
        }
        buffer.reserve(4096);
        if reader.read_buf(buffer).await? == 0 {
            bail!("the peer closed the connection");
        }
    }
}

/// One question on a connection of its own.
async fn ask(stream: &mut TcpStream, request: Bytes) -> anyhow::Result<Bytes> {
    let exchange = async {
        stream.write_all(&request).await?;
        let mut frame = next_frame(stream, &mut BytesMut::new()).await?;
        wire::correlation(&mut frame)?;
        anyhow::Ok(frame)
    };
    timeout(ANSWER, exchange).await.context("no answer in time")?
}

/// Asks the first of `addresses` that answers where `stream` is led.
pub async fn layout(addresses: Vec<String>, stream: String) -> anyhow::Result<wire::Layout> {
    let mut last = anyhow::anyhow!("no address is known");
    for address in &addresses {
        let asked = async {
            let mut socket = connect(address).await?;
            let mut answer = ask(&mut socket, wire::metadata(1, &stream)).await?;
            anyhow::Ok(wire::layout(&mut answer)?)
        };
        match asked.await {
            Ok(layout) => return Ok(layout),
            Err(error) => last = error.context(format!("ask {address} for `{stream}`")),
        }
    }
    Err(last)
}

/// Checks the peer's versions and asks it for a producer id.
pub async fn producer_id(address: &str) -> anyhow::Result<wire::ProducerId> {
    let mut socket = connect(address).await?;
    wire::check_versions(&mut ask(&mut socket, wire::versions(1)).await?)?;
    let mut answer = ask(&mut socket, wire::init_producer(2)).await?;
    Ok(wire::producer_id(&mut answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_cut_where_their_lengths_say() {
        let mut wire: &[u8] = &[0, 0, 0, 2, 7, 8, 0, 0, 0, 1, 9];
        let mut buffer = BytesMut::new();
        let first = next_frame(&mut wire, &mut buffer).await.expect("first");
        let second = next_frame(&mut wire, &mut buffer).await.expect("second");
        assert_eq!((&first[..], &second[..]), (&[7u8, 8][..], &[9u8][..]));
        assert!(next_frame(&mut wire, &mut buffer).await.is_err());
    }

    #[tokio::test]
    async fn an_answer_without_bound_is_refused() {
        let mut wire: &[u8] = b"HTTP/1.1 400 Bad Request";
        assert!(next_frame(&mut wire, &mut BytesMut::new()).await.is_err());
    }
}
