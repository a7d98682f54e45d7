//! Walks the events of an uncompressed batch without reading them, so that no client can store what
//! no other could read. Compressed events are stored unread: opening them would cost more than all
//! the rest of an append.

/// Whether the bytes are exactly `count` well-formed events with offset deltas 0, 1, 2 …
pub(super) fn well_formed(bytes: &[u8], count: i32) -> bool {
    let mut walk = Walk { bytes };
    (0..i64::from(count)).all(|delta| walk.event(delta).is_some()) && walk.bytes.is_empty()
}

struct Walk<'a> {
    bytes: &'a [u8],
}

impl<'a> Walk<'a> {
    fn event(&mut self, delta: i64) -> Option<()> {
        let size = usize::try_from(self.varint()?).ok()?;
        let mut event = Walk { bytes: self.take(size)? };
        let _attributes = event.take(1)?;
        let _time_delta = event.varint()?;
        if event.varint()? != delta {
            return None;
        }
        event.skip(true)?;
        event.skip(true)?;
        let headers = event.varint()?;
        // Each takes two bytes at least, so this cannot run longer than the bytes last.
        for _ in 0..u64::try_from(headers).ok()? {
            event.skip(false)?;
            event.skip(true)?;
        }
        event.bytes.is_empty().then_some(())
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
        assert!(well_formed(bytes, 2));
        assert!(!well_formed(bytes, 1) && !well_formed(bytes, 3));
        for cut in 0..bytes.len() {
            assert!(!well_formed(&bytes[..cut], 2), "cut at {cut}");
        }
        // Size, attributes, time, offset, null key, null value, 2^32 headers.
        let many = [22, 0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x40, 0];
        assert!(!well_formed(&many, 1));
    }
}
