//! From a folder to a running peer: open what is kept, join or found, wire the actors.

mod agree;
mod attend;
mod host;
mod join;
mod keep;
pub mod recover;
pub mod twin;

use crate::answers::Answers;
use crate::board::Board;
use crate::call::Calls;
use crate::exchange::Exchanges;
use crate::figures::Teller;
use crate::links::{Links, News};
use crate::meter::Meter;
use crate::options::{Options, Token};
use crate::peer::{self, Peer, Running};
use crate::router::Router;
use crate::snapshot::Exports;
use crate::space::Space;
use crate::throttle::Throttle;
use crate::{gateway, groups, http, limits, membership, problems, shards, tasks};
use model::catalogue::{Addresses, Enrolled};
use model::{MeshId, PeerId, Problem, id};
use net::Net;
use net::listen::Port;
use ractor::Actor;
use std::net::SocketAddr;
use std::sync::Arc;
use store::{Folder, Head};
use tokio::task::{JoinHandle, JoinSet};

/// Who this peer is, once it belongs to a mesh.
pub struct Belonging {
    pub head: Head,
    /// What is known of the catalogue before its log is read.
    pub catalogue: model::Catalogue,
    pub begins: Begins,
}

/// How a peer came to its mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// The folder held it.
    Held,
    /// The mesh begins with this start.
    Founded,
    /// It was let in at this start.
    Joined,
}

/// The sockets, opened before anything else so that a taken port is said at once. Clients are let in when they can be served.
struct Doors {
    kafka: Port,
    http: Port,
    net: Net,
    news: News,
    addresses: Addresses,
    /// See [`host::is_loopback`].
    loopback: bool,
}

/// Where a peer writes on which addresses it listens.
pub const PORTS: &str = "ports.json";

