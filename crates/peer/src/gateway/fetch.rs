//! Fetches: stored batches as they are, or a wait until there are some.

use super::room::Room;
use super::{Door, Located};
use crate::limits;
use bytes::Bytes;
use door::kafka::{Fetch, FetchPart, Fetched, FetchedPart, KafkaError, Which};
use model::Batch;
use model::catalogue::{Catalogue, Stream};
use model::transaction::Aborted;
use replica::Partition;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The longest a client may wait, whatever it asks for.
pub(super) const WAIT: Duration = Duration::from_secs(60);

impl Door {
    pub(super) async fn fetch(&self, ask: Fetch, room: &Room) -> Vec<FetchedPart> {
        let wait = Duration::from_millis(u64::from(ask.max_wait_ms)).min(WAIT);
        let until = Instant::now() + wait;
        let beyond = self.beyond(&ask).await;
        loop {
            let news = self.news(&ask);
            let (parts, bytes, refused) = self.look(&ask, &beyond);
            let left = until.saturating_duration_since(Instant::now());
            let enough = bytes >= ask.min_bytes as usize || refused || left.is_zero();
            if enough || self.board().stopping() {
                // As stored, and as it is encoded.
                if room.try_take(2 * bytes) || self.board().stopping() {
                    self.count(&parts);
                    return parts;
                }
                // Nothing is held while others take theirs; then it is read once more.
                drop(parts);
                if !room.take(2 * bytes).await {
                    let refuse = |part: FetchPart| part.refuse(KafkaError::NotLeader);
                    return ask.parts.into_iter().map(refuse).collect();
                }
                let parts = self.look(&ask, &beyond).0;
                self.count(&parts);
                return parts;
            }
            // News or the end of the wait: the next look decides.
            let _ = tokio::time::timeout(left, news).await;
        }
    }

    /// Refuses parts whose offset lies behind the end that is known here. A consumer that is told "out of range" begins
    /// elsewhere, and who was deposed and has not heard of it knows an old end: so this is said only of an end that a
    /// barrier has shown to be the present one.
    async fn beyond(&self, ask: &Fetch) -> BTreeMap<usize, KafkaError> {
        let mut refused = BTreeMap::new();
        for (at, part) in ask.parts.iter().enumerate() {
            let Ok(located) = self.lead_to(part) else { continue };
            if part.offset <= self.board().mark(located.partition).unwrap_or_default().next {
                continue;
            }
            let kept = self.partition(located.shard, located.partition).await;
            let is_beyond =
                |kept: Option<Partition>| part.offset > kept.unwrap_or_default().next_offset;
            if kept.is_ok_and(is_beyond) {
                refused.insert(at, KafkaError::OutOfRange);
            }
        }
        refused
    }

    /// Ready when one of the streams is applied further; listens from this call on.
    fn news(&self, ask: &Fetch) -> impl Future<Output = ()> + use<> {
        let catalogue = self.board().catalogue();
        let streams: Vec<_> =
            ask.parts.iter().filter_map(|p| Some(known(&catalogue, &p.stream)?.id)).collect();
        self.board().news(&streams)
    }

    fn count(&self, parts: &[FetchedPart]) {
        let given = parts.iter().filter_map(|part| part.result.as_ref().ok());
        let (mut events, mut bytes) = (0, 0);
        for batch in given.flat_map(|fetched| &fetched.batches) {
            bytes += batch.len() as u64;
            // These bytes are a batch's own: they were one a moment ago.
            let count = Batch::trusted(batch.clone()).map_or(0, |batch| batch.count());
            events += u64::try_from(count).unwrap_or(0);
        }
        self.board().meter.given(events, bytes);
    }

