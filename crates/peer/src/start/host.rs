//! The address under which others find this peer: chosen once at a start, and never changed by anything that runs.

use crate::keep_catalogue;
use crate::options::Options;
use std::net::IpAddr;
use store::Folder;

/// The host that others are told: what was asked for, else the bound address, else the one on the way to them.
pub(super) async fn host(options: &Options, folder: &Folder) -> String {
    if let Some(host) = &options.advertise {
        return host.clone();
    }
    if !options.bind.is_unspecified() {
        return options.bind.to_string();
    }
    let mut others = options.join.clone();
    if let (Some(head), Some(kept)) = (folder.head(), keep_catalogue::read(folder)) {
        let others_of = kept.roster.values().filter(|peer| peer.id != head.peer);
        others.extend(others_of.map(|peer| peer.addresses.mesh.clone()));
    }
    // A few are enough to find the way, and a start must not wait for names of the dead.
    others.truncate(3);
    // A list that is the same everywhere has this machine's own name, which may mean loopback here.
    let mut found = None;
    for other in &others {
        let way = net::listen::outward_address(std::slice::from_ref(other)).await;
        match way {
            Some(way) if !way.is_loopback() => return way.to_string(),
            way => found = found.or(way),
        }
    }
    if others.is_empty() {
        found = net::listen::outward_address(&[]).await;
    }
    found.map_or_else(|| "127.0.0.1".into(), |address| address.to_string())
}

/// Whether nobody on another machine can reach what this peer tells: it listens for its own machine only, or found no
/// address that leads out of it.
pub(super) fn is_loopback(bind: IpAddr, told: &str) -> bool {
    let told = told.trim_start_matches('[').trim_end_matches(']');
    let named = told.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    bind.is_loopback() || named || told == "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_listens_everywhere_and_tells_loopback_is_reached_by_nobody_else() {
        let any: IpAddr = "0.0.0.0".parse().expect("an address");
        let here: IpAddr = "::1".parse().expect("an address");
        for (bind, told, alone) in [
            (any, "127.0.0.1", true),
            (any, "[::1]", true),
            (any, "localhost", true),
            (any, "192.0.2.7", false),
            (any, "a.example", false),
            (here, "a.example", true),
        ] {
            assert_eq!(is_loopback(bind, told), alone, "{bind} told as {told}");
        }
    }
}
