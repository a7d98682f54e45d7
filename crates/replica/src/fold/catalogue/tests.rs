//! The catalogue's rules, told change by change.

use super::*;
use crate::limits::{PARTITIONS_MAX, STREAMS_MAX};
use model::catalogue::{Addresses, Away, Enrolled, Registration, StageSpec};
use model::{Epoch, PeerId, Settings, StageId, StreamId};

/// A catalogue that is changed once an index.
#[derive(Default)]
struct Book {
    catalogue: Option<Arc<Catalogue>>,
    index: u64,
}

impl Book {
    fn founded() -> Self {
        let mut book = Self::default();
        let found = Change::Found { mesh: MeshId(1), shards: 64, replication: 3 };
        assert_eq!(book.change(found), Changed::Done { index: 1 });
        book
    }

    fn change(&mut self, it: Change) -> Changed {
        self.index += 1;
        change(&mut self.catalogue, self.index, it)
    }

    fn join(&mut self, peer: Enrolled) -> PeerId {
        match self.change(joins(peer)) {
            Changed::Joined { peer, .. } => peer,
            other => panic!("{other:?}"),
        }
    }

    /// A mesh of so many peers, one index each.
    fn of(peers: u8) -> Self {
        let mut book = Self::founded();
        for key in 1..=peers {
            book.join(peer(key, 1, &[]));
        }
        book
    }

    fn now(&self) -> &Catalogue {
        self.catalogue.as_ref().expect("founded")
    }

    fn create(&mut self, id: u128, name: &str, partitions: u32) -> Changed {
        let name = name.to_owned();
        let settings = Settings::default();
        let (id, most) = (StreamId(id), MOST);
        self.change(Change::CreateStream { id, name, partitions, settings, most })
    }
}

/// Partitions that a mesh of these tests may have.
const MOST: u32 = 20_000;

#[test]
fn a_mesh_has_no_more_partitions_than_it_may() {
    let mut book = Book::of(1);
    assert!(matches!(book.create(1, "a", 9_000), Changed::Stream { created: true, .. }));
    assert!(matches!(book.create(2, "b", 10_000), Changed::Stream { created: true, .. }));
    assert_eq!(code(book.create(3, "c", 1_001)), "SH0311");
    let grow = |partitions| Change::Grow { stream: StreamId(1), partitions, most: MOST };
    assert_eq!(code(book.change(grow(10_000 + 1))), "SH0001");
    assert!(matches!(book.create(4, "d", 1_000), Changed::Stream { created: true, .. }));
    assert_eq!(code(book.change(grow(9_001))), "SH0311");
    // What is there already is no growth, though others have a lower bound by now.
    assert!(matches!(book.create(9, "a", 9_000), Changed::Stream { created: false, .. }));
    assert!(matches!(book.change(grow(9_000)), Changed::Done { .. }));
}

fn joins(enrolled: Enrolled) -> Change {
    Change::Join { enrolled, replaces: None }
}

fn remove(peer: i32, incarnation: u64, shrink: bool) -> Change {
    Change::Remove { peer: PeerId(peer), incarnation, shrink }
}

fn drain(peer: i32, away: Option<Away>, shrink: bool) -> Change {
    Change::Drain { peer: PeerId(peer), away, shrink }
}

fn peer(key: u8, incarnation: u64, holds: &[(&str, u32, u64)]) -> Enrolled {
    Enrolled {
        // Only the founder knows its id before it is enrolled.
        id: PeerId(if key == 1 { 1 } else { 0 }),
        key: vec![key],
        name: format!("p{key}"),
        zone: String::new(),
        weight: 100,
        addresses: Addresses::default(),
        incarnation,
        holds: holds.iter().map(|(name, v, f)| (name.to_string(), *v, *f)).collect(),
        version: "0.1.0".into(),
    }
}

fn registration(version: u32, fingerprint: u64) -> Registration {
    let stage = StageSpec {
        id: drawn(version),
        name: "count".into(),
        buckets: 8,
        sources: vec![("words".into(), StreamId(50), 16)],
        view: Some(("counts".into(), "u64".into())),
        output: Some(("totals".into(), StreamId(u128::from(version) * 100 + 1))),
        sides: Vec::new(),
        dead: StreamId(u128::from(version) * 100 + 2),
    };
    Registration { pipeline: "wc".into(), version, fingerprint, stages: vec![stage] }
}

