//! What the generator says, as far as the queries ask for it, and what they say to each other.

use serde::{Deserialize, Serialize};

/// One event of the stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Any {
    Person(Person),
    Auction(Auction),
    Bid(Bid),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Person {
    pub id: u64,
    pub name: String,
    pub state: String,
    pub date_time: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Auction {
    pub id: u64,
    pub seller: u64,
    pub category: u64,
    pub date_time: u64,
    pub expires: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bid {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub channel: String,
    pub date_time: u64,
}

/// An auction that is over and had bids.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Won {
    pub auction: u64,
    pub seller: u64,
    pub category: u64,
    pub expires: u64,
    pub price: u64,
}

/// A bid, and the start of the ten seconds of processing time in which it was counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timed {
    pub start_ms: i64,
    pub bid: Bid,
}

impl Any {
    pub fn date_time(&self) -> i64 {
        let (Self::Person(Person { date_time, .. })
        | Self::Auction(Auction { date_time, .. })
        | Self::Bid(Bid { date_time, .. })) = self;
        *date_time as i64
    }

    /// The auction that it is about.
    pub fn auction(&self) -> Option<u64> {
        match self {
            Self::Person(_) => None,
            Self::Auction(auction) => Some(auction.id),
            Self::Bid(bid) => Some(bid.auction),
        }
    }
}
