//! Walks the events of an uncompressed batch without reading them, so that no client can store what
//! no other could read. Compressed events are stored unread: opening them would cost more than all
//! the rest of an append.

use super::{KafkaError, Refused};
use crate::TIME_MS;
use model::batch::HEADERS_MAX;

/// Refuses bytes that are not exactly `count` well-formed events with offset deltas 0, 1, 2 …, or have times that no
/// event has.
pub(super) fn check(bytes: &[u8], count: i32, base_time_ms: i64) -> Result<(), Refused> {
    let mut walk = Walk { bytes };
    let mut in_time = true;
    for delta in 0..i64::from(count) {
        let Some(later_ms) = walk.event(delta) else { return Err(malformed()) };
        let time_ms = base_time_ms.checked_add(later_ms);
        in_time &= time_ms.is_some_and(|time_ms| TIME_MS.contains(&time_ms));
    }
    match (walk.bytes.is_empty(), in_time) {
        (false, _) => Err(malformed()),
        (true, true) => Ok(()),
        (true, false) => {
            let text = "an event's time is before 1970 or after 9999";
            Err(Refused::new(KafkaError::InvalidTimestamp, text))
        }
    }
}

fn malformed() -> Refused {
    Refused::new(KafkaError::InvalidRecord, "an event is malformed")
}

struct Walk<'a> {
    bytes: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Passes one event; gives its time after the batch's.
    fn event(&mut self, delta: i64) -> Option<i64> {
        let size = usize::try_from(self.varint()?).ok()?;
        let mut event = Walk { bytes: self.take(size)? };
        let _attributes = event.take(1)?;
        let later_ms = event.varint()?;
        if event.varint()? != delta {
            return None;
        }
        event.skip(true)?;
        event.skip(true)?;
        let headers = event.varint()?;
        // More than a reader takes would hide what lies behind them.
        if !(0..=HEADERS_MAX).contains(&headers) {
            return None;
        }
        for _ in 0..headers {
            event.skip(false)?;
            event.skip(true)?;
        }
        event.bytes.is_empty().then_some(later_ms)
    }

    fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(size)?;
        self.bytes = rest;
        Some(taken)
    }

    /// A key, value or header's name or value; null only where that is allowed.
    fn skip(&mut self, nullable: bool) -> Option<()> {
        match self.varint()? {
            -1 if nullable => Some(()),
            size => self.take(usize::try_from(size).ok()?).map(|_| ()),
        }
    }

    fn varint(&mut self) -> Option<i64> {
        let mut value = 0u64;
        for (at, byte) in self.bytes.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[at + 1..];
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::BatchBuilder;
    use model::batch::HEADER_BYTES;

    #[test]
    fn only_whole_events_in_order_are_well_formed() {
        let mut builder = BatchBuilder::new();
        builder.push(5, Some(b"k"), Some(b"v"), &[("h", Some(b"x")), ("null", None)]);
        builder.push(4, None, None, &[]);
        let batch = builder.build().expect("two events");
        let bytes = &batch.bytes()[HEADER_BYTES..];
        let well_formed = |bytes: &[u8], count| check(bytes, count, 5).is_ok();
        assert!(well_formed(bytes, 2));
        assert!(!well_formed(bytes, 1) && !well_formed(bytes, 3));
        for cut in 0..bytes.len() {
            assert!(!well_formed(&bytes[..cut], 2), "cut at {cut}");
        }
        // Size, attributes, time, offset, null key, null value, 2^32 headers.
        let many = [22, 0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x40, 0];
        assert!(!well_formed(&many, 1));
        let of = |count: usize| {
            let mut builder = BatchBuilder::new();
            builder.push(5, None, None, &vec![("h", None); count]);
            builder.build().expect("one event")
        };
        let most = HEADERS_MAX as usize;
        assert!(well_formed(&of(most).bytes()[HEADER_BYTES..], 1));
        assert!(!well_formed(&of(most + 1).bytes()[HEADER_BYTES..], 1), "no reader takes them");
    }

    #[test]
    fn times_that_no_event_has_are_refused_as_such() {
        let mut builder = BatchBuilder::new();
        [5, 4].iter().for_each(|time| builder.push(*time, None, None, &[]));
        let batch = builder.build().expect("two events");
        let bytes = &batch.bytes()[HEADER_BYTES..];
        let checked = |base| check(bytes, 2, base).map_err(|refused| refused.error);
        for fine in [5, 0, *TIME_MS.end()] {
            assert_eq!(checked(fine), Ok(()), "{fine}");
        }
        for wrong in [-1, i64::MIN, *TIME_MS.end() + 1, i64::MAX] {
            assert_eq!(checked(wrong), Err(KafkaError::InvalidTimestamp), "{wrong}");
        }
    }
}
