//! Feeds the exchanges of one stage as its sources move, and wakes the tasks that got something.
//!
//! One thread a stage with tasks here: the stage's stateless code runs on it, each range once, and slow code delays
//! its own stage alone. Promises that a task whose bucket got items is told, and each other task within
//! [`limits::TASK_LAG`], so that its position follows. A task that is told too often only looks in vain.

use super::{Exchanges, lock};
use crate::board::Mark;
use crate::limits;
use flow::StageCode;
use model::{PartitionId, StreamId};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What feeds one stage.
pub(super) struct Puller {
    code: Arc<StageCode>,
    /// One for each bucket.
    bells: Vec<Bell>,
    /// Seats that are taken; the thread ends when there are none.
    seats: AtomicUsize,
    /// Whether the thread goes on.
    running: AtomicBool,
}

/// What a task waits at.
#[derive(Default)]
struct Bell {
    taken: AtomicBool,
    /// Rung and not yet heard.
    rung: AtomicBool,
    /// Wants to be told of every move: its timers wait for the watermark.
    eager: AtomicBool,
    notify: Notify,
}

/// A task's place at the puller of its stage; given back when dropped.
pub struct Seat {
    puller: Arc<Puller>,
    bucket: u32,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.bell().taken.store(false, Ordering::Release);
        self.puller.seats.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Seat {
    /// Whether it was told since this was last asked.
    pub fn heard(&self) -> bool {
        self.bell().rung.swap(false, Ordering::AcqRel)
    }

    /// Ready when it is told, or was and has not heard it.
    pub async fn told(&self) {
        while !self.bell().rung.load(Ordering::Acquire) {
            self.bell().notify.notified().await;
        }
    }

    /// Whether every move of a source is news.
    pub fn set_eager(&self, eager: bool) {
        self.bell().eager.store(eager, Ordering::Release);
    }

    fn bell(&self) -> &Bell {
        &self.puller.bells[self.bucket as usize]
    }
}

impl Bell {
    fn ring(&self) {
        if self.taken.load(Ordering::Acquire) && !self.rung.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }
}

/// Wakes a thread that waits for a future without a runtime: this one's threads may outlive it.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Parks this thread until there is news, or for `limit`.
fn sleep(news: impl Future<Output = ()>, limit: Duration, waker: &Waker) {
    let mut news = pin!(news);
    let until = Instant::now() + limit;
    while news.as_mut().poll(&mut Context::from_waker(waker)).is_pending() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

/// How a look at the sources ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Everything that is applied here is fed.
    Done,
    /// Tasks must take what is there first.
    Full,
}

impl Puller {
    pub(super) fn new(code: Arc<StageCode>) -> Arc<Self> {
        let bells = (0..code.buckets).map(|_| Bell::default()).collect();
        let (seats, running) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { code, bells, seats, running })
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Called under the registry's lock, as is [`Puller::ended`].
    pub(super) fn start(self: &Arc<Self>, exchanges: Arc<Exchanges>) -> std::io::Result<()> {
        let puller = self.clone();
        let named = thread::Builder::new().name("exchange".into());
        named.spawn(move || puller.run(&exchanges))?;
        self.running.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn seat(self: &Arc<Self>, bucket: u32) -> Seat {
        self.seats.fetch_add(1, Ordering::AcqRel);
        let bell = &self.bells[bucket as usize];
        bell.eager.store(false, Ordering::Release);
        bell.taken.store(true, Ordering::Release);
        bell.ring();
        Seat { puller: self.clone(), bucket }
    }

    fn run(&self, exchanges: &Exchanges) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut seen = HashMap::new();
        let mut told_all = Instant::now();
        let mut moved_since = false;
        while !self.ended(exchanges) {
            let streams = self.streams(exchanges);
            // Listening begins before the look, so that no move falls between.
            let news = exchanges.router.board.news(&streams);
            let (moved, look) = self.look(exchanges, &streams, &mut seen);
            moved_since |= moved;
            let is_late = moved_since && told_all.elapsed() >= limits::TASK_LAG;
            for bell in &self.bells {
                if look == Look::Full || is_late || moved && bell.eager.load(Ordering::Acquire) {
                    bell.ring();
                }
            }
            if is_late {
                (told_all, moved_since) = (Instant::now(), false);
            }
            let wait = match look {
                Look::Full => limits::TASK_POLL,
                Look::Done if moved_since => limits::TASK_LAG,
                Look::Done => limits::TASK_IDLE,
            };
            sleep(news, wait, &waker);
        }
    }

    /// Whether nobody sits here any more; then whoever comes next starts another one.
    fn ended(&self, exchanges: &Exchanges) -> bool {
        let _registry = exchanges.pullers.get_mut(&(Arc::as_ptr(&self.code) as usize));
        let ended = self.seats.load(Ordering::Acquire) == 0 || exchanges.router.board.stopping();
        self.running.store(!ended, Ordering::Release);
        ended
    }

    fn streams(&self, exchanges: &Exchanges) -> Vec<StreamId> {
        let catalogue = exchanges.router.board.catalogue();
        let is_source = |name: &str| self.code.sources.iter().any(|source| source.stream == name);
        let streams = catalogue.streams.iter();
        streams.filter(|(_, stream)| is_source(&stream.name)).map(|(id, _)| *id).collect()
    }

    /// Feeds what has moved since the last look; whether anything has.
    fn look(
        &self,
        exchanges: &Exchanges,
        streams: &[StreamId],
        seen: &mut HashMap<PartitionId, i64>,
    ) -> (bool, Look) {
        let catalogue = exchanges.router.board.catalogue();
        let (mut moved, mut look) = (false, Look::Done);
        for stream in streams {
            let partitions = catalogue.streams.get(stream).map_or(0, |stream| stream.partitions);
            for partition in 0..partitions {
                let id = PartitionId { stream: *stream, partition };
                let Some(mark) = exchanges.router.board.mark(id) else { continue };
                if seen.get(&id) == Some(&mark.stable) {
                    continue;
                }
                moved = true;
                if self.feed(exchanges, id, mark) == Look::Done {
                    seen.insert(id, mark.stable);
                } else {
                    look = Look::Full;
                }
            }
        }
        (moved, look)
    }

    fn feed(&self, exchanges: &Exchanges, id: PartitionId, mark: Mark) -> Look {
        // What goes wrong here, tasks meet as well, and say so.
        let Ok(exchange) = exchanges.exchange(&self.code, id) else { return Look::Full };
        let mut exchange = lock(&exchange);
        let look = loop {
            match exchange.ahead(exchanges.now_ms()) {
                None => break Look::Full,
                Some(from) if from >= mark.stable => break Look::Done,
                Some(from) if exchanges.feed(&mut exchange, id, from, mark).is_err() => {
                    break Look::Full;
                }
                Some(_) => {}
            }
        };
        exchange.news(|bucket| self.bells[bucket as usize].ring());
        look
    }
}
