//! The last reading: when nobody writes any more, everything is read once more, from the beginning, at every peer.

use super::load::{EVENTS, reading};
use super::peers::{KAFKA, Peers};
use super::report::{Broken, CAUGHT_UP, GIVEN_UP, SERVED};
use super::{fault, ground};
use crate::check::{Witness, folds};
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
const CATCH_UP: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
/// Rows of one page.
const ROWS: usize = 5000;

/// Reads all that can be read, into files beside the other histories. What was read only in part is not written: it
/// would look like a loss.
pub fn read(peers: &Peers, folder: &Path, broken: &mut Broken) {
    broken.unless_done(CAUGHT_UP, until_caught_up(peers));
    for peer in 1..=peers.all.len() {
        broken.unless_done(SERVED, events(peers, peer, folder));
    }
    broken.unless_done(SERVED, kafka(folder));
    broken.unless_done(SERVED, rows(peers, folder));
    if let Some(Err(witness)) = broken.unless_done(SERVED, marks(peers, folder)) {
        broken.note("all copies agree at the end", witness);
    }
    let given_up = broken.unless_done(SERVED, letters(peers, folder)).unwrap_or_default();
    if let Some(first) = given_up.first() {
        let why = format!("{} events were given up", given_up.len());
        broken.note(GIVEN_UP, Witness::new(why).line(first));
    }
}

fn write(folder: &Path, name: &str, lines: &[Line]) -> anyhow::Result<()> {
    let mut pen = Pen::new(folder, name)?;
    lines.iter().try_for_each(|line| pen.write(line))?;
    pen.close()
}

