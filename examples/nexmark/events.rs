//! The events: made by the `nexmark` crate's generator, one in twenty out of order.

use super::model::{Any, Auction, Bid, Person};
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;

/// Partitions of the stream.
pub const PARTITIONS: u32 = 4;

/// So many events, 100 a second of their own time, in the order of their times.
pub fn made(events: usize) -> impl Iterator<Item = Any> {
    let config = NexmarkConfig {
        first_rate: 100,
        next_rate: 100,
        base_time: 1_767_225_600_000,
        ..Default::default()
    };
    nexmark::EventGenerator::new(config).take(events).map(Any::from)
}

/// The same, of which one in twenty comes up to five seconds later than it should.
pub fn mixed(events: &[Any]) -> Vec<&Any> {
    let mut order: Vec<(usize, &Any)> = events.iter().enumerate().collect();
    order.sort_by_key(|(n, _)| if n % 20 == 7 { n + 100 + n % 400 } else { *n });
    order.into_iter().map(|(_, event)| event).collect()
}

/// Somebody who comes long after all of `events`: once told in every partition, everything before is over.
pub fn last_of(events: &[Any], partition: u32) -> Any {
    let last_ms = events.last().map_or(0, |event| event.date_time() as u64);
    Any::Person(Person {
        id: 1 << 40 | u64::from(partition),
        name: String::new(),
        state: String::new(),
        date_time: last_ms + 1_000_000_000,
    })
}

impl From<Event> for Any {
    fn from(event: Event) -> Self {
        match event {
            Event::Person(of) => Self::Person(Person {
                id: of.id as u64,
                name: of.name,
                state: of.state,
                date_time: of.date_time,
            }),
            Event::Auction(of) => Self::Auction(Auction {
                id: of.id as u64,
                seller: of.seller as u64,
                category: of.category as u64,
                date_time: of.date_time,
                expires: of.expires,
            }),
            Event::Bid(of) => Self::Bid(Bid {
                auction: of.auction as u64,
                bidder: of.bidder as u64,
                price: of.price as u64,
                channel: of.channel,
                date_time: of.date_time,
            }),
        }
    }
}
