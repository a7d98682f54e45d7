//! The two queries that a plain aggregate does not answer: who won an auction, and windows of processing time.

use super::model::{Any, Auction, Bid, Timed, Won};
use shoal::prelude::*;
use shoal::row_key_of_window;

/// Waits for the end of each auction and says who sold it, and at which price.
pub(super) struct Winner;

static AUCTION: Value<Auction> = Value::new("auction");
static BIDS: List<(i64, u64)> = List::new("bids");

impl Processor<(u64, Any)> for Winner {
    fn process(&mut self, event: &(u64, Any), ctx: &mut Context) -> Result<(), Failure> {
        match &event.1 {
            Any::Auction(auction) => {
                ctx.value(&AUCTION).put(auction)?;
                ctx.set_timer(auction.expires as i64 + 1)
            }
            Any::Bid(bid) => {
                let at_ms = bid.date_time as i64;
                match ctx.value(&AUCTION).get()? {
                    Some(_) => {}
                    // The auction may still come; if not until then, it did not begin before the bid.
                    None => ctx.set_timer(at_ms + 1)?,
                }
                ctx.list(&BIDS).push(&(at_ms, bid.price))
            }
            Any::Person(_) => Ok(()),
        }
    }

    fn on_timer(&mut self, at_ms: i64, ctx: &mut Context) -> Result<(), Failure> {
        let Some(auction) = ctx.value(&AUCTION).get()? else {
            let younger = ctx.list(&BIDS).get()?.into_iter().filter(|(at, _)| *at >= at_ms);
            let younger: Vec<(i64, u64)> = younger.collect();
            ctx.list(&BIDS).remove()?;
            return younger.iter().try_for_each(|bid| ctx.list(&BIDS).push(bid));
        };
        if at_ms <= auction.expires as i64 {
            return Ok(());
        }
        let open = auction.date_time as i64..=auction.expires as i64;
        let bids = ctx.list(&BIDS).get()?;
        let price = bids.iter().filter(|(at, _)| open.contains(at)).map(|(_, price)| *price).max();
        ctx.value(&AUCTION).remove()?;
        ctx.list(&BIDS).remove()?;
        let Some(price) = price else { return Ok(()) };
        let Auction { id, seller, category, expires, .. } = auction;
        ctx.emit(category, &Won { auction: id, seller, category, expires, price })
    }

    fn states(&self) -> Vec<&'static dyn Declared> {
        vec![&AUCTION, &BIDS]
    }
}

/// Counts a bidder's bids by the ten seconds in which they are computed, and says of each bid which these were.
pub(super) struct Clocked;

impl Processor<Bid> for Clocked {
    fn process(&mut self, bid: &Bid, ctx: &mut Context) -> Result<(), Failure> {
        let start_ms = ctx.now_ms() - ctx.now_ms().rem_euclid(10_000);
        let key = row_key_of_window(ctx.key(), start_ms);
        let bids = ctx.row(&key).get::<u64>()?.unwrap_or(0) + 1;
        ctx.row(&key).put(&bids)?;
        ctx.emit(bid.bidder, &Timed { start_ms, bid: bid.clone() })
    }
}
