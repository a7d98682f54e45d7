//! `shoal start`: makes this process a peer.

mod waits;

use crate::settings::Settings;
use crate::{Mesh, demo, trace};
use clap::Args as ClapArgs;
use model::Problem;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use waits::Waits;

/// Where settings are looked for when nobody says where.
const FILES: [&str; 2] = ["shoal.toml", "/etc/shoal/shoal.toml"];
/// A start that takes longer than this says where to look.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one look at readiness lasts before it is looked whether the peer has failed.
const GLANCE: Duration = Duration::from_millis(500);
/// A graceful stop that takes longer than this is given up. A peer bounds each step of it; this is for what hangs.
pub(super) const STOP: Duration = Duration::from_secs(12);

/// What `shoal start` takes.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct Args {
    /// Found a mesh if the data folder is empty. With --join: only if no peer of that list has one, and this one is first.
    #[arg(long)]
    new: bool,
    /// Mesh address of any peer to join through; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<String>,
    /// The mesh's token, as `start --new` printed it. SHOAL_MESH__TOKEN keeps it out of `ps`.
    #[arg(long)]
    token: Option<String>,
    /// Data folder [default: ./shoal-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What people call this peer [default: p and its id].
    #[arg(long)]
    name: Option<String>,
    /// Address to listen on [default: 127.0.0.1, which others cannot reach].
    #[arg(long, value_name = "IP")]
    bind: Option<IpAddr>,
    /// Host that others and clients are told [default: the bound address].
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Port for Kafka clients [default: 9092; 0 takes any].
    #[arg(long, value_name = "PORT")]
    kafka_port: Option<u16>,
    /// Host, or host:port, that Kafka clients are told [default: as --advertise].
    #[arg(long, value_name = "ADDRESS")]
    kafka_advertise: Option<String>,
    /// Tell Kafka clients this peer only, and forward: for clients that can reach a single address.
    #[arg(long)]
    kafka_single_address: bool,
    /// Port for HTTP [default: 8080; 0 takes any].
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// Port for other peers; the next one is taken too [default: 7946; 0 takes any].
    #[arg(long, value_name = "PORT")]
    mesh_port: Option<u16>,
    /// Partitions of all streams together; this peer makes no more [default: 20000].
    #[arg(long, value_name = "COUNT")]
    partitions_max: Option<u32>,
    /// MiB a second that this peer takes of shards that move to it [default: 64].
    #[arg(long, value_name = "MIB")]
    fetch_mib_s: Option<u32>,
    /// A new mesh's number of shards, for ever; a power of two [default: 64].
    #[arg(long)]
    shards: Option<u16>,
    /// Name or id of a dead peer whose place this one takes when it joins.
    #[arg(long, value_name = "PEER", conflicts_with = "new")]
    replace: Option<String>,
    /// Start although the only copy of some shards is damaged: they have no leader, their files are kept in DIR/aside.
    #[arg(long)]
    without_damaged: bool,
    /// What fails together with this peer: a room, a rack.
    #[arg(long)]
    zone: Option<String>,
    /// Capacity relative to others; 100 is ordinary, 0 holds nothing [default: 100].
    #[arg(long)]
    weight: Option<u32>,
    /// File with settings [default: shoal.toml here or in /etc/shoal].
    #[arg(long, env = "SHOAL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Hold the code of a demo's pipelines.
    #[arg(long, hide = true)]
    demo_pipelines: Option<String>,
    /// Leave the session of the terminal, so that closing it does not end this peer.
    #[arg(long, hide = true)]
    detach: bool,
}

pub(crate) fn run(args: &Args, register: impl FnOnce(&mut Mesh)) -> Result<(), Problem> {
    if args.detach {
        // It fails only for a process that leads a group already, and that one is detached enough.
        let _ = rustix::process::setsid();
    }
    trace::start()?;
    // Dropped last: the rest of the spans is sent then.
    let _export = trace::export()?;
    let mut pipelines = Mesh::default();
    register(&mut pipelines);
    if let Some(name) = &args.demo_pipelines
        && !demo::pipelines(name, &mut pipelines)
    {
        let what = format!("there are no pipelines called {name}");
        return Err(Problem::new("SH0001", what, "only demo and bench have some", "leave it away"));
    }
    let options = options(args, &settings(args)?, pipelines)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Problem::new("SH0901", "no threads", error.to_string(), "look at the limits: ulimit -u")
    })?;
    runtime.block_on(until_stopped(options))
}

