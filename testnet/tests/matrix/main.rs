//! Kafka's own clients, unchanged, against a mesh of three: each is put through every cell it can do.
//!
//! The cells and the clients' adaptors lie in `testnet/matrix`; what the clients need is installed here, beside the
//! build. A client whose packages cannot be had is printed as SKIPPED with the reason; a cell that a client cannot
//! do is n/a, and only if it is known for that.

mod clients;
mod install;

use clients::{CLIENTS, Client};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Instant;
use testnet::scene::{Scene, Setting};

/// What every client is put through.
const CELLS: [&str; 9] =
    ["plain", "codecs", "sizes", "group", "dealt", "seek", "admin", "idempotent", "transactions"];
/// A client may take as long for all of them.
const CLIENT_SECONDS: &str = "180";
/// Clients at work at one time.
const HANDS: usize = 2;

#[test]
fn kafkas_clients_work_unchanged() {
    let wanted = std::env::var("SHOAL_CLIENTS").unwrap_or_default();
    let clients: Vec<&Client> =
        CLIENTS.iter().filter(|client| client.name.contains(&wanted)).collect();
    assert!(!clients.is_empty(), "SHOAL_CLIENTS names no client: {wanted}");
    let mut ready = Vec::new();
    for client in clients {
        match install::command(client) {
            Ok(command) => ready.push((client, command)),
            Err(why) => println!("SKIPPED: {}: {why}", client.name),
        }
    }
    if ready.is_empty() {
        return;
    }
    let scene = Scene::up(Setting::plain(3));
    let failures = all(ready, &scene.kafka().join(","));
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Clients that can reach a single peer, which names itself as leader and coordinator of everything.
#[test]
fn one_address_is_enough() {
    let mut ready = Vec::new();
    let near = |client: &&Client| ["kafka-python 3.0.12", "kcat"].contains(&client.name);
    for client in CLIENTS.iter().filter(near) {
        match install::command(client) {
            Ok(command) => ready.push((client, command)),
            Err(why) => println!("SKIPPED: {} through one address: {why}", client.name),
        }
    }
    if ready.is_empty() {
        return;
    }
    let mut setting = Setting::plain(3);
    setting.arguments.push("--kafka-single-address".into());
    let scene = Scene::up(setting);
    let failures = all(ready, &scene.kafka()[1]);
    assert!(failures.is_empty(), "{failures:#?}");
}

fn all(ready: Vec<(&Client, Vec<PathBuf>)>, bootstrap: &str) -> Vec<String> {
    let queue = Mutex::new(ready.into_iter());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic under this lock").next();
                    let Some((client, command)) = next else { return };
                    let failed = judge(client, command, bootstrap);
                    failures.lock().expect("no panic under this lock").extend(failed);
                }
            });
        }
    });
    failures.into_inner().expect("no panic under this lock")
}

/// Puts a client through all cells, prints its lines of the table, and gives what failed.
fn judge(client: &Client, command: Vec<PathBuf>, bootstrap: &str) -> Vec<String> {
    let start = Instant::now();
    let output = run(command, bootstrap);
    let told = cells(&output);
    let mut failures = Vec::new();
    let mut table = String::new();
    for cell in CELLS {
        let told = told.get(cell).map_or("FAILED it said nothing", String::as_str);
        table += &format!("{:24} {cell:11} {told}\n", client.name);
        let lacking = told.starts_with("n/a") && client.lacks.contains(&cell);
        if !told.starts_with("ok") && !lacking {
            failures.push(format!("{}: {cell}: {told}", client.name));
        }
    }
    println!("{table}{:24} took {:.1?}", client.name, start.elapsed());
    if !failures.is_empty() {
        eprintln!("--- {}\n{}", client.name, String::from_utf8_lossy(&output.stderr));
    }
    failures
}

fn run(adaptor: Vec<PathBuf>, bootstrap: &str) -> Output {
    let cells = install::matrix().join("cells.py");
    let mut command = Command::new("timeout");
    command.arg(CLIENT_SECONDS).arg("python3").arg(cells).arg(bootstrap).args(adaptor);
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(testnet::install::kept("matrix"));
    command.output().expect("`timeout` starts")
}

/// What was said of each cell.
fn cells(output: &Output) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.strip_prefix("CELL "));
    let told = lines.filter_map(|line| line.split_once(' '));
    told.map(|(cell, what)| (cell.to_owned(), what.to_owned())).collect()
}