/// The whole stream, as a peer has it.
fn events(peers: &Peers, peer: usize, folder: &Path) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let reader = FIRST + peer as u16;
    for partition in 0..partitions(peers, EVENTS)? {
        pages(peers, (peer, Copy::Own), EVENTS, partition, |event| {
            let seen = reading::seen(event)?;
            lines.push(Line::Kept(Seen { reader, ..seen }));
            Ok(())
        })?;
    }
    write(folder, &format!("last-p{peer}"), &lines)
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
fn until_caught_up(peers: &Peers) -> anyhow::Result<()> {
    let began = Instant::now();
    let ends = ends(peers)?;
    let behind = |view: &str| -> anyhow::Result<()> {
        let body = peers.get(1, &format!("/v1/views/{view}/positions?consistency=leader"))?;
        let positions = body["positions"].as_array().context("a view has positions")?;
        ensure!(positions.len() == ends.len(), "view {view} tells {} positions", positions.len());
        for position in positions {
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
            Some(why) if began.elapsed() > CATCH_UP => {
                return Err(why.context(format!("views are behind after {CATCH_UP:?}")));
            }
            Some(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Whose copy a peer must read to answer.
#[derive(Clone, Copy)]
enum Copy {
    Own,
    Any,
}

/// Each event of a partition, as a peer gives it.
fn pages(
    peers: &Peers,
    (peer, copy): (usize, Copy),
    stream: &str,
    partition: u32,
    mut each: impl FnMut(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut offset = 0;
    loop {
        let path = reading::page(stream, partition, offset);
        let body = match copy {
            Copy::Own => of_its_own(peers, peer, &path, |body| body["peer"] == peer)?,
            Copy::Any => peers.get(peer, &path)?,
        };
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

/// An answer that a peer has from its own copy: one that has not caught up yet hands on another's.
fn of_its_own(
    peers: &Peers,
    peer: usize,
    path: &str,
    is_own: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let began = Instant::now();
    loop {
        let body = peers.get(peer, path)?;
        if is_own(&body) {
            return Ok(body);
        }
        let waits = began.elapsed() < CATCH_UP;
        ensure!(waits, "p{peer} answers {path} from the copy of another after {CATCH_UP:?}");
        std::thread::sleep(PAUSE);
    }
}

/// The whole stream once more, by a Kafka client that nobody here wrote.
fn kafka(folder: &Path) -> anyhow::Result<()> {
    ensure!(fault::has("kcat"), "it needs kcat");
    let output = Command::new("kcat")
        .args(["-b", &format!("{}:{KAFKA}", ground::address(1)), "-C", "-t", EVENTS])
        .args(["-o", "beginning", "-e", "-q", "-f", "%p %o %k %T %s\\n"])
        .output()
        .context("run kcat")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kcat cannot read the stream: {said}");
    let mut lines = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        let [partition, offset, key, time_ms, value] = words[..] else {
            bail!("kcat says {line:?}");
        };
        let value: Value =
            serde_json::from_str(value).with_context(|| format!("kcat says {line:?}"))?;
        let place = (partition.parse()?, offset.parse()?);
        let seen = reading::of(&value, place, (key, time_ms.parse()?))?;
        lines.push(Line::Kept(Seen { reader: KCAT, ..seen }));
    }
    write(folder, "last-kcat", &lines)
}

/// The rows of all views: once by the shards' leaders, and of each peer's own copies when they have caught up. If they
/// stay different, the history shows it.
fn rows(peers: &Peers, folder: &Path) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let began = Instant::now();
    for view in folds::COUNTS.into_iter().chain([folds::WINDOWS]) {
        let wanted = scan(peers, 1, view, "leader")?;
        lines.extend(as_lines(FIRST, view, &wanted));
        for peer in 1..=peers.all.len() {
            let mut found = scan(peers, peer, view, "any")?;
            while found != wanted && began.elapsed() < CATCH_UP {
                std::thread::sleep(PAUSE);
                found = scan(peers, peer, view, "any")?;
            }
            lines.extend(as_lines(FIRST + peer as u16, view, &found));
        }
    }
    write(folder, "last-rows", &lines)
}

fn as_lines<'a>(
    reader: u16,
    view: &'a str,
    rows: &'a BTreeMap<String, u64>,
) -> impl Iterator<Item = Line> + 'a {
    rows.iter().map(move |(key, value)| {
        let (view, key) = (view.to_owned(), key.clone());
        Line::Row(Row { reader, view, key, value: *value })
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
        let whose = |shard: &Value| consistency == "leader" || shard["peer"] == peer;
        let body = of_its_own(peers, peer, &path, |body| {
            body["shards"].as_array().is_some_and(|shards| shards.iter().all(whose))
        })?;
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

/// What the trail emitted, as every peer has it.
fn marks(peers: &Peers, folder: &Path) -> anyhow::Result<Result<(), Witness>> {
    let first = marks_of(peers, 1)?;
    let mut agree = Ok(());
    for peer in 2..=peers.all.len() {
        let other = marks_of(peers, peer)?;
        if let Some(at) =
            (0..first.len().max(other.len())).find(|at| first.get(*at) != other.get(*at))
        {
            let why = format!("the marks that p1 and p{peer} have differ");
            agree = Err(Witness::new(why).line(&first.get(at)).line(&other.get(at)));
        }
    }
    write(folder, "last-marks", &first)?;
    Ok(agree)
}

fn marks_of(peers: &Peers, peer: usize) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for partition in 0..partitions(peers, "marks")? {
        pages(peers, (peer, Copy::Own), "marks", partition, |event| {
            let value = reading::value(event)?;
            let number = |name: &str| {
                value[name].as_u64().with_context(|| format!("no number {name} in {value}"))
            };
            let offset = event["offset"].as_i64().context("an event has an offset")?;
            let cause = Id { client: number("c")? as u16, number: number("n")? as u32 };
            let (key, nth) = (number("k")? as u32, number("nth")?);
            lines.push(Line::Emitted(Emitted { partition, offset, key, nth, cause }));
            Ok(())
        })?;
    }
    Ok(lines)
}

/// Dead letters: those of the windows came late; others there must not be, and are the answer.
fn letters(peers: &Peers, folder: &Path) -> anyhow::Result<Vec<String>> {
    let (mut late, mut given_up) = (Vec::new(), Vec::new());
    let body = peers.get(1, "/v1/streams")?;
    for stream in body["streams"].as_array().context("a list of streams")? {
        let name = stream["name"].as_str().context("a stream has a name")?;
        if !name.ends_with(".dead") {
            continue;
        }
        let of_windows = name == format!("windowing.{}.dead", folds::WINDOWS);
        for partition in 0..partitions(peers, name)? {
            pages(peers, (1, Copy::Any), name, partition, |event| {
                if !of_windows {
                    given_up.push(format!("{name} has {event}"));
                    return Ok(());
                }
                let key = event["key"].as_str().context("a letter has a key")?.to_owned();
                let time_ms = event["time_ms"].as_i64().context("a letter has a time")?;
                late.push(Line::Late(Late { key, time_ms }));
                Ok(())
            })?;
        }
    }
    write(folder, "last-letters", &late)?;
    Ok(given_up)
}

fn partitions(peers: &Peers, stream: &str) -> anyhow::Result<u32> {
    let body = peers.get(1, &format!("/v1/streams/{stream}"))?;
    let parts = body["parts"].as_array().context("a stream has parts")?;
    Ok(parts.len() as u32)
}