fn drawn(version: u32) -> StageId {
    StageId(u128::from(version) << 64 | 99)
}

/// The id of the stage that was drawn for a version, beside the stream it reads.
fn placed(version: u32) -> StageId {
    StageId(u128::from(version) << 64 | 50)
}

fn code(changed: Changed) -> String {
    match changed {
        Changed::Refused { code, .. } => code,
        other => format!("{other:?}"),
    }
}

#[test]
fn a_mesh_is_founded_once_and_nothing_is_before_it() {
    let mut book = Book::default();
    assert_eq!(code(book.change(joins(peer(1, 1, &[])))), "SH0104");
    let found = |mesh| Change::Found { mesh: MeshId(mesh), shards: 64, replication: 3 };
    assert_eq!(book.change(found(7)), Changed::Done { index: 2 });
    assert_eq!(book.change(found(7)), Changed::Done { index: 2 });
    assert_eq!(code(book.change(found(8))), "SH0104");
}

#[test]
fn nobody_is_enrolled_before_the_founder() {
    let mut book = Book::founded();
    assert_eq!(code(book.change(joins(peer(2, 1, &[])))), "SH0505");
    assert_eq!(book.join(peer(1, 1, &[])), PeerId(1));
    assert_eq!(book.join(peer(2, 1, &[])), PeerId(2));
}

#[test]
fn peers_get_ids_in_order_and_never_again() {
    let mut book = Book::founded();
    assert_eq!(book.join(peer(1, 1, &[])), PeerId(1));
    assert_eq!(book.join(peer(2, 1, &[])), PeerId(2));
    assert_eq!(book.now().epoch, Epoch(3));
    let refreshed = Enrolled { version: "0.2.0".into(), ..peer(2, 2, &[]) };
    assert_eq!(book.join(refreshed), PeerId(2));
    assert_eq!((book.now().epoch, book.now().index), (Epoch(3), 4), "no new epoch");
    assert_eq!(book.now().roster[&PeerId(2)].version, "0.2.0");
    assert_eq!(book.join(peer(2, 1, &[])), PeerId(2));
    assert_eq!(book.now().roster[&PeerId(2)].incarnation, 2, "an old start tells nothing");
    assert_eq!(book.change(remove(2, 2, true)), Changed::Done { index: 6 });
    assert_eq!(book.join(peer(2, 3, &[])), PeerId(3), "a new start with an empty folder");
    assert_eq!(code(book.change(remove(2, 9, true))), "SH0305");
    let returned = Enrolled { id: PeerId(2), ..peer(9, 4, &[]) };
    assert_eq!(code(book.change(joins(returned))), "SH0106", "with the folder of the removed");
}

#[test]
fn of_two_that_tell_the_same_start_the_first_is_the_peer() {
    let mut book = Book::of(2);
    let at = |mesh: &str, incarnation| {
        let addresses = Addresses { mesh: mesh.into(), ..Addresses::default() };
        Enrolled { addresses, ..peer(2, incarnation, &[]) }
    };
    assert_eq!(book.join(at("a:1", 2)), PeerId(2));
    assert_eq!(book.join(at("a:1", 2)), PeerId(2), "said again");
    assert_eq!(code(book.change(joins(at("b:1", 2)))), "SH0202");
    assert_eq!(book.now().roster[&PeerId(2)].addresses.mesh, "a:1");
    assert_eq!(book.join(at("b:1", 3)), PeerId(2), "a later start may be anywhere");
    assert_eq!(book.now().roster[&PeerId(2)].addresses.mesh, "b:1");
}

