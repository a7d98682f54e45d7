//! The last reading: when nobody writes any more, everything is read once more, from the beginning, at every peer.

use super::load::{EVENTS, reading};
use super::peers::{KAFKA, Peers};
use super::{fault, ground};
use crate::check::folds;
use crate::history::{Emitted, Id, Late, Line, Pen, Row, Seen};
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The first of the last readers; peer 1 is the next.
const FIRST: u16 = 100;
/// The last reader that is a Kafka client.
const KCAT: u16 = 110;
/// How long views may take to have read all that was acknowledged, and copies to have applied it.
const CAUGHT_UP: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
/// Rows of one page.
const ROWS: usize = 5000;

/// Reads all, into files beside the other histories.
pub fn read(peers: &Peers, folder: &Path) -> anyhow::Result<()> {
    let ends = ends(peers)?;
    until_caught_up(peers, &ends)?;
    for peer in 1..=peers.all.len() {
        let mut pen = Pen::new(folder, &format!("last-p{peer}"))?;
        let reader = FIRST + peer as u16;
        for partition in ends.keys() {
            pages(peers, peer, EVENTS, *partition, |event| {
                let seen = reading::seen(event)?;
                pen.write(&Line::Kept(Seen { reader, ..seen }))
            })?;
        }
        pen.close()?;
    }
    kafka(folder)?;
    rows(peers, folder)?;
    marks(peers, folder)?;
    letters(peers, folder)
}

/// Where each partition of the stream ends.
fn ends(peers: &Peers) -> anyhow::Result<BTreeMap<u32, i64>> {
    let body = peers.get(1, &format!("/v1/streams/{EVENTS}"))?;
    let parts = body["parts"].as_array().context("a stream has parts")?;
    let end = |part: &Value| Some((part["partition"].as_u64()? as u32, part["next"].as_i64()?));
    let ends = parts.iter().map(|part| end(part).with_context(|| format!("no end: {part}")));
    ends.collect()
}

