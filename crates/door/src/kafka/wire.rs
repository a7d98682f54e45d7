//! Kafka's primitive types, read from and written to bytes, in their old and their flexible forms.
//!
//! Promises that nothing is reserved for a count or length before as many bytes are there, and that
//! a request yields at most [`ITEMS_MAX`] items in all its arrays together. Never panics on a
//! reader's input.

use bytes::Bytes;
use std::sync::Arc;
use thiserror::Error;

/// Items of all arrays of one request; more is refused, since each costs ten times its bytes in
/// memory.
pub const ITEMS_MAX: usize = 65_536;
/// The longest string, in both forms.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;
/// Room reserved for an array before its items have been read.
const RESERVE_MAX: usize = 1_024;

/// What is wrong with a request's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    #[error("it ends early")]
    Short,
    #[error("a length or count is {0}")]
    Length(i64),
    #[error("a number has more than five bytes")]
    Varint,
    #[error("it has more than {ITEMS_MAX} items")]
    Items,
    #[error("{0} is null")]
    Null(&'static str),
}

/// Reads one request.
pub(super) struct Reader {
    bytes: Bytes,
    at: usize,
    flexible: bool,
    items_left: usize,
}

impl Reader {
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0, flexible: false, items_left: ITEMS_MAX }
    }

    /// From here on strings, arrays and structures have their compact forms, or not.
    pub fn flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, size: usize) -> Result<&[u8], Flaw> {
        if size > self.left() {
            return Err(Flaw::Short);
        }
        self.at += size;
        Ok(&self.bytes[self.at - size..self.at])
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        Ok(self.take(N)?.try_into().expect("as many bytes as asked for"))
    }

    pub fn i8(&mut self) -> Result<i8, Flaw> {
        Ok(i8::from_be_bytes(self.array_of()?))
    }
    pub fn bool(&mut self) -> Result<bool, Flaw> {
        Ok(self.i8()? != 0)
    }
    pub fn i16(&mut self) -> Result<i16, Flaw> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }
    pub fn i32(&mut self) -> Result<i32, Flaw> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }
    pub fn i64(&mut self) -> Result<i64, Flaw> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }
    pub fn uuid(&mut self) -> Result<u128, Flaw> {
        Ok(u128::from_be_bytes(self.array_of()?))
    }

    fn varint(&mut self) -> Result<u32, Flaw> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.array_of::<1>()?[0];
            if shift == 28 && byte > 0x0f {
                return Err(Flaw::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Flaw::Varint)
    }

    /// A compact length: 0 is null, else one more than the length.
    fn compact(&mut self) -> Result<Option<usize>, Flaw> {
        Ok((self.varint()? as usize).checked_sub(1))
    }

    fn length(said: i64) -> Result<Option<usize>, Flaw> {
        match said {
            -1 => Ok(None),
            said => usize::try_from(said).map(Some).map_err(|_| Flaw::Length(said)),
        }
    }

    fn text_bytes(&mut self) -> Result<Option<&[u8]>, Flaw> {
        let size = match self.flexible {
            true => self.compact()?,
            false => Self::length(i64::from(self.i16()?))?,
        };
        match size {
            None => Ok(None),
            Some(size) if size > TEXT_BYTES_MAX => Err(Flaw::Length(size as i64)),
            Some(size) => self.take(size).map(Some),
        }
    }

    pub fn text_opt(&mut self) -> Result<Option<String>, Flaw> {
        Ok(self.text_bytes()?.map(readable))
    }
    pub fn text(&mut self, what: &'static str) -> Result<String, Flaw> {
        self.text_opt()?.ok_or(Flaw::Null(what))
    }
    /// A name that many parts share.
    pub fn name(&mut self, what: &'static str) -> Result<Arc<str>, Flaw> {
        let bytes = self.text_bytes()?.ok_or(Flaw::Null(what))?;
        Ok(match std::str::from_utf8(bytes) {
            Ok(text) => Arc::from(text),
            Err(_) => Arc::from(readable(bytes)),
        })
    }

    /// Bytes as a slice of the frame.
    pub fn blob_opt(&mut self) -> Result<Option<Bytes>, Flaw> {
        let size = match self.flexible {
            true => self.compact()?,
            false => Self::length(i64::from(self.i32()?))?,
        };
        let Some(size) = size else { return Ok(None) };
        let start = self.at;
        self.take(size)?;
        Ok(Some(self.bytes.slice(start..start + size)))
    }

    /// An array whose items take at least `bytes_min` each.
    pub fn array_opt<T>(
        &mut self,
        bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Flaw>,
    ) -> Result<Option<Vec<T>>, Flaw> {
        let Some(count) = self.count(bytes_min)? else { return Ok(None) };
        let mut items = Vec::with_capacity(count.min(RESERVE_MAX));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(Some(items))
    }

    pub fn array<T>(
        &mut self,
        what: &'static str,
        bytes_min: usize,
        item: impl FnMut(&mut Self) -> Result<T, Flaw>,
    ) -> Result<Vec<T>, Flaw> {
        self.array_opt(bytes_min, item)?.ok_or(Flaw::Null(what))
    }

    /// An array's count, already charged to the request's items.
    pub fn count(&mut self, bytes_min: usize) -> Result<Option<usize>, Flaw> {
        let count = match self.flexible {
            true => self.compact()?,
            false => Self::length(i64::from(self.i32()?))?,
        };
        let Some(count) = count else { return Ok(None) };
        if count.saturating_mul(bytes_min.max(1)) > self.left() {
            return Err(Flaw::Length(count as i64));
        }
        self.items_left = self.items_left.checked_sub(count).ok_or(Flaw::Items)?;
        Ok(Some(count))
    }

    /// An array of topics, each with an array of what is asked of its partitions, as one list.
    pub fn parts<T>(
        &mut self,
        bytes_min: usize,
        mut part: impl FnMut(&mut Self, &Arc<str>) -> Result<T, Flaw>,
    ) -> Result<Option<Vec<T>>, Flaw> {
        let Some(topics) = self.count(3)? else { return Ok(None) };
        let mut parts = Vec::new();
        for _ in 0..topics {
            let stream = self.name("a topic's name")?;
            let count = self.count(bytes_min)?;
            let count = count.ok_or(Flaw::Null("a topic's list of partitions"))?;
            parts.reserve(count.min(RESERVE_MAX));
            for _ in 0..count {
                parts.push(part(self, &stream)?);
            }
            self.tags()?;
        }
        Ok(Some(parts))
    }

    /// Skips the tagged fields that end a flexible structure; unknown ones are no error.
    pub fn tags(&mut self) -> Result<(), Flaw> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.varint()? as usize;
        if count.saturating_mul(2) > self.left() {
            return Err(Flaw::Length(count as i64));
        }
        for _ in 0..count {
            self.varint()?;
            let size = self.varint()? as usize;
            self.take(size)?;
        }
        Ok(())
    }
}

