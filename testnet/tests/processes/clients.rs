//! Clients that people have: kafka-python sends, kcat reads.

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
    if std::process::Command::new("kcat").arg("-V").output().is_err() {
        println!("SKIPPED: it needs kcat");
        return;
    }
    let scene = Scene::up(Setting::plain(3));
    let kafka = scene.kafka();
    let script = format!(
        "from kafka import KafkaProducer\n\
         producer = KafkaProducer(bootstrap_servers='{}')\n\
         producer.send('my_topic', value=b'Hello, world!')\n\
         producer.flush()\n",
        kafka[0]
    );
    let sent = std::process::Command::new(python).args(["-c", &script]).output().expect("it runs");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let read = std::process::Command::new("kcat")
        .args(["-b", &kafka[2], "-C", "-t", "my_topic", "-e", "-q"])
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&read.stdout), "Hello, world!\n");
}
