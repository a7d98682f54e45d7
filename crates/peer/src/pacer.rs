//! The thread that says when a turn is due, to fractions of a millisecond: tokio's timers count whole ones.

use crate::shards::Msg;
use ractor::ActorRef;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

/// The way to the thread.
pub struct Pacer {
    waits: mpsc::SyncSender<Duration>,
}

impl Pacer {
    pub fn start(shards: ActorRef<Msg>) -> io::Result<Self> {
        // One turn is due at a time.
        let (waits, inbox) = mpsc::sync_channel::<Duration>(2);
        let work = move || {
            while let Ok(wait) = inbox.recv() {
                std::thread::sleep(wait);
                if shards.cast(Msg::Turn).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("pacer".into()).spawn(work)?;
        Ok(Self { waits })
    }

    pub fn turn_after(&self, wait: Duration) {
        if self.waits.send(wait).is_err() {
            tracing::debug!("no turn: the peer stops");
        }
    }
}
