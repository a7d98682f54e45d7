//! Starts that cannot succeed: each ends at once with its reason, its exit code and the way out.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};
use testnet::hand::{Hand, Line};
use testnet::scene::turn;

/// Enough for a start that refuses; the one that asks a dead address tries longer.
const SOON: Duration = Duration::from_secs(15);

fn refused(line: Line, folder: &Path, exit: i32, code: &str, words: &[&str]) {
    line.begin_in(folder).ends(SOON).fails(exit, code, words);
}

#[test]
fn a_data_folder_is_one_peers_of_one_mesh_and_no_older_version_touches_it() {
    let _turn = turn();
    let mut peer = Line::start(&["--new", "--name", "harbour"]).begin();
    peer.says("ready: ");
    let folder = peer.folder().to_owned();
    let pid = format!("pid {}", peer.pid());
    refused(Line::start(&[]), &folder, 5, "SH0202", &["shoal-data is in use", &pid, "--data DIR"]);
    peer.kill();

    let token = format!("shoal1-1-{}", "5a".repeat(32));
    let other = Line::start(&["--join", "127.0.0.1:1", "--token", &token]);
    refused(other, &folder, 5, "SH0203", &["another token", "--data DIR"]);

    let head = folder.join("shoal-data/head");
    let text = std::fs::read_to_string(&head).expect("a head");
    let (_, after) = text.split_once("\nmesh ").expect("the lines of a head");
    let newer = format!("shoal-data 99\nwritten-by 9.9.0\nmesh {after}");
    std::fs::write(&head, newer).expect("it is ours");
    let this = format!("was written by 9.9.0, this is {}", env!("CARGO_PKG_VERSION"));
    refused(Line::start(&[]), &folder, 5, "SH0204", &["newer shoal", &this]);

    std::fs::write(&head, text.replace("name harbour", "name harbor")).expect("it is ours");
    refused(Line::start(&[]), &folder, 1, "SH0207", &["`head`", "--join ADDR"]);

    std::fs::write(&head, text).expect("it is ours");
    let mut again: Hand = Line::start(&[]).begin_in(&folder);
    assert!(again.says("ready: ").contains("ready: harbour"), "nothing of it was harmed");
}

#[test]
fn a_folder_of_something_else_or_that_cannot_be_written_is_left_alone() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let letters = folder.path().join("letters");
    std::fs::create_dir(&letters).expect("it is ours");
    std::fs::write(letters.join("dear.txt"), "you").expect("it is ours");
    let data = letters.to_str().expect("plain").to_owned();
    let line = Line::start(&["--new", "--data", &data]);
    refused(line, folder.path(), 5, "SH0203", &["dear.txt", "--data DIR"]);
    let line = Line::start(&["--new", "--data", "/proc/shoal"]);
    refused(line, folder.path(), 1, "SH0206", &["/proc/shoal", "writable"]);
}

#[test]
fn a_taken_port_is_told_with_who_has_it() {
    let (_ours, port) = port_above_a_free_one();
    let by = match cfg!(target_os = "linux") {
        true => format!("pid {}", std::process::id()),
        false => "another process".to_owned(),
    };
    // The mesh takes the next port too.
    let (port, below) = (port.to_string(), (port - 1).to_string());
    for (flag, port) in [("kafka", &port), ("http", &port), ("mesh", &port), ("mesh", &below)] {
        let ended = Line::shoal(&["start", "--new"]).and(&all_free_but(flag, port)).run();
        ended.fails(1, "SH0201", &[&format!("cannot listen for {flag}"), &by]);
        assert!(ended.said.contains(&format!("--{flag}-port")), "{}", ended.said);
    }
}

/// A port that is taken, and the one below it is not.
fn port_above_a_free_one() -> (TcpListener, u16) {
    loop {
        let ours = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = ours.local_addr().expect("bound").port();
        if TcpListener::bind(("127.0.0.1", port - 1)).is_ok() {
            return (ours, port);
        }
    }
}

fn all_free_but<'a>(flag: &str, port: &'a str) -> Vec<&'a str> {
    let flags = ["kafka", "http", "mesh"].into_iter().zip([
        ["--kafka-port", "--kafka-port=0"],
        ["--http-port", "--http-port=0"],
        ["--mesh-port", "--mesh-port=0"],
    ]);
    let words = flags.map(|(name, [taken, free])| match name == flag {
        true => vec![taken, port],
        false => vec![free],
    });
    words.flatten().collect()
}

#[test]
fn what_cannot_be_joined_through_is_told_apart() {
    let _turn = turn();
    let token = format!("shoal1-1-{}", "5a".repeat(32));
    let join = |address: &str| Line::start(&["--join", address, "--token", &token]);
    // It tries for a while, since peers are often started together: meanwhile the others are asked.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = closed.local_addr().expect("bound").to_string();
    drop(closed);
    let waiting = join(&nobody).begin();
    // Takes connections and never says a word.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mute = deaf.local_addr().expect("bound").to_string();
    let hoping = join(&mute).begin();

    let mut peer = Line::start(&["--new"]).begin();
    peer.says("ready: ");
    for door in ["kafka", "http"] {
        let address = peer.address(door);
        let ended = join(&address).run();
        ended.fails(3, "SH0103", &[&address, "does not speak the mesh's protocol", "7946"]);
    }
    join("nonsense").run().fails(3, "SH0101", &["nonsense", "host:port"]);
    let mesh = peer.address("mesh");
    join(&mesh).run().fails(3, "SH0102", &[&mesh, "another mesh secret"]);
    let cut = Line::start(&["--join", &mesh, "--token", "shoal1-1-5a"]).run();
    cut.fails(2, "SH0001", &["the token is not one", "shoal gen token"]);

    let ended = waiting.ends(Duration::from_secs(60));
    ended.fails(3, "SH0101", &[&nobody, "refused the connection"]);
    let ended = hoping.ends(Duration::from_secs(60));
    ended.fails(3, "SH0101", &[&mute, "did not answer in time"]);
}

#[test]
fn settings_that_make_no_sense_are_refused_before_anything_is_made() {
    for (words, code, told) in [
        (&["--name", "../x"][..], "SH0002", "'/'"),
        (&["--name", &"x".repeat(250)], "SH0002", "250"),
        (&["--shards", "7"], "SH0001", "power of two"),
        (&["--weight", "9999999"], "SH0001", "weight"),
        (&["--kafka-port", "http"], "SH0001", "--kafka-port"),
    ] {
        let begun = Line::shoal(&["start", "--new"]).and(words).begin();
        let folder = begun.folder().to_owned();
        let ended = begun.ends(SOON);
        ended.fails(2, code, &[told]);
        assert!(!folder.join("shoal-data").exists(), "{words:?}");
    }
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    std::fs::write(folder.path().join("shoal.toml"), "[mesh]\nporrt = 7946\n").expect("written");
    let told = ["mesh.porrt", "shoal.toml:2", "port = … under [mesh]"];
    let began = Instant::now();
    refused(Line::start(&["--new"]), folder.path(), 2, "SH0001", &told);
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    std::fs::write(folder.path().join("shoal.toml"), "[http]\nport = \"x\"\n").expect("written");
    let told = ["http.port", "shoal.toml:2", "--http-port"];
    let line = Line::shoal(&["start", "--new", "--kafka-port=0", "--mesh-port=0"]);
    refused(line, folder.path(), 2, "SH0001", &told);
}
