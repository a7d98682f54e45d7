//! A user's own binary, for runs under faults: peers that count, keep windows, leave a trail and hold registers.

use serde::{Deserialize, Serialize};
use shoal::prelude::*;
use std::time::Duration;
use testnet::check::folds;

/// Partitions of the streams that clients write; of that of events a run may want others.
const PARTITIONS: u32 = 8;
/// An event that comes later than this after a younger one may be late for its window, and is then given up.
const OUT_OF_ORDER: Duration = Duration::from_millis(folds::OUT_OF_ORDER_MS as u64);

/// The value of an event: who sent it, its number there, its key, and when.
#[derive(Clone, Serialize, Deserialize)]
struct Sent {
    c: u16,
    n: u32,
    k: u32,
    t: i64,
}

/// What a trail emits: the how-many-th of its key it is, and because of which event.
#[derive(Serialize)]
struct Mark {
    k: u32,
    nth: u64,
    c: u16,
    n: u32,
}

/// Keeps how many events a key had, and emits a mark for each of them.
struct Trail;

impl Processor<Sent> for Trail {
    fn process(&mut self, sent: &Sent, ctx: &mut Context) -> Result<(), Failure> {
        let key = ctx.key_text().into_owned();
        let nth = ctx.row(&key).get::<u64>()?.unwrap_or(0) + 1;
        ctx.row(&key).put(&nth)?;
        ctx.emit(&key, &Mark { k: sent.k, nth, c: sent.c, n: sent.n })
    }
}

/// A wish to change a register: `id` is the row in which its outcome is told.
#[derive(Clone, Serialize, Deserialize)]
struct Attempt {
    id: String,
    key: String,
    expect: u64,
    new: u64,
}

#[derive(Serialize, Deserialize)]
struct Told {
    found: u64,
    swapped: bool,
}

/// Compares and sets: the register's row holds its value, and the attempt's row what came of it.
struct Register;

impl Processor<Attempt> for Register {
    fn process(&mut self, attempt: &Attempt, ctx: &mut Context) -> Result<(), Failure> {
        let found = ctx.row(&attempt.key).get::<u64>()?.unwrap_or(0);
        let swapped = found == attempt.expect;
        if swapped {
            ctx.row(&attempt.key).put(&attempt.new)?;
        }
        ctx.row(&attempt.id).put(&Told { found, swapped })
    }
}

fn main() {
    let wanted = std::env::var(testnet::binaries::PARTITIONS).ok();
    let partitions = wanted.and_then(|number| number.parse().ok()).unwrap_or(PARTITIONS);
    shoal::main(move |mesh| {
        let sent = |mesh: &mut Mesh, name: &str| {
            mesh.pipeline(name).read_with("events", partitions).json::<Sent>()
        };
        sent(mesh, "counting").key_by(|sent| format!("k{}", sent.k)).count().view("seen");
        sent(mesh, "windowing")
            .event_time(|sent| sent.t, OUT_OF_ORDER)
            .key_by(|sent| format!("g{}", sent.k % folds::GROUPS))
            .window(Tumbling::of(Duration::from_millis(folds::WINDOW_MS as u64)))
            .count()
            .view(folds::WINDOWS);
        sent(mesh, "trailing")
            .key_by(|sent| format!("k{}", sent.k))
            .process(|| Trail)
            .view("trail")
            .to("marks");
        mesh.pipeline("swapping")
            .read_with("attempts", PARTITIONS)
            .json::<Attempt>()
            .key_by(|attempt| attempt.key.clone())
            .process(|| Register)
            .view("registers");
    });
}
