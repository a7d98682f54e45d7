//! Who founds a mesh, when several peers are started with one list of addresses and none holds one yet.
//!
//! Promises that of one list at most one peer founds, in whatever order they start and however often each is started
//! again. Never takes silence for an answer.
//!
//! - F1: a peer founds only if its address stands first in its list, all others in it have answered *this start of it*
//!   that they are empty and have the same addresses with the same one first, and each has found this very start there.
//! - F2: what is drawn at a start names it, not the peer's key: a key may have been copied with a folder.
//!
//! Two that both found would need each other's answer under lists with another first address. A list is fixed for one
//! start, so each of them would have had to be started again after the other's question and before its own.

use crate::limits;
use model::MeshId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a peer that waits says to others that do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Waiting {
    /// The addresses it was given, in their order.
    pub list: Vec<String>,
    /// Drawn when it started.
    pub start: u64,
    /// The start that it has found at the first of these addresses; none while nobody has answered there.
    pub first: Option<u64>,
}

/// What was heard at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is this peer's own.
    Own,
    /// A peer of this mesh is there.
    Mesh(MeshId),
    /// A peer that waits as this one does.
    Waits(Waiting),
    /// None of these, and why, with the address.
    Nothing(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Join through these addresses.
    Join(Vec<String>),
    Found,
    /// Ask again; people are told why.
    Wait(String),
}

/// Decides by what was heard at each address of the list, in its order. `start` is this peer's own.
pub fn decide(start: u64, heard: &[(String, Heard)]) -> Decision {
    let meshes: BTreeSet<MeshId> = heard.iter().filter_map(|(_, it)| mesh(it)).collect();
    let through = || heard.iter().filter(|(_, it)| mesh(it).is_some()).map(|(at, _)| at.clone());
    match meshes.len() {
        0 => {}
        1 => return Decision::Join(through().collect()),
        _ => {
            let all: Vec<String> = through().collect();
            let all = all.join(" and ");
            return wait(format!("{all} answer as different meshes: name those of one mesh only"));
        }
    }
    if let Some(why) = other_list(heard) {
        return wait(why);
    }
    let silent: Vec<&str> = heard.iter().filter_map(|(_, it)| nothing(it)).collect();
    if !silent.is_empty() {
        return wait(format!(
            "all of the list must answer before it is founded: {}",
            silent.join("; ")
        ));
    }
    let own: Vec<&str> =
        heard.iter().filter(|(_, it)| *it == Heard::Own).map(|(at, _)| at.as_str()).collect();
    match (own.as_slice(), heard) {
        ([_], [_]) => wait(
            "the list names this peer alone: name the others as well, or found a mesh by --new without --join"
                .to_owned(),
        ),
        ([_, _, ..], _) => wait(format!(
            "{} are this peer itself: name each peer once; if they are others, their folders were copied from one",
            own.join(" and ")
        )),
        ([here], [(first, _), others @ ..]) if here == first => found(start, first, others),
        (_, [(first, _), ..]) => wait(format!("{first} to found it, which stands first in the list")),
        (_, []) => wait("the list is empty".to_owned()),
    }
}

/// This peer stands first, and all others wait with the same list: do all of them find it there?
fn found(start: u64, first: &str, others: &[(String, Heard)]) -> Decision {
    let not_this = |(at, it): &&(String, Heard)| match it {
        Heard::Waits(waiting) if waiting.first == Some(start) => None,
        Heard::Waits(Waiting { first: Some(_), .. }) => Some(format!(
            "{at} finds another peer than this one at {first}: name addresses that are the same from everywhere"
        )),
        _ => Some(format!("{at} to find this peer at {first}")),
    };
    match others.iter().find_map(|other| not_this(&other)) {
        Some(why) => wait(why),
        None => Decision::Found,
    }
}

/// Says whose list is another than this peer's.
fn other_list(heard: &[(String, Heard)]) -> Option<String> {
    let own: Vec<&str> = heard.iter().map(|(at, _)| at.as_str()).collect();
    let set = |list: &[&str]| list.iter().map(|at| (*at).to_owned()).collect::<BTreeSet<_>>();
    heard.iter().find_map(|(at, it)| {
        let Heard::Waits(Waiting { list, .. }) = it else { return None };
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        let same = list.first() == own.first() && set(&list) == set(&own);
        (!same).then(|| {
            let (own, list) = (own.join(" "), list.join(" "));
            format!("{at} was started with another list, `{list}`, than this peer, `{own}`: give all the same --join")
        })
    })
}

fn mesh(heard: &Heard) -> Option<MeshId> {
    match heard {
        Heard::Mesh(mesh) => Some(*mesh),
        _ => None,
    }
}

fn nothing(heard: &Heard) -> Option<&str> {
    match heard {
        Heard::Nothing(why) => Some(why),
        _ => None,
    }
}

fn wait(why: String) -> Decision {
    Decision::Wait(why)
}

/// What another says of itself, as it arrives.
#[derive(Deserialize)]
struct Unchecked {
    list: Vec<String>,
    start: u64,
    first: Option<u64>,
}

impl TryFrom<Unchecked> for Waiting {
    type Error = String;

    fn try_from(arrived: Unchecked) -> Result<Self, String> {
        let Unchecked { list, start, first } = arrived;
        check(&list).map(|()| Self { list, start, first })
    }
}

/// Says why a list cannot be agreed upon by its form.
pub fn check(list: &[String]) -> Result<(), String> {
    if list.len() > limits::FOUNDING_LIST_MAX {
        return Err(format!("{} addresses, {} at most", list.len(), limits::FOUNDING_LIST_MAX));
    }
    match list.iter().find(|address| address.len() > limits::ADDRESS_BYTES_MAX) {
        Some(address) => Err(format!("an address of {} bytes", address.len())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
