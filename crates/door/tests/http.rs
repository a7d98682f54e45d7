//! HTTP's words: the contract's own JSON, batches from events, rows by format, statuses.

use door::BATCH_BYTES_LIMIT;
use door::http::*;
use model::hash::bucket_of;
use model::problem::CODES;
use model::{Batch, Problem, Record};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The JSON is read, and written back the same.
fn same<T: Serialize + DeserializeOwned>(value: Value) -> T {
    let read: T = serde_json::from_value(value.clone()).expect("it is read");
    assert_eq!(serde_json::to_value(&read).expect("it is written"), value);
    read
}

#[test]
fn the_contracts_answers_are_read_and_written() {
    same::<Ready>(json!({"ready": false, "reasons": ["no quorum"]}));
    same::<Members>(
        json!({"me": 1, "members": [{"id": 1, "name": "p1", "state": "alive", "zone": "",
        "weight": 100, "version": "0.1.0", "incarnation": 1, "mesh": "h:1", "kafka": "h:2",
        "http": "h:3", "leads": 21, "replicas": 64, "pipelines": ["a v1"], "note": ""}]}),
    );
    let row = json!({"shard": 0, "leader": null, "term": 2, "voters": [1, 2, 3], "learners": [],
        "target": [1, 2, 3]});
    same::<Ring>(json!({"epoch": 4, "shards": 64, "replication": 3, "rows": [row]}));
    same::<Ring>(json!({"epoch": 4, "shards": 64, "replication": 3, "rows": [row],
        "key": {"partition": 3, "shard": 17}}));
    same::<Health>(json!({"verdict": "all is well", "healthy": true, "ready": true, "reasons": [],
        "shards": {"total": 64, "led": 64, "under_replicated": 0},
        "peers": {"alive": 3, "total": 3}}));
    let stream = json!({"name": "rain", "id": "0a", "partitions": 16, "written_by": null});
    same::<Streams>(json!({"streams": [stream]}));
    same::<Stream>(json!({"name": "rain", "id": "0a", "partitions": 1, "written_by": "a.b",
        "parts": [{"partition": 0, "shard": 5, "leader": 2, "start": 0, "next": 9}]}));
    same::<EventsAppended>(json!({"appended": [{"partition": 3, "offset": 17, "count": 2}]}));
    same::<Events>(json!({"events": [{"partition": 3, "offset": 0, "time_ms": 5, "key": null,
        "value": {"base64": "/w=="}}], "next": 1, "high": 1, "peer": 2}));
    same::<Views>(json!({"views": [{"name": "v", "pipeline": "p", "stage": "s", "buckets": 16,
        "format": "u64"}]}));
    same::<Row>(json!({"key": "k", "value": 7, "shard": 3, "term": 2, "position": {"index": 90},
        "age_ms": 0, "stale": false, "peer": 1}));
    same::<ViewRows>(json!({"rows": [{"key": "k", "value": {"n": 1}}], "more": false,
        "linearizable": "per shard",
        "shards": [{"shard": 1, "term": 1, "index": 8, "age_ms": 3, "peer": 2}]}));
    same::<ViewPositions>(json!({"positions": [{"stream": "s", "partition": 0, "offset": 4}]}));
    same::<Pipelines>(json!({"pipelines": [{"name": "p", "version": 1, "stages": 2,
        "state": "running"}]}));
    same::<PipelineDetail>(json!({"name": "p", "version": 1, "fingerprint": "00ff", "stages": [
        {"name": "s", "buckets": 16, "sources": ["a"], "view": "v", "output": null,
         "dead": "p.s.dead", "tasks": [{"bucket": 0, "shard": 9, "peer": 1, "state": "running",
         "sequence": 4, "watermark_ms": -1, "restarts": 0, "because": null}]}]}));
}