#[test]
fn a_recovered_mesh_has_one_peer_and_another_id() {
    let mut book = Book::of(3);
    let (mesh, epoch) = (book.now().mesh, book.now().epoch);
    let recover = |mesh, peer| Change::Recover { mesh, peer: PeerId(peer) };
    assert_eq!(code(book.change(recover(mesh.recovered(), 9))), "SH0305");
    assert_eq!(code(book.change(recover(mesh, 3))), "SH0104", "it would be the same mesh");
    assert!(matches!(book.change(recover(mesh.recovered(), 3)), Changed::Done { .. }));
    let now = book.now();
    assert!(now.mesh.is_recovered_from(mesh) && !mesh.is_recovered_from(now.mesh));
    assert_eq!(now.roster.keys().copied().collect::<Vec<_>>(), [PeerId(3)]);
    assert!(now.has_removed(PeerId(1)) && now.epoch > epoch);
    let old = Enrolled { id: PeerId(1), ..peer(1, 2, &[]) };
    assert_eq!(code(book.change(joins(old))), "SH0106", "an old peer with its folder");
    assert_eq!(book.join(peer(7, 1, &[])), PeerId(4), "ids are never given again");
}

#[test]
fn a_peers_own_word_on_its_weight_and_zone_moves_the_ring_only_when_it_changes() {
    let mut book = Book::of(4);
    let said = |incarnation, weight| Enrolled { weight, ..peer(4, incarnation, &[]) };
    book.join(said(2, 50));
    assert_eq!((book.now().epoch, book.now().seats()), (Epoch(6), 4));
    book.join(said(3, 50));
    assert_eq!(book.now().epoch, Epoch(6));
    book.join(said(4, 0));
    assert_eq!((book.now().epoch, book.now().seats()), (Epoch(8), 3));
    let enrolled = Enrolled { weight: 0, ..peer(3, 2, &[]) };
    book.join(enrolled);
    assert_eq!(book.now().seats(), 3, "a setting does not make copies fewer");
    book.join(Enrolled { zone: "b".into(), ..peer(3, 3, &[]) });
    assert_eq!(book.now().epoch, Epoch(10));
}

#[test]
fn no_two_peers_have_one_name_but_a_dead_one_can_be_replaced() {
    let mut book = Book::of(3);
    let twin = Enrolled { name: "p2".into(), ..peer(9, 1, &[]) };
    assert_eq!(code(book.change(joins(twin.clone()))), "SH0105");
    let replaces = |gone| Change::Join { enrolled: twin.clone(), replaces: Some(PeerId(gone)) };
    assert_eq!(code(book.change(replaces(7))), "SH0305");
    assert_eq!(code(book.change(replaces(3))), "SH0105", "another has the name");
    let Changed::Joined { peer: id, .. } = book.change(replaces(2)) else { panic!("refused") };
    assert_eq!((id, book.now().roster.len(), book.now().seats()), (PeerId(4), 3, 3));
    assert!(book.now().has_removed(PeerId(2)));
    let nameless = Enrolled { name: String::new(), ..peer(8, 1, &[]) };
    let id = book.join(nameless);
    assert_eq!(book.now().roster[&id].name, "p5");
    book.join(Enrolled { name: "p5".into(), ..peer(1, 2, &[]) });
    assert_eq!(book.now().roster[&PeerId(1)].name, "p1", "a new name that is taken is not");
}

#[test]
fn a_drained_peer_stays_without_a_seat_until_it_is_undrained() {
    let mut book = Book::of(4);
    let done = |index| Changed::Done { index };
    assert_eq!(book.change(drain(4, Some(Away::Drained), false)), done(6));
    assert_eq!((book.now().seats(), book.now().epoch), (3, Epoch(6)));
    assert_eq!(book.change(drain(4, Some(Away::Drained), false)), done(6), "it is so already");
    book.join(peer(4, 2, &[]));
    assert_eq!(book.now().weight(PeerId(4)), 0, "a restart gives it no seat");
    assert_eq!(book.change(drain(4, Some(Away::Leaving), false)), done(9));
    assert_eq!(book.now().epoch, Epoch(6), "the ring is the same");
    assert_eq!(book.change(drain(4, None, false)), done(10));
    assert_eq!((book.now().seats(), book.now().epoch), (4, Epoch(10)));
    assert_eq!(code(book.change(drain(9, None, false))), "SH0305");
}

