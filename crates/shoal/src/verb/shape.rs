//! `shoal leave`, `drain`, `undrain`, `remove`: what is wished of a peer, and the wait until it is so.

use super::confirm;
use crate::ask::Asker;
use crate::cli::Talk;
use crate::progress::Progress;
use crate::show;
use clap::Args as ClapArgs;
use model::Problem;
use serde_json::{Value, json};
use std::time::Duration;

/// How often it is looked how far a peer's replicas have gone.
const LOOK: Duration = Duration::from_millis(500);
/// How often that is told where there is no terminal.
const TELL: Duration = Duration::from_secs(2);

/// What `shoal leave` and `shoal drain` take.
#[derive(Debug, ClapArgs)]
pub(crate) struct Away {
    /// Name or id (p4 or 4) of the peer [default for leave: the peer that is asked].
    who: Option<String>,
    /// Accept that fewer peers than copies will be left.
    #[arg(long)]
    shrink: bool,
    /// Do not wait until it holds nothing any more.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    talk: Talk,
}

/// What `shoal undrain` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Back {
    /// Name or id (p4 or 4) of the peer.
    who: String,
    #[command(flatten)]
    talk: Talk,
}

/// What `shoal remove` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Gone {
    /// Name or id (p4 or 4) of the peer.
    gone: String,
    /// Accept that fewer peers than copies will be left.
    #[arg(long)]
    shrink: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    talk: Talk,
}

pub(crate) fn leave(args: &Away) -> Result<(), Problem> {
    away(args, "leave", "has left the mesh")
}

pub(crate) fn drain(args: &Away) -> Result<(), Problem> {
    if args.who.is_none() {
        return Err(Problem::new(
            "SH0001",
            "no peer was named",
            "a drained peer stays in the mesh and holds nothing: say which",
            "shoal drain p3",
        ));
    }
    away(args, "drain", "holds nothing any more")
}

fn away(args: &Away, verb: &str, done: &str) -> Result<(), Problem> {
    let asker = Asker::new(&args.talk.peer)?;
    let members = asker.get("/v1/members", &[])?;
    let asked = show::words(&members["me"]);
    let member = find(&members, args.who.as_deref().unwrap_or(&asked))?;
    let (id, name) = (member["id"].clone(), show::words(&member["name"]));
    let body = json!({ "peer": id, "shrink": args.shrink });
    let answer = asker.post(&format!("/v1/mesh/{verb}"), &body, None)?;
    if args.no_wait {
        show::answer(args.talk.output, &answer, |_| format!("{name} hands over what it holds"));
        return Ok(());
    }
    // The peer that leaves ends: another one tells how far it is.
    let other = list(&members).find(|other| other["id"] != id && other["state"] == "alive");
    let other = other.and_then(|other| other["http"].as_str());
    let asker = other.map_or(Ok(asker), Asker::new)?;
    until_empty(&asker, &id, &name)?;
    show::answer(args.talk.output, &answer, |_| format!("{name} {done}"));
    Ok(())
}

/// Waits until a peer holds no replica, and tells how many are left whenever that changes.
fn until_empty(asker: &Asker, id: &Value, name: &str) -> Result<(), Problem> {
    let mut progress: Option<(u64, Progress)> = None;
    loop {
        let members = asker.get("/v1/members", &[])?;
        let member = list(&members).find(|member| member["id"] == *id);
        let Some(member) = member else { return Ok(()) };
        let left = member["replicas"].as_u64().unwrap_or_default();
        let leaving = member["note"].as_str().is_some_and(|note| note.contains("leaving"));
        if left == 0 && !leaving {
            return Ok(());
        }
        let (first, progress) = progress.get_or_insert_with(|| (left, Progress::of(left, TELL)));
        let gone = first.saturating_sub(left);
        progress.at(gone, &format!("{name} still holds {left} replicas"));
        std::thread::sleep(LOOK);
    }
}

pub(crate) fn undrain(args: &Back) -> Result<(), Problem> {
    let asker = Asker::new(&args.talk.peer)?;
    let members = asker.get("/v1/members", &[])?;
    let member = find(&members, &args.who)?;
    let name = show::words(&member["name"]);
    let answer = asker.post("/v1/mesh/undrain", &json!({ "peer": member["id"] }), None)?;
    show::answer(args.talk.output, &answer, |_| format!("{name} is given shards again"));
    Ok(())
}

pub(crate) fn remove(args: &Gone) -> Result<(), Problem> {
    let asker = Asker::new(&args.talk.peer)?;
    let members = asker.get("/v1/members", &[])?;
    let member = find(&members, &args.gone)?;
    let name = show::words(&member["name"]);
    if !args.yes {
        let question = format!("{name} can never come back with its data folder. Remove it?");
        confirm(&name, &question, &format!("shoal remove {name} --yes"))?;
    }
    let body = json!({ "peer": member["id"], "shrink": args.shrink });
    let answer = asker.post("/v1/mesh/remove", &body, None)?;
    show::answer(args.talk.output, &answer, |_| format!("{name} is out of the mesh"));
    Ok(())
}

fn list(members: &Value) -> impl Iterator<Item = &Value> {
    members["members"].as_array().into_iter().flatten()
}

/// The member of this name, else the one of this id. A name that several have names none.
pub(super) fn find<'a>(members: &'a Value, wanted: &str) -> Result<&'a Value, Problem> {
    let list = members["members"].as_array().map_or(&[][..], Vec::as_slice);
    let named: Vec<&Value> = list.iter().filter(|member| member["name"] == wanted).collect();
    if let [first, _, ..] = named.as_slice() {
        let ids: Vec<String> = named.iter().map(|member| member["id"].to_string()).collect();
        return Err(Problem::new(
            "SH0305",
            format!("{} peers are called {wanted}", named.len()),
            format!("their ids are {}; shoal members shows which is gone", ids.join(" and ")),
            format!("shoal remove {}", first["id"]),
        ));
    }
    let id: Option<i64> = wanted.strip_prefix('p').unwrap_or(wanted).parse().ok();
    let by_id = || list.iter().find(|member| id.is_some() && member["id"].as_i64() == id);
    named.first().copied().or_else(by_id).ok_or_else(|| {
        let names: Vec<String> = list.iter().map(|m| show::words(&m["name"])).collect();
        Problem::new(
            "SH0305",
            format!("there is no peer {wanted}"),
            format!("the mesh has {}", names.join(", ")),
            "shoal members",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_found_by_name_before_id() {
        let members = json!({"members": [
            {"id": 1, "name": "p2"}, {"id": 2, "name": "b"},
            {"id": 3, "name": "c"}, {"id": 4, "name": "c"},
        ]});
        let id = |wanted| find(&members, wanted).map(|m| m["id"].as_i64());
        assert_eq!(id("p2"), Ok(Some(1)));
        assert_eq!(id("2"), Ok(Some(2)));
        assert_eq!(id("p1"), Ok(Some(1)));
        assert_eq!(id("4"), Ok(Some(4)));
        assert!(find(&members, "c").expect_err("two of them").because.contains("3 and 4"));
        assert_eq!(find(&members, "x").expect_err("nobody").code, "SH0305");
    }
}
