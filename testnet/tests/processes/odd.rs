//! Peers that are not as they should be: a clock that is a year off, and the same peer twice.

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testnet::ask::Asker;
use testnet::hand::{Hand, Line};
use testnet::scene::{eventually, turn};

const SOON: Duration = Duration::from_secs(30);
const PORTS: [&str; 3] = ["--kafka-port=0", "--http-port=0", "--mesh-port=0"];

fn health(asker: &Asker, http: &str) -> Result<Value, String> {
    asker.get(http, "/v1/health").map(|(_, body)| body).map_err(|error| error.to_string())
}

/// Events go into every partition and come back, whoever is asked.
fn works(asker: &Asker, peers: &[&Hand], stream: &str) {
    let http = |peer: &Hand| peer.address("http");
    let made = json!({ "name": stream, "partitions": 16 });
    let made = asker.post(&http(peers[0]), "/v1/streams", &made).expect("an answer");
    assert_eq!(made.0, 201, "{}", made.1);
    let path = format!("/v1/streams/{stream}/events");
    for partition in 0..16 {
        let body = json!({ "events": [{ "value": partition }], "partition": partition });
        eventually("an append", SOON, || {
            let asked = asker.post(&http(peers[partition % peers.len()]), &path, &body);
            let (status, said) = asked.map_err(|error| error.to_string())?;
            if status == 200 { Ok(()) } else { Err(said.to_string()) }
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_peer_whose_clock_is_a_year_off_is_told_and_the_mesh_works() {
    use testnet::chaos::clock;
    if clock::library().is_none() {
        println!("SKIPPED: it needs libfaketime");
        return;
    }
    let _turn = turn();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let file = folder.path().join("clock");
    clock::set(&file, 365 * 86_400).expect("a file");
    let mut lies = vec!["env".to_owned()];
    lies.extend(clock::environment(&file).expect("just found"));
    let lies: Vec<&str> = lies.iter().map(String::as_str).collect();

    let asker = Asker::new(SOON);
    let mut founder = Line::start(&["--new", "--name", "p1"]).begin();
    let line = founder.join_line();
    let join = |name: &str| {
        let ports = ["--kafka-port=0", "--http-port=0", "--mesh-port=0", "--name", name];
        Line::printed(&line).and(&ports)
    };
    let mut second = join("p2").begin();
    second.says("ready: ");
    let mut third = join("p3").by(&lies).begin();
    third.says("ready: ");
    for peer in [&founder, &third] {
        eventually("the odd clock is told", SOON, || {
            let health = health(&asker, &peer.address("http"))?;
            let verdict = health["verdict"].as_str().unwrap_or_default();
            let told = verdict.contains("the clock of p3 is 365 days ahead");
            if told { Ok(()) } else { Err(health.to_string()) }
        });
    }
    works(&asker, &[&founder, &second, &third], "years");
    let (_, stream) = asker.get(&founder.address("http"), "/v1/streams/years").expect("an answer");
    let kept: i64 = stream["parts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| part["next"].as_i64())
        .sum();
    assert_eq!(kept, 16, "{stream}");
}

/// A mesh of three, and a copy of the second peer's folder as it was then.
struct Twins {
    founder: Hand,
    second: Hand,
    third: Hand,
    line: String,
    copy: tempfile::TempDir,
    /// Where the second one lives, longer than any process there.
    home: tempfile::TempDir,
}

impl Twins {
    fn make(asker: &Asker) -> Self {
        let mut founder = Line::start(&["--new", "--name", "p1"]).begin();
        let line = founder.join_line();
        let home = tempfile::TempDir::new().expect("a temporary folder");
        let named = |name| Line::printed(&line).and(&PORTS).and(&["--name", name]);
        let (mut second, mut third) = (named("p2").begin_in(home.path()), named("p3").begin());
        second.says("ready: ");
        third.says("ready: ");
        let http = founder.address("http");
        eventually("a whole mesh", SOON, || asker.lacks(&http, 3));
        let copy = tempfile::TempDir::new().expect("a temporary folder");
        copied(&second.folder().join("shoal-data"), &copy.path().join("shoal-data"));
        Self { founder, second, third, line, copy, home }
    }

    /// An empty place for another copy.
    fn renewed(&mut self) -> std::path::PathBuf {
        self.copy = tempfile::TempDir::new().expect("a temporary folder");
        self.copy.path().to_owned()
    }

    fn begin(&self) -> Hand {
        Line::printed(&self.line).and(&PORTS).begin_in(self.copy.path())
    }
}

#[test]
fn a_copy_of_a_peer_is_refused() {
    let _turn = turn();
    let asker = Asker::new(SOON);
    let twins = Twins::make(&asker);
    let why = ["is a copy of one that is in use", &twins.second.address("mesh")];
    twins.begin().ends(SOON).fails(5, "SH0202", &why);
    works(&asker, &[&twins.founder, &twins.second, &twins.third], "twins");
}

/// The original stops, is copied, and goes on; a copy that starts elsewhere is refused by what the others know.
#[test]
fn a_copy_of_a_stopped_peer_is_refused_however_old_it_is() {
    let _turn = turn();
    let asker = Asker::new(SOON);
    let mut twins = Twins::make(&asker);
    let http = twins.founder.address("http");
    let why = ["is a copy, or was put back from one", "the mesh knows start"];
    for round in 0..3 {
        let folder = twins.home.path().to_owned();
        twins.second.kill();
        if round == 1 {
            copied(&folder.join("shoal-data"), &twins.renewed().join("shoal-data"));
        }
        twins.second = Line::start(&[]).begin_in(&folder);
        twins.second.says("ready: ");
        eventually("a whole mesh", SOON, || asker.lacks(&http, 3));
        // It cannot be found by the addresses of its last start.
        let _ = std::fs::remove_file(twins.copy.path().join("shoal-data/ports.json"));
        twins.begin().ends(SOON).fails(5, "SH0202", &why);
    }
    // Refused starts do not count, so that it never comes to be the latest; with the original gone it is no better.
    twins.second.kill();
    twins.begin().ends(SOON).fails(5, "SH0202", &why);
    works(&asker, &[&twins.founder, &twins.third], "twins");
}

/// Both tell the same start, and neither is there before the other.
#[test]
fn of_a_peer_and_its_copy_that_start_at_once_one_ends() {
    let _turn = turn();
    let asker = Asker::new(SOON);
    for round in 0..3 {
        let mut twins = Twins::make(&asker);
        let folder = twins.home.path().to_owned();
        twins.second.kill();
        copied(&folder.join("shoal-data"), &twins.renewed().join("shoal-data"));
        let mut two = [Line::start(&[]).begin_in(&folder), twins.begin()];
        let mut ended = None;
        eventually("one of them ends", SOON, || {
            ended = two.iter_mut().position(Hand::has_ended);
            ended.map(drop).ok_or_else(|| "both run".to_owned())
        });
        let [original, copy] = two;
        let (ended, mut stays) = if ended == Some(0) { (original, copy) } else { (copy, original) };
        let place = ended.folder().to_owned();
        ended.ends(SOON).fails(5, "SH0202", &["copy"]);
        stays.says("ready: ");
        // A service would start it again, as the later one.
        let again = Line::start(&[]).begin_in(&place);
        again.ends(SOON).fails(5, "SH0202", &["copy"]);
        works(&asker, &[&twins.founder, &stays, &twins.third], &format!("twins{round}"));
    }
}

pub(super) fn copied(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(done.success(), "{from:?}");
}
