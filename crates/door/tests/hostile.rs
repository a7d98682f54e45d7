//! Counts and lengths that lie cost no memory. Alone in its process, since it watches the whole
//! process's memory.

use bytes::Bytes;
use door::kafka::{ITEMS_MAX, Reject, decode};

/// api, version, correlation, client id "x", then the rest.
fn request(api: i16, version: i16, rest: &[u8]) -> Bytes {
    let mut bytes = Vec::new();
    bytes.extend(api.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend([0, 0, 0, 7, 0, 1, b'x']);
    bytes.extend(rest);
    bytes.into()
}

/// The most address space the process ever had, in bytes: what was reserved counts even if it was
/// never touched.
fn reserved_max() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok().map(|kib: u64| kib * 1024)
}

fn lies() -> Vec<(&'static str, Bytes)> {
    let huge = i32::MAX.to_be_bytes();
    let minus_two = (-2i32).to_be_bytes();
    let tags = [0xff, 0xff, 0xff, 0x7f];
    let endless = [[0].as_slice(), &[0xff; 12]].concat();
    let compact_huge = [0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let produce = |rest: &[u8]| [&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1], rest].concat();
    let fetch = |rest: &[u8]| [&[0; 17], rest].concat();
    vec![
        ("metadata, 2^31-1 topics", request(3, 1, &huge)),
        ("metadata, -2 topics", request(3, 1, &minus_two)),
        ("metadata, endless varint", request(3, 9, &endless)),
        ("metadata, 2^28 tags", request(3, 9, &tags)),
        ("metadata, 2^32-2 topics", request(3, 12, &compact_huge)),
        ("metadata, a tag of 4 GiB", request(3, 9, &[1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        (
            "metadata, a name of 32767 bytes that are not there",
            request(3, 1, &[0, 0, 0, 1, 0x7f, 0xff]),
        ),
        ("metadata, a name of -2", request(3, 1, &[0, 0, 0, 1, 0xff, 0xfe])),
        ("produce, 2^31-1 topics", request(0, 3, &produce(&huge))),
        ("produce, -2 topics", request(0, 3, &produce(&minus_two))),
        ("produce, null topics", request(0, 3, &produce(&[0xff; 4]))),
        (
            "produce, 2 GiB of batch",
            request(
                0,
                3,
                &produce(
                    &[[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0].as_slice(), &huge].concat(),
                ),
            ),
        ),
        (
            "produce, 2^31-1 partitions",
            request(0, 3, &produce(&[[0, 0, 0, 1, 0, 1, b't'].as_slice(), &huge].concat())),
        ),
        ("fetch, 2^31-1 topics", request(1, 4, &fetch(&huge))),
        (
            "fetch, 2^31-1 partitions",
            request(1, 4, &fetch(&[[0, 0, 0, 1, 0, 1, b't'].as_slice(), &huge].concat())),
        ),
        ("list offsets, 2^31-1 topics", request(2, 1, &[[0; 4], huge].concat())),
        ("create topics, 2^31-1 topics", request(19, 2, &huge)),
        ("create topics, compact", request(19, 7, &compact_huge)),
        ("init producer, a name of 4 GiB", request(22, 4, &compact_huge)),
    ]
}

/// A produce of that many partitions, each with no batch, all of them really there.
fn partitions(count: u32) -> Bytes {
    let mut rest = vec![0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, b't'];
    rest.extend(count.to_be_bytes());
    rest.extend(
        std::iter::repeat_n([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], count as usize).flatten(),
    );
    request(0, 3, &rest)
}

#[test]
fn counts_and_lengths_that_lie_cost_no_memory() {
    let lies = lies();
    let (most, more) = (partitions(ITEMS_MAX as u32 - 1), partitions(1 << 20));
    let Some(before) = reserved_max() else {
        return println!("SKIPPED: no /proc/self/status here");
    };
    for (what, frame) in &lies {
        for _ in 0..1_000 {
            let reject = decode(frame.clone()).expect_err(what);
            assert!(matches!(reject, Reject::Malformed { .. }), "{what}: {reject}");
        }
    }
    let lied = reserved_max().expect("it was there before");
    let reject = decode(more).expect_err("too many");
    assert!(reject.to_string().contains(&ITEMS_MAX.to_string()), "{reject}");
    decode(most).expect("as many as allowed");
    let after = reserved_max().expect("it was there before");
    let kib = |bytes: u64| bytes / 1024;
    println!("{} lies: {} KiB; full: {} KiB", lies.len(), kib(lied - before), kib(after - lied));
    assert!(lied - before < 1 << 20, "{} KiB were reserved", kib(lied - before));
    assert!(after - lied < 16 << 20, "{} KiB were reserved", kib(after - lied));
}
