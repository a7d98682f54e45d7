//! The same peer twice: a copied data folder, started beside or after the one it was copied from.
//!
//! A copy would vote with the other's name and without what the other has promised since. Promises to refuse it before
//! anything of it is opened, where the folder's last addresses still answer, or where another peer knows of a start
//! that this folder should have counted; elsewhere the roster takes one of two starts, and the other ends. Asks no
//! longer than a moment: a start must not wait for peers that are dead.

use super::attend::attend;
use super::{Begins, Belonging};
use crate::call::{Ask, Calls, Said};
use crate::links::News;
use model::catalogue::{Addresses, Enrolled};
use model::{Catalogue, Problem};
use net::{DialError, Lane, Net};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Folder;

/// Nobody needs longer to say who he is; where no way leads, a start does not wait for one.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// So many others are asked: those who live all know of a start that is in the roster.
const ASKED: usize = 8;

/// What a folder holds once its peer has ended for another that is the same.
const ENDED: &str = "twin";

/// One of two that are the same peer has ended, and its folder must rest: started again it would be the later one.
pub fn end(folder: &Folder) {
    let text = "Another process, from a copy of this folder, is this peer.\n";
    if let Err(error) = folder.write_note(ENDED, text) {
        tracing::error!(%error, "this folder must not be used again, and does not say so");
    }
}

/// Refuses to start where that was said.
pub fn refuse_ended(folder: &Folder) -> Result<(), Problem> {
    if folder.note(ENDED).is_none() {
        return Ok(());
    }
    let path = folder.path().display();
    Err(Problem::new(
        "SH0202",
        format!("the data folder {path} has a copy that is this peer now"),
        "both were started, and the mesh has taken the other one; this one ended",
        format!(
            "let it rest, and let another peer join: shoal start --data EMPTY --join ADDR --token T; if the other \
             folder is gone for good, and was no newer: rm {path}/{ENDED}"
        ),
    ))
}

/// Refuses to start while who used this folder last, with the same key, is still there. `last` is what it wrote of
/// its addresses.
pub async fn refuse(
    net: &Net,
    path: &Path,
    last: Option<String>,
    own: &Addresses,
) -> Result<(), Problem> {
    let last: Value = serde_json::from_str(&last.unwrap_or_default()).unwrap_or_default();
    let Some(address) = last["mesh"].as_str().filter(|address| *address != own.mesh) else {
        return Ok(());
    };
    match tokio::time::timeout(PATIENCE, net.dial(address)).await {
        Ok(Err(DialError::Ourselves(_))) => Err(Problem::new(
            "SH0202",
            format!("the data folder {} is a copy of one that is in use", path.display()),
            format!("this peer runs already: it answers at {address}"),
            "stop that process first, or let another peer join: shoal start --data EMPTY --join ADDR --token T",
        )),
        // Nobody, or somebody else who has the port by now.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Refuses to start where another peer's catalogue names this start of this peer, or a later one: each is counted in
/// the folder before it is told to anybody, so another process has told it. Refuses, too, where the mesh went on without
/// this peer.
pub async fn refuse_later(
    path: &Path,
    belonging: &Belonging,
    me: &Enrolled,
    calls: &Arc<Calls>,
    news: &mut News,
) -> Result<(), Problem> {
    if belonging.begins != Begins::Held {
        return Ok(());
    }
    let own = &belonging.catalogue;
    let others = own.roster.values().filter(|peer| peer.id != me.id).take(ASKED);
    let asked = others.map(|peer| {
        let answer = catalogue_of(&peer.addresses.mesh, calls);
        async { tokio::time::timeout(PATIENCE, answer).await.unwrap_or(Ok(None)) }
    });
    let (asked, mesh) = (futures::future::join_all(asked), calls.mesh());
    // Those who start at the same time ask the same; none waits for the other.
    let says = |of, ask: &Ask| match ask {
        Ask::Catalogue { since } if of == mesh => {
            let newer = own.index > *since;
            Some(Said::Catalogue(newer.then(|| Box::new(own.clone()))))
        }
        _ => None,
    };
    let answers: Result<Vec<_>, Problem> =
        attend(asked, calls, news, says).await?.into_iter().collect();
    let known = answers?.into_iter().flatten().filter(|catalogue| catalogue.mesh == mesh);
    let told = known.filter_map(|catalogue| catalogue.roster.get(&me.id).cloned());
    match told.max_by_key(|told| told.incarnation) {
        Some(told) if told.incarnation >= me.incarnation => Err(outdated(path, me, &told)),
        _ => Ok(()),
    }
}

/// The catalogue as the peer at an address knows it, if that can be had; an error if it refuses this peer for good.
async fn catalogue_of(address: &str, calls: &Arc<Calls>) -> Result<Option<Catalogue>, Problem> {
    let Ok(key) = calls.net().dial(address).await else { return Ok(None) };
    match calls.ask(&key, Lane::Request, Ask::Catalogue { since: 0 }).await {
        Ok(Said::Catalogue(catalogue)) => Ok(catalogue.map(|catalogue| *catalogue)),
        Ok(Said::Refused(problem)) => Err(*problem),
        _ => Ok(None),
    }
}

fn outdated(path: &Path, me: &Enrolled, told: &Enrolled) -> Problem {
    Problem::new(
        "SH0202",
        format!("the data folder {} is a copy, or was put back from one", path.display()),
        format!(
            "this would be start {} of {}, and the mesh knows start {}, at {}",
            me.incarnation, told.name, told.incarnation, told.addresses.mesh
        ),
        format!(
            "start on the folder that was used there; if it is lost: \
             shoal start --data EMPTY --join ADDR --token T --replace {}",
            told.name
        ),
    )
}