/// Text as it is, or, if it is not UTF-8, with a mark no name may have in place of each odd byte.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '?' }).collect(),
    }
}

/// Writes one reply.
pub(super) struct Writer {
    bytes: Vec<u8>,
    flexible: bool,
}

impl Writer {
    /// Begins with room for the length, and the correlation.
    pub fn new(size_hint: usize, correlation: i32) -> Self {
        let mut bytes = Vec::with_capacity(8 + size_hint);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&correlation.to_be_bytes());
        Self { bytes, flexible: false }
    }

    pub fn flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }
    pub fn i8(&mut self, value: i8) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
    pub fn i16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
    pub fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
    pub fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
    pub fn uuid(&mut self, value: u128) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }
    pub fn error(&mut self, error: Option<super::KafkaError>) {
        self.i16(error.map_or(0, super::KafkaError::code));
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn compact(&mut self, size: usize) {
        self.varint(u32::try_from(size + 1).expect("a reply is smaller than 4 GiB"));
    }

    /// A string; what exceeds the longest possible one is cut off.
    pub fn text(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        match self.flexible {
            true => self.compact(text.len()),
            false => self.i16(text.len() as i16),
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub fn text_opt(&mut self, text: Option<&str>) {
        match (text, self.flexible) {
            (Some(text), _) => self.text(text),
            (None, true) => self.varint(0),
            (None, false) => self.i16(-1),
        }
    }

    /// The count of an array, whose items follow.
    pub fn count(&mut self, count: usize) {
        match self.flexible {
            true => self.compact(count),
            false => self.i32(i32::try_from(count).expect("a reply has fewer than 2³¹ items")),
        }
    }

    pub fn null_array(&mut self) {
        match self.flexible {
            true => self.varint(0),
            false => self.i32(-1),
        }
    }

    /// Bytes that lie in several pieces.
    pub fn blob(&mut self, pieces: &[Bytes]) {
        self.count(pieces.iter().map(Bytes::len).sum());
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Parts as an array of topics, each with an array of its partitions; those of one topic stand side by side.
    pub fn parts<T>(
        &mut self,
        parts: &[T],
        stream: impl Fn(&T) -> &Arc<str>,
        mut part: impl FnMut(&mut Self, &T),
    ) {
        let runs = || parts.chunk_by(|a, b| stream(a) == stream(b));
        self.count(runs().count());
        for run in runs() {
            self.text(stream(&run[0]));
            self.count(run.len());
            for item in run {
                part(self, item);
                self.tags();
            }
            self.tags();
        }
    }

    /// No tagged fields, if the structure may have some.
    pub fn tags(&mut self) {
        if self.flexible {
            self.bytes.push(0);
        }
    }

    pub fn finish(mut self) -> Bytes {
        let size = i32::try_from(self.bytes.len() - 4).expect("a reply is smaller than 2 GiB");
        self.bytes[..4].copy_from_slice(&size.to_be_bytes());
        Bytes::from(self.bytes)
    }
}
