//! The compose file and the image: whole, and as careful as they are said to be.

use crate::tools;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const IMAGE: &str = include_str!("../../Dockerfile");

/// The compose file as JSON: what `docker compose` makes of it, where that is; else what a parser does.
fn compose() -> Option<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose.yaml");
    let docker = |words: &[&str]| {
        let mut docker = Command::new("docker");
        docker.arg("compose").args(words).env("SHOAL_MESH__TOKEN", "none").output()
    };
    let path = file.to_str().expect("plain");
    let text = if docker(&["version"]).is_ok_and(|output| output.status.success()) {
        let output = docker(&["-f", path, "config", "--format", "json"]).expect("docker runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "docker compose refuses it: {said}");
        output.stdout
    } else {
        println!("docker compose is not here: the file is parsed instead");
        let bin = match tools::python(&tools::PYTHON) {
            Ok(bin) => bin,
            Err(why) => {
                println!("SKIPPED: a parser cannot be had: {why}");
                return None;
            }
        };
        let parse =
            "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
        let output = Command::new(bin.join("python")).args(["-c", parse, path]).output();
        let output = output.expect("Python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    Some(serde_json::from_slice(&text).expect("JSON"))
}

/// The words of a list, or the names of a map.
fn words(value: &Value) -> Vec<String> {
    let of_list = value.as_array().into_iter().flatten();
    let listed = of_list.map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
    listed.chain(value.as_object().into_iter().flat_map(|it| it.keys().cloned())).collect()
}

#[test]
fn the_compose_file_has_three_careful_peers_haproxy_and_prometheus() {
    let Some(compose) = compose() else { return };
    let services = compose["services"].as_object().expect("services");
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    for wanted in ["p1", "p2", "p3", "haproxy", "prometheus"] {
        assert!(names.contains(&wanted), "{wanted} is not in {names:?}");
    }
    assert_eq!(names.len(), 5, "{names:?}");
    for (name, service) in services {
        for needed in words(&service["depends_on"]) {
            assert!(names.contains(&needed.as_str()), "{name} waits for {needed}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            let text = port.to_string();
            assert!(text.contains("127.0.0.1"), "{name} listens beyond this machine: {text}");
        }
    }
    for name in ["p1", "p2", "p3"] {
        let peer = &services[name];
        assert_eq!((&peer["user"], &peer["read_only"]), (&"10001:10001".into(), &true.into()));
        assert_eq!(words(&peer["cap_drop"]), ["ALL"], "{name}");
        assert!(words(&peer["healthcheck"]["test"]).ends_with(&["shoal".into(), "health".into()]));
        let command = words(&peer["command"]);
        let begins = if name == "p1" { "--new" } else { "--join" };
        assert!(command.starts_with(&["start".into(), begins.into()]), "{command:?}");
        assert!(compose["volumes"].as_object().expect("volumes").contains_key(name));
        assert!(!peer.to_string().contains("shoal1-"), "a token is in the file");
    }
}

#[test]
fn the_image_runs_as_an_ordinary_user_and_says_how_it_is() {
    let last = IMAGE.rsplit("\nFROM ").next().expect("a stage");
    let user = last.lines().find_map(|line| line.strip_prefix("USER "));
    let number: u32 = user.and_then(|user| user.trim().parse().ok()).expect("a number");
    assert!(number >= 1_000, "it runs as {number}");
    assert!(last.contains("\nHEALTHCHECK ") && last.contains("\"shoal\", \"health\""), "{last}");
    assert!(last.starts_with("debian:") && last.contains("-slim"), "{last}");
}
