//! Nexmark: queries over the auctions of an imaginary house, each as a pipeline stage or two.
//!
//! `cargo run -p examples --example nexmark -- start --new` is a peer that runs them. Persons,
//! auctions and bids come in one stream, `nexmark`, as the `nexmark` crate's generator makes them,
//! in JSON. `oracle.py` says what each must answer, `cargo test -p testnet --test nexmark` asks.

mod events;
mod model;
mod processors;
#[cfg(test)]
mod tests;

pub use events::{PARTITIONS, last_of, made, mixed};
pub use model::{Any, Auction, Bid, Person, Timed, Won};

use processors::{Clocked, Winner};
use serde::{Deserialize, Serialize};
use shoal::prelude::*;
use std::time::Duration;

/// How much later an earlier event may come.
const OUT_OF_ORDER: Duration = Duration::from_secs(10);
/// A partition that stands still for a while holds windows open: nothing may be late because a peer died.
const QUIET: Duration = Duration::from_secs(3_600);
/// Longer than any auction: what may meet at any time.
const EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn all(mesh: &Mesh) -> Flow<Any> {
    let events = mesh.clone().pipeline("nexmark").read_with("nexmark", PARTITIONS).json::<Any>();
    events.event_time(Any::date_time, OUT_OF_ORDER).idle_after(QUIET)
}

fn bids(mesh: &Mesh) -> Flow<Bid> {
    all(mesh).flat_map(|any| if let Any::Bid(bid) = any { Some(bid.clone()) } else { None })
}

fn auctions(mesh: &Mesh) -> Flow<Auction> {
    all(mesh).flat_map(|any| if let Any::Auction(of) = any { Some(of.clone()) } else { None })
}

fn persons(mesh: &Mesh) -> Flow<Person> {
    all(mesh).flat_map(|any| if let Any::Person(of) = any { Some(of.clone()) } else { None })
}

/// All of them, as one pipeline.
pub fn queries(mesh: &mut Mesh) {
    events(mesh);
    joins(mesh);
    winners(mesh);
    windows(mesh);
    bidders(mesh);
    channels(mesh);
}

fn events(mesh: &mut Mesh) {
    // Q0: as it is. Q1: in euros. Q2: some auctions.
    bids(mesh).key_by(|bid| bid.auction).to("q0");
    bids(mesh)
        .map(|bid| Bid { price: bid.price * 908 / 1_000, ..bid.clone() })
        .key_by(|bid| bid.auction)
        .to("q1");
    let some = bids(mesh).filter(|bid| bid.auction % 123 == 0);
    some.map(|bid| (bid.auction, bid.price)).key_by(|bid| bid.0).to("q2");
}

fn joins(mesh: &mut Mesh) {
    // Q3: who sells in these states and this category.
    let local = persons(mesh).filter(|person| ["or", "id", "ca"].contains(&&*person.state));
    let listed = auctions(mesh).filter(|auction| auction.category == 10);
    let sellers =
        listed.key_by(|auction| auction.seller).join(local.key_by(|p| p.id), Within::of(EVER));
    sellers
        .inner(|auction, person| (person.name.clone(), person.state.clone(), auction.id))
        .to("q3");
    // Q8: who came and sold within the same ten seconds.
    let new = persons(mesh).key_by(|person| person.id);
    let sold = auctions(mesh).key_by(|auction| auction.seller);
    let met = new.join(sold, Within::window(seconds(10)));
    met.inner(|person, auction| (person.id, auction.id)).to("q8");
}

fn winners(mesh: &mut Mesh) {
    all(mesh)
        .flat_map(|any| any.auction().map(|auction| (auction, any.clone())))
        .key_by(|(auction, _)| *auction)
        .process(|| Winner)
        .to("winners");
    // Q4: the mean winning price of a category.
    let won = |mesh: &mut Mesh| mesh.pipeline("nexmark").read("winners").json::<Won>();
    won(mesh).key_by(|won| won.category).mean(|won| won.price as f64).view("q4");
    // Q6: the mean price of a seller's last ten auctions.
    won(mesh).key_by(|won| won.seller).aggregate(Vec::new, last_ten, |last| mean(last)).view("q6");
}

