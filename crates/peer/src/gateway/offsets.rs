//! Offsets by place and time.

use super::{Door, Located};
use door::kafka::{Found, FoundPart, KafkaError, ListOffsets, OffsetPart, Place};

impl Door {
    pub(super) async fn list_offsets(&self, ask: ListOffsets) -> Vec<FoundPart> {
        let door = self.clone();
        // Looking up a time reads segments.
        let committed = ask.committed;
        let work = move || ask.parts.into_iter().map(|part| door.find(part, committed)).collect();
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

    fn find(&self, part: OffsetPart, committed: bool) -> FoundPart {
        let OffsetPart { stream, partition, epoch, place } = part;
        let result = place.and_then(|place| {
            let located = self.lead_of(&stream, partition, epoch)?;
            self.find_place(located, place, committed)
        });
        FoundPart { stream, partition, result }
    }

    fn find_place(
        &self,
        located: Located,
        place: Place,
        committed: bool,
    ) -> Result<Found, KafkaError> {
        let mark = self.board().mark(located.partition).unwrap_or_default();
        let end = if committed { mark.stable } else { mark.next };
        let term = self.board().term(located.shard) as i32;
        let at = |offset| Found { offset, time_ms: -1, epoch: term };
        let time_ms = match place {
            Place::First => return Ok(at(mark.start)),
            Place::Next => return Ok(at(end)),
            Place::MaxTime if mark.next == mark.start => return Ok(Found::NOTHING),
            Place::MaxTime => mark.max_time_ms,
            Place::Time(time_ms) => time_ms,
        };
        let found = self.segments.position_by_time(located.partition, time_ms);
        let found = self.board().witness(located.partition, found).map_err(|error| {
            tracing::error!(partition = ?located.partition, %error, "a time cannot be looked up");
            KafkaError::StorageError
        })?;
        let found = found.filter(|(offset, _)| *offset < end);
        Ok(found.map_or(Found::NOTHING, |(offset, time_ms)| Found { offset, time_ms, epoch: term }))
    }
}
