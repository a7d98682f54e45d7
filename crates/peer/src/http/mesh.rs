//! Who is here, who owns what, and how it is.

use super::answer::{body, ok};
use super::{Asked, Failure, Json, clocks, known, lookout};
use crate::call::ShardStatus;
use crate::figures::Figures;
use crate::limits;
use crate::shape::{self, Wish};
use crate::survey;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use door::http::{
    Health, KeyPlace, Member, MemberState, Members, Moves, PeerCount, PeerSettings, Ready, Ring,
    RingQuery, RingRow, ShardCount, WishBody, Wished,
};
use model::catalogue::{Away, Enrolled};
use model::hash::{bucket_of, shard_of};
use model::{PeerId, Problem, ShardId};
use std::collections::BTreeMap;
use std::time::Instant;

pub async fn livez() -> &'static str {
    "ok\n"
}

pub async fn readyz(State(asked): State<Asked>) -> Json<Ready> {
    let reasons = lasting_reasons(&asked).await;
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Json(status, Ready { ready, reasons })
}

/// Why this peer should get no clients. That a shard has no leader is a reason only if it lasts: a lead that is handed
/// over is nobody's for a moment, and requests are held meanwhile.
async fn lasting_reasons(asked: &Asked) -> Vec<String> {
    let until = Instant::now() + limits::HANDED_OVER;
    while unled(asked) > 0 && own_reasons(asked).is_empty() && Instant::now() < until {
        tokio::time::sleep(limits::HOLD_PAUSE).await;
    }
    reasons(asked)
}

/// Why this peer should get no clients at the moment.
fn reasons(asked: &Asked) -> Vec<String> {
    let mut reasons = own_reasons(asked);
    let unled = unled(asked);
    if unled > 0 {
        reasons.push(format!("{unled} shards here have no leader"));
    }
    reasons
}

/// How many shards that live here have no leader at this moment.
fn unled(asked: &Asked) -> usize {
    let board = &asked.router.board;
    let here = (0..board.shards()).map(ShardId).filter(|shard| board.here(*shard));
    here.filter(|shard| board.leader(*shard).is_none()).count()
}

/// Reasons that no shard has to do with.
fn own_reasons(asked: &Asked) -> Vec<String> {
    let board = &asked.router.board;
    let mut reasons = Vec::new();
    if board.stopping() {
        reasons.push("this peer is stopping".to_owned());
    }
    let catalogue = board.catalogue();
    if !catalogue.roster.contains_key(&board.me()) {
        reasons.push("this peer is not in the roster yet".to_owned());
    }
    let known = |name: &String| catalogue.pipelines.values().any(|it| it.name == *name);
    let mut holds = catalogue.roster.get(&board.me()).into_iter().flat_map(|me| &me.holds);
    if !board.is_enrolled() && holds.any(|(name, ..)| !known(name)) {
        reasons.push("pipelines of this peer's code are not registered yet".to_owned());
    }
    if catalogue.away.get(&board.me()) == Some(&Away::Leaving) {
        reasons.push("this peer is leaving the mesh".to_owned());
    }
    reasons
}

pub async fn members(State(asked): State<Asked>) -> Result<Json<Members>, Failure> {
    let survey = survey::of_all(&asked.router).await;
    let catalogue = asked.router.board.catalogue();
    let members = catalogue.roster.values().map(|peer| member(&asked, peer, &survey)).collect();
    ok(Members { me: asked.router.board.me().0, members })
}

