//! What a description says to the catalogue, and what is refused.
#![allow(clippy::unwrap_used)] // a test that cannot go on should say where

use flow::{Pipelines, Tumbling};
use std::time::Duration;

fn described(describe: impl FnOnce(&mut Pipelines)) -> Pipelines {
    let mut pipelines = Pipelines::new();
    describe(&mut pipelines);
    pipelines
}

fn refused(describe: impl FnOnce(&mut Pipelines)) -> String {
    described(describe).check().unwrap_err().to_string()
}

#[test]
fn mistakes_are_told_by_name_before_anything_starts() {
    let empty = refused(|mesh| _ = mesh.pipeline("p"));
    assert_eq!(empty, "pipeline \"p\": it has no stage: end it with .view, .to or .stage");
    let name = refused(|mesh| {
        _ = mesh.pipeline("../p").read("a").key_by(|e| e.key()).count().view("v");
    });
    assert!(name.contains("'/'"), "{name}");
    let stream = refused(|mesh| _ = mesh.pipeline("p").read("a b").to("c"));
    assert!(stream.contains("stage \"c\": \"a b\""), "{stream}");
    let buckets = refused(|mesh| _ = mesh.pipeline("p").read("a").to("b").buckets(0));
    assert!(buckets.contains("buckets, not 0"), "{buckets}");
    let window = refused(|mesh| {
        let keyed = mesh.pipeline("p").read("a").key_by(|e| e.key());
        keyed.window(Tumbling::of(Duration::ZERO)).count().view("v");
    });
    assert!(window.contains("a window has at least one millisecond"), "{window}");
    let twice = refused(|mesh| {
        mesh.pipeline("p").read("a").key_by(|e| e.key()).count().view("v");
        mesh.pipeline("q").read("a").key_by(|e| e.key()).count().view("v");
    });
    assert!(twice.contains("view \"v\" is written by two stages"), "{twice}");
    let cycle = refused(|mesh| {
        mesh.pipeline("p").read("a").to("b");
        mesh.pipeline("q").read("b").to("a");
    });
    assert!(cycle.contains("a cycle"), "{cycle}");
    let version = refused(|mesh| _ = mesh.pipeline("p").version(0).read("a").to("b"));
    assert!(version.contains("versions count from 1"), "{version}");
}

#[test]
fn writers_are_registered_before_their_readers() {
    let pipelines = described(|mesh| {
        mesh.pipeline("second").read("made").key_by(|e| e.key()).count().view("v");
        let first = mesh.pipeline("first");
        first.read("between").to("made");
        first.read("raw").to("between").buckets(3);
    });
    pipelines.check().unwrap();
    let mut drawn = 0;
    let registrations = pipelines.registrations(&mut || {
        drawn += 1;
        drawn
    });
    let names: Vec<&str> = registrations.iter().map(|r| r.pipeline.as_str()).collect();
    assert_eq!(names, ["first", "second"]);
    let stages: Vec<&str> = registrations[0].stages.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(stages, ["between", "made"]);
    let (source, _, partitions) = &registrations[0].stages[1].sources[0];
    assert_eq!((source.as_str(), *partitions), ("between", 3));
    assert_eq!(pipelines.stage("first", "made").unwrap().sources[0].partitions, 3);
    assert_eq!(registrations[1].stages[0].view, Some(("v".into(), "u64".into())));
}

#[test]
fn a_fingerprint_is_of_the_shape_alone() {
    let count = |buckets: u32, version: u32| {
        let pipelines = described(|mesh| {
            let pipeline = mesh.pipeline("p").version(version);
            pipeline
                .read("a")
                .filter(|_| true)
                .key_by(|e| e.key())
                .count()
                .buckets(buckets)
                .view("v");
        });
        pipelines.holds().remove(0)
    };
    assert_eq!(count(16, 1), count(16, 1));
    assert_eq!(count(16, 1).2, count(16, 2).2);
    assert_ne!(count(16, 1).2, count(8, 1).2);
    // A stable value: it is compared between peers whose binaries were built apart.
    assert_eq!(count(16, 1), ("p".into(), 1, 5_515_090_333_171_766_215));
}
