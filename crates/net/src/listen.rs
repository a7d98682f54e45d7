//! Listeners for clients: Kafka and HTTP.
//!
//! Promises that a taken port is told with who holds it, where the system lets us see that, and that whoever comes before
//! they are served is refused, so that he turns to another peer at once.

use crate::{error::Error, limits};
use std::{
    fs,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

/// The kernel's table of sockets has a line for each; more than this is not searched.
const LINES_MAX: usize = 100_000;

/// A port that is ours, and at which nobody is let in yet.
pub struct Port {
    socket: TcpSocket,
    /// Where it is, with the port that was taken.
    pub address: SocketAddr,
}

impl Port {
    /// Takes a port; 0 takes a free one.
    pub fn take(address: SocketAddr) -> Result<Self, Error> {
        let taken = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            // A restart must not wait until the connections before it are forgotten.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        taken().map_err(|error| why(address, &error))
    }

    /// Lets clients in: from now on somebody must accept them.
    pub fn listen(self) -> Result<TcpListener, Error> {
        self.socket.listen(limits::BACKLOG).map_err(|error| why(self.address, &error))
    }
}

/// Whether an address can be listened on; says who has it if not.
pub(crate) fn is_free(address: SocketAddr) -> Result<(), Error> {
    std::net::TcpListener::bind(address).map(drop).map_err(|error| why(address, &error))
}

fn why(address: SocketAddr, error: &io::Error) -> Error {
    if error.kind() == ErrorKind::AddrInUse {
        let by = holder(address.port());
        return Error::PortTaken {
            address,
            by: by.unwrap_or_else(|| "another process, which this system does not name".to_owned()),
        };
    }
    let because = match error.kind() {
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        ErrorKind::PermissionDenied => "ports below 1024 need rights this process lacks".to_owned(),
        _ => error.to_string(),
    };
    Error::Listen { address, because }
}

/// Who listens on a port, as `pid N (name)`; none where /proc does not say.
fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table
            .lines()
            .skip(1)
            .take(LINES_MAX)
            .find_map(|line| listening_inode(line, port).map(str::to_owned))
    })?;
    let link = format!("socket:[{inode}]");
    let holds = |pid: &str| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| target.as_os_str() == link.as_str()).then_some(())
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let pid = pids.find(|name| name.parse::<u32>().is_ok() && holds(name).is_some())?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("pid {pid} ({})", name.trim()))
}

/// The inode of a line of /proc/net/tcp, if it is a listener on this port.
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let mut columns = line.split_whitespace();
    let local = columns.nth(1)?;
    let state = columns.nth(1)?;
    let inode = columns.nth(5)?;
    let found = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (state == LISTEN && found == port).then_some(inode)
}

/// The address by which this machine reaches the first of `others` (`host:port`) that it has a way to, else by which
/// it reaches the world; sends nothing.
pub async fn outward_address(others: &[String]) -> Option<IpAddr> {
    for other in others {
        for family in ["0.0.0.0:0", "[::]:0"] {
            if let Some(found) = way_to(other, family).await {
                return Some(found);
            }
        }
    }
    // One of the addresses that are kept for documentation: it stands for all that is far away.
    way_to("192.0.2.1:9", "0.0.0.0:0").await
}

/// Whether somebody answers at an address (`host:port`); says nothing to them.
pub async fn reach(address: &str) -> io::Result<()> {
    match timeout(limits::DIAL_TIMEOUT, TcpStream::connect(address)).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

/// Connecting a datagram socket only asks the routes.
async fn way_to(other: &str, family: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(family).await.ok()?;
    timeout(limits::DIAL_TIMEOUT, socket.connect(other)).await.ok()?.ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_its_holder() {
        let first = Port::take("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = first.address;
        let early = reach(&address.to_string()).await.expect_err("nobody would serve");
        assert_eq!(early.kind(), ErrorKind::ConnectionRefused);
        let first = first.listen().expect("it is ours");
        let Err(taken) = Port::take(address) else { panic!("it is taken") };
        let Error::PortTaken { by, .. } = taken else { panic!("{taken}") };
        if cfg!(target_os = "linux") {
            assert!(by.starts_with(&format!("pid {} (", std::process::id())), "{by}");
        }
        reach(&address.to_string()).await.expect("it listens");
        drop(first);
        reach(&address.to_string()).await.expect_err("nobody answers any more");
        is_free(address).expect("it is free again");
    }

    #[tokio::test]
    async fn the_address_that_others_are_told_is_on_the_way_to_them() {
        let loopback: IpAddr = "127.0.0.1".parse().expect("an address");
        let others = ["nonsense".to_owned(), "127.0.0.1:7946".to_owned()];
        assert_eq!(outward_address(&others).await, Some(loopback));
    }

    #[test]
    fn only_listeners_on_the_port_count() {
        let line = "   0: 0100007F:1F0A 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4242 1 0 100 0";
        assert_eq!(listening_inode(line, 0x1F0A), Some("4242"));
        assert_eq!(listening_inode(line, 0x1F0B), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 0x1F0A), None);
        assert_eq!(listening_inode("nonsense", 1), None);
    }
}
