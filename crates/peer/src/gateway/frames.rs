//! Reads the requests of one client, with patience that ends and with credit only for what arrives.
//!
//! Promises that a length alone makes this peer hold nothing, neither memory nor credit, and that a client which only
//! holds a place loses it. Never reads what a request says.

use crate::limits;
use crate::meter::Meter;
use bytes::{Bytes, BytesMut};
use door::kafka::{self, Reject};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// The first portion of a request; most are no larger.
const FIRST_PORTION: usize = 64 << 10;

/// Why no further request is read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the client has ended it")]
    Gone,
    #[error("the client asked nothing for {0:?}")]
    Idle(Duration),
    #[error("{0}")]
    Broken(#[from] io::Error),
    #[error("{0}")]
    Refused(#[from] Reject),
    #[error("its request stopped in the middle")]
    Stalled,
    #[error("its request came too slowly")]
    Slow,
    #[error("there was no room for the rest of its request in time")]
    NoRoom,
}

impl Ended {
    /// What others' mistakes are counted by, so that each kind is told now and then; none if it is no mistake.
    pub fn complaint(&self) -> Option<&'static str> {
        match self {
            Self::Gone | Self::Idle(_) | Self::Broken(_) => None,
            Self::Refused(reject) => Some(reject.kind()),
            Self::Stalled | Self::Slow => Some("slow"),
            Self::NoRoom => Some("room"),
        }
    }
}

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For its first request to begin, and for each later one.
    first: Duration,
    idle: Duration,
    /// For the next bytes of a request that has begun, or for room for them.
    stall: Duration,
    /// For the whole of it, beside what its size takes at the least rate.
    whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: limits::FIRST_REQUEST,
            idle: limits::CLIENT_IDLE,
            stall: limits::REQUEST_STALL,
            whole: limits::REQUEST_TIME,
        }
    }
}

/// The right to one request: of its connection, and of the peer as a whole.
pub(super) type Credit = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// What is left to read of a client.
pub(super) struct Frames<R> {
    reader: R,
    /// KiB that this client may have under way, and all together.
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
    patience: Patience,
    /// Counts how long clients wait for credit.
    meter: Arc<Meter>,
    /// It has asked something.
    has_asked: bool,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub fn new(reader: R, all: Arc<Semaphore>, patience: Patience, meter: Arc<Meter>) -> Self {
        let own = Arc::new(Semaphore::new(limits::CONNECTION_BYTES / 1024));
        Self { reader, own, all, patience, meter, has_asked: false }
    }

    /// The next request without its length.
    pub async fn next(&mut self) -> Result<(Bytes, Credit), Ended> {
        let size = kafka::frame_size(self.head().await?, limits::REQUEST_BYTES)?;
        let portion = kib(size.min(limits::CONNECTION_BYTES - 1024));
        let own = self.own.clone().acquire_many_owned(portion).await.map_err(stopped)?;
        let (frame, all) = self.body(size).await?;
        self.has_asked = true;
        Ok((frame, (own, all)))
    }

    async fn head(&mut self) -> Result<[u8; 4], Ended> {
        let mut head = [0; 4];
        let idle = if self.has_asked { self.patience.idle } else { self.patience.first };
        let first = timeout(idle, self.reader.read(&mut head)).await;
        let mut have = first.map_err(|_| Ended::Idle(idle))??;
        if have == 0 {
            return Err(Ended::Gone);
        }
        let until = Instant::now() + self.patience.stall;
        while have < head.len() {
            let read = timeout_at(until, self.reader.read(&mut head[have..])).await;
            match read.map_err(|_| Ended::Stalled)?? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                more => have += more,
            }
        }
        Ok(head)
    }

    /// Reads a frame portion by portion; room and credit for each are taken when all before it has arrived.
    async fn body(&mut self, size: usize) -> Result<(Bytes, OwnedSemaphorePermit), Ended> {
        let mut credit = self.all.clone().acquire_many_owned(0).await.map_err(stopped)?;
        let mut bytes = BytesMut::new();
        let mut until = None;
        while bytes.len() < size {
            let portion = bytes.len().clamp(FIRST_PORTION, limits::CREDIT_PORTION);
            let portion = portion.min(size - bytes.len());
            credit.merge(self.portion(portion, bytes.is_empty()).await?);
            // The client's time begins when there is room for what it sends.
            let by_rate = Duration::from_secs(size as u64 / limits::REQUEST_RATE);
            let until = *until.get_or_insert(Instant::now() + self.patience.whole + by_rate);
            bytes.reserve(portion);
            let reached = bytes.len() + portion;
            while bytes.len() < reached {
                self.some(&mut bytes, reached, until).await?;
            }
        }
        Ok((bytes.freeze(), credit))
    }

    /// Who holds nothing yet may wait for ever; who does, and waits for others that do, must let go.
    async fn portion(&self, size: usize, first: bool) -> Result<OwnedSemaphorePermit, Ended> {
        let began = Instant::now();
        let acquired = self.all.clone().acquire_many_owned(kib(size));
        let acquired = match first {
            true => acquired.await,
            false => timeout(self.patience.stall, acquired).await.map_err(|_| Ended::NoRoom)?,
        };
        let held_us = began.elapsed().as_micros() as u64;
        self.meter.held_us.fetch_add(held_us, Ordering::Relaxed);
        acquired.map_err(stopped)
    }

    async fn some(
        &mut self,
        bytes: &mut BytesMut,
        reached: usize,
        until: Instant,
    ) -> Result<(), Ended> {
        let mut limited = (&mut self.reader).take((reached - bytes.len()) as u64);
        let stall = Instant::now() + self.patience.stall;
        let read = timeout_at(stall.min(until), limited.read_buf(bytes)).await;
        match read.map_err(|_| if until < stall { Ended::Slow } else { Ended::Stalled })?? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }
}

