//! Reads one lane's stream of one peer and hands its frames over.
//!
//! Promises: memory follows the bytes that arrived, never a length that claims them; while the
//! consumer does not take frames, the sender's window stays closed. Never starts before the stream
//! it replaces has been read to its end, so a lane's order survives a change of connections.

use crate::{event::Event, key::PeerKey, lane::Lane, limits, shared::Shared};
use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, io::BufReader};
use std::{io, sync::Arc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Reader {
    pub peer: PeerKey,
    pub lane: Lane,
    pub shared: Arc<Shared>,
    /// The connection has ended.
    pub gone: CancellationToken,
    /// The reader of this lane's stream before this one.
    pub before: Option<JoinHandle<()>>,
}

impl Reader {
    pub fn start(self, stream: libp2p::Stream) -> JoinHandle<()> {
        tokio::spawn(async move {
            let gone = self.gone.clone();
            gone.run_until_cancelled_owned(self.run(stream)).await;
        })
    }

    async fn run(mut self, stream: impl AsyncRead + Unpin) {
        if let Some(before) = self.before.take() {
            // it ends with its stream or its connection; a panic in it is its own
            drop(before.await);
        }
        let mut stream = BufReader::with_capacity(limits::READ_STEP_BYTES, stream);
        loop {
            match read_frame(&mut stream, self.lane.frame_bytes_max()).await {
                Ok(Some(bytes)) => {
                    if !self.shared.hand_over(self.peer.clone(), self.lane, bytes).await {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return self.refuse(&error);
                }
                Err(error) => {
                    tracing::debug!(peer = %self.peer, lane = ?self.lane, %error, "stream broke");
                    return;
                }
            }
        }
    }

    fn refuse(&self, error: &io::Error) {
        tracing::warn!(peer = %self.peer, lane = ?self.lane, %error, "frame refused");
        let (address, why) = (self.peer.to_string(), error.to_string());
        self.shared.tell(Event::Refused { address, why });
    }
}

/// One frame; none at the stream's end.
async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> io::Result<Option<Bytes>> {
    let mut head = [0; 4];
    if stream.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[1..]).await?;
    let length = u32::from_le_bytes(head) as usize;
    if length > bytes_max {
        let why = format!("a frame of {length} bytes is larger than {bytes_max}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let mut frame = Vec::new();
    while frame.len() < length {
        let have = frame.len();
        let step = (length - have).min(have.max(limits::READ_STEP_BYTES));
        frame.reserve_exact(step);
        frame.resize(have + step, 0);
        stream.read_exact(&mut frame[have..]).await?;
    }
    Ok(Some(frame.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;

    #[tokio::test]
    async fn a_frame_is_whole_or_an_error() {
        let mut bytes = Cursor::new([&3u32.to_le_bytes()[..], b"abc", &[0; 4], &[9, 0]].concat());
        let mut next = async || read_frame(&mut bytes, 10).await;
        assert_eq!(next().await.expect("a frame"), Some(Bytes::from_static(b"abc")));
        assert_eq!(next().await.expect("an empty frame"), Some(Bytes::new()));
        assert_eq!(next().await.expect_err("torn").kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(next().await.expect("the end"), None);
    }

    #[tokio::test]
    async fn a_length_that_is_too_large_is_refused_before_memory_is_given_to_it() {
        for length in [i32::MAX as u32, u32::MAX, limits::FRAME_BYTES_MAX as u32 + 1] {
            let mut bytes = Cursor::new(length.to_le_bytes());
            let error = read_frame(&mut bytes, limits::FRAME_BYTES_MAX).await.expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    /// Counts what it was asked for at once: the reader's memory.
    struct Greedy(usize);
    impl AsyncRead for Greedy {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            space: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            self.0 = self.0.max(space.len());
            std::task::Poll::Ready(Ok(0))
        }
    }

    #[tokio::test]
    async fn memory_follows_the_bytes_that_arrived() {
        let claimed = (limits::FRAME_BYTES_MAX as u32).to_le_bytes();
        let mut stream = Cursor::new(claimed).chain(Greedy(0));
        read_frame(&mut stream, limits::FRAME_BYTES_MAX).await.expect_err("torn");
        let (_, Greedy(asked)) = stream.into_inner();
        assert_eq!(asked, limits::READ_STEP_BYTES);
    }
}
