//! Writes one lane's queue to one peer, on the connection that is in use.
//!
//! Promises: what waits together is written and flushed together; when the connection in use
//! changes, the old stream is ended in order before the new one begins. Never outlives the peer's
//! last connection.

use crate::{drive::Command, handler::Open, lane::Lane, limits, queue::Queue};
use bytes::{BufMut, Bytes};
use futures::{AsyncWrite, AsyncWriteExt};
use libp2p::{PeerId, Stream, swarm::ConnectionId};
use std::{io, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// The connection in use.
#[derive(Clone)]
pub(crate) struct Route {
    pub connection: ConnectionId,
    pub gone: CancellationToken,
}

pub(crate) struct Writer {
    pub peer: PeerId,
    pub lane: Lane,
    pub queue: Arc<Queue>,
    /// Closed when the peer's last connection is lost.
    pub route: watch::Receiver<Route>,
    pub drive: mpsc::UnboundedSender<Command>,
}

/// Why a stream is no longer written.
enum End {
    /// Its connection was lost or replaced, or the peer is lost.
    Route,
    Failed(io::Error),
}

impl Writer {
    pub fn start(self) {
        tokio::spawn(self.run());
    }

    async fn run(mut self) {
        let mut pause = limits::REOPEN_FIRST;
        loop {
            let route = self.route.borrow_and_update().clone();
            let error = match self.open(&route).await {
                Ok(stream) => {
                    let started = tokio::time::Instant::now();
                    let end = self.pump(stream, &route).await;
                    if started.elapsed() > limits::REOPEN_MAX {
                        pause = limits::REOPEN_FIRST;
                    }
                    match end {
                        End::Route => None,
                        End::Failed(error) => Some(error.to_string()),
                    }
                }
                Err(error) => Some(error),
            };
            if !self.rest(&route, error, &mut pause).await {
                return;
            }
        }
    }

    /// Waits for a route, or a moment after a failure on a standing one. False when the peer is
    /// lost.
    async fn rest(&mut self, route: &Route, error: Option<String>, pause: &mut Duration) -> bool {
        match error {
            Some(error) if !route.gone.is_cancelled() => {
                match *pause > limits::REOPEN_FIRST {
                    true => {
                        tracing::warn!(peer = %self.peer, lane = ?self.lane, error, "reopening")
                    }
                    // most often the connection was just lost, which is told elsewhere
                    false => tracing::debug!(peer = %self.peer, lane = ?self.lane, error),
                }
                let changed = tokio::time::timeout(*pause, self.route.changed()).await;
                *pause = (*pause * 2).min(limits::REOPEN_MAX);
                !matches!(changed, Ok(Err(_)))
            }
            _ => {
                let current = self.route.borrow().connection;
                // a route that changed while we wrote is taken at once
                current != route.connection || self.route.changed().await.is_ok()
            }
        }
    }

    async fn open(&self, route: &Route) -> Result<Stream, String> {
        let (reply, answer) = oneshot::channel();
        let open = Open { lane: self.lane, reply };
        let command = Command::Open { peer: self.peer, connection: route.connection, open };
        self.drive.send(command).map_err(|_| "the network has stopped".to_owned())?;
        let answer = tokio::time::timeout(limits::OPEN_TIMEOUT, answer);
        match route.gone.run_until_cancelled(answer).await {
            Some(Ok(Ok(opened))) => opened,
            Some(Err(_)) => Err("it did not answer in time".to_owned()),
            Some(Ok(Err(_))) | None => Err("the connection was lost".to_owned()),
        }
    }

    async fn pump(&mut self, mut stream: Stream, route: &Route) -> End {
        let mut frames = Vec::new();
        let mut buffer = Vec::new();
        loop {
            frames.clear();
            tokio::select! {
                biased;
                () = route.gone.cancelled() => return End::Route,
                _ = self.route.changed() => {
                    let current = self.route.borrow().connection;
                    if current != route.connection || self.route.has_changed().is_err() {
                        self.end(stream).await;
                        return End::Route;
                    }
                }
                () = self.queue.take(&mut frames) => {}
            }
            let written = write_frames(&mut stream, &frames, &mut buffer);
            match route.gone.run_until_cancelled(written).await {
                None => return End::Route,
                Some(Err(error)) => return End::Failed(error),
                Some(Ok(())) => {}
            }
        }
    }

    /// Ends a stream so that the peer reads all of it: a dropped one would be reset.
    async fn end(&self, mut stream: Stream) {
        let closed = tokio::time::timeout(limits::RETIRE_AFTER, stream.close()).await;
        if !matches!(closed, Ok(Ok(()))) {
            tracing::debug!(peer = %self.peer, lane = ?self.lane, "stream not ended in order");
        }
    }
}

/// Writes frames with their lengths and flushes once. Small ones are gathered, a large one is not
/// copied.
async fn write_frames(
    stream: &mut (impl AsyncWrite + Unpin),
    frames: &[Bytes],
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    buffer.clear();
    for frame in frames {
        buffer.put_u32_le(u32::try_from(frame.len()).expect("a queue refuses larger frames"));
        if frame.len() <= limits::COPY_BYTES_MAX {
            buffer.put_slice(frame);
        } else {
            stream.write_all(buffer).await?;
            buffer.clear();
            stream.write_all(frame).await?;
        }
    }
    stream.write_all(buffer).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_written_in_order_with_their_lengths() {
        let large = Bytes::from(vec![7; limits::COPY_BYTES_MAX + 1]);
        let frames = [Bytes::from_static(b"ab"), large.clone(), Bytes::new()];
        let mut written = Vec::new();
        write_frames(&mut written, &frames, &mut Vec::new()).await.expect("memory takes all");
        let expected = [
            &2u32.to_le_bytes()[..],
            b"ab",
            &(large.len() as u32).to_le_bytes(),
            &large,
            &0u32.to_le_bytes(),
        ];
        assert_eq!(written, expected.concat());
    }
}
