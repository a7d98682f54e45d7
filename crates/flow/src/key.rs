//! Keys as bytes: what decides an item's bucket, and the text under which people find its row.
//!
//! A key is readable text: numbers in decimal, a tuple's parts joined by `:` (a `:` or `%` inside a part becomes
//! `%3A`, `%25`). The row of a window is `key@start`, start in ISO 8601 UTC: `UA@2013-01-01T05:00:00Z`.

use bytes::Bytes;
use std::borrow::Cow;

/// A value that can be a key. Two values are the same key if they write the same bytes.
pub trait ToKey {
    fn put_key(&self, out: &mut Vec<u8>);
}

macro_rules! key_of_text {
    ($($t:ty),*) => {$(
        impl ToKey for $t {
            fn put_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.as_bytes());
            }
        }
    )*};
}
key_of_text!(String, str, Cow<'_, str>);

macro_rules! key_of_bytes {
    ($($t:ty),*) => {$(
        impl ToKey for $t {
            fn put_key(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self);
            }
        }
    )*};
}
key_of_bytes!(Bytes, Vec<u8>, [u8]);

macro_rules! key_of_shown {
    ($($t:ty),*) => {$(
        impl ToKey for $t {
            fn put_key(&self, out: &mut Vec<u8>) {
                use std::io::Write;
                write!(out, "{self}").expect("writing to memory cannot fail");
            }
        }
    )*};
}
key_of_shown!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, bool, char);

impl<K: ToKey + ?Sized> ToKey for &K {
    fn put_key(&self, out: &mut Vec<u8>) {
        (**self).put_key(out);
    }
}

/// `None` is the empty key.
impl<K: ToKey> ToKey for Option<K> {
    fn put_key(&self, out: &mut Vec<u8>) {
        if let Some(key) = self {
            key.put_key(out);
        }
    }
}

macro_rules! key_of_tuple {
    ($first:ident $($rest:ident)+) => {
        impl<$first: ToKey, $($rest: ToKey),+> ToKey for ($first, $($rest),+) {
            #[allow(non_snake_case)] // the type parameters double as the names of the parts
            fn put_key(&self, out: &mut Vec<u8>) {
                let ($first, $($rest),+) = self;
                put_part(out, $first);
                $(out.push(b':'); put_part(out, $rest);)+
            }
        }
    };
}
key_of_tuple!(A B);
key_of_tuple!(A B C);
key_of_tuple!(A B C D);

fn put_part(out: &mut Vec<u8>, part: &impl ToKey) {
    let start = out.len();
    part.put_key(out);
    if !out[start..].iter().any(|byte| matches!(byte, b':' | b'%')) {
        return;
    }
    for byte in out.split_off(start) {
        match byte {
            b':' => out.extend_from_slice(b"%3A"),
            b'%' => out.extend_from_slice(b"%25"),
            other => out.push(other),
        }
    }
}

/// The bucket in which the row with this key lies: a window's row lies in the bucket of its key. The exchange
/// places items by the same function, so it holds for every key.
pub fn bucket_of_row(key: &[u8], buckets: u32) -> u32 {
    model::hash::bucket_of(without_window(key), buckets)
}

/// The longest text of a window's start, with its `@`.
const START_BYTES_MAX: usize = 40;

fn without_window(key: &[u8]) -> &[u8] {
    if key.last() != Some(&b'Z') {
        return key;
    }
    let tail = &key[key.len().saturating_sub(START_BYTES_MAX)..];
    let Some(at) = tail.iter().rposition(|byte| *byte == b'@') else {
        return key;
    };
    let start = &tail[at + 1..];
    let readable = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b':' | b'.' | b'T' | b'Z');
    if start.len() >= 20 && start.iter().all(readable) {
        &key[..key.len() - start.len() - 1]
    } else {
        key
    }
}

/// The key of a window's row: `key@2013-01-01T05:00:00Z`, with milliseconds only if there are any.
pub fn row_key_of_window(key: &[u8], start_ms: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + START_BYTES_MAX);
    out.extend_from_slice(key);
    out.push(b'@');
    put_time(&mut out, start_ms);
    out
}

