//! `shoal testnet`: a mesh of real processes on this machine.

use crate::show::{self, Output};
use crate::testnet::{Plan, State, Testnet};
use clap::{Args as ClapArgs, Subcommand};
use model::Problem;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Peers unless told otherwise.
const PEERS: usize = 3;

/// What can be done with a testnet.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start one, or the peers of one that do not run; returns when it is ready.
    #[command(before_help = "Example:\n  shoal testnet up -n 5 --dir /tmp/five")]
    Up {
        /// How many peers [default: 3].
        #[arg(short = 'n', long)]
        peers: Option<usize>,
        /// The mesh's number of shards.
        #[arg(long)]
        shards: Option<u16>,
        #[command(flatten)]
        place: Place,
    },
    /// How each peer is.
    #[command(before_help = "Example:\n  shoal testnet status -o json")]
    Status(Place),
    /// Let one more peer join; returns when it is ready.
    #[command(before_help = "Example:\n  shoal testnet add")]
    Add(Place),
    /// End a peer at once, as a power cut would (kill -9).
    #[command(before_help = "Example:\n  shoal testnet kill 2")]
    Kill(One),
    /// Start a peer that was killed.
    #[command(before_help = "Example:\n  shoal testnet start 2")]
    Start(One),
    /// Stop a peer in the middle of what it does (SIGSTOP).
    #[command(before_help = "Example:\n  shoal testnet pause 2")]
    Pause(One),
    /// Let a paused peer go on.
    #[command(before_help = "Example:\n  shoal testnet resume 2")]
    Resume(One),
    /// End all peers.
    #[command(before_help = "Example:\n  shoal testnet down --purge")]
    Down {
        /// Remove the folder too.
        #[arg(long)]
        purge: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Which testnet.
#[derive(Debug, ClapArgs)]
pub(crate) struct Place {
    /// The testnet's folder.
    #[arg(long, default_value = "./testnet-data")]
    dir: PathBuf,
    /// How the answer is shown.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Which of its peers.
#[derive(Debug, ClapArgs)]
pub(crate) struct One {
    /// `2` or `p2`.
    which: String,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::Up { peers, shards, place } => up(*peers, *shards, place),
        Verb::Status(place) => {
            status(place.output, &Testnet::open(&place.dir)?);
            Ok(())
        }
        Verb::Add(place) => {
            let mut testnet = Testnet::open(&place.dir)?;
            testnet.add(&[])?;
            status(place.output, &testnet);
            Ok(())
        }
        Verb::Kill(one) => with(one, "killed", |net, peer| net.kill(peer)),
        Verb::Start(one) => with(one, "ready", |net, peer| net.start(peer)),
        Verb::Pause(one) => with(one, "paused", |net, peer| net.pause(peer)),
        Verb::Resume(one) => with(one, "running", |net, peer| net.resume(peer)),
        Verb::Down { purge, place } => {
            Testnet::open(&place.dir)?.down(*purge)?;
            let gone = if *purge { "down and removed" } else { "down; its data stays" };
            show::answer(place.output, &json!({ "state": gone }), |_| gone.to_owned());
            Ok(())
        }
    }
}

fn up(peers: Option<usize>, shards: Option<u16>, place: &Place) -> Result<(), Problem> {
    // A testnet that is there knows its own size.
    let there = || Testnet::open(&place.dir).ok().map(|net| net.peers().len());
    let peers = peers.or_else(there).unwrap_or(PEERS);
    let testnet = Testnet::up(&Plan { shards, ..Plan::new(&place.dir, peers) })?;
    status(place.output, &testnet);
    if place.output == Output::Table {
        show::print(&next_steps(&testnet, &place.dir));
    }
    Ok(())
}

fn next_steps(testnet: &Testnet, folder: &Path) -> String {
    let binary = std::env::current_exe().unwrap_or_else(|_| "shoal".into());
    let (binary, first) = (binary.display(), &testnet.peers()[0]);
    let dir = match folder == Path::new("./testnet-data") {
        true => String::new(),
        false => format!(" --dir {}", folder.display()),
    };
    format!(
        "\nTry:  {binary} stream create words --peer http://{http}\n      \
         {binary} stream append words --key a hello --peer http://{http}\n      \
         {binary} ring --peer http://{http}\n      \
         {binary} testnet kill {last}{dir}",
        http = first.http,
        last = testnet.peers().len(),
    )
}

fn with(
    one: &One,
    done: &str,
    act: impl FnOnce(&mut Testnet, usize) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut testnet = Testnet::open(&one.place.dir)?;
    let peer = testnet.number(&one.which)?;
    act(&mut testnet, peer)?;
    let name = &testnet.peers()[peer - 1].name;
    show::answer(one.place.output, &json!({ "name": name, "state": done }), |_| {
        format!("{name} {done}")
    });
    Ok(())
}

fn status(output: Output, testnet: &Testnet) {
    let peers: Vec<Value> = (1..=testnet.peers().len()).map(|i| row(testnet, i)).collect();
    show::answer(output, &Value::Array(peers), |peers| {
        let columns = [
            ("PEER", "name"),
            ("STATE", "state"),
            ("PID", "pid"),
            ("KAFKA", "kafka"),
            ("HTTP", "http"),
            ("MESH", "mesh"),
        ];
        show::list(peers, &columns)
    });
}

fn row(testnet: &Testnet, number: usize) -> Value {
    let peer = &testnet.peers()[number - 1];
    let state = match testnet.state(number) {
        _ if peer.out => "out",
        State::Running if testnet.is_ready(number) => "ready",
        other => other.text(),
    };
    json!({ "name": peer.name, "state": state, "pid": peer.pid, "kafka": peer.kafka,
            "http": peer.http, "mesh": peer.mesh })
}
