//! Properties of the ring, over sizes, zones and weights: bounds, spread, movement.

use model::{PeerId, ShardId};
use proptest::prelude::*;
use ring::{Ring, Seat, plan};

/// Peers in `zones` zones in turn; `first` makes one ring differ from the next.
fn seats(first: i32, peers: i32, zones: i32, weights: &[u32]) -> Vec<Seat> {
    let seat = |i: i32| Seat {
        peer: PeerId(first + i),
        zone: format!("z{}", i % zones),
        weight: weights[i as usize % weights.len()],
    };
    (0..peers).map(seat).collect()
}

fn shards_for(peers: i32) -> u16 {
    (16 * peers.clamp(4, 4_000)) as u16
}

/// R1 to R4.
fn check(seats: &[Seat], shards: u16, replication: u8) -> Ring {
    let ring = Ring::new(seats, shards, replication);
    let able: Vec<&Seat> = seats.iter().filter(|seat| seat.weight > 0).collect();
    let mut zones: Vec<&str> = able.iter().map(|seat| seat.zone.as_str()).collect();
    zones.sort_unstable();
    zones.dedup();
    for (shard, set) in ring.targets() {
        let catalogue = shard == ShardId(0) && replication >= 3 && able.len() >= 5;
        let wanted = if catalogue { 5 } else { usize::from(replication).min(able.len()) };
        assert_eq!(set.len(), wanted, "{shard} has its copies");
        let mut peers = set.to_vec();
        peers.sort_unstable();
        peers.dedup();
        assert_eq!(peers.len(), wanted, "{shard} has them on distinct peers");
        let zone = |peer: &PeerId| able.iter().find(|s| s.peer == *peer).map(|s| &s.zone);
        let mut used: Vec<_> = set.iter().map(zone).collect();
        assert!(used.iter().all(Option::is_some), "{shard} lies on seats with weight");
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), wanted.min(zones.len()), "{shard} uses the zones there are");
    }
    for seat in seats {
        let (holds, owns) = ring.load(seat.peer);
        let share = ring.share(seat.peer);
        assert!(holds <= share.replicas_max(), "{:?} holds {holds} of {share:?}", seat.peer);
        assert!(owns <= share.owned_max(), "{:?} owns {owns} of {share:?}", seat.peer);
    }
    ring
}

/// Where neither a zone nor a peer can be full, the share is the weight's part of all replicas.
fn check_plain_share(ring: &Ring, seats: &[Seat]) {
    let total: usize = ring.targets().map(|(_, set)| set.len()).sum();
    let weights: u64 = seats.iter().map(|seat| u64::from(seat.weight)).sum();
    for seat in seats {
        let exact = total as u64 * 1_000_000 * u64::from(seat.weight) / weights;
        assert!(ring.share(seat.peer).replicas_micro.abs_diff(exact) <= 1);
    }
}

#[test]
fn even_meshes_of_all_sizes_keep_the_bounds() {
    for peers in (3..=20).chain([33, 50, 64, 100, 150, 200]) {
        for zones in [1, 3, 5] {
            let seats = seats(1, peers, zones, &[100]);
            let ring = check(&seats, shards_for(peers), 3);
            if peers % zones == 0 {
                check_plain_share(&ring, &seats);
            }
        }
    }
}

#[test]
fn the_order_of_the_seats_does_not_matter() {
    let mut seats = seats(1, 9, 3, &[100, 50, 300]);
    let ring = Ring::new(&seats, 144, 3);
    seats.reverse();
    assert_eq!(ring, Ring::new(&seats, 144, 3));
}

/// The ring is part of the format: a change of it moves every mesh's shards on upgrade.
#[test]
fn a_known_ring_stays_as_it_is() {
    let ring = Ring::new(&seats(1, 5, 1, &[100]), 8, 3);
    let shown: Vec<String> = ring.targets().map(|(s, set)| format!("{s} {set:?}")).collect();
    assert_eq!(shown.join("\n"), KNOWN);
}
const KNOWN: &str = "s0 [p1, p4, p3, p2, p5]\ns1 [p3, p4, p2]\ns2 [p4, p1, p5]\ns3 [p2, p3, p5]
s4 [p2, p1, p5]\ns5 [p1, p2, p5]\ns6 [p5, p2, p3]\ns7 [p4, p5, p1]";

/// Moves from n to n + 1 peers over 100 rings: (average, most) in parts of the newcomer's fair share, and leads.
fn movement(peers: i32, zones: i32, weights: &[u32]) -> (f64, f64, f64) {
    let (mut sum, mut most, mut leads) = (0.0, 0.0f64, 0.0);
    let shards = shards_for(peers);
    for ring in 0..100 {
        let after = seats(1 + ring * 1_000, peers + 1, zones, weights);
        let before = &after[..after.len() - 1];
        let (old, new) = (Ring::new(before, shards, 3), Ring::new(&after, shards, 3));
        let plan = plan(&old, &new);
        let newcomer = new.share(after[after.len() - 1].peer);
        let fair = newcomer.replicas_micro as f64 / 1e6;
        let moves = plan.moves() as f64;
        assert!(moves <= 2.0 * fair + 2.0, "{moves} moves for a share of {fair} ({peers} + 1)");
        sum += moves / fair;
        most = most.max(moves / fair);
        leads += plan.leads.len() as f64 * 1e6 / newcomer.owned_micro as f64;
    }
    (sum / 100.0, most, leads / 100.0)
}

#[test]
fn a_newcomer_moves_little_more_than_its_share() {
    println!(
        "peers zones weights: average and most moves, leads, in parts of the newcomer's share"
    );
    for peers in [3, 4, 5, 6, 7, 9, 12, 16, 24, 40, 80, 200] {
        for (zones, weights) in [(1, &[100][..]), (3, &[100]), (5, &[100]), (1, &[100, 50, 200])] {
            if zones > 1 && peers < 2 * zones {
                continue;
            }
            let (average, most, leads) = movement(peers, zones, weights);
            println!("{peers:5} {zones:5} {weights:?}: {average:.3} {most:.3} {leads:.2}");
            assert!(average <= 1.3, "{peers} {zones} {weights:?}: {average}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_mesh_keeps_the_bounds(
        first in 1..100_000i32,
        peers in 1..200i32,
        zones in 1..8i32,
        replication in 1..6u8,
        weights in prop::collection::vec(0..400u32, 1..12),
    ) {
        check(&seats(first, peers, zones, &weights), shards_for(peers), replication);
    }

    #[test]
    fn lopsided_zones_keep_the_bounds(
        zones in prop::collection::vec(1..12i32, 1..5),
        shards in prop::sample::select(vec![1u16, 8, 64, 256]),
    ) {
        let mut seats = Vec::new();
        for (zone, peers) in zones.iter().enumerate() {
            for _ in 0..*peers {
                let peer = PeerId(seats.len() as i32 + 1);
                seats.push(Seat { peer, zone: format!("z{zone}"), weight: 100 });
            }
        }
        check(&seats, shards, 3);
    }
}