#[test]
fn copies_become_fewer_by_a_persons_word_alone_and_the_last_peer_stays() {
    let mut book = Book::of(3);
    assert_eq!(code(book.change(drain(3, Some(Away::Drained), false))), "SH0506");
    assert_eq!(code(book.change(remove(3, 1, false))), "SH0506");
    assert_eq!(code(book.change(remove(3, 0, true))), "SH0508", "it has started anew since");
    let left = book.change(drain(3, Some(Away::Leaving), true));
    assert!(matches!(left, Changed::Done { .. }), "{left:?}");
    let gone = book.change(remove(3, 1, false));
    assert!(matches!(gone, Changed::Done { .. }), "a peer without a seat goes: {gone:?}");
    assert!(matches!(book.change(drain(2, Some(Away::Drained), true)), Changed::Done { .. }));
    assert_eq!(code(book.change(drain(1, Some(Away::Drained), true))), "SH0507");
    assert_eq!(code(book.change(remove(1, 1, true))), "SH0507");
}

#[test]
fn a_stream_is_made_once_under_its_first_id() {
    let mut book = Book::founded();
    let made = |id, created| Changed::Stream { id: StreamId(id), created };
    assert_eq!(book.create(5, "orders", 16), made(5, true));
    assert_eq!(book.create(6, "orders", 16), made(5, false));
    assert_eq!(code(book.create(6, "orders", 8)), "SH0302");
    assert_eq!(code(book.create(6, "../x", 8)), "SH0002");
    assert_eq!(code(book.create(6, "none", 0)), "SH0001");
    assert_eq!(code(book.create(5, "other", 1)), "SH0302");
}

#[test]
fn a_pipeline_brings_its_streams_and_views_placed_by_stage() {
    let mut book = Book::founded();
    assert_eq!(book.change(Change::Register(registration(1, 9))), Changed::Done { index: 2 });
    let now = book.now();
    let totals = now.stream("totals").expect("made");
    assert_eq!((totals.placement, totals.partitions), (placed(1).0, 8));
    assert_eq!(totals.written_by, Some(placed(1)));
    assert!(now.stream("wc.count.dead").is_some() && now.stream("words").is_some());
    assert_eq!(now.views["counts"].stage, placed(1));
    let again = Registration { stages: registration(2, 9).stages, ..registration(1, 9) };
    assert_eq!(book.change(Change::Register(again)), Changed::Done { index: 2 }, "once");
    assert_eq!(code(book.change(Change::Register(registration(1, 8)))), "SH0302");
    assert_eq!(code(book.create(7, "totals", 8)), "SH0302", "clients may not write it");
}

#[test]
fn a_stage_has_its_shards_where_its_first_source_has_them() {
    let mut book = Book::founded();
    book.create(7 << 64 | 8, "words", 16);
    let mut chain = registration(1, 9);
    let mut second = registration(2, 9).stages.remove(0);
    (second.name, second.view, second.output) = ("sum".into(), None, None);
    second.sources = vec![("totals".into(), StreamId(60), 8)];
    chain.stages.push(second);
    assert!(matches!(book.change(Change::Register(chain)), Changed::Done { .. }));
    let now = book.now();
    let [first, second] = &now.pipelines["wc"].stages[..] else { panic!("two stages") };
    assert_ne!(first.id, second.id);
    let shard = |placement: u128, bucket: u32| model::hash::shard_of(placement, bucket, 64);
    for bucket in 0..8 {
        let words = shard(now.stream("words").expect("made").placement, bucket);
        let totals = shard(now.stream("totals").expect("made").placement, bucket);
        assert_eq!([shard(first.id.0, bucket), totals], [words; 2]);
        assert_eq!(shard(second.id.0, bucket), words, "what reads a stage lies beside it");
    }
}

#[test]
fn a_later_version_runs_when_all_that_hold_the_running_one_hold_it() {
    let mut book = Book::founded();
    book.join(peer(1, 1, &[("wc", 1, 9)]));
    book.join(peer(2, 1, &[("wc", 1, 9)]));
    book.join(peer(3, 1, &[]));
    book.change(Change::Register(registration(1, 9)));
    book.join(peer(1, 2, &[("wc", 2, 9)]));
    book.change(Change::Register(registration(2, 9)));
    assert_eq!(
        (book.now().pipelines["wc"].version, book.now().pipelines["wc"].next),
        (1, Some((2, 9)))
    );
    book.join(peer(2, 2, &[("wc", 2, 9)]));
    assert_eq!((book.now().pipelines["wc"].version, book.now().pipelines["wc"].next), (2, None));
    assert_eq!(book.now().pipelines["wc"].stages[0].id, placed(1), "the stage keeps its id");
    let index = book.now().index;
    assert_eq!(book.change(Change::Register(registration(1, 9))), Changed::Done { index });
}

