//! The rows that a commit puts and removes, as one run of bytes: made once, read in place on every replica.
//!
//! Layout: per row a number (key length × 2, + 1 if it has a value), the key, and for a value its length and bytes.
//! Numbers are LEB128. Promises that [`Changes::iter`] cannot fail: bytes from elsewhere pass [`Changes::read`].

use bytes::Bytes;

/// Rows of one commit; never more bytes than an operation of the log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Changes {
    bytes: Bytes,
    count: usize,
}

/// Gathers [`Changes`].
#[derive(Debug, Default)]
pub struct ChangesBuilder {
    bytes: Vec<u8>,
    count: usize,
}

impl ChangesBuilder {
    /// With room for about so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), count: 0 }
    }

    /// Puts a row (`Some`) or removes it (`None`). The key's first byte is the row space, see
    /// [`crate::entry::row`]; a commit says each key at most once.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        put_number(&mut self.bytes, (key.len() as u64) << 1 | u64::from(value.is_some()));
        self.bytes.extend_from_slice(key);
        if let Some(value) = value {
            put_number(&mut self.bytes, value.len() as u64);
            self.bytes.extend_from_slice(value);
        }
        self.count += 1;
    }

    pub fn build(self) -> Changes {
        Changes { bytes: self.bytes.into(), count: self.count }
    }
}

impl Changes {
    /// Takes bytes from elsewhere; `None` if they are not whole rows.
    pub fn read(bytes: Bytes) -> Option<Self> {
        let (mut rest, mut count) = (&bytes[..], 0);
        while !rest.is_empty() {
            take_row(&mut rest)?;
            count += 1;
        }
        Some(Self { bytes, count })
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    /// How many rows change.
    pub fn count(&self) -> usize {
        self.count
    }
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Key and value of each row, in the order they were pushed; no value: the row is removed.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || take_row(&mut rest))
    }
}

impl<'a> FromIterator<(&'a [u8], Option<&'a [u8]>)> for Changes {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>>(rows: I) -> Self {
        let mut changes = ChangesBuilder::default();
        for (key, value) in rows {
            changes.push(key, value);
        }
        changes.build()
    }
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The first row of `rest`, which then begins behind it; `None` at its end or if it is malformed.
fn take_row<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let head = take_number(rest)?;
    let key = take(rest, head >> 1)?;
    if head & 1 == 0 {
        return Some((key, None));
    }
    let size = take_number(rest)?;
    Some((key, Some(take(rest, size)?)))
}

fn take<'a>(rest: &mut &'a [u8], size: u64) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(usize::try_from(size).ok()?)?;
    *rest = after;
    Some(taken)
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_and_no_cut_is_taken_for_whole_rows() {
        let long = vec![7u8; 300];
        let rows: [(&[u8], Option<&[u8]>); 4] =
            [(b"\0a", Some(b"1")), (b"", None), (b"\x01b", Some(b"")), (b"\0c", Some(&long))];
        let changes: Changes = rows.into_iter().collect();
        assert_eq!(changes.iter().collect::<Vec<_>>(), rows);
        assert_eq!(Changes::read(changes.bytes().clone()), Some(changes.clone()));
        let mut starts = vec![0];
        for n in 1..=rows.len() {
            let part: Changes = rows.into_iter().take(n).collect();
            starts.push(part.bytes().len());
        }
        for cut in 0..changes.bytes().len() {
            let read = Changes::read(changes.bytes().slice(..cut));
            assert_eq!(read.is_some(), starts.contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        for bytes in [&[0xffu8; 12][..], &[0x81, 0x80, 0x80, 0x80, 0x10], &[5, 0, 0, 9]] {
            assert_eq!(Changes::read(Bytes::copy_from_slice(bytes)), None);
        }
    }
}
