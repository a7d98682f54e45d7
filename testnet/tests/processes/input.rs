//! Nonsense over HTTP and on the command line: a clear error each, and nothing breaks.

use serde_json::json;
use testnet::hand::Line;
use testnet::scene::{Scene, Setting};

#[test]
fn bad_input_over_http_gets_a_clear_error_and_breaks_nothing() {
    let scene = Scene::up(Setting::plain(3));
    let event = json!({"events": [{"value": "x"}]});
    let (status, body) = scene.post(1, "/v1/streams/none/events", &event).expect("an answer");
    assert_eq!((status, body["code"].as_str()), (404, Some("SH0301")), "{body}");
    for name in ["../x", "a\0b", &"x".repeat(250)] {
        let new = json!({"name": name, "partitions": 1});
        let (status, body) = scene.post(2, "/v1/streams", &new).expect("an answer");
        assert_eq!((status, body["code"].as_str()), (400, Some("SH0002")), "{body}");
    }
    let new = json!({"name": "small", "partitions": 1});
    assert_eq!(scene.post(3, "/v1/streams", &new).expect("an answer").0, 201);
    let large = json!({"events": [{"value": "x".repeat(2 << 20)}]});
    let (status, body) = scene.post(1, "/v1/streams/small/events", &large).expect("an answer");
    assert_eq!((status, body["code"].as_str()), (413, Some("SH0401")), "{body}");
    let (because, fix) = (body["because"].to_string(), body["try"].to_string());
    assert!(because.contains("1048588 bytes") && fix.contains("batch-bytes-max"), "{body}");
    let (status, body) = scene.get(1, "/v1/views/none/rows/a").expect("an answer");
    assert_eq!((status, body["code"].as_str()), (404, Some("SH0303")), "{body}");
    for path in ["/v1/streams/..%2f..%2fetc", "/v1/streams/a%00b", "/../../etc/passwd"] {
        let (status, body) = scene.get(2, path).expect("an answer");
        assert!([400, 404].contains(&status), "{path}: {status} {body}");
    }
    let (status, _) = scene.post(1, "/v1/streams/small/events", &event).expect("an answer");
    assert_eq!(status, 200);
    let (status, body) =
        scene.get(2, "/v1/streams/small/events?partition=0&offset=0").expect("an answer");
    assert_eq!((status, body["events"][0]["value"].as_str()), (200, Some("x")), "{body}");
    let (status, body) =
        scene.get(3, "/v1/streams/small/events?partition=0&offset=9").expect("an answer");
    assert_eq!(body["code"].as_str(), Some("SH0403"), "{status} {body}");
    on_the_command_line(&scene);
}

/// The same, typed: exit codes 1 failed, 2 usage, 3 no peer reached, 4 not found.
fn on_the_command_line(scene: &Scene) {
    let long = "x".repeat(250);
    for (words, exit, code, told) in [
        (&["stream", "read", "none"][..], 4, "SH0301", "none"),
        (&["stream", "create", "../x"], 2, "SH0002", "'/'"),
        (&["stream", "create", &long], 2, "SH0002", "250"),
        (&["stream", "create", "small", "--partitions", "2"], 5, "SH0302", "1 partition"),
        (&["view", "get", "none", "a"], 4, "SH0303", "none"),
        (&["pipeline", "describe", "none"], 4, "SH0304", "none"),
        (&["ring", "--key", "a", "--stream", "none"], 4, "SH0301", "none"),
        (&["remove", "p9", "--yes"], 4, "SH0305", "p9"),
    ] {
        Line::shoal(words).and(&["--peer", scene.http(1)]).run().fails(exit, code, &[told]);
    }
    // Longer than a command line takes: from the standard input.
    let large = Line::shoal(&["stream", "append", "small", "--peer", scene.http(1)]).by(&[
        "sh",
        "-c",
        "head -c 2097152 /dev/zero | tr '\\0' x | \"$0\" \"$@\"",
    ]);
    large.run().fails(1, "SH0401", &["1048588 bytes"]);
    Line::shoal(&["members", "--peer", "127.0.0.1:1"]).run().fails(3, "SH0101", &["127.0.0.1:1"]);
    let kafka = &scene.kafka()[0];
    Line::shoal(&["members", "--peer", kafka]).run().fails(3, "SH0101", &["not its HTTP port"]);
    let unknown = Line::shoal(&["stream", "craete", "x"]).run();
    unknown.fails(2, "SH0001", &["craete", "create"]);
}