#[test]
fn a_later_version_of_another_shape_is_installed_by_its_registration() {
    let mut book = Book::founded();
    book.join(peer(1, 1, &[("wc", 1, 9)]));
    book.change(Change::Register(registration(1, 9)));
    book.change(Change::Register(registration(2, 10)));
    book.join(peer(1, 2, &[("wc", 2, 10)]));
    assert_eq!(book.now().pipelines["wc"].version, 1, "its shape is not known yet");
    book.change(Change::Register(registration(2, 10)));
    assert_eq!(book.now().pipelines["wc"].version, 2);
    let mut wider = registration(3, 11);
    wider.stages[0].buckets = 16;
    assert_eq!(code(book.change(Change::Register(wider))), "SH0302");
}

#[test]
fn a_paused_pipeline_stays_paused_until_it_is_resumed_and_each_resume_is_a_new_round() {
    let mut book = Book::founded();
    book.join(peer(1, 1, &[("wc", 1, 9)]));
    let pause = |paused| Change::Pause { pipeline: "wc".into(), paused };
    assert_eq!(code(book.change(pause(true))), "SH0304", "nobody has registered it");
    book.change(Change::Register(registration(1, 9)));
    let Changed::Done { index } = book.change(pause(true)) else { panic!("it is there") };
    assert_eq!(book.change(pause(true)), Changed::Done { index }, "once");
    book.join(peer(1, 2, &[("wc", 2, 10)]));
    book.change(Change::Register(registration(2, 10)));
    let now = |book: &Book| {
        let pipeline = &book.now().pipelines["wc"];
        (pipeline.version, pipeline.paused, pipeline.round)
    };
    assert_eq!(now(&book), (2, true, 0), "a new version does not start it");
    book.change(pause(false));
    assert_eq!(now(&book), (2, false, 1));
    book.change(pause(false));
    assert_eq!(now(&book), (2, false, 2), "parked tasks begin again, too");
}

fn delete(book: &Book) -> Change {
    let stages = book.now().pipelines["wc"].stages.iter().map(|stage| stage.id).collect();
    Change::DeletePipeline { pipeline: "wc".into(), stages }
}

#[test]
fn a_deleted_pipeline_leaves_what_it_read_and_the_next_of_its_name_begins_anew() {
    let mut book = Book::founded();
    book.change(Change::Register(registration(1, 9)));
    let gone = delete(&book);
    assert_eq!(book.change(gone.clone()), Changed::Done { index: 3 });
    let now = book.now();
    assert!(now.pipelines.is_empty() && now.views.is_empty() && now.needed_stages().is_empty());
    let left: Vec<&str> = now.stream_names.keys().map(String::as_str).collect();
    assert_eq!((left, now.streams.len()), (vec!["words"], 1), "neither output nor dead letters");
    assert_eq!(code(book.change(gone.clone())), "SH0304");
    let mut again = registration(2, 9);
    again.version = 1;
    assert_eq!(book.change(Change::Register(again)), Changed::Done { index: 5 });
    assert_eq!(book.now().pipelines["wc"].stages[0].id, placed(2), "another stage");
    assert_eq!(book.now().views["counts"].stage, placed(2));
    assert_eq!(code(book.change(gone)), "SH0304", "the first delete, said late, takes nothing");
    assert!(book.now().pipelines.contains_key("wc"));
}

