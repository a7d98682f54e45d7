//! Offsets by place and time.

use super::{Door, Located};
use door::kafka::{Found, FoundPart, KafkaError, ListOffsets, OffsetPart, Place};
use futures::future::join_all;
use model::Problem;
use replica::Partition;

impl Door {
    /// The first event of a partition at or after a time, wherever the partition is led; nothing if none is so late.
    ///
    /// # Errors
    /// `SH0501` while nobody leads it, `SH0207` if what is kept of it cannot be read.
    pub async fn at_time(
        &self,
        stream: &str,
        partition: u32,
        time_ms: i64,
    ) -> Result<Option<i64>, Problem> {
        let place = Ok(Place::Time(time_ms));
        let part =
            OffsetPart { stream: stream.into(), partition: partition as i32, epoch: None, place };
        let found = self.list_offsets_any(ListOffsets { committed: true, parts: vec![part] }).await;
        match found.into_iter().next().map(|it| it.result) {
            Some(Ok(found)) => Ok(Some(found.offset).filter(|offset| *offset >= 0)),
            Some(Err(KafkaError::StorageError)) => Err(Problem::new(
                "SH0207",
                format!("times cannot be looked up in partition {partition} of `{stream}`"),
                "its stored events cannot be read",
                "seek to earliest, latest or an offset; shoal health",
            )),
            refused => Err(Problem::new(
                "SH0501",
                format!("times cannot be looked up in partition {partition} of `{stream}`"),
                format!("its leader does not answer: {:?}", refused.and_then(Result::err)),
                "shoal health, then the same again",
            )),
        }
    }

    /// Each behind a barrier: who was deposed and has not heard of it knows an old end.
    pub(super) async fn list_offsets(&self, ask: ListOffsets) -> Vec<FoundPart> {
        let committed = ask.committed;
        join_all(ask.parts.into_iter().map(|part| self.find(part, committed))).await
    }

    async fn find(&self, part: OffsetPart, committed: bool) -> FoundPart {
        let OffsetPart { stream, partition, epoch, place } = part;
        let result = match place.and_then(|it| Ok((it, self.lead_of(&stream, partition, epoch)?))) {
            Ok((place, located)) => self.find_in(located, place, committed).await,
            Err(error) => Err(error),
        };
        FoundPart { stream, partition, result }
    }

    async fn find_in(
        &self,
        located: Located,
        place: Place,
        committed: bool,
    ) -> Result<Found, KafkaError> {
        let kept = self.partition(located.shard, located.partition).await?.unwrap_or_default();
        let door = self.clone();
        // Looking up a time reads segments.
        let work = move || door.find_place(located, &kept, place, committed);
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "an offset could not be looked up");
            Err(KafkaError::Unknown)
        })
    }

    fn find_place(
        &self,
        located: Located,
        kept: &Partition,
        place: Place,
        committed: bool,
    ) -> Result<Found, KafkaError> {
        let end = if committed { kept.stable() } else { kept.next_offset };
        let term = self.board().term(located.shard) as i32;
        // The event there has the epoch in which it was appended; the next one's will be the present.
        let epoch = |offset| if offset < kept.next_offset { kept.epoch_at(offset) } else { term };
        let at = |offset, time_ms| Found { offset, time_ms, epoch: epoch(offset) };
        let time_ms = match place {
            Place::First => return Ok(at(kept.start, -1)),
            Place::Next => return Ok(at(end, -1)),
            Place::MaxTime if kept.next_offset == kept.start => return Ok(Found::NOTHING),
            Place::MaxTime => kept.max_time_ms,
            Place::Time(time_ms) => time_ms,
        };
        let found = self.segments.position_by_time(located.partition, time_ms);
        let found = self.board().witness(located.partition, found).map_err(|error| {
            tracing::error!(partition = ?located.partition, %error, "a time cannot be looked up");
            KafkaError::StorageError
        })?;
        let found = found.filter(|(offset, _)| *offset < end);
        Ok(found.map_or(Found::NOTHING, |(offset, time_ms)| at(offset, time_ms)))
    }
}