fn windows(mesh: &mut Mesh) {
    // Q5: the auctions with the most bids of the last ten seconds, every two.
    let counts = bids(mesh).key_by(|bid| bid.auction).window(Hopping::of(seconds(10), seconds(2)));
    counts.count().to("bids_of_windows");
    let counts = mesh.pipeline("nexmark").read("bids_of_windows").flat_map(|event| {
        let (auction, start_ms) = event.window()?;
        Some((start_ms, auction.parse::<u64>().ok()?, event.text().parse::<u64>().ok()?))
    });
    counts.key_by(|count| count.0).aggregate(Vec::new, hottest, Vec::clone).view("q5");
    // Q7: the highest bids of ten seconds.
    let windows = bids(mesh).key_by(|_| "all").window(Tumbling::of(seconds(10)));
    windows.aggregate(Vec::new, highest, Vec::clone).buckets(1).view("q7");
}

fn bidders(mesh: &mut Mesh) {
    // Q11: bids of a bidder without ten seconds of silence.
    bids(mesh).key_by(|bid| bid.bidder).window(Session::of(seconds(10))).count().view("q11");
    // Q12: bids of a bidder in ten seconds of processing time; `q12_bids` says which bid came when.
    bids(mesh).key_by(|bid| bid.bidder).process(|| Clocked).view("q12").to("q12_bids");
    // Q17: what an auction's bids were, day by day.
    let days = bids(mesh).key_by(|bid| bid.auction).window(Tumbling::of(seconds(24 * 3_600)));
    days.aggregate(Day::default, Day::add, Day::clone).view("q17");
    // Q18: the last bid of a bidder on an auction.
    bids(mesh)
        .key_by(|bid| (bid.bidder, bid.auction))
        .aggregate(|| None, latest, Option::clone)
        .view("q18");
}

fn channels(mesh: &mut Mesh) {
    // Q16: what came through a channel, day by day; how many different bidders and auctions is estimated.
    let days = |mesh: &Mesh| {
        bids(mesh).key_by(|bid| bid.channel.clone()).window(Tumbling::of(seconds(24 * 3_600)))
    };
    days(mesh).aggregate(Day::default, Day::add, Day::clone).view("q16");
    days(mesh).distinct(|bid| bid.bidder).view("q16_bidders");
    days(mesh).distinct(|bid| bid.auction).view("q16_auctions");
}

fn last_ten(last: &mut Vec<(u64, u64, u64)>, won: &Won) {
    last.push((won.expires, won.auction, won.price));
    last.sort_unstable_by(|one, other| other.cmp(one));
    last.truncate(10);
}

fn mean(last: &[(u64, u64, u64)]) -> f64 {
    last.iter().map(|(_, _, price)| price).sum::<u64>() as f64 / last.len() as f64
}

fn hottest(best: &mut Vec<(u64, u64)>, (_, auction, count): &(i64, u64, u64)) {
    if best.first().is_some_and(|(_, most)| most < count) {
        best.clear();
    }
    if best.first().is_none_or(|(_, most)| most == count) {
        best.push((*auction, *count));
        best.sort_unstable();
    }
}

fn highest(best: &mut Vec<Bid>, bid: &Bid) {
    if best.first().is_some_and(|most| most.price < bid.price) {
        best.clear();
    }
    if best.first().is_none_or(|most| most.price == bid.price) {
        best.push(bid.clone());
        best.sort_unstable();
    }
}

fn latest(last: &mut Option<Bid>, bid: &Bid) {
    if last.as_ref().is_none_or(|last| (last.date_time, last) < (bid.date_time, bid)) {
        *last = Some(bid.clone());
    }
}

/// What Q16 and Q17 ask of the bids of one day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    bids: u64,
    /// Below 10,000, below 1,000,000, and above.
    by_rank: [u64; 3],
    least: Option<u64>,
    most: u64,
    sum: u64,
}

impl Day {
    fn add(&mut self, bid: &Bid) {
        self.bids += 1;
        let rank = usize::from(bid.price >= 10_000) + usize::from(bid.price >= 1_000_000);
        self.by_rank[rank] += 1;
        self.least = Some(self.least.map_or(bid.price, |least| least.min(bid.price)));
        self.most = self.most.max(bid.price);
        self.sum += bid.price;
    }
}
