//! Kafka's own clients, unchanged, against a mesh of three: each is put through every cell it can do.
//!
//! The programs lie in `testnet/matrix`. Each gets a virtual environment of its own, made here. Where a package
//! cannot be had the client is printed as SKIPPED with the reason; what a client cannot do is n/a.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use testnet::scene::{Scene, Setting};

/// What every client is put through.
const CELLS: [&str; 7] = ["plain", "codecs", "sizes", "group", "seek", "admin", "idempotent"];

/// A client and what it needs.
struct Client {
    name: &'static str,
    program: &'static str,
    packages: &'static [&'static str],
    /// What of it cannot be done with it.
    lacks: &'static [&'static str],
}

const CLIENTS: [Client; 2] = [
    Client {
        name: "kafka-python 3.0.12",
        program: "kafka_python.py",
        packages: &["kafka-python==3.0.12", "lz4", "zstandard", "python-snappy"],
        lacks: &[],
    },
    Client {
        name: "kafka-python 2.0.2",
        program: "kafka_python.py",
        packages: &["kafka-python==2.0.2", "lz4", "zstandard", "python-snappy"],
        lacks: &["idempotent"],
    },
];

#[test]
fn kafkas_clients_work_unchanged() {
    let mut scene = None;
    let mut failures = Vec::new();
    for client in &CLIENTS {
        let python = match python(client) {
            Ok(python) => python,
            Err(why) => {
                println!("SKIPPED: {}: {why}", client.name);
                continue;
            }
        };
        let scene = scene.get_or_insert_with(|| Scene::up(Setting::plain(3)));
        let output = run(&python, client, &scene.kafka());
        let cells = cells(&output);
        for cell in CELLS {
            let told = cells.get(cell).map_or("FAILED it said nothing", String::as_str);
            println!("{:24} {cell:12} {told}", client.name);
            let lacking = told.starts_with("n/a") && client.lacks.contains(&cell);
            if !told.starts_with("ok") && !lacking {
                failures.push(format!("{}: {cell}: {told}", client.name));
            }
        }
        if failures.iter().any(|failure| failure.starts_with(client.name)) {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

fn run(python: &Path, client: &Client, bootstrap: &[String]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix");
    let mut command = Command::new("timeout");
    let limit = Duration::from_secs(120).as_secs().to_string();
    command.arg(limit).arg(python).arg(folder.join(client.program)).arg(bootstrap.join(","));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.output().expect("the client's program starts")
}

/// What a program said of each cell.
fn cells(output: &Output) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.strip_prefix("CELL "));
    let told = lines.filter_map(|line| line.split_once(' '));
    told.map(|(cell, what)| (cell.to_owned(), what.to_owned())).collect()
}

/// A Python with the client's packages; an error says why there is none.
fn python(client: &Client) -> Result<PathBuf, String> {
    let name = client.name.replace(' ', "-");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/matrix").join(name);
    let python = folder.join("bin/python");
    if !python.exists() {
        done(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    done(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(client.packages))?;
    done(Command::new(&python).args(["-c", "import kafka"]))?;
    Ok(python)
}

fn done(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(text.trim().lines().last().unwrap_or("it says nothing").to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}