/// Starts a peer; returns when it listens, not when it is ready.
pub async fn start(options: Options) -> Result<Running, Problem> {
    let create = options.found || !options.join.is_empty();
    let path = options.folder.clone();
    let mut folder = Folder::open(&path, create).map_err(|e| problems::folder(&path, &e))?;
    let token = token(&options, &folder)?;
    let key_seed = folder.key_or_init(rand::random());
    let key_seed = key_seed.map_err(|e| problems::folder(&path, &e))?;
    let held = folder.head().is_some();
    twin::refuse_ended(&folder)?;
    // A copy that is refused is not counted: it would be the latest one day.
    let counted = if held { folder.next_incarnation() } else { folder.bump_incarnation() };
    let incarnation = counted.map_err(|e| problems::folder(&path, &e))?;
    let host = host::host(&options, &folder).await;
    let mut doors = open_doors(&options, &token, key_seed, &host).await?;
    twin::refuse(&doors.net, &path, folder.note(PORTS), &doors.addresses).await?;
    let mut me = Enrolled {
        id: PeerId(0),
        key: doors.net.local_key().bytes().to_vec(),
        name: options.name.clone().unwrap_or_default(),
        zone: options.zone.clone(),
        weight: options.weight,
        addresses: doors.addresses.clone(),
        incarnation,
        holds: options.pipelines.holds(),
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let calls = Arc::new(Calls::new(doors.net.clone(), MeshId(0)));
    let belonging =
        join::belong(&options, &mut folder, &token, &mut me, &calls, &mut doors.news).await?;
    calls.belong(belonging.head.mesh);
    me.id = belonging.head.peer;
    twin::refuse_later(&path, &belonging, &me, &calls, &mut doors.news).await?;
    if held {
        folder.bump_incarnation().map_err(|e| problems::folder(&path, &e))?;
    }
    if me.name.is_empty() {
        me.name = belonging.head.name.clone();
    }
    wire(options, folder, token, doors, me, calls, belonging).await
}

fn token(options: &Options, folder: &Folder) -> Result<Token, Problem> {
    let given = options.token.as_deref().map(Token::parse).transpose()?;
    let kept = folder.head().and_then(|head| Token::from_prologue(&head.secret));
    match (given, kept) {
        (Some(given), Some(kept)) if given != kept => Err(Problem::new(
            "SH0203",
            format!(
                "the data folder {} belongs to a mesh with another token",
                options.folder.display()
            ),
            "the token given is not the one this folder was founded or joined with",
            "leave --token away, or start with another folder: --data DIR",
        )),
        (_, Some(kept)) => Ok(kept),
        (Some(given), None) => Ok(given),
        (None, None) if options.join.is_empty() && options.found => Ok(Token::new(rand::random())),
        (None, None) if options.join.is_empty() => {
            Err(problems::empty_folder(&options.folder, "SH0205"))
        }
        (None, None) => Err(Problem::new(
            "SH0001",
            "joining needs the mesh's token",
            "a peer without the secret cannot finish a handshake",
            "add --token T (or SHOAL_MESH__TOKEN), as `shoal start --new` printed it",
        )),
    }
}

async fn open_doors(
    options: &Options,
    token: &Token,
    key_seed: [u8; 32],
    host: &str,
) -> Result<Doors, Problem> {
    let at = |port: u16| SocketAddr::new(options.bind, port);
    let kafka = Port::take(at(options.kafka_port)).map_err(|e| problems::listen("kafka", &e))?;
    let http = Port::take(at(options.http_port)).map_err(|e| problems::listen("http", &e))?;
    let consensus_port = if options.mesh_port == 0 { 0 } else { options.mesh_port + 1 };
    let config = net::Config {
        key_seed,
        secret: token.prologue(),
        mesh_listen: at(options.mesh_port),
        consensus_listen: at(consensus_port),
    };
    let (net, events) = Net::start(config).await.map_err(|e| problems::listen("mesh", &e))?;
    let (mesh, consensus) = net.listening();
    let shown = |port: u16| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let addresses = Addresses {
        mesh: shown(mesh.port()),
        consensus: shown(consensus.port()),
        kafka: match &options.kafka_advertise {
            Some(told) if told.contains(':') => told.clone(),
            Some(host) => format!("{host}:{}", kafka.address.port()),
            None => shown(kafka.address.port()),
        },
        http: shown(http.address.port()),
    };
    let loopback = host::is_loopback(options.bind, host);
    Ok(Doors { kafka, http, net, news: News::new(events), addresses, loopback })
}

async fn wire(
    options: Options,
    folder: Folder,
    token: Token,
    doors: Doors,
    me: Enrolled,
    calls: Arc<Calls>,
    belonging: Belonging,
) -> Result<Running, Problem> {
    let seed: u64 = rand::random();
    let Belonging { head, catalogue, begins } = belonging;
    let founding = begins == Begins::Founded;
    let board = Arc::new(Board::new(head.peer, head.shards, head.replication, catalogue));
    // Until its founder is in the roster a mesh has nothing but what founding makes.
    let founds = head.peer == id::FOUNDER && board.catalogue().roster.is_empty();
    let way = keep::Way {
        path: options.folder.clone(),
        founding,
        fresh: founds,
        seed,
        peers: board.catalogue().roster.len(),
        without_damaged: options.without_damaged,
    };
    let kept = keep::open(&folder, &head, way).await?;
    let aside = kept.aside;
    let exports = Arc::new(Exports::default());
    let (fatal, fatal_told) = tokio::sync::mpsc::unbounded_channel();
    let internal = |e: ractor::SpawnErr| problems::internal("an actor cannot start", e);
    let doubts = kept.doubts;
    let segments = kept.segments.clone();
    let folder = Arc::new(folder);
    let space = Arc::new(Space::new(folder.clone()));
    let throttle = Arc::new(Throttle::new(options.fetch_rate));
    let args = shards::Args {
        throttle: throttle.clone(),
        space: space.clone(),
        aside: aside.clone(),
        board: board.clone(),
        net: doors.net.clone(),
        mesh: head.mesh,
        replication: head.replication,
        seed,
        segments: segments.clone(),
        tables: kept.tables,
        replicas: kept.replicas,
        tombstones: kept.tombstones,
        journal: kept.journal,
        durable: kept.durable,
        exports: exports.clone(),
        calls: calls.clone(),
        fatal,
    };
    let mut vital = JoinSet::new();
    let mut watch = |name: &'static str, handle: JoinHandle<()>| {
        vital.spawn(async move {
            // However it ended: without it the peer only seems to work.
            let _ = handle.await;
            name
        });
    };
    let net = doors.net.clone();
    watch("the network", tokio::spawn(async move { net.ended().await }));
    let (shards, ends) = Actor::spawn(None, shards::Shards, args).await.map_err(internal)?;
    watch("the actor of the shards", ends);
    let router = Router::new(board.clone(), calls.clone(), shards.clone());
    let pipelines = Arc::new(options.pipelines);
    let exchanges = Arc::new(Exchanges::new(router.clone(), segments.clone(), pipelines.clone()));
    let tasks_args = tasks::Args { router: router.clone(), exchanges: exchanges.clone() };
    let (tasks, ends) = Actor::spawn(None, tasks::Tasks, tasks_args).await.map_err(internal)?;
    watch("the actor of the tasks", ends);
    let identity = mesh::Identity {
        key: me.key.clone(),
        peer: me.id,
        incarnation: me.incarnation,
        renewals: 0,
        addresses: me.addresses.clone(),
    };
    let args = membership::Args { board: board.clone(), net: doors.net.clone(), identity, seed };
    let (membership, ends) =
        Actor::spawn(None, membership::Membership, args).await.map_err(internal)?;
    watch("the actor of the membership", ends);
    let args = groups::Args { router: router.clone() };
    let (groups, ends) = Actor::spawn(None, groups::Groups, args).await.map_err(internal)?;
    watch("the actor of the groups", ends);
    let mut door =
        gateway::Door::new(router.clone(), segments.clone(), groups.clone(), me.incarnation);
    door.single = options.kafka_single_address;
    door.partitions_max = options.partitions_max;
    let teller = Teller {
        router: router.clone(),
        tasks: tasks.clone(),
        space: space.clone(),
        since: std::time::Instant::now(),
    };
    let answers = Answers {
        teller: teller.clone(),
        door: door.clone(),
        board: board.clone(),
        calls: calls.clone(),
        router: router.clone(),
        segments: segments.clone(),
        exports,
        exchanges,
        tasks: tasks.clone(),
    };
    let links = Links {
        board: board.clone(),
        calls: calls.clone(),
        answers,
        shards: shards.clone(),
        membership: membership.clone(),
    };
    let asked = http::Asked {
        teller,
        lookout: Arc::default(),
        rows: Arc::default(),
        router: router.clone(),
        door: door.clone(),
        tasks: tasks.clone(),
        segments: segments.clone(),
        space: space.clone(),
        throttle,
        aside,
        names: Arc::new(options.advertise.iter().cloned().collect()),
        settings: options.settings.as_slice().into(),
        spread: Arc::default(),
    };
    board.meter.note("start", format!("{} has started", me.name));
    let kafka = doors.kafka.listen().map_err(|e| problems::listen("kafka", &e))?;
    let http = doors.http.listen().map_err(|e| problems::listen("http", &e))?;
    write_ports(&folder, &me)?;
    let addresses = me.addresses.clone();
    let told = board.meter.clone();
    let args = peer::Args {
        folder,
        space,
        token,
        me,
        mesh: head.mesh,
        shard_count: head.shards,
        replication: head.replication,
        begins,
        founds,
        doubts,
        board,
        net: doors.net,
        router,
        shards,
        tasks,
        groups,
        segments,
        membership,
        pipelines,
        fatal: fatal_told,
        loopback: doors.loopback,
    };
    watch("the network", tokio::spawn(links.run(doors.news)));
    watch("the end of transactions", tokio::spawn(door.clone().watch_transactions()));
    watch("the Kafka listener", tokio::spawn(gateway::serve(kafka, door)));
    watch("the HTTP listener", tokio::spawn(http::serve(http, asked)));
    tokio::spawn(try_addresses(addresses, told));
    Peer::run(args, vital).await
}

