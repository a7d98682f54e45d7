//! Clients that people have: kafka-python sends, kcat reads.

use std::path::Path;
use std::process::Command;
use testnet::clients;
use testnet::scene::{Scene, Setting};

#[test]
fn what_kafka_python_sends_kcat_prints_at_another_peer() {
    let python = match clients::python(&["kafka-python==3.0.12"]) {
        Ok(python) => python,
        Err(why) => {
            println!("SKIPPED: {why}");
            return;
        }
    };
    if Command::new("kcat").arg("-V").output().is_err() {
        println!("SKIPPED: it needs kcat");
        return;
    }
    let scene = Scene::up(Setting::plain(3));
    for (from, to) in [(1, 3), (2, 1), (3, 2)] {
        send_and_read(&scene, &python, from, to);
    }
}

/// A topic that nobody has made yet, written at one peer and read at another.
fn send_and_read(scene: &Scene, python: &Path, from: usize, to: usize) {
    let (kafka, topic) = (scene.kafka(), format!("my_topic_{from}"));
    let script = format!(
        "from kafka import KafkaProducer\n\
         producer = KafkaProducer(bootstrap_servers='{}')\n\
         producer.send('{topic}', value=b'Hello, world!')\n\
         producer.flush()\n",
        kafka[from - 1]
    );
    let sent = Command::new(python).args(["-c", &script]).output().expect("it runs");
    assert!(sent.status.success(), "p{from}: {}", String::from_utf8_lossy(&sent.stderr));
    let read = Command::new("kcat")
        .args(["-b", &kafka[to - 1], "-C", "-t", &topic, "-e", "-q"])
        .output()
        .expect("it runs");
    let read = String::from_utf8_lossy(&read.stdout).into_owned();
    assert_eq!(read, "Hello, world!\n", "from p{from} to p{to}");
}
