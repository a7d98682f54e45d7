//! Offsets by place and time.

use super::Door;
use door::kafka::{Found, FoundPart, KafkaError, ListOffsets, OffsetPart, Place};

impl Door {
    pub(super) async fn list_offsets(&self, ask: ListOffsets) -> Vec<FoundPart> {
        let door = self.clone();
        // Looking up a time reads segments.
        let work = move || ask.parts.into_iter().map(|part| door.find(part)).collect();
        let mut parts: Vec<FoundPart> = match tokio::task::spawn_blocking(work).await {
            Ok(parts) => parts,
            Err(error) => {
                tracing::error!(%error, "offsets could not be looked up");
                Vec::new()
            }
        };
        for part in &mut parts {
            self.date(part).await;
        }
        parts
    }

    /// Says in which epoch the event at a found offset was appended; the next one's will be the present.
    async fn date(&self, part: &mut FoundPart) {
        let Ok(found) = &mut part.result else { return };
        let Ok(located) = self.lead_of(&part.stream, part.partition, None) else { return };
        if let Ok(Some(kept)) = self.partition(located.shard, located.partition).await
            && found.offset < kept.next_offset
        {
            found.epoch = kept.epoch_at(found.offset);
        }
    }

    fn find(&self, part: OffsetPart) -> FoundPart {
        let OffsetPart { stream, partition, epoch, place } = part;
        let result = place.and_then(|place| self.find_place(&stream, partition, epoch, place));
        FoundPart { stream, partition, result }
    }

    fn find_place(
        &self,
        stream: &str,
        partition: i32,
        epoch: Option<i32>,
        place: Place,
    ) -> Result<Found, KafkaError> {
        let located = self.lead_of(stream, partition, epoch)?;
        let mark = self.board().mark(located.partition).unwrap_or_default();
        let term = self.board().term(located.shard) as i32;
        let at = |offset| Found { offset, time_ms: -1, epoch: term };
        let time_ms = match place {
            Place::First => return Ok(at(mark.start)),
            Place::Next => return Ok(at(mark.next)),
            Place::MaxTime if mark.next == mark.start => return Ok(Found::NOTHING),
            Place::MaxTime => mark.max_time_ms,
            Place::Time(time_ms) => time_ms,
        };
        let found = self.segments.position_by_time(located.partition, time_ms);
        let found = self.board().witness(located.partition, found).map_err(|error| {
            tracing::error!(partition = ?located.partition, %error, "a time cannot be looked up");
            KafkaError::StorageError
        })?;
        let found = found.filter(|(offset, _)| *offset < mark.next);
        Ok(found.map_or(Found::NOTHING, |(offset, time_ms)| Found { offset, time_ms, epoch: term }))
    }
}