/// Runs the peer until a signal asks it to stop, or it cannot go on.
async fn until_stopped(options: peer::Options) -> Result<(), Problem> {
    let (new, token_given) = (options.found, options.token.is_some());
    let mut stops = Stops::listen()?;
    let waits = Waits {
        through: options.join.join(", "),
        agrees: new && !options.join.is_empty(),
        told: options.told.subscribe(),
    };
    let mut running = tokio::select! {
        running = peer::start(options) => running?,
        () = stops.next() => return Ok(()),
        () = waits.tell() => return Ok(()),
    };
    if new {
        eprintln!("{}", invitation(&running, token_given));
    }
    let ended = match until_ready(&mut running, &mut stops).await {
        Ready::Stopped => None,
        Ready::Ended(end) => Some(end),
        Ready::Yes => tokio::select! {
            () = stops.next() => None,
            end = running.ended() => Some(end),
        },
    };
    match &ended {
        None => eprintln!("stopping; a second signal ends it at once"),
        Some(peer::End::Left) => eprintln!("this peer has left the mesh; its folder can go"),
        // What it holds counts no more, or cannot be trusted: there is nothing to put in order.
        Some(end) => return end.problem().map_or(Ok(()), Err),
    }
    tokio::select! {
        () = running.stop() => {}
        () = stops.next() => eprintln!("stopped at once"),
        () = tokio::time::sleep(STOP) => eprintln!("stopped after waiting {} s", STOP.as_secs()),
    }
    Ok(())
}

/// How waiting for a peer to become ready ended.
enum Ready {
    Yes,
    Stopped,
    Ended(peer::End),
}

/// Says once that the peer is ready, and before that, once, that it takes long.
async fn until_ready(running: &mut peer::Running, stops: &mut Stops) -> Ready {
    let began = Instant::now();
    let mut told = false;
    loop {
        let ready = tokio::select! {
            () = stops.next() => return Ready::Stopped,
            ready = tokio::time::timeout(GLANCE, running.ready()) => ready.is_ok(),
        };
        if let Ok(end) = tokio::time::timeout(Duration::ZERO, running.ended()).await {
            return Ready::Ended(end);
        }
        let at = running.addresses();
        if ready {
            eprintln!(
                "ready: {} kafka {} http http://{} mesh {}",
                running.name(),
                at.kafka,
                at.http,
                at.mesh
            );
            return Ready::Yes;
        }
        if !told && began.elapsed() >= PATIENCE {
            eprintln!("not ready yet; http://{}/readyz says why", at.http);
            told = true;
        }
    }
}

/// What the founder says to those who would join.
fn invitation(running: &peer::Running, token_given: bool) -> String {
    match running.begins() {
        peer::Begins::Founded => {}
        peer::Begins::Held => {
            return "the data folder has a mesh already: it goes on, and nothing is founded".into();
        }
        peer::Begins::Joined => return "joined the mesh that answered; nothing is founded".into(),
    }
    let line = join_line(&running.join_line(), token_given);
    match running.loopback() {
        false => format!("others join with: {line}"),
        true => format!(
            "others on this machine join with: {line}\n\
             each with --data DIR --kafka-port 0 --http-port 0 --mesh-port 0, or ports of its own\n\
             this peer listens on loopback only, or knows no address that others reach; for other \
             machines start it with --bind 0.0.0.0, and with --advertise HOST where they know it \
             by another address"
        ),
    }
}

/// The command that lets others join. A token that was given is not repeated: logs keep what they see.
fn join_line(line: &str, token_given: bool) -> String {
    let hidden = |word: &str| token_given && word.starts_with("shoal1-");
    let words: Vec<&str> = line
        .split(' ')
        .map(|word| if hidden(word) { "<the token you gave>" } else { word })
        .collect();
    words.join(" ")
}

/// The signals that ask for an end.
struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    fn listen() -> Result<Self, Problem> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Problem::new("SH0901", "signals cannot be heard", error.to_string(), "report this")
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn settings(args: &Args) -> Result<Settings, Problem> {
    let one = |value: Option<String>| value.into_iter().collect::<Vec<_>>();
    let path = |path: &PathBuf| path.display().to_string();
    let number = |port: Option<u16>| port.map(|port| port.to_string());
    let flags = vec![
        ("peer.name", one(args.name.clone())),
        ("peer.data", one(args.data.as_ref().map(path))),
        ("peer.zone", one(args.zone.clone())),
        ("peer.weight", one(args.weight.map(|weight| weight.to_string()))),
        ("peer.bind", one(args.bind.map(|ip| ip.to_string()))),
        ("peer.advertise", one(args.advertise.clone())),
        ("mesh.join", args.join.clone()),
        ("mesh.token", one(args.token.clone())),
        ("mesh.port", one(number(args.mesh_port))),
        ("mesh.shards", one(number(args.shards))),
        ("mesh.partitions_max", one(args.partitions_max.map(|most| most.to_string()))),
        ("mesh.fetch_mib_s", one(args.fetch_mib_s.map(|rate| rate.to_string()))),
        ("kafka.port", one(number(args.kafka_port))),
        ("kafka.advertise", one(args.kafka_advertise.clone())),
        ("kafka.single_address", one(args.kafka_single_address.then(|| "true".to_owned()))),
        ("http.port", one(number(args.http_port))),
    ];
    gathered(flags, args.config.as_deref())
}