#[test]
fn questions_have_defaults_and_know_all_their_fields() {
    let new: NewStream = serde_json::from_value(json!({"name": "rain"})).expect("a name is enough");
    assert_eq!((new.partitions, new.check()), (16, Ok(())));
    let code = |new: NewStream| new.check().expect_err("refused").code;
    assert_eq!(code(NewStream { name: "../x".into(), partitions: 1 }), "SH0002");
    assert_eq!(code(NewStream { name: "x".into(), partitions: 0 }), "SH0404");
    assert_eq!(code(NewStream { name: "x".into(), partitions: u32::MAX }), "SH0404");
    let typo = serde_json::from_value::<NewStream>(json!({"name": "x", "partition": 3}));
    assert!(typo.expect_err("refused").to_string().contains("unknown field `partition`"));
    let query: EventsQuery = serde_json::from_value(json!({"partition": 3})).expect("enough");
    assert_eq!((query.offset, query.max, query.wait_ms), (0, 100, 0));
    let query: RowsQuery = serde_json::from_value(json!({"consistency": "any"})).expect("enough");
    assert_eq!((query.limit, query.consistency), (1_000, Consistency::Any));
    assert!(serde_json::from_value::<RowQuery>(json!({"consistency": "some"})).is_err());
    let age = |query| serde_json::from_value::<RowQuery>(query).expect("a query").age_max();
    let half = std::time::Duration::from_millis(500);
    assert_eq!(age(json!({"consistency": "any", "max_age_ms": 500})), Ok(Some(half)));
    assert_eq!(age(json!({"consistency": "any"})), Ok(None));
    let refused = age(json!({"max_age_ms": 500})).expect_err("the leader's answer has no age");
    assert_eq!(refused.code, "SH0404");
}

fn events(batch: &Batch) -> Vec<Record> {
    batch.records(1 << 20).expect("plain").collect::<Result<_, _>>().expect("well-formed")
}

#[test]
fn events_go_where_kafkas_java_client_would_put_them() {
    let body = r#"{"events": [
        {"key": "user-1", "value": {"b": 1.10,  "a": 12345678901234567890123}},
        {"key": null, "value": "plain text"},
        {"value": null},
        {"key": "user-1", "value": [1, 2], "time_ms": 7},
        {"key": {"base64": "/wA="}, "value": {"base64": "AAE="}}
    ]}"#;
    let request: NewEvents = serde_json::from_str(body).expect("valid");
    let parts = batches(&request, 16, 1_000, 35).expect("small enough");
    let mine = bucket_of(b"user-1", 16);
    let part = parts.iter().find(|part| part.partition == mine).expect("it has events");
    let found = events(&Batch::one(part.batch.bytes().clone()).expect("a valid batch"));
    // Other JSON is kept exactly as it was written: order, digits and blanks.
    let value = &b"{\"b\": 1.10,  \"a\": 12345678901234567890123}"[..];
    assert_eq!(found[0].value.as_deref(), Some(value));
    assert_eq!((found[0].key.as_deref(), found[0].time_ms), (Some(&b"user-1"[..]), 1_000));
    assert_eq!((found[1].value.as_deref(), found[1].time_ms), (Some(&b"[1, 2]"[..]), 7));
    // Events without a key stay together, where the caller's number says.
    let part = parts.iter().find(|part| part.partition == 35 % 16).expect("it has events");
    assert_eq!(part.count, 2);
    let found = events(&part.batch);
    assert_eq!((&found[0].key, found[0].value.as_deref()), (&None, Some(&b"plain text"[..])));
    assert_eq!((&found[1].key, &found[1].value), (&None, &None));
    let part = parts.iter().find(|part| part.partition == bucket_of(&[0xff, 0], 16)).expect("it");
    let found = events(&part.batch);
    let raw = found.iter().find(|e| e.key.as_deref() == Some(&[0xff, 0][..])).expect("it");
    assert_eq!(raw.value.as_deref(), Some(&[0, 1][..]));
    assert_eq!(parts.iter().map(|part| part.count).sum::<u32>(), 5);
    assert!(parts.is_sorted_by_key(|part| part.partition));
    assert_eq!(batches(&request, 16, 1_000, 35), Ok(parts), "the same again");
}