pub(super) fn member(
    asked: &Asked,
    peer: &Enrolled,
    survey: &BTreeMap<PeerId, Vec<ShardStatus>>,
) -> Member {
    let known = survey.get(&peer.id).map_or(&[][..], Vec::as_slice);
    let catalogue = asked.router.board.catalogue();
    let lacking: Vec<_> = catalogue
        .pipelines
        .values()
        .filter(|p| {
            !peer.holds.iter().any(|(name, version, _)| *name == p.name && *version == p.version)
        })
        .map(|p| p.name.clone())
        .collect();
    let mut notes = Vec::new();
    if !lacking.is_empty() {
        notes.push(format!("without the code of {}", lacking.join(", ")));
    }
    match catalogue.away.get(&peer.id) {
        Some(Away::Drained) => notes.push("drained: it gets no shards".to_owned()),
        Some(Away::Leaving) => notes.push("leaving: it goes with its last replica".to_owned()),
        None if peer.weight == 0 => notes.push("its weight is 0: it gets no shards".to_owned()),
        None => {}
    }
    Member {
        id: peer.id.0,
        name: asked.router.board.called(peer.id),
        state: state_of(asked, peer.id),
        zone: peer.zone.clone(),
        weight: peer.weight,
        version: peer.version.clone(),
        incarnation: peer.incarnation,
        mesh: peer.addresses.mesh.clone(),
        kafka: peer.addresses.kafka.clone(),
        http: peer.addresses.http.clone(),
        leads: known.iter().filter(|shard| shard.leading).count() as u32,
        replicas: known.len() as u32,
        pipelines: peer
            .holds
            .iter()
            .map(|(name, version, _)| format!("{name} v{version}"))
            .collect(),
        note: notes.join("; "),
    }
}

pub(super) fn state_of(asked: &Asked, peer: PeerId) -> MemberState {
    if peer == asked.router.board.me() {
        return MemberState::Alive;
    }
    match asked.router.board.member(peer).map(|member| member.state) {
        Some(::mesh::State::Alive) => MemberState::Alive,
        Some(::mesh::State::Suspect) => MemberState::Suspect,
        Some(::mesh::State::Gone) | None => MemberState::Gone,
    }
}

pub async fn ring(
    State(asked): State<Asked>,
    Query(query): Query<RingQuery>,
) -> Result<Json<Ring>, Failure> {
    let board = &asked.router.board;
    let key = key_place(&asked, &query).await?;
    let rows = ring_rows(&asked).await;
    let catalogue = board.catalogue();
    ok(Ring {
        epoch: catalogue.epoch.0,
        shards: board.shards(),
        replication: catalogue.replication,
        rows,
        key,
    })
}

/// `GET /v1/mesh/moves`.
pub async fn moves(State(asked): State<Asked>) -> Result<Json<Moves>, Failure> {
    let rows = ring_rows(&asked).await;
    ok(Moves::of(asked.router.board.catalogue().epoch.0, &rows))
}

/// `GET /v1/settings`.
pub async fn settings(State(asked): State<Asked>) -> Result<Json<PeerSettings>, Failure> {
    ok(PeerSettings { settings: asked.settings.to_vec() })
}

/// Every shard, by what all peers say of their replicas.
async fn ring_rows(asked: &Asked) -> Vec<RingRow> {
    let survey = survey::of_all(&asked.router).await;
    let shards = (0..asked.router.board.shards()).map(ShardId);
    shards.map(|shard| ring_row(asked, shard, &survey)).collect()
}

async fn key_place(asked: &Asked, query: &RingQuery) -> Result<Option<KeyPlace>, Failure> {
    let Some(key) = &query.key else { return Ok(None) };
    let Some(name) = &query.stream else {
        return Err(Problem::new(
            "SH0404",
            "a key lies in a stream, and no stream was named",
            "each stream places its keys by its own partitions",
            "shoal ring --key K --stream NAME",
        )
        .into());
    };
    let catalogue = known::with_stream(asked, name).await?;
    let stream = catalogue.stream(name).ok_or_else(|| super::streams::unknown(name))?;
    let partition = bucket_of(key.as_bytes(), stream.partitions);
    let shard = shard_of(stream.placement, partition, asked.router.board.shards());
    Ok(Some(KeyPlace { partition, shard: shard.0 }))
}

pub(super) fn ring_row(
    asked: &Asked,
    shard: ShardId,
    survey: &BTreeMap<PeerId, Vec<ShardStatus>>,
) -> RingRow {
    let best = survey::best(survey, shard);
    let ids = |peers: &[PeerId]| peers.iter().map(|peer| peer.0).collect::<Vec<_>>();
    RingRow {
        shard: shard.0,
        leader: best.filter(|best| best.leading).map(|best| best.peer.0),
        term: best.map_or(0, |best| best.term),
        voters: best.map(|best| ids(&best.voters)).unwrap_or_default(),
        learners: best.map(|best| ids(&best.learners)).unwrap_or_default(),
        target: ids(asked.router.board.ring().target(shard)),
    }
}

