//! What people and joiners ask of the mesh's shape: who joins, leaves, is drained or removed.
//!
//! Promises that what is refused is refused with a reason and a way out. Whether a change is allowed is decided by
//! the catalogue's log; only whether a peer is alive is judged here, by gossip.

use crate::problems;
use crate::router::Router;
use model::catalogue::{Away, Change, Changed, Enrolled};
use model::id::CATALOGUE;
use model::{Op, PeerId, Problem};
use replica::Answer;

/// What is wished of a peer of the roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Leave,
    Drain,
    Undrain,
    /// It is dead and will not come back.
    Remove,
}

impl Wish {
    fn verb(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Remove => "remove",
        }
    }
}

/// Brings a wish into the catalogue; the index from which it holds.
pub async fn wish(router: &Router, wish: Wish, peer: PeerId, shrink: bool) -> Result<u64, Problem> {
    let catalogue = router.board.catalogue();
    let Some(known) = catalogue.roster.get(&peer) else {
        let because = "no peer of this id is in the roster";
        let what = format!("there is no peer {}", peer.0);
        return Err(Problem::new("SH0305", what, because, "shoal members"));
    };
    if wish == Wish::Leave && !is_alive(router, peer) {
        return Err(Problem::new(
            "SH0101",
            format!("{} does not answer, so it cannot hand anything over", known.name),
            "leaving is done by the peer itself",
            format!("start it, or, if it is dead for good: shoal remove {}", known.name),
        ));
    }
    let away = |away| Change::Drain { peer, away, shrink };
    let change = match wish {
        Wish::Leave => away(Some(Away::Leaving)),
        Wish::Drain => away(Some(Away::Drained)),
        Wish::Undrain => away(None),
        Wish::Remove if is_alive(router, peer) => return Err(alive(known)),
        Wish::Remove => Change::Remove { peer, incarnation: known.incarnation, shrink },
    };
    match propose(router, change).await? {
        Changed::Done { index } => Ok(index),
        Changed::Refused { code, because } => Err(refused(wish, known, &code, because)),
        other => Err(problems::internal("an unexpected answer", format!("{other:?}"))),
    }
}

/// Lets a new peer in, or refreshes one that is known; its id and the index from which it has it.
pub async fn join(router: &Router, joiner: Joiner) -> Result<(PeerId, u64), Problem> {
    let Joiner { enrolled, shards, replaces } = joiner;
    let board = &router.board;
    if let Some(wanted) = shards.filter(|shards| *shards != board.shards()) {
        return Err(Problem::new(
            "SH0104",
            format!("a peer with {wanted} shards cannot join"),
            format!("this mesh has {} shards, for ever", board.shards()),
            format!("leave --shards away, or say --shards {}", board.shards()),
        ));
    }
    let replaces = match &replaces {
        Some(name) => Some(dead(router, name)?),
        None => None,
    };
    let name = enrolled.name.clone();
    match propose(router, Change::Join { enrolled, replaces }).await? {
        Changed::Joined { peer, index } => Ok((peer, index)),
        // Its founder has not said yet what it is: a moment later it has.
        Changed::Refused { code, because } if code == "SH0104" => {
            Err(not_joined(&name, "SH0505", because))
        }
        Changed::Refused { code, because } => Err(not_joined(&name, &code, because)),
        other => Err(problems::internal("an unexpected answer", format!("{other:?}"))),
    }
}

/// Who wants to join, and how.
pub struct Joiner {
    pub enrolled: Enrolled,
    /// The number of shards that it expects the mesh to have.
    pub shards: Option<u16>,
    /// Name or id of the dead peer whose place it takes.
    pub replaces: Option<String>,
}

pub async fn propose(router: &Router, change: Change) -> Result<Changed, Problem> {
    let op = Op::Catalogue(Box::new(change));
    match router.propose(CATALOGUE, op).await {
        Ok(Answer::Changed(changed)) => Ok(changed),
        Ok(other) => Err(problems::internal("an unexpected answer", format!("{other:?}"))),
        Err(error) => Err(crate::gateway::failed(&error)),
    }
}

/// Whether gossip has heard of a peer, or doubts it only.
pub fn is_alive(router: &Router, peer: PeerId) -> bool {
    let board = &router.board;
    let heard = board.member(peer).is_some_and(|member| member.state != mesh::State::Gone);
    peer == board.me() || heard
}

/// The peer of this name or id, if it is dead.
fn dead(router: &Router, name: &str) -> Result<PeerId, Problem> {
    let catalogue = router.board.catalogue();
    let id = name.strip_prefix('p').unwrap_or(name).parse().ok().map(PeerId);
    let named = catalogue.roster.values().find(|peer| peer.name == name);
    let known = named.or_else(|| catalogue.roster.get(&id?));
    let Some(known) = known else {
        let names: Vec<_> = catalogue.roster.values().map(|peer| peer.name.as_str()).collect();
        return Err(Problem::new(
            "SH0305",
            format!("there is no peer {name} to replace"),
            format!("the mesh has {}", names.join(", ")),
            "shoal members, then --replace with one that is gone",
        ));
    };
    if is_alive(router, known.id) { Err(alive(known)) } else { Ok(known.id) }
}

fn alive(peer: &Enrolled) -> Problem {
    let name = &peer.name;
    Problem::new(
        "SH0508",
        format!("{name} is alive"),
        "only a dead peer is removed or replaced: a live one hands over what it holds first",
        format!("shoal leave {name}"),
    )
}

fn refused(wish: Wish, peer: &Enrolled, code: &str, because: String) -> Problem {
    let (verb, name) = (wish.verb(), &peer.name);
    let fix = match code {
        "SH0506" => format!(
            "let another peer join first (shoal start --join ADDR --token T), or accept fewer copies: \
             shoal {verb} {name} --shrink"
        ),
        "SH0507" => "let another peer join first: shoal start --join ADDR --token T".to_owned(),
        _ => "shoal members".to_owned(),
    };
    Problem::new(code, format!("{verb} {name} was refused"), because, fix)
}

fn not_joined(name: &str, code: &str, because: String) -> Problem {
    let fix = match code {
        "SH0105" => format!(
            "choose another name: --name NAME; or, if {name} is dead and this peer is to take its place: \
             --replace {name}"
        ),
        "SH0106" => removed_fix(),
        _ => "shoal members".to_owned(),
    };
    Problem::new(code, format!("peer {name} cannot join"), because, fix)
}

/// The way back for a peer that is in the roster no more.
pub fn removed_fix() -> String {
    "let it come back as a new peer, with an empty folder: shoal start --data EMPTY --join ADDR --token T"
        .to_owned()
}