/// The key and the window's start of a row, or of the event that tells it: what [`row_key_of_window`] joins.
pub fn window_of_row(row_key: &[u8]) -> Option<(&[u8], i64)> {
    let key = without_window(row_key);
    let start = row_key.get(key.len() + 1..)?;
    Some((key, read_time(std::str::from_utf8(start).ok()?)?))
}

/// Days from 1 March of the year 0 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
const DAYS_OF_400_YEARS: i64 = 146_097;

/// ISO 8601 in UTC (the civil calendar from days: Howard Hinnant, "chrono-compatible low-level date algorithms").
fn put_time(out: &mut Vec<u8>, time_ms: i64) {
    use std::io::Write;
    let (days, of_day) = (time_ms.div_euclid(86_400_000), time_ms.rem_euclid(86_400_000));
    let shifted = days + DAYS_TO_1970;
    let (era, of_era) =
        (shifted.div_euclid(DAYS_OF_400_YEARS), shifted.rem_euclid(DAYS_OF_400_YEARS));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
        .expect("writing to memory cannot fail");
    if of_day % 1_000 != 0 {
        write!(out, ".{:03}", of_day % 1_000).expect("writing to memory cannot fail");
    }
    out.push(b'Z');
}

/// What [`put_time`] writes.
fn read_time(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (rest, day) = date.rsplit_once('-')?;
    let (year, month) = rest.rsplit_once('-')?;
    let (year, month, day) =
        (year.parse::<i64>().ok()?, month.parse::<i64>().ok()?, day.parse::<i64>().ok()?);
    let (clock, millis) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = clock.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let sane = year.abs() < 400_000_000 && (1..=12).contains(&month) && (0..=31).contains(&day);
    if !sane || parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = (month + 9) % 12;
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = era * DAYS_OF_400_YEARS + of_era - DAYS_TO_1970;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000 + millis.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(key: &impl ToKey) -> String {
        let mut out = Vec::new();
        key.put_key(&mut out);
        String::from_utf8(out).expect("keys here are text")
    }

    fn window(key: &str, start_ms: i64) -> String {
        String::from_utf8(row_key_of_window(key.as_bytes(), start_ms)).expect("text")
    }

    #[test]
    fn keys_read_as_people_would_write_them() {
        assert_eq!(text(&"UA"), "UA");
        assert_eq!(text(&-7i64), "-7");
        assert_eq!(text(&("UA".to_owned(), 5u8, true)), "UA:5:true");
        assert_eq!(text(&Option::<String>::None), "");
        assert_ne!(text(&("a:b", "c")), text(&("a", "b:c")));
    }

    #[test]
    fn window_starts_are_civil_time() {
        assert_eq!(window("UA", 1_357_016_400_000), "UA@2013-01-01T05:00:00Z");
        assert_eq!(window("", 951_782_400_250), "@2000-02-29T00:00:00.250Z");
        assert_eq!(window("k", -1_000), "k@1969-12-31T23:59:59Z");
        assert_eq!(window("k", 253_402_300_799_000), "k@9999-12-31T23:59:59Z");
    }

    #[test]
    fn a_windows_row_says_its_key_and_start_again() {
        let day = 86_400_000;
        let days = (-800_000..800_000).step_by(997).map(|n| n * day);
        for start in days.chain([0, 1_357_016_400_000, 951_782_400_250, 3_599_999, -1]) {
            for key in ["UA", "", "a@b", "Z", "a@2013-01-01T05:00:00Z"] {
                let row = row_key_of_window(key.as_bytes(), start);
                assert_eq!(window_of_row(&row), Some((key.as_bytes(), start)));
            }
        }
        for none in ["UA", "", "k@2013-01-01", "k@2013-13-01T05:00:00Z", "k@Z", "k@--T::Z"] {
            assert_eq!(window_of_row(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_windows_row_lies_in_the_bucket_of_its_key() {
        for key in ["UA", "", "bob@example.org", "a@b", "Z"] {
            for start in [0, 1_357_016_400_000, 951_782_400_250, -62_135_596_800_000] {
                let row = row_key_of_window(key.as_bytes(), start);
                assert_eq!(bucket_of_row(&row, 1_000), bucket_of_row(key.as_bytes(), 1_000));
            }
        }
    }
}