/// Dials what clients are told: an address that nobody answers at is a common slip, and silent without this.
async fn try_addresses(told: Addresses, meter: Arc<Meter>) {
    let flags = [
        ("Kafka", told.kafka, "--kafka-advertise HOST:PORT"),
        ("HTTP", told.http, "--advertise HOST"),
    ];
    for (who, address, flag) in flags {
        if let Err(error) = net::listen::reach(&address).await {
            meter.note(
                "address",
                format!("{who} clients are told {address}, where nobody answers ({error}): {flag}"),
            );
            tracing::warn!(
                %address, %error,
                "{who} clients are told an address at which nobody answers from here; change it with {flag}"
            );
        }
    }
}

/// Tells other processes of this machine where this peer listens.
fn write_ports(folder: &Folder, me: &Enrolled) -> Result<(), Problem> {
    let ports = serde_json::json!({
        "name": me.name,
        "pid": std::process::id(),
        "kafka": me.addresses.kafka,
        "http": me.addresses.http,
        "mesh": me.addresses.mesh,
        "consensus": me.addresses.consensus,
    });
    let text = format!("{ports:#}\n");
    folder.write_note(PORTS, &text).map_err(|e| problems::folder(folder.path(), &e))
}

/// A fresh mesh id.
fn draw_mesh() -> MeshId {
    MeshId(rand::random::<u128>() | 1)
}

/// The name of a peer that was given none.
fn default_name(peer: PeerId) -> String {
    format!("{peer}")
}

/// The first moments of a mesh: only what its founder knows.
fn empty_catalogue(head: &Head) -> model::Catalogue {
    model::Catalogue {
        mesh: head.mesh,
        shards: head.shards,
        replication: head.replication,
        next_peer: id::FOUNDER.0,
        ..model::Catalogue::default()
    }
}

/// How long a start waits for an answer of those it joins through.
pub const JOIN: std::time::Duration = std::time::Duration::from_secs(20);
/// Copies a shard should have in a mesh that is founded now.
pub const REPLICATION: u8 = 3;
/// Shards of a mesh when nobody says otherwise.
pub const SHARDS: u16 = 64;
const _: () = assert!(limits::HOLD.as_secs() < JOIN.as_secs());