#[test]
fn a_named_partition_takes_all_events_and_must_exist() {
    let request = |partition| NewEvents {
        events: vec![EventIn { key: "a".into(), ..EventIn::default() }, EventIn::default()],
        partition: Some(partition),
    };
    let parts = batches(&request(3), 4, 0, 0).expect("there are four");
    assert_eq!((parts.len(), parts[0].partition, parts[0].count), (1, 3, 2));
    assert_eq!(batches(&request(4), 4, 0, 0).expect_err("there are four").code, "SH0306");
}

#[test]
fn appends_have_bounds() {
    let code = |request: &NewEvents| batches(request, 1, 0, 0).expect_err("refused").code;
    let none = NewEvents { events: Vec::new(), partition: None };
    assert_eq!(code(&none), "SH0404");
    let large =
        EventIn { value: "x".repeat(BATCH_BYTES_LIMIT).as_str().into(), ..EventIn::default() };
    assert_eq!(code(&NewEvents { events: vec![large], partition: None }), "SH0401");
    let many = format!(r#"{{"events":[{}{{}}]}}"#, "{},".repeat(EVENTS_MAX));
    let error = serde_json::from_str::<NewEvents>(&many).expect_err("refused while it is read");
    assert!(error.to_string().contains("more than 10000 events"), "{error}");
    let deep =
        format!(r#"{{"events":[{{"value":{}{}}}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(code(&serde_json::from_str(&deep).expect("well-formed")), "SH0404");
    let flat = r#"{"events":[{"value":{"a":"[[[[\"[[[[","b":[1]}}]}"#;
    let flat: NewEvents = serde_json::from_str(flat).expect("well-formed");
    assert!(batches(&flat, 1, 0, 0).is_ok(), "brackets in strings are not depth");
}

#[test]
fn bytes_are_shown_as_text_or_base64_and_rows_by_their_format() {
    assert_eq!(Shown::of(Some(b"a\"b")).text(), r#""a\"b""#);
    assert_eq!(Shown::of(Some(&[0xff])).text(), r#"{"base64":"/w=="}"#);
    assert_eq!(Shown::of(None).text(), "null");
    let json = br#"{"b":1.10,"a":12345678901234567890123}"#;
    assert_eq!(Shown::row("json", json).text().as_bytes(), json);
    assert_eq!(Shown::row("json", b"{oops").text(), "\"{oops\"");
    assert_eq!(Shown::row("u64", &u64::MAX.to_le_bytes()).text(), "18446744073709551615");
    assert_eq!(Shown::row("u64", b"abc").text(), "\"abc\"");
    assert_eq!(Shown::row("bytes", b"abc").text(), r#"{"base64":"YWJj"}"#);
    assert_eq!(Shown::row("text", b"abc").text(), "\"abc\"");
    assert_eq!(
        (Shown::from("a b").plain(), Shown::row("u64", &[0; 8]).plain()),
        ("a b".into(), "0".into())
    );
    assert_eq!(Shown::row("json", b"{\"n\":2}").parsed()["n"], 2);
}

#[test]
fn every_code_has_a_status_and_problems_survive_their_body() {
    for (code, _, title) in CODES {
        assert!((400..=599).contains(&status(code)), "{code}");
        let problem = Problem::new(code, "what", "because", "try");
        let body = ProblemBody::from(problem.clone());
        assert_eq!((body.title.as_str(), body.status), (*title, status(code)));
        assert_eq!(Problem::from(body), problem);
    }
    let body = ProblemBody::from(Problem::new("SH0301", "no stream x", "none has it", "make it"));
    let expected = json!({"type": "about:blank", "title": "no such stream", "status": 404,
        "code": "SH0301", "detail": "no stream x", "because": "none has it", "try": "make it"});
    assert_eq!(serde_json::to_value(body).expect("plain"), expected);
}

#[test]
fn a_bad_body_is_told_why_in_few_words() {
    let long = format!(r#"{{"events": "{}"}}"#, "ü".repeat(100_000));
    let error = serde_json::from_str::<NewEvents>(&long).expect_err("not a list");
    let problem = body_problem(&error);
    assert_eq!(problem.code, "SH0404");
    assert!(problem.because.len() <= 300 && problem.because.contains("invalid type"));
}
