//! `shoal remove`: takes a peer out of the mesh for good.

use crate::ask::Asker;
use crate::cli::Talk;
use crate::show;
use clap::Args as ClapArgs;
use model::Problem;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};

/// What `shoal remove` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Id (4 or p4) or name of the peer.
    gone: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    talk: Talk,
}

pub(crate) fn run(args: &Args) -> Result<(), Problem> {
    let asker = Asker::new(&args.talk.peer)?;
    let members = asker.get("/v1/members", &[])?;
    let member = find(&members, &args.gone)?;
    let name = show::words(&member["name"]);
    if !args.yes {
        confirm(&name)?;
    }
    let answer = asker.post("/v1/mesh/remove", &json!({ "peer": member["id"] }), None)?;
    show::answer(args.talk.output, &answer, |_| format!("{name} is out of the mesh"));
    Ok(())
}

/// The member of this name, else the one of this id. A name that several have names none.
fn find<'a>(members: &'a Value, wanted: &str) -> Result<&'a Value, Problem> {
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

fn confirm(name: &str) -> Result<(), Problem> {
    let refused = |because: &str| {
        Problem::new(
            "SH0001",
            format!("{name} stays"),
            because,
            format!("shoal remove {name} --yes"),
        )
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused("nobody is there to say yes"));
    }
    eprint!("{name} can never come back with its data folder. Remove it? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    match read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(refused("nobody said yes")),
    }
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
