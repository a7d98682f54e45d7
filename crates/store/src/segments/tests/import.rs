//! A partition moves to another peer file by file.

use super::story::{P, batches, end, open, read_all};
use crate::Error;
use crate::segments::{SegmentFile, Segments};
use crate::sim::SimDisk;

/// Fetches what is missing of a file, in chunks; returns how many bytes were fetched.
fn fetch(from: &Segments, to: &Segments, file: SegmentFile, bytes_max: u64) -> u64 {
    let begun = to.import_begin(P, file).unwrap();
    let mut at = begun;
    while at < file.bytes && at - begun < bytes_max {
        let chunk = from.read_file(P, file.base, at, 700.min(file.bytes - at) as usize).unwrap();
        to.import_write(P, file.base, at, &chunk).unwrap();
        at += chunk.len() as u64;
    }
    at - begun
}

#[test]
fn a_partition_is_taken_over_file_by_file() {
    let (here, there) = (SimDisk::new(), SimDisk::new());
    let from = open(&here);
    let all = batches(1, 0, 60);
    from.append_many(P, &all).unwrap();
    from.trim(P, all[20].base_offset()).unwrap();
    let start = from.start_offset(P).unwrap();
    let files = from.files(P).unwrap();
    let to = open(&there);
    // It has the beginning of the same log, and files that the manifest no longer has.
    to.append_many(P, &all[..30]).unwrap();
    let fetched: u64 = files.iter().map(|file| fetch(&from, &to, *file, u64::MAX)).sum();
    let whole: u64 = files.iter().map(|file| file.bytes).sum();
    assert!(fetched > 0 && fetched < whole, "what is here is not fetched: {fetched} of {whole}");
    assert_eq!(end(&read_all(&to, 0, i64::MAX).unwrap()), end(&all[..30]), "nothing shows yet");
    to.import_install(P, &files).unwrap();
    assert_eq!(to.files(P).unwrap(), files);
    assert_eq!(read_all(&to, start, i64::MAX).unwrap(), read_all(&from, start, i64::MAX).unwrap());
    there.cut(3);
    let to = open(&there);
    to.truncate_to(P, end(&all)).unwrap();
    let more = batches(2, end(&all), 5);
    to.append_many(P, &more).unwrap();
    assert_eq!(end(&read_all(&to, start, i64::MAX).unwrap()), end(&more));
}

#[test]
fn a_fetch_goes_on_after_a_power_cut_with_what_is_sound() {
    let (here, there) = (SimDisk::new(), SimDisk::new());
    let from = open(&here);
    let all = batches(1, 0, 60);
    from.append_many(P, &all).unwrap();
    let files = from.files(P).unwrap();
    for seed in 0..20 {
        let to = open(&there);
        for file in &files {
            fetch(&from, &to, *file, 1_400);
        }
        there.cut(seed);
    }
    let to = open(&there);
    for file in &files {
        fetch(&from, &to, *file, u64::MAX);
    }
    to.import_install(P, &files).unwrap();
    assert_eq!(read_all(&to, 0, i64::MAX).unwrap(), all);
}

#[test]
fn damaged_or_incomplete_files_are_not_installed() {
    let (here, there) = (SimDisk::new(), SimDisk::new());
    let from = open(&here);
    let all = batches(1, 0, 60);
    from.append_many(P, &all).unwrap();
    let files = from.files(P).unwrap();
    let to = open(&there);
    to.append_many(P, &all[..10]).unwrap();
    assert!(matches!(to.import_install(P, &files), Err(Error::Missing(_))));
    for file in &files {
        fetch(&from, &to, *file, u64::MAX);
    }
    let part = format!("segments/{}/3/{:020}.part", P.stream, files[1].base);
    there.flip(&part, 200, 2);
    assert!(matches!(to.import_install(P, &files), Err(Error::Rot(_))));
    assert_eq!(read_all(&to, 0, i64::MAX).unwrap(), all[..10]);
    fetch(&from, &to, files[1], u64::MAX);
    let wrong = to.import_write(P, files[1].base, 7, b"x");
    assert!(matches!(wrong, Err(Error::Misuse(_))));
    to.import_install(P, &files).unwrap();
    assert_eq!(read_all(&to, 0, i64::MAX).unwrap(), all);
}
