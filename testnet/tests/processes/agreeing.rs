//! One command line on every machine, `--new` with `--join`: one mesh, in whatever order they start and fall.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use testnet::ask::Asker;
use testnet::hand::{Hand, Line};
use testnet::scene::{eventually, turn};

const SOON: Duration = Duration::from_secs(30);

/// Machines that are to be given one list of addresses, each with its own folder and mesh port.
struct Machines {
    ports: Vec<u16>,
    folders: Vec<tempfile::TempDir>,
    token: String,
}

impl Machines {
    fn make(count: usize) -> Self {
        let folder = || tempfile::TempDir::new().expect("a temporary folder");
        // Nobody prints a token that was given: that is held against what they say.
        let token = format!("shoal1-1-{}", "5e".repeat(32));
        let folders = (0..count).map(|_| folder()).collect();
        Self { ports: mesh_ports(count), folders, token }
    }

    fn address(&self, machine: usize) -> String {
        format!("127.0.0.1:{}", self.ports[machine])
    }

    /// All of them, in their order.
    fn list(&self) -> Vec<usize> {
        (0..self.ports.len()).collect()
    }

    fn line(&self, machine: usize, list: &[usize], token: &str) -> Line {
        let mut words = vec![
            "start".to_owned(),
            "--new".to_owned(),
            "--kafka-port=0".to_owned(),
            "--http-port=0".to_owned(),
            format!("--mesh-port={}", self.ports[machine]),
            format!("--token={token}"),
        ];
        words.extend(list.iter().map(|other| format!("--join={}", self.address(*other))));
        Line::shoal(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn begin(&self, machine: usize, list: &[usize]) -> Hand {
        self.line(machine, list, &self.token).begin_in(self.folders[machine].path())
    }

    /// Waits until all are ready, and finds that they are one mesh.
    fn are_one(&self, peers: &mut [Hand]) {
        for peer in peers.iter_mut() {
            peer.says("ready: ");
        }
        let asker = Asker::new(SOON);
        for peer in peers.iter() {
            let http = peer.address("http");
            // With two there are no three copies to wait for.
            if peers.len() > 2 {
                eventually("a whole mesh", SOON, || asker.lacks(&http, peers.len()));
            }
        }
        let meshes: BTreeSet<String> =
            self.folders.iter().filter_map(|folder| mesh(folder.path())).collect();
        assert_eq!(meshes.len(), 1, "{meshes:?}");
    }
}

/// The mesh that a folder says it holds.
fn mesh(folder: &Path) -> Option<String> {
    let head = std::fs::read_to_string(folder.join("shoal-data/head")).ok()?;
    head.lines().find(|line| line.starts_with("mesh ")).map(str::to_owned)
}

/// Mesh ports that nobody has, each with the next one for consensus.
pub(super) fn mesh_ports(count: usize) -> Vec<u16> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let found: Vec<u16> =
        (17_946..27_000).step_by(10).filter(|p| free(*p) && free(p + 1)).take(count).collect();
    assert_eq!(found.len(), count, "no free ports");
    found
}

fn founders(peers: &[Hand]) -> usize {
    peers.iter().filter(|peer| peer.said().contains("others on this machine join with")).count()
}

#[test]
fn one_command_line_on_three_machines_makes_one_mesh_in_any_order() {
    let _turn = turn();
    for (order, gap) in [([0, 1, 2], 0), ([2, 1, 0], 700), ([1, 0, 2], 150)] {
        let machines = Machines::make(3);
        let mut peers: Vec<Hand> = order
            .iter()
            .map(|machine| {
                std::thread::sleep(Duration::from_millis(gap));
                machines.begin(*machine, &machines.list())
            })
            .collect();
        machines.are_one(&mut peers);
        assert_eq!(founders(&peers), 1, "{order:?}");
        // The service's line never changes: on a folder with a mesh it only starts.
        for peer in &mut peers {
            peer.kill();
        }
        let mut again: Vec<Hand> =
            order.iter().map(|machine| machines.begin(*machine, &machines.list())).collect();
        machines.are_one(&mut again);
        assert_eq!(founders(&again), 0, "{order:?}");
    }
}

#[test]
fn clients_are_refused_until_they_can_be_served() {
    let _turn = turn();
    let machines = Machines::make(2);
    let ports = mesh_ports(4)[2..].to_vec();
    let join = [0, 1].map(|machine| format!("--join={}", machines.address(machine)));
    let doors = [("kafka", ports[0]), ("http", ports[1])];
    let flags = doors.map(|(door, port)| format!("--{door}-port={port}"));
    let (at, token) = (machines.ports[0], &machines.token);
    let (at, token) = (format!("--mesh-port={at}"), format!("--token={token}"));
    let words = ["start", "--new", &at, &token, &flags[0], &flags[1], &join[0], &join[1]];
    let mut first = Line::shoal(&words).begin_in(machines.folders[0].path());
    first.says("waiting: ");
    for (door, port) in doors {
        // Who was let in and not answered would wait here, and not go to another peer.
        let found = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.kind());
        assert_eq!(found.err(), Some(ErrorKind::ConnectionRefused), "{door}");
    }
    let mut peers = [first, machines.begin(1, &machines.list())];
    machines.are_one(&mut peers);
    for (door, port) in doors {
        TcpStream::connect(("127.0.0.1", port)).expect(door);
    }
}