/// What these flags, the environment and the file named (or found) say together.
pub(crate) fn gathered(
    flags: Vec<(&str, Vec<String>)>,
    named: Option<&Path>,
) -> Result<Settings, Problem> {
    let file = file(named)?;
    let file = file.as_ref().map(|(path, text)| (path.as_path(), text.as_str()));
    Settings::gather(flags, std::env::vars(), file)
}

/// Whether a start would take all of it.
pub(crate) fn check(settings: &Settings) -> Result<(), Problem> {
    let args = Args::default();
    let options = options(&args, settings, Mesh::default())?;
    options.token.as_deref().map(peer::Token::parse).transpose().map(|_| ())
}

/// The file of settings and its text: the one named, else the first that is there.
fn file(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, Problem> {
    let found = FILES.iter().map(Path::new).find(|path| path.exists());
    let Some(path) = named.or(found) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problem::new(
            "SH0001",
            format!("{} cannot be read", path.display()),
            error.to_string(),
            "--config with a file that is there, or none",
        )
    })?;
    Ok(Some((path.to_owned(), text)))
}

fn options(args: &Args, settings: &Settings, pipelines: Mesh) -> Result<peer::Options, Problem> {
    let text = |key: &str| settings.text(key).filter(|text| !text.is_empty()).map(str::to_owned);
    let shards = match settings.text("mesh.shards") {
        Some(_) => Some(settings.value("mesh.shards", peer::SHARDS)?),
        None => None,
    };
    if let Some(shards) = shards.filter(|shards| !shards.is_power_of_two()) {
        return Err(Problem::new(
            "SH0001",
            format!("a mesh cannot have {shards} shards"),
            "the number of shards is a power of two",
            format!("--shards {}", u32::from(shards.max(1)).next_power_of_two().min(1 << 15)),
        ));
    }
    let weight: u32 = settings.value("peer.weight", 100)?;
    if weight > ring::WEIGHT_MAX {
        return Err(Problem::new(
            "SH0001",
            format!("a peer cannot have weight {weight}"),
            format!("100 is ordinary and {} the most", ring::WEIGHT_MAX),
            format!("--weight {}", ring::WEIGHT_MAX),
        ));
    }
    let fetch_mib_s: u32 = settings.value("mesh.fetch_mib_s", peer::limits::FETCH_MIB_S)?;
    if fetch_mib_s == 0 {
        return Err(Problem::new(
            "SH0001",
            "a peer cannot take shards at 0 MiB a second",
            "no shard would ever have moved to it",
            format!("--fetch-mib-s {}", peer::limits::FETCH_MIB_S),
        ));
    }
    let name = text("peer.name");
    if let Some(Err(error)) = name.as_deref().map(model::name::check) {
        return Err(Problem::new(
            "SH0002",
            format!("a peer cannot be called {:?}", name.unwrap_or_default()),
            error.to_string(),
            "--name p1",
        ));
    }
    // An empty one on the command line takes back what a file says.
    let join = settings.list("mesh.join").into_iter().filter(|at| !at.is_empty()).collect();
    Ok(peer::Options {
        folder: text("peer.data").unwrap_or_else(|| "shoal-data".to_owned()).into(),
        name,
        found: args.new,
        join,
        told: tokio::sync::watch::Sender::default(),
        token: text("mesh.token"),
        bind: settings.value("peer.bind", IpAddr::from([127, 0, 0, 1]))?,
        advertise: text("peer.advertise"),
        kafka_port: settings.value("kafka.port", 9092)?,
        kafka_advertise: text("kafka.advertise"),
        kafka_single_address: settings.value("kafka.single_address", false)?,
        http_port: settings.value("http.port", 8080)?,
        mesh_port: settings.value("mesh.port", 7946)?,
        partitions_max: settings.value("mesh.partitions_max", peer::limits::PARTITIONS)?,
        fetch_rate: u64::from(fetch_mib_s) << 20,
        shards,
        replaces: args.replace.clone(),
        without_damaged: args.without_damaged,
        zone: text("peer.zone").unwrap_or_default(),
        weight,
        pipelines,
        settings: settings.shown(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_given_is_not_printed_again() {
        let line = "join with: shoal start --join 10.0.0.1:7946 --token shoal1-1-ab";
        assert_eq!(join_line(line, false), line);
        assert!(!join_line(line, true).contains("shoal1-"));
    }
}