/// Waits until each view has read to the ends.
fn until_caught_up(peers: &Peers, ends: &BTreeMap<u32, i64>) -> anyhow::Result<()> {
    let began = Instant::now();
    let behind = |view: &str| -> anyhow::Result<()> {
        let body = peers.get(1, &format!("/v1/views/{view}/positions?consistency=leader"))?;
        for position in body["positions"].as_array().into_iter().flatten() {
            let partition = position["partition"].as_u64().unwrap_or_default() as u32;
            let end = ends.get(&partition).copied().unwrap_or_default();
            let at = position["offset"].as_i64().unwrap_or_default();
            ensure!(at >= end, "view {view} is at {at} of {end} in partition {partition}");
        }
        Ok(())
    };
    loop {
        let views = folds::COUNTS.into_iter().chain([folds::WINDOWS]);
        match views.map(behind).find_map(Result::err) {
            None => return Ok(()),
            Some(why) if began.elapsed() > CAUGHT_UP => {
                return Err(why.context(format!("views are behind after {CAUGHT_UP:?}")));
            }
            Some(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Each event of a partition, as a peer has it.
fn pages(
    peers: &Peers,
    peer: usize,
    stream: &str,
    partition: u32,
    mut each: impl FnMut(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut offset = 0;
    loop {
        let body = peers.get(peer, &reading::page(stream, partition, offset))?;
        for event in body["events"].as_array().context("an answer has events")? {
            each(event)?;
        }
        let next = body["next"].as_i64().context("where to read on")?;
        if body["high"].as_i64() == Some(next) {
            return Ok(());
        }
        ensure!(next > offset, "partition {partition} of {stream} stands still at {offset}");
        offset = next;
    }
}

/// The whole stream once more, by a Kafka client that nobody here wrote.
fn kafka(folder: &Path) -> anyhow::Result<()> {
    ensure!(fault::has("kcat"), "it needs kcat");
    let output = Command::new("kcat")
        .args(["-b", &format!("{}:{KAFKA}", ground::address(1)), "-C", "-t", EVENTS])
        .args(["-o", "beginning", "-e", "-q", "-f", "%p %o %s\\n"])
        .output()
        .context("run kcat")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kcat cannot read the stream: {said}");
    let mut pen = Pen::new(folder, "last-kcat")?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.splitn(3, ' ');
        let (partition, offset, value) = (words.next(), words.next(), words.next());
        let value: Value = serde_json::from_str(value.unwrap_or_default())
            .with_context(|| format!("kcat says {line:?}"))?;
        let partition = partition.unwrap_or_default().parse()?;
        let offset = offset.unwrap_or_default().parse()?;
        let seen = reading::of(&value, (partition, offset))?;
        pen.write(&Line::Kept(Seen { reader: KCAT, ..seen }))?;
    }
    pen.close()
}

/// The rows of all views: once by the shards' leaders, and of each peer's own copies when they have caught up.
fn rows(peers: &Peers, folder: &Path) -> anyhow::Result<()> {
    let mut pen = Pen::new(folder, "last-rows")?;
    for view in folds::COUNTS.into_iter().chain([folds::WINDOWS]) {
        let wanted = scan(peers, 1, view, "leader")?;
        write_rows(&mut pen, FIRST, view, &wanted)?;
        for peer in 1..=peers.all.len() {
            let began = Instant::now();
            let mut found = scan(peers, peer, view, "any")?;
            // If they stay different, the history shows it.
            while found != wanted && began.elapsed() < CAUGHT_UP {
                std::thread::sleep(PAUSE);
                found = scan(peers, peer, view, "any")?;
            }
            write_rows(&mut pen, FIRST + peer as u16, view, &found)?;
        }
    }
    pen.close()
}

fn write_rows(
    pen: &mut Pen,
    reader: u16,
    view: &str,
    rows: &BTreeMap<String, u64>,
) -> anyhow::Result<()> {
    rows.iter().try_for_each(|(key, value)| {
        let (view, key) = (view.to_owned(), key.clone());
        pen.write(&Line::Row(Row { reader, view, key, value: *value }))
    })
}

fn scan(
    peers: &Peers,
    peer: usize,
    view: &str,
    consistency: &str,
) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut rows = BTreeMap::new();
    let mut from = String::new();
    loop {
        let path = format!(
            "/v1/views/{view}/rows?from={}&limit={ROWS}&consistency={consistency}",
            from.replace('@', "%40").replace(':', "%3A")
        );
        let body = peers.get(peer, &path)?;
        for row in body["rows"].as_array().context("a scan has rows")? {
            let key = row["key"].as_str().context("a row's key is text")?;
            let value = row["value"].as_u64().context("a row's value is a number")?;
            rows.insert(key.to_owned(), value);
        }
        if body["more"] != Value::Bool(true) {
            return Ok(rows);
        }
        let (last, _) = rows.last_key_value().context("more rows behind none")?;
        ensure!(*last != from, "a scan stands still at {last}");
        from.clone_from(last);
    }
}

/// What the trail emitted.
fn marks(peers: &Peers, folder: &Path) -> anyhow::Result<()> {
    let mut pen = Pen::new(folder, "last-marks")?;
    for partition in 0..partitions(peers, "marks")? {
        pages(peers, 1, "marks", partition, |event| {
            let value = reading::value(event)?;
            let number = |name: &str| {
                value[name].as_u64().with_context(|| format!("no number {name} in {value}"))
            };
            let offset = event["offset"].as_i64().context("an event has an offset")?;
            let cause = Id { client: number("c")? as u16, number: number("n")? as u32 };
            let (key, nth) = (number("k")? as u32, number("nth")?);
            pen.write(&Line::Emitted(Emitted { partition, offset, key, nth, cause }))
        })?;
    }
    pen.close()
}

/// Dead letters: those of the windows came late; others there must not be.
fn letters(peers: &Peers, folder: &Path) -> anyhow::Result<()> {
    let mut pen = Pen::new(folder, "last-letters")?;
    let body = peers.get(1, "/v1/streams")?;
    for stream in body["streams"].as_array().context("a list of streams")? {
        let name = stream["name"].as_str().context("a stream has a name")?;
        if !name.ends_with(".dead") {
            continue;
        }
        for partition in 0..partitions(peers, name)? {
            pages(peers, 1, name, partition, |event| {
                if name != format!("windowing.{}.dead", folds::WINDOWS) {
                    bail!("an event was given up: {name} has {event}");
                }
                let key = event["key"].as_str().context("a letter has a key")?.to_owned();
                let time_ms = event["time_ms"].as_i64().context("a letter has a time")?;
                pen.write(&Line::Late(Late { key, time_ms }))
            })?;
        }
    }
    pen.close()
}

fn partitions(peers: &Peers, stream: &str) -> anyhow::Result<u32> {
    let body = peers.get(1, &format!("/v1/streams/{stream}"))?;
    let parts = body["parts"].as_array().context("a stream has parts")?;
    Ok(parts.len() as u32)
}