#[test]
fn peers_that_are_killed_while_they_agree_make_one_mesh() {
    let _turn = turn();
    let mut dice = u64::from(std::process::id());
    let mut throw = |below: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };
    let machines = Machines::make(3);
    let mut peers: Vec<Hand> = [1, 2].map(|it| machines.begin(it, &machines.list())).into();
    let first = machines.address(0);
    for peer in &mut peers {
        let told = peer.says("waiting: ");
        assert!(told.contains(&format!("{first} refused the connection")), "{told}");
    }
    assert!(machines.folders.iter().all(|folder| mesh(folder.path()).is_none()), "nobody founds");
    peers.insert(0, machines.begin(0, &machines.list()));
    for _ in 0..12 {
        let (victim, after) = (throw(3) as usize, throw(600));
        std::thread::sleep(Duration::from_millis(after));
        println!("peer {victim} is killed after {after} ms");
        peers[victim].kill();
        peers[victim] = machines.begin(victim, &machines.list());
    }
    machines.are_one(&mut peers);
}

#[test]
fn a_peer_with_another_list_waits_and_says_why() {
    let _turn = turn();
    let mut machines = Machines::make(3);
    // The third place is a stranger's.
    machines.folders.pop();
    let mut peers = vec![machines.begin(0, &[0, 1]), machines.begin(1, &[1, 0])];
    let (a, b) = (machines.address(0), machines.address(1));
    for peer in &mut peers {
        let told = peer.says("was started with another list");
        assert!(told.contains(&format!("`{a} {b}`")), "{told}");
        assert!(told.contains(&format!("`{b} {a}`")), "{told}");
    }
    // A stranger hears nothing of it.
    let other = tempfile::TempDir::new().expect("a temporary folder");
    let stranger = "shoal1-1-".to_owned() + &"ab".repeat(32);
    let mut stranger = machines.line(2, &[0, 1], &stranger).begin_in(other.path());
    let told = stranger.says("waiting: ");
    assert!(told.contains("another mesh secret") && !told.contains("was started"), "{told}");
    stranger.kill();
    assert!(mesh(other.path()).is_none(), "it founds nothing");
    assert!(machines.folders.iter().all(|folder| mesh(folder.path()).is_none()), "nobody founds");
    peers[1].kill();
    peers[1] = machines.begin(1, &[0, 1]);
    machines.are_one(&mut peers);
    let joined = peers[1].said();
    assert!(joined.contains("joined the mesh that answered"), "{joined}");
}