fn kib(size: usize) -> u32 {
    // A request is smaller than 4 TiB by far.
    (size / 1024 + 1) as u32
}

fn stopped(_: tokio::sync::AcquireError) -> Ended {
    io::Error::other("the peer stops").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    const MIB: usize = 1 << 20;

    /// Short enough for a test, and far apart.
    const SHORT: Patience = Patience {
        first: Duration::from_millis(200),
        idle: Duration::from_secs(2),
        stall: Duration::from_millis(500),
        whole: Duration::from_secs(1),
    };

    fn client(all: &Arc<Semaphore>) -> (DuplexStream, Frames<DuplexStream>) {
        let (ours, theirs) = duplex(64 << 10);
        (theirs, Frames::new(ours, all.clone(), SHORT, Arc::default()))
    }

    fn pool(mib: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(mib * 1024))
    }

    async fn says(client: &mut DuplexStream, size: usize, bytes: usize) {
        client.write_all(&(size as u32).to_be_bytes()).await.expect("the reader lives");
        client.write_all(&vec![7; bytes]).await.expect("the reader lives");
    }

    #[tokio::test]
    async fn requests_come_whole_and_give_their_credit_back() {
        let all = pool(8);
        let (mut client, mut frames) = client(&all);
        let sizes = [8, 100, 70_000, 3 * MIB];
        let writing = async {
            for size in sizes {
                says(&mut client, size, size).await;
            }
        };
        let reading = async {
            for size in sizes {
                let (frame, _credit) = frames.next().await.expect("a request");
                assert_eq!(frame.len(), size);
                assert!(all.available_permits() <= 8 * 1024 - size / 1024);
            }
        };
        tokio::join!(writing, reading);
        assert_eq!(all.available_permits(), 8 * 1024);
        drop(client);
        assert!(matches!(frames.next().await, Err(Ended::Gone)));
    }

    #[tokio::test]
    async fn a_length_alone_holds_no_credit_and_loses_its_place() {
        let all = pool(8);
        let (mut liar, mut frames) = client(&all);
        says(&mut liar, limits::REQUEST_BYTES, 10).await;
        let read = tokio::spawn(async move { frames.next().await.map(drop) });
        tokio::time::sleep(SHORT.stall / 5).await;
        assert!(all.available_permits() >= 8 * 1024 - 65, "{} KiB", all.available_permits());
        let ended = read.await.expect("no panic").expect_err("nothing more comes");
        assert!(matches!(ended, Ended::Stalled), "{ended}");
        assert_eq!(all.available_permits(), 8 * 1024);
    }

    #[tokio::test]
    async fn a_client_that_sends_byte_by_byte_is_not_waited_for() {
        let (mut loris, mut frames) = client(&pool(8));
        let sending = async {
            says(&mut loris, 1000, 0).await;
            while loris.write_all(&[0]).await.is_ok() {
                tokio::time::sleep(SHORT.stall / 10).await;
            }
        };
        let reading = async {
            let ended = frames.next().await.map(drop).expect_err("it is too slow");
            drop(frames);
            ended
        };
        let ((), ended) = tokio::join!(sending, reading);
        assert!(matches!(ended, Ended::Slow), "{ended}");
    }

    #[tokio::test]
    async fn who_asks_nothing_loses_its_place_and_later_later() {
        let (mut client, mut frames) = client(&pool(8));
        says(&mut client, 8, 8).await;
        drop(frames.next().await.expect("a request"));
        let ended = frames.next().await.map(drop).expect_err("nothing is asked");
        assert!(matches!(ended, Ended::Idle(time) if time == SHORT.idle), "{ended}");
        let (_silent, mut frames) = super::tests::client(&pool(8));
        let ended = frames.next().await.map(drop).expect_err("nothing is asked");
        assert!(matches!(ended, Ended::Idle(time) if time == SHORT.first), "{ended}");
    }

    #[tokio::test]
    async fn two_that_wait_for_each_others_room_do_not_wait_for_ever() {
        let all = pool(4);
        let mut readers = Vec::new();
        for _ in 0..2 {
            let (mut client, mut frames) = client(&all);
            readers.push(tokio::spawn(async move {
                let sending = says(&mut client, 3 * MIB, 3 * MIB - 1);
                tokio::select! {
                    ended = frames.next() => ended.map(drop),
                    () = sending => Ok(()),
                }
            }));
        }
        let mut refused = 0;
        for reader in readers {
            refused += usize::from(reader.await.expect("no panic").is_err());
        }
        assert!(refused >= 1, "one of them lets go");
        assert_eq!(all.available_permits(), 4 * 1024);
    }
}
