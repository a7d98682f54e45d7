//! The decision, told as what each peer of a list has heard; and all orders of a small world.

use super::*;

const START: u64 = 7;

fn waits(list: &[&str], first: Option<u64>) -> Heard {
    let list = list.iter().map(|at| (*at).to_owned()).collect();
    Heard::Waits(Waiting { list, start: 1, first })
}

fn decided(heard: &[(&str, Heard)]) -> Decision {
    let heard: Vec<_> = heard.iter().map(|(at, it)| ((*at).to_owned(), it.clone())).collect();
    decide(START, &heard)
}

fn reason(heard: &[(&str, Heard)]) -> String {
    match decided(heard) {
        Decision::Wait(why) => why,
        other => panic!("{other:?}"),
    }
}

fn silent(at: &str) -> Heard {
    Heard::Nothing(format!("{at} refused the connection"))
}

#[test]
fn the_first_of_the_list_founds_when_all_others_wait_with_it() {
    let list = ["a", "b", "c"];
    let other = || waits(&list, Some(START));
    assert_eq!(decided(&[("a", Heard::Own), ("b", other()), ("c", other())]), Decision::Found);
    let turned = waits(&["a", "c", "b"], Some(START));
    assert_eq!(
        decided(&[("a", Heard::Own), ("b", other()), ("c", turned)]),
        Decision::Found,
        "only the first one's place counts"
    );
    let why = reason(&[("a", other()), ("b", Heard::Own), ("c", other())]);
    assert!(why.contains("a to found it"), "{why}");
    let why = reason(&[("a", other()), ("b", other()), ("c", other())]);
    assert!(
        why.contains("a to found it"),
        "a peer that the list does not name never founds: {why}"
    );
}

#[test]
fn nobody_founds_while_somebody_is_silent() {
    let list = ["a", "b", "c"];
    let why = reason(&[("a", Heard::Own), ("b", waits(&list, Some(START))), ("c", silent("c"))]);
    assert!(why.contains("must answer") && why.contains("c refused"), "{why}");
}

#[test]
fn a_mesh_is_joined_wherever_it_answers() {
    let mesh = || Heard::Mesh(MeshId(5));
    let through = |all: &[&str]| Decision::Join(all.iter().map(|at| (*at).to_owned()).collect());
    assert_eq!(decided(&[("a", Heard::Own), ("b", silent("b")), ("c", mesh())]), through(&["c"]));
    let other = waits(&["x"], None);
    assert_eq!(decided(&[("a", mesh()), ("b", Heard::Own), ("c", other)]), through(&["a"]));
    let why = reason(&[("a", mesh()), ("b", Heard::Mesh(MeshId(6))), ("c", Heard::Own)]);
    assert!(why.contains("a and b answer as different meshes"), "{why}");
}

#[test]
fn other_lists_are_told_with_both() {
    for list in [&["b", "a", "c"][..], &["a", "b"], &["a", "b", "c", "d"], &[]] {
        let why = reason(&[
            ("a", Heard::Own),
            ("b", waits(list, Some(START))),
            ("c", waits(&["a", "b", "c"], Some(START))),
        ]);
        assert!(why.contains("b was started with another list"), "{why}");
        assert!(why.contains("`a b c`") && why.contains(&format!("`{}`", list.join(" "))), "{why}");
    }
}

#[test]
fn an_address_that_means_another_peer_elsewhere_founds_nothing() {
    let list = ["localhost:7946", "b"];
    let why = reason(&[("localhost:7946", Heard::Own), ("b", waits(&list, Some(8)))]);
    assert!(why.contains("b finds another peer than this one at localhost:7946"), "{why}");
    let why = reason(&[("localhost:7946", Heard::Own), ("b", waits(&list, None))]);
    assert!(why.contains("b to find this peer"), "{why}");
    let why = reason(&[("a", Heard::Own), ("b", Heard::Own), ("c", Heard::Own)]);
    assert!(why.contains("a and b and c are this peer itself"), "{why}");
    let why = reason(&[("a", Heard::Own)]);
    assert!(why.contains("names this peer alone"), "{why}");
}

#[test]
fn a_list_beyond_its_bounds_does_not_arrive() {
    let arrive = |list: Vec<String>| Waiting::try_from(Unchecked { list, start: 1, first: None });
    assert!(arrive(vec!["a:1".to_owned(); limits::FOUNDING_LIST_MAX]).is_ok());
    assert!(arrive(vec!["a:1".to_owned(); limits::FOUNDING_LIST_MAX + 1]).is_err());
    assert!(arrive(vec!["a".repeat(limits::ADDRESS_BYTES_MAX + 1)]).is_err());
}

/// A peer of the small world: its list, which start of it this is, and what it has heard in this start.
#[derive(Clone)]
struct Peer {
    list: Vec<usize>,
    start: u64,
    heard: Vec<Option<Waiting>>,
    founded: bool,
}

impl Peer {
    fn begin(list: &[usize], start: u64) -> Self {
        Self { list: list.to_vec(), start, heard: vec![None; 3], founded: false }
    }

    fn says(&self, me: usize) -> Waiting {
        let list = self.list.iter().map(usize::to_string).collect();
        let first = self.list[0];
        let seen = if first == me {
            Some(self.start)
        } else {
            self.heard[first].as_ref().map(|it| it.start)
        };
        Waiting { list, start: self.start, first: seen }
    }
}

/// Peers ask in any order, are started again in between, with the same list or one in another order, and what they
/// have heard grows old: never do two found.
#[test]
fn of_any_order_of_questions_and_starts_never_two_found() {
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut throw = |below: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % below
    };
    let orders = [[0, 1, 2], [1, 0, 2], [2, 1, 0]];
    let mut founded_at_all = 0;
    for _ in 0..20_000 {
        let mut starts = 3;
        let mut peers: Vec<Peer> = (0..3).map(|at| Peer::begin(&orders[0], at)).collect();
        for _ in 0..60 {
            let me = throw(3);
            match throw(12) {
                0 if !peers[me].founded => {
                    starts += 1;
                    peers[me] =
                        Peer::begin(&orders[if throw(2) == 0 { throw(3) } else { 0 }], starts);
                }
                _ if !peers[me].founded => {
                    let other = throw(3);
                    if other != me && !peers[other].founded {
                        peers[me].heard[other] = Some(peers[other].says(other));
                    }
                }
                _ => {}
            }
            let peer = &peers[me];
            let heard: Vec<(String, Heard)> = peer
                .list
                .iter()
                .map(|at| {
                    let heard = match &peer.heard[*at] {
                        _ if *at == me => Heard::Own,
                        Some(waiting) => Heard::Waits(waiting.clone()),
                        None => Heard::Nothing(format!("{at} is silent")),
                    };
                    (at.to_string(), heard)
                })
                .collect();
            peers[me].founded |= decide(peer.start, &heard) == Decision::Found;
        }
        let founded = peers.iter().filter(|peer| peer.founded).count();
        assert!(founded <= 1, "{founded} have founded");
        founded_at_all += founded;
    }
    assert!(founded_at_all > 5_000, "{founded_at_all}");
}
