//! Who is here, who owns what, and how it is.

use super::answer::{body, ok};
use super::{Asked, Failure, Json};
use crate::call::ShardStatus;
use crate::shape::{self, Wish};
use crate::survey;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use door::http::{
    Health, KeyPlace, Member, MemberState, Members, PeerCount, Ready, Ring, RingQuery, RingRow,
    ShardCount, WishBody,
};
use model::catalogue::{Away, Enrolled};
use model::hash::{bucket_of, shard_of};
use model::{PeerId, Problem, ShardId};
use std::collections::BTreeMap;

pub async fn livez() -> &'static str {
    "ok\n"
}

pub async fn readyz(State(asked): State<Asked>) -> Json<Ready> {
    let reasons = reasons(&asked);
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Json(status, Ready { ready, reasons })
}

/// Why this peer should get no clients at the moment.
fn reasons(asked: &Asked) -> Vec<String> {
    let board = &asked.router.board;
    let mut reasons = Vec::new();
    if board.stopping() {
        reasons.push("this peer is stopping".to_owned());
    }
    let catalogue = board.catalogue();
    if !catalogue.roster.contains_key(&board.me()) {
        reasons.push("this peer is not in the roster yet".to_owned());
    }
    if catalogue.away.get(&board.me()) == Some(&Away::Leaving) {
        reasons.push("this peer is leaving the mesh".to_owned());
    }
    let here = (0..board.shards()).map(ShardId).filter(|shard| board.here(*shard));
    let unled = here.filter(|shard| board.leader(*shard).is_none()).count();
    if unled > 0 {
        reasons.push(format!("{unled} shards here have no leader"));
    }
    reasons
}

pub async fn metrics(State(asked): State<Asked>) -> impl IntoResponse {
    let board = &asked.router.board;
    let shards = || (0..board.shards()).map(ShardId);
    let leads = shards().filter(|shard| board.leading(*shard)).count();
    let held = shards().filter(|shard| board.here(*shard)).count();
    let text = format!(
        "# TYPE shoal_shards_led gauge\nshoal_shards_led {leads}\n\
         # TYPE shoal_replicas gauge\nshoal_replicas {held}\n\
         # TYPE shoal_ring_epoch gauge\nshoal_ring_epoch {}\n\
         # TYPE shoal_members gauge\nshoal_members {}\n# EOF\n",
        board.catalogue().epoch.0,
        board.catalogue().roster.len(),
    );
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text)
}

pub async fn members(State(asked): State<Asked>) -> Result<Json<Members>, Failure> {
    let survey = survey::of_all(&asked.router).await;
    let catalogue = asked.router.board.catalogue();
    let members = catalogue.roster.values().map(|peer| member(&asked, peer, &survey)).collect();
    ok(Members { me: asked.router.board.me().0, members })
}

fn member(asked: &Asked, peer: &Enrolled, survey: &BTreeMap<PeerId, Vec<ShardStatus>>) -> Member {
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
        name: if peer.name.is_empty() { peer.id.to_string() } else { peer.name.clone() },
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

fn state_of(asked: &Asked, peer: PeerId) -> MemberState {
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
    let key = key_place(&asked, &query)?;
    let survey = survey::of_all(&asked.router).await;
    let rows = (0..board.shards()).map(|shard| ring_row(&asked, ShardId(shard), &survey)).collect();
    let catalogue = board.catalogue();
    ok(Ring {
        epoch: catalogue.epoch.0,
        shards: board.shards(),
        replication: catalogue.replication,
        rows,
        key,
    })
}

fn key_place(asked: &Asked, query: &RingQuery) -> Result<Option<KeyPlace>, Failure> {
    let Some(key) = &query.key else { return Ok(None) };
    let catalogue = asked.router.board.catalogue();
    let Some(name) = &query.stream else {
        return Err(Problem::new(
            "SH0404",
            "a key lies in a stream, and no stream was named",
            "each stream places its keys by its own partitions",
            "shoal ring --key K --stream NAME",
        )
        .into());
    };
    let stream = catalogue.stream(name).ok_or_else(|| super::streams::unknown(name))?;
    let partition = bucket_of(key.as_bytes(), stream.partitions);
    let shard = shard_of(stream.placement, partition, asked.router.board.shards());
    Ok(Some(KeyPlace { partition, shard: shard.0 }))
}

fn ring_row(asked: &Asked, shard: ShardId, survey: &BTreeMap<PeerId, Vec<ShardStatus>>) -> RingRow {
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
    let survey = survey::of_all(&asked.router).await;
    let board = &asked.router.board;
    let catalogue = board.catalogue();
    let total = u32::from(board.shards());
    let shards = || (0..board.shards()).map(ShardId);
    let led_by = |shard| survey::best(&survey, shard).filter(|best| best.leading);
    let led = shards().filter(|shard| led_by(*shard).is_some()).count() as u32;
    // A copy whose peer does not answer is worth nothing until it is back.
    let copies = |best: &ShardStatus| {
        let voters = best.voters.iter();
        voters.filter(|peer| state_of(&asked, **peer) != MemberState::Gone).count()
    };
    let wanted = usize::from(catalogue.replication);
    let under = |shard| led_by(shard).is_some_and(|best| copies(best) < wanted);
    let under = shards().filter(|shard| under(*shard)).count() as u32;
    let gone: Vec<_> = catalogue
        .roster
        .keys()
        .filter(|peer| state_of(&asked, **peer) == MemberState::Gone)
        .map(ToString::to_string)
        .collect();
    let mut reasons = reasons(&asked);
    if led < total {
        reasons.push(format!("{} of {total} shards have no leader", total - led));
    }
    if under > 0 {
        reasons.push(format!("{under} shards have fewer than {wanted} live voters"));
    }
    let full = asked.space.full_peers();
    if !full.is_empty() {
        let full: Vec<_> = full.iter().map(ToString::to_string).collect();
        reasons.push(format!("peers whose disk is full: {}", full.join(", ")));
    }
    if asked.space.is_full() {
        let left = asked.space.free() >> 20;
        reasons.push(format!("the disk of this peer is full: {left} MiB are left"));
    }
    if !gone.is_empty() {
        reasons.push(format!("peers that do not answer: {}", gone.join(", ")));
    }
    let total_peers = catalogue.roster.len() as u32;
    let alive = total_peers - gone.len() as u32;
    let healthy = reasons.is_empty();
    let verdict = match (healthy, led == total) {
        (true, _) => format!("all {total} shards are led and replicated on {alive} peers"),
        (false, true) => format!("the mesh works, but: {}", reasons.join("; ")),
        (false, false) => format!("part of the mesh does not work: {}", reasons.join("; ")),
    };
    ok(Health {
        verdict,
        healthy,
        ready: self::reasons(&asked).is_empty(),
        reasons,
        shards: ShardCount { total, led, under_replicated: under },
        peers: PeerCount { alive, total: total_peers },
    })
}

/// `POST /v1/mesh/{leave,drain,undrain,remove}`.
pub async fn wish(
    State(asked): State<Asked>,
    Path(verb): Path<String>,
    bytes: Bytes,
) -> Result<Json<serde_json::Value>, Failure> {
    let wish = match verb.as_str() {
        "leave" => Wish::Leave,
        "drain" => Wish::Drain,
        "undrain" => Wish::Undrain,
        "remove" => Wish::Remove,
        _ => return Err(super::answer::nothing_at(&format!("/v1/mesh/{verb}"))),
    };
    let WishBody { peer, shrink } = body(&bytes)?;
    let index = shape::wish(&asked.router, wish, PeerId(peer), shrink).await?;
    ok(serde_json::json!({ "index": index }))
}
