//! Network namespaces (Linux, root): machines of their own as far as addresses, ports and routes go.

use crate::power::root;
use std::process::Command;

/// A namespace, gone with this.
pub struct Space {
    name: String,
    /// By which the others know it.
    pub address: String,
}

/// A machine in the middle and others around it, each on a network of its own, that reach each other through it.
pub struct Star {
    pub middle: Space,
    pub around: Vec<Space>,
}

/// Whether this process may make them; else why not.
pub fn possible() -> Result<(), String> {
    root()?;
    match Command::new("ip").arg("netns").output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("it needs iproute2".into()),
    }
}

impl Space {
    fn make(place: usize, address: &str) -> Self {
        let name = format!("stories-{}-{place}", std::process::id());
        ip(&["netns", "add", &name]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        Self { name, address: address.to_owned() }
    }

    /// The words before a command that run it in here.
    pub fn inside(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // What still runs in it keeps it until it ends.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

impl Star {
    pub fn make(around: usize) -> Self {
        let middle = Space::make(0, "10.77.1.1");
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        ip(&["netns", "exec", &middle.name, "sh", "-c", forward]);
        let ray = |place: usize| {
            let space = Space::make(place, &format!("10.77.{place}.2"));
            let (here, there) = (format!("to{place}"), &space.name);
            let hub = format!("10.77.{place}.1");
            let link = ["link", "add", &here, "type", "veth", "peer", "name", "out", "netns"];
            ip(&[&["-n", &middle.name][..], &link[..], &[there]].concat());
            for (space, device, address) in
                [(&middle.name, &*here, &hub), (there, "out", &space.address)]
            {
                ip(&["-n", space, "addr", "add", &format!("{address}/24"), "dev", device]);
                ip(&["-n", space, "link", "set", device, "up"]);
            }
            ip(&["-n", there, "route", "add", "default", "via", &hub]);
            space
        };
        let around = (1..=around).map(ray).collect();
        Self { middle, around }
    }
}

fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().expect("ip runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words:?}: {said}");
}
