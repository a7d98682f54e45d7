//! The load of a run: clients of several kinds that never stop because something fails, and keep a history.
//!
//! Promises that every client ends with its history written, or that it is said which one did not; the others go on.

mod http_writers;
mod kafka;
mod own;
mod readers;
pub mod reading;
mod registers;

pub use kafka::PACKAGES;

use super::http::Caller;
use super::{dice::Dice, ground, peers};
use crate::check::Witness;
use crate::history::{Ask, History, Outcome, Step};
use anyhow::Context;
use kafka::Script;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The stream that clients write events to.
pub const EVENTS: &str = "events";
/// Its partitions, as the peers' binary declares them.
pub const PARTITIONS: u32 = 8;
/// Keys of events.
pub const KEYS: u64 = 400;
/// How long a client waits for an answer. A peer holds a request for 2 s while a shard has no leader.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an event is tried again before its outcome stays unknown.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(50);
// Clients have numbers of their own: events carry their writer's.
const KAFKA_WRITERS: [u16; 3] = [1, 2, OWN];
const OWN: u16 = 3;
const HTTP_WRITERS: Range<u16> = 10..14;
const KAFKA_READERS: [u16; 2] = [51, 52];
const HTTP_READERS: Range<u16> = 61..63;
const LOOKERS: Range<u16> = 71..73;
const SWAPPERS: Range<u16> = 81..86;

/// Clients at work.
pub struct Load {
    stop: watch::Sender<bool>,
    tasks: Vec<(String, JoinHandle<anyhow::Result<()>>)>,
    scripts: Vec<Script>,
    runtime: tokio::runtime::Runtime,
}

/// What a client is given.
#[derive(Clone)]
struct Seat {
    client: u16,
    doors: Vec<SocketAddr>,
    folder: PathBuf,
    dice: Dice,
    stop: watch::Receiver<bool>,
}

impl Seat {
    fn caller(&self) -> Caller {
        Caller::new(self.doors.clone(), usize::from(self.client), PATIENCE)
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits, at most until the end of the load.
    async fn wait(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            // The sender lives as long as the load.
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
    }
}

impl Load {
    /// Starts all clients; histories go to `folder`. They live where this thread lives.
    pub fn start(peers: usize, seed: u64, folder: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("a runtime for clients")?;
        let (stop, stopped) = watch::channel(false);
        let door = |peer, port| SocketAddr::from((ground::address(peer), port));
        let doors: Vec<SocketAddr> = (1..=peers).map(|peer| door(peer, peers::HTTP)).collect();
        let kafka: Vec<SocketAddr> = (1..=peers).map(|peer| door(peer, peers::KAFKA)).collect();
        let mut dice = Dice::new(seed ^ 0x10ad);
        let mut seat = |client, doors: &[SocketAddr]| Seat {
            client,
            doors: doors.to_vec(),
            folder: folder.to_owned(),
            dice: Dice::new(dice.draw()),
            stop: stopped.clone(),
        };
        let mut load = Self { stop, tasks: Vec::new(), scripts: Vec::new(), runtime };
        let python = crate::clients::python(&PACKAGES).map_err(anyhow::Error::msg)?;
        let scripts = [
            ("kafka_python_client.py", "write", KAFKA_WRITERS[0], 150),
            ("librdkafka_client.py", "write", KAFKA_WRITERS[1], 400),
            ("kafka_python_client.py", "read", KAFKA_READERS[0], 0),
            ("librdkafka_client.py", "read", KAFKA_READERS[1], 0),
        ];
        for (script, role, client, rate) in scripts {
            load.scripts.push(Script::start(&python, (script, role), &seat(client, &kafka), rate)?);
        }
        load.spawn("own client", own::write(seat(OWN, &kafka)));
        for client in HTTP_WRITERS {
            load.spawn("HTTP writer", http_writers::write(seat(client, &doors)));
        }
        for client in HTTP_READERS {
            load.spawn("HTTP reader", readers::follow(seat(client, &doors)));
        }
        for client in LOOKERS {
            load.spawn("view reader", readers::look(seat(client, &doors)));
        }
        for client in SWAPPERS {
            load.spawn("register client", registers::swap(seat(client, &doors)));
        }
        Ok(load)
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.push((name.to_owned(), self.runtime.spawn(work)));
    }

    /// Why clients have given up since this was asked last; the others go on.
    pub fn gave_up(&mut self) -> Vec<anyhow::Error> {
        let mut why = Vec::new();
        self.scripts.retain_mut(|script| script.check().map_err(|error| why.push(error)).is_ok());
        while let Some(at) = self.tasks.iter().position(|(_, task)| task.is_finished()) {
            let (name, task) = self.tasks.swap_remove(at);
            why.push(match ended(&self.runtime, task) {
                Ok(()) => anyhow::anyhow!("{name} stopped although nobody asked it to"),
                Err(error) => error.context(name),
            });
        }
        why
    }

    /// Asks all clients to end, and waits for each of them; the answer is why some did not end well.
    pub fn end(mut self) -> Vec<anyhow::Error> {
        let mut why = self.gave_up();
        self.stop.send_replace(true);
        let told: Vec<_> = self.scripts.into_iter().map(Script::tell).collect();
        for (name, task) in self.tasks {
            why.extend(ended(&self.runtime, task).map_err(|error| error.context(name)).err());
        }
        why.extend(told.into_iter().filter_map(|script| script.wait().err()));
        why
    }
}

/// Clients that were not served although nothing was asked of them but patience: an event that was given up or refused,
/// and one of whom nothing is known at all.
pub fn unserved(history: &History) -> Vec<Witness> {
    let mut whys = Vec::new();
    let given_up: Vec<_> =
        history.appends.iter().filter(|append| append.outcome != Outcome::Acked).collect();
    if let Some(first) = given_up.first() {
        let why = format!("{} events were given up by their clients, or refused", given_up.len());
        whys.push(Witness::new(why).line(first));
    }
    let writers: BTreeSet<u16> = history.acked().map(|append| append.id.client).collect();
    let readers: BTreeSet<u16> = history.seen.iter().map(|seen| seen.reader).collect();
    let lookers: BTreeSet<u16> = history.looks.iter().map(|look| look.reader).collect();
    let swapped = |step: &&Step| matches!(step.ask, Ask::Swap { swapped: true, .. });
    let swappers: BTreeSet<u16> =
        history.steps.iter().filter(swapped).map(|step| step.client).collect();
    let mut missing = |what: &str, wanted: Vec<u16>, there: &BTreeSet<u16>| {
        let silent: Vec<u16> = wanted.into_iter().filter(|id| !there.contains(id)).collect();
        if !silent.is_empty() {
            whys.push(Witness::new(format!("clients {silent:?} {what} nothing")));
        }
    };
    missing("wrote", KAFKA_WRITERS.into_iter().chain(HTTP_WRITERS).collect(), &writers);
    missing("read", KAFKA_READERS.into_iter().chain(HTTP_READERS).collect(), &readers);
    missing("were told", HTTP_READERS.chain(LOOKERS).collect(), &lookers);
    missing("swapped", SWAPPERS.collect(), &swappers);
    whys
}

/// Waits for a client's end.
fn ended(
    runtime: &tokio::runtime::Runtime,
    task: JoinHandle<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    runtime.block_on(task).context("it broke")?
}