#[test]
fn a_pipeline_stays_while_a_peer_has_its_code_or_another_reads_what_it_writes() {
    let mut book = Book::founded();
    book.join(peer(1, 1, &[("wc", 1, 9)]));
    book.change(Change::Register(registration(1, 9)));
    let gone = delete(&book);
    assert_eq!(code(book.change(gone.clone())), "SH0313");
    book.join(peer(1, 2, &[("wc", 7, 1), ("other", 1, 1)]));
    assert_eq!(code(book.change(gone.clone())), "SH0313", "in whatever version");
    book.join(peer(1, 3, &[("other", 1, 1)]));
    let mut reader = registration(5, 1);
    reader.pipeline = "reader".into();
    reader.stages[0].sources = vec![("totals".into(), StreamId(51), 8)];
    (reader.stages[0].output, reader.stages[0].view) = (None, None);
    assert!(matches!(book.change(Change::Register(reader)), Changed::Done { .. }));
    let before = book.now().clone();
    assert_eq!(code(book.change(gone.clone())), "SH0309");
    assert_eq!(*book.now(), before, "what is refused changes nothing");
    let stages = before.pipelines["reader"].stages.iter().map(|stage| stage.id).collect();
    let other = Change::DeletePipeline { pipeline: "reader".into(), stages };
    assert!(matches!(book.change(other), Changed::Done { .. }));
    assert!(matches!(book.change(gone), Changed::Done { .. }));
}

#[test]
fn names_that_others_own_are_refused() {
    let mut book = Book::founded();
    assert!(matches!(book.create(1, "totals", 8), Changed::Stream { .. }));
    assert_eq!(code(book.change(Change::Register(registration(1, 9)))), "SH0302");
    let mut twice = registration(1, 9);
    twice.stages[0].output = None;
    let second = StageSpec { name: "more".into(), id: StageId(7), ..twice.stages[0].clone() };
    twice.stages.push(second);
    assert_eq!(code(book.change(Change::Register(twice))), "SH0302", "two stages, one view");
}

#[test]
fn a_stream_is_set_by_who_saw_how_it_was_set() {
    let mut book = Book::founded();
    book.create(7, "rain", 4);
    let usual = Settings::default();
    let week = Settings { retention_ms: Some(604_800_000), ..usual };
    let small = Settings { retention_bytes: Some(1 << 20), ..usual };
    let mut set = |from, to| book.change(Change::Configure { stream: StreamId(7), from, to });
    assert_eq!(set(usual, week), Changed::Done { index: 3 });
    assert_eq!(set(usual, week), Changed::Done { index: 3 }, "it is so already");
    assert_eq!(code(set(usual, small)), "SH0504");
    assert_eq!(set(week, small), Changed::Done { index: 6 });
    assert_eq!(book.now().stream("rain").map(|it| it.settings), Some(small));
    let missing = Change::Configure { stream: StreamId(8), from: usual, to: week };
    assert_eq!(code(book.change(missing)), "SH0301");
}

#[test]
fn streams_grow_and_go_unless_a_pipeline_uses_them() {
    let mut book = Book::founded();
    book.create(7, "rain", 4);
    let grow = |partitions| Change::Grow { stream: StreamId(7), partitions, most: MOST };
    assert_eq!(book.change(grow(6)), Changed::Done { index: 3 });
    assert_eq!(book.change(grow(6)), Changed::Done { index: 3 });
    assert_eq!(code(book.change(grow(5))), "SH0302");
    assert_eq!(code(book.change(grow(PARTITIONS_MAX + 1))), "SH0001");
    assert_eq!(book.now().stream("rain").map(|it| it.partitions), Some(6));
    book.change(Change::Register(registration(1, 9)));
    for used in ["words", "totals"] {
        let id = book.now().stream(used).expect("made with the pipeline").id;
        let grow = Change::Grow { stream: id, partitions: 99, most: MOST };
        assert_eq!(code(book.change(grow)), "SH0309");
        assert_eq!(code(book.change(Change::DeleteStream { stream: id })), "SH0309");
    }
    let gone = Change::DeleteStream { stream: StreamId(7) };
    assert!(matches!(book.change(gone.clone()), Changed::Done { .. }));
    assert_eq!(code(book.change(gone)), "SH0301");
    assert!(book.now().stream("rain").is_none());
    assert_eq!(book.create(8, "rain", 1), Changed::Stream { id: StreamId(8), created: true });
}

#[test]
fn a_mesh_has_a_bounded_number_of_streams() {
    let mut book = Book::founded();
    for id in 0..STREAMS_MAX as u128 {
        book.create(id, &format!("s{id}"), 1);
    }
    assert_eq!(code(book.create(1 << 64, "more", 1)), "SH0503");
}