pub async fn health(State(asked): State<Asked>) -> Result<Json<Health>, Failure> {
    ok(judged(&asked, &lookout::gather(&asked).await.told))
}

/// How the mesh is, by what all peers tell of themselves.
pub(super) fn judged(asked: &Asked, told: &BTreeMap<PeerId, Figures>) -> Health {
    let survey: BTreeMap<PeerId, Vec<ShardStatus>> =
        told.iter().map(|(peer, told)| (*peer, told.shards.clone())).collect();
    let board = &asked.router.board;
    let catalogue = board.catalogue();
    let total = u32::from(board.shards());
    let shards = || (0..board.shards()).map(ShardId);
    let led_by = |shard| survey::best(&survey, shard).filter(|best| best.leading);
    let led = shards().filter(|shard| led_by(*shard).is_some()).count() as u32;
    // A copy whose peer does not answer is worth nothing until it is back.
    let copies = |best: &ShardStatus| {
        let voters = best.voters.iter();
        voters.filter(|peer| state_of(asked, **peer) != MemberState::Gone).count()
    };
    let wanted = usize::from(catalogue.replication);
    let under = |shard| led_by(shard).is_some_and(|best| copies(best) < wanted);
    let under = shards().filter(|shard| under(*shard)).count() as u32;
    let gone: Vec<_> = catalogue
        .roster
        .keys()
        .filter(|peer| state_of(asked, **peer) == MemberState::Gone)
        .map(|peer| board.called(*peer))
        .collect();
    let mut reasons = reasons(asked);
    if led < total {
        reasons.push(format!("{} of {total} shards have no leader", total - led));
    }
    if under > 0 {
        reasons.push(format!("{under} shards have fewer than {wanted} live voters"));
    }
    let full = asked.space.full_peers();
    if !full.is_empty() {
        let full: Vec<_> = full.iter().map(|peer| board.called(*peer)).collect();
        reasons.push(format!("peers whose disk is full: {}", full.join(", ")));
    }
    if asked.space.is_full() {
        let left = asked.space.free() >> 20;
        reasons.push(format!("the disk of this peer is full: {left} MiB are left"));
    }
    let aside = asked.aside.shards();
    if !aside.is_empty() {
        let path = asked.aside.path();
        let shards: Vec<_> = aside.keys().map(ToString::to_string).collect();
        reasons.push(format!(
            "damaged copies on this peer, set aside in {} until others are whole: {}",
            path.display(),
            shards.join(", ")
        ));
    }
    if !gone.is_empty() {
        reasons.push(format!("peers that do not answer: {}", gone.join(", ")));
    }
    let parked = super::pipelines::parked(&catalogue, told);
    if !parked.is_empty() {
        reasons.push(format!("pipelines that are parked: {}", parked.join(", ")));
    }
    let clocks = told.iter().map(|(peer, told)| (*peer, told.at_ms));
    reasons.extend(clocks::odd(&clocks.collect(), |peer| board.called(peer)));
    let total_peers = catalogue.roster.len() as u32;
    let alive = total_peers - gone.len() as u32;
    let healthy = reasons.is_empty();
    let verdict = match (healthy, led == total) {
        (true, _) => format!("all {total} shards are led and replicated on {alive} peers"),
        (false, true) => format!("the mesh works, but: {}", reasons.join("; ")),
        (false, false) => format!("part of the mesh does not work: {}", reasons.join("; ")),
    };
    Health {
        verdict,
        healthy,
        ready: self::reasons(asked).is_empty(),
        reasons,
        shards: ShardCount { total, led, under_replicated: under },
        peers: PeerCount { alive, total: total_peers },
    }
}

/// `POST /v1/mesh/leave`, `drain`, `undrain`, `remove`.
pub async fn wish(
    wish: Wish,
    State(asked): State<Asked>,
    bytes: Bytes,
) -> Result<Json<Wished>, Failure> {
    let WishBody { peer, shrink } = body(&bytes)?;
    let index = shape::wish(&asked.router, wish, PeerId(peer), shrink).await?;
    ok(Wished { index })
}
