//! Small histories for the checkers' own tests, true until a test spoils them.

use crate::history::{Append, Emitted, History, Id, Look, Outcome, Row, Seen};

/// A history that is told step by step.
pub struct Story {
    pub history: History,
    time: u64,
}

impl Story {
    pub fn new() -> Self {
        Self { history: History::default(), time: 0 }
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    fn tick(&mut self) -> u64 {
        self.time += 10;
        self.time
    }

    /// Client 1 appends event `number` of `key`, and it is acknowledged at that place.
    pub fn acked(&mut self, number: u32, key: u32, partition: u32, offset: i64) -> &mut Self {
        self.append(number, key, Outcome::Acked, Some((partition, offset)))
    }

    pub fn append(
        &mut self,
        number: u32,
        key: u32,
        outcome: Outcome,
        place: Option<(u32, i64)>,
    ) -> &mut Self {
        let id = Id { client: 1, number };
        let (called, returned) = (self.tick(), self.tick());
        self.history.appends.push(Append { id, key, called, returned, outcome, place });
        self
    }

    pub fn seen(&self, reader: u16, number: u32, partition: u32, offset: i64) -> Seen {
        let id = Id { client: 1, number };
        Seen { reader, partition, offset, id, key: 7, time_ms: 1000 }
    }

    /// Reader 101 finds at the end what was acknowledged.
    pub fn kept_at_the_end(&mut self) -> &mut Self {
        let kept = self.history.acked().filter_map(|append| {
            let (partition, offset) = append.place?;
            let (id, key) = (append.id, append.key);
            Some(Seen { reader: 101, partition, offset, id, key, time_ms: 1000 })
        });
        let kept: Vec<Seen> = kept.collect();
        self.history.kept.extend(kept);
        self
    }

    pub fn look(&mut self, value: u64, called: u64, returned: u64, linear: bool) -> &mut Self {
        let what = "count k1".to_owned();
        self.history.looks.push(Look { reader: 1, what, value, called, returned, linear });
        self
    }

    pub fn row(&mut self, reader: u16, view: &str, key: &str, value: u64) -> &mut Self {
        let (view, key) = (view.to_owned(), key.to_owned());
        self.history.rows.push(Row { reader, view, key, value });
        self
    }

    pub fn emitted(&mut self, offset: i64, key: u32, nth: u64, number: u32) -> &mut Self {
        let cause = Id { client: 1, number };
        self.history.emitted.push(Emitted { partition: 0, offset, key, nth, cause });
        self
    }
}