    fn look(
        &self,
        ask: &Fetch,
        beyond: &BTreeMap<usize, KafkaError>,
    ) -> (Vec<FetchedPart>, usize, bool) {
        let mut left = (ask.max_bytes as usize).min(limits::CONNECTION_BYTES);
        let mut total = 0;
        let mut refused = false;
        let mut parts = Vec::with_capacity(ask.parts.len());
        for (at, part) in ask.parts.iter().enumerate() {
            let result = match beyond.get(&at) {
                Some(refused) => Err(*refused),
                None => self.look_at(part, ask.committed, left, total == 0),
            };
            match &result {
                Ok(fetched) => {
                    let bytes: usize = fetched.batches.iter().map(Bytes::len).sum();
                    total += bytes;
                    left = left.saturating_sub(bytes);
                }
                Err(_) => refused = true,
            }
            parts.push(FetchedPart {
                stream: part.stream.clone(),
                partition: part.partition,
                result,
            });
        }
        (parts, total, refused)
    }

    fn look_at(
        &self,
        part: &FetchPart,
        committed: bool,
        left: usize,
        first: bool,
    ) -> Result<Fetched, KafkaError> {
        let located = self.lead_to(part)?;
        let mark = self.board().mark(located.partition).unwrap_or_default();
        if part.offset < mark.start {
            return Err(KafkaError::OutOfRange);
        }
        if part.offset > mark.next {
            // Not beyond the end, but beyond what is known of it here.
            return Err(KafkaError::NotLeader);
        }
        let bytes_max = left.min(part.max_bytes as usize);
        let (mut batches, mut next) = (Vec::new(), part.offset);
        let end = if committed { mark.stable } else { mark.next };
        if part.offset < end && (bytes_max > 0 || first) {
            let read = self.segments.read(located.partition, part.offset, end, bytes_max);
            let read = self.board().witness(located.partition, read).map_err(|error| {
                tracing::error!(partition = ?located.partition, %error, "events cannot be read");
                KafkaError::StorageError
            })?;
            // Only the first batch of an answer may be larger than its limit.
            let fits = first || read.first().is_some_and(|batch| batch.size() <= bytes_max);
            if fits {
                next = read.last().map_or(part.offset, Batch::next_offset);
                batches = read.iter().map(|batch| batch.bytes().clone()).collect();
            }
        }
        let aborted = self.board().aborted(located.partition).filter(|_| committed);
        let among = |it: &&Aborted| it.last >= part.offset && it.first < next;
        let aborted = aborted.map(|all| all.iter().filter(among).copied().collect());
        let (high, stable, start) = (mark.next, mark.stable, mark.start);
        Ok(Fetched { high, stable, start, aborted: aborted.unwrap_or_default(), batches })
    }

    /// The partition that is to be fetched, if it is led here.
    fn lead_to(&self, part: &FetchPart) -> Result<Located, KafkaError> {
        let catalogue = self.board().catalogue();
        let unknown = match part.stream {
            Which::Name(_) => KafkaError::UnknownStream,
            Which::Id(_) => KafkaError::UnknownStreamId,
        };
        let stream = known(&catalogue, &part.stream).ok_or(unknown)?;
        self.lead(stream, part.partition, part.epoch)
    }

    /// A partition that is led here, if the client's epoch is the present one.
    pub(super) fn lead_of(
        &self,
        stream: &str,
        partition: i32,
        epoch: Option<i32>,
    ) -> Result<Located, KafkaError> {
        let catalogue = self.board().catalogue();
        let stream = catalogue.stream(stream).ok_or(KafkaError::UnknownStream)?;
        self.lead(stream, partition, epoch)
    }

    fn lead(
        &self,
        stream: &Stream,
        partition: i32,
        epoch: Option<i32>,
    ) -> Result<Located, KafkaError> {
        let located = self.locate(stream, partition).ok_or(KafkaError::UnknownStream)?;
        if !self.board().leading(located.shard) {
            return Err(KafkaError::NotLeader);
        }
        let term = self.board().term(located.shard) as i32;
        match epoch {
            Some(epoch) if epoch < term => Err(KafkaError::FencedEpoch),
            Some(epoch) if epoch > term => Err(KafkaError::UnknownEpoch),
            _ => Ok(located),
        }
    }
}

pub(super) fn known<'a>(catalogue: &'a Catalogue, stream: &Which) -> Option<&'a Stream> {
    match stream {
        Which::Name(name) => catalogue.stream(name),
        Which::Id(id) => catalogue.streams.get(id),
    }
}
