//! Prints how gossip and placement grow with the number of peers: the table of `tests/README.md`.
//!
//! `cargo run --release -p tests --bin scale [PEERS…]`; 10, 100, 1,000 and 10,000 when nobody says otherwise.

use tests::scale::{gossip, placement};

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let counts = if asked.is_empty() { vec![10, 100, 1_000, 10_000] } else { asked };
    println!(
        "| peers | shards | moves a join | a share | most replicas | most led | ring | quiet | joined | gone: first | gone: all |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for count in counts {
        let joins = (10_000 / count).clamp(1, 100);
        let at = placement(count, joins);
        let told = match gossip(count, 1) {
            Ok(it) => format!(
                "{:.0} B/s | {:.1} s, {:.0} rounds | {:.1} s | {:.1} s",
                it.quiet_bytes, it.joined_s, it.joined_rounds, it.gone_first_s, it.gone_all_s
            ),
            Err(why) => format!("{why} | | |"),
        };
        println!(
            "| {count} | {} | {:.1} | {:.1} | {:.2} × | {:.2} × | {:.1} ms | {told} |",
            at.shards, at.moves, at.share, at.most_replicas, at.most_led, at.ms
        );
    }
}
