//! Two or three networks on loopback: what they promise to each other.

use bytes::Bytes;
use net::{Config, DialError, Event, Events, Lane, Net, PeerKey, Reach, SendError};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

const SECRET: &[u8] = b"a secret of 32 random bytes.....";
const PATIENCE: Duration = Duration::from_secs(10);

struct Peer {
    net: Net,
    events: Events,
    seed: u8,
}

impl Peer {
    async fn start(seed: u8, secret: &[u8]) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(seed, secret, (any, any)).await
    }

    async fn start_at(seed: u8, secret: &[u8], at: (SocketAddr, SocketAddr)) -> Self {
        let config = Config {
            key_seed: [seed; 32],
            secret: secret.to_vec(),
            mesh_listen: at.0,
            consensus_listen: at.1,
        };
        let (net, events) = Net::start(config).await.expect("free ports");
        Self { net, events, seed }
    }

    fn key(&self) -> PeerKey {
        PeerKey::from_seed([self.seed; 32])
    }

    fn knows(&self, other: &Peer) {
        let (mesh, consensus) = other.net.listening();
        self.net.know(other.key(), mesh.to_string(), consensus.to_string());
    }

    /// The first event that fits; others before it are dropped.
    async fn expect<T>(&mut self, what: &str, mut fits: impl FnMut(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(found) = fits(event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{} waits for {what}", self.seed))
    }

    async fn up(&mut self) {
        self.expect("up", |e| matches!(e, Event::Up { reach, .. } if reach.both()).then_some(()))
            .await;
    }

    async fn down(&mut self) -> Reach {
        let down = |e| if let Event::Down { reach, .. } = e { Some(reach) } else { None };
        self.expect("down", down).await
    }

    async fn frame(&mut self) -> (Lane, Bytes) {
        let frame =
            |e| if let Event::Frame { lane, bytes, .. } = e { Some((lane, bytes)) } else { None };
        self.expect("a frame", frame).await
    }
}

async fn pair() -> (Peer, Peer) {
    let (mut a, mut b) = (Peer::start(1, SECRET).await, Peer::start(2, SECRET).await);
    a.knows(&b);
    b.knows(&a);
    a.up().await;
    b.up().await;
    (a, b)
}

/// Established TCP connections of this process between these two listeners and anybody, as this
/// side sees them.
fn connections_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let local = format!(":{port:04X}");
    let is_ours = |line: &&str| {
        let mut columns = line.split_whitespace();
        columns.nth(1).is_some_and(|at| at.ends_with(&local)) && columns.nth(1) == Some("01")
    };
    table.lines().skip(1).filter(is_ours).count()
}

fn with_traces() {
    let _ = tracing_subscriber::fmt().with_env_filter("net=debug").with_test_writer().try_init();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_arrive_in_order_on_every_lane_both_ways() {
    let (mut a, mut b) = pair().await;
    const COUNT: u32 = 500;
    for n in 0..COUNT {
        for lane in Lane::ALL {
            a.net.send(&b.key(), lane, n.to_le_bytes().to_vec().into()).expect("room");
            b.net.send(&a.key(), lane, n.to_le_bytes().to_vec().into()).expect("room");
        }
    }
    for peer in [&mut a, &mut b] {
        let mut next = [0; 4];
        for _ in 0..COUNT * 4 {
            let (lane, bytes) = peer.frame().await;
            let next = &mut next[lane as usize];
            assert_eq!(*bytes, u32::to_le_bytes(*next), "{lane:?}");
            *next += 1;
        }
        assert_eq!(next, [COUNT; 4]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_without_the_secret_gets_nothing_and_both_sides_say_why() {
    with_traces();
    let mut home = Peer::start(1, SECRET).await;
    let mut stranger = Peer::start(2, b"another secret").await;
    let mesh = home.net.listening().0.to_string();
    assert_eq!(stranger.net.dial(&mesh).await, Err(DialError::WrongSecret(mesh.clone())));
    stranger.knows(&home);
    let refused = |e| match e {
        Event::Refused { why, .. } => Some(why),
        other => panic!("{other:?}"),
    };
    let why = home.expect("a refusal", refused).await;
    assert!(why.contains("another mesh secret"), "{why}");
    let why = stranger.expect("a refusal", refused).await;
    assert!(why.contains("another mesh secret"), "{why}");
    assert_eq!(
        stranger.net.send(&home.key(), Lane::Gossip, Bytes::from_static(b"hello")),
        Err(SendError::Down)
    );
    sleep(Duration::from_millis(500)).await;
    while let Some(event) = home.events.try_recv() {
        assert!(matches!(event, Event::Refused { .. }), "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_peer_is_down_at_once_and_up_again_when_it_returns() {
    let (mut a, b) = pair().await;
    let at = b.net.listening();
    let killed = Instant::now();
    drop(b);
    let mut reach = a.down().await;
    let first = killed.elapsed();
    // a spare of dials that crossed may stand for a moment more
    while !reach.none() {
        reach = a.down().await;
    }
    println!("down told after {first:?}, both after {:?}", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_millis(500));
    let gone = PeerKey::from_seed([2; 32]);
    assert_eq!(a.net.send(&gone, Lane::Consensus, Bytes::new()), Err(SendError::Down));
    sleep(Duration::from_millis(300)).await;
    let restarted = Instant::now();
    let mut b = Peer::start_at(2, SECRET, at).await;
    b.knows(&a);
    a.up().await;
    println!("up told {:?} after the restart", restarted.elapsed());
    b.up().await;
    a.net.send(&b.key(), Lane::Request, Bytes::from_static(b"welcome back")).expect("room");
    assert_eq!(b.frame().await.1, "welcome back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_only_waits_is_found_by_redialling() {
    let (mut a, b) = pair().await;
    let at = b.net.listening();
    drop(b);
    while !a.down().await.none() {}
    sleep(Duration::from_secs(1)).await;
    let mut b = Peer::start_at(2, SECRET, at).await;
    let restarted = Instant::now();
    b.up().await;
    println!("redialled {:?} after the restart", restarted.elapsed());
    assert!(restarted.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_fills_the_senders_queue_and_nothing_grows() {
    let (mut a, mut b) = pair().await;
    let frame = Bytes::from(vec![5; 1 << 20]);
    let (mut sent, mut full) = (0, None);
    let started = Instant::now();
    while full.is_none_or(|at: Instant| at.elapsed() < Duration::from_secs(1)) {
        assert!(started.elapsed() < PATIENCE, "never full");
        match a.net.send(&b.key(), Lane::Bulk, frame.clone()) {
            Ok(()) => (sent, full) = (sent + 1, None),
            Err(SendError::Full) => {
                full = full.or(Some(Instant::now()));
                sleep(Duration::from_millis(5)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    println!("a slow reader let {sent} MiB of bulk wait");
    assert!(sent < 8 + 16 + 16, "{sent} MiB wait");
    // another lane of the same connection goes on
    a.net.send(&b.key(), Lane::Request, Bytes::from_static(b"urgent")).expect("room");
    let mut bulk = 0;
    let mut urgent = false;
    while bulk < sent || !urgent {
        match b.frame().await {
            (Lane::Bulk, _) => bulk += 1,
            (Lane::Request, _) => urgent = true,
            other => panic!("{other:?}"),
        }
    }
    a.net.send(&b.key(), Lane::Bulk, frame).expect("room again");
    assert!(a.events.try_recv().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dials_that_cross_end_with_one_connection_and_lose_nothing() {
    for round in 0..3 {
        let (mut a, mut b) = (Peer::start(1, SECRET).await, Peer::start(2, SECRET).await);
        let (at_a, at_b) = (a.net.listening().0, b.net.listening().0);
        let (from_a, from_b) = (at_b.to_string(), at_a.to_string());
        let (one, two) = tokio::join!(a.net.dial(&from_a), b.net.dial(&from_b));
        assert_eq!(one.expect("b is there"), b.key());
        assert_eq!(two.expect("a is there"), a.key());
        for n in 0..600u32 {
            a.net.send(&b.key(), Lane::Request, n.to_le_bytes().to_vec().into()).expect("room");
            b.net.send(&a.key(), Lane::Request, n.to_le_bytes().to_vec().into()).expect("room");
            sleep(Duration::from_millis(5)).await;
        }
        for peer in [&mut a, &mut b] {
            for n in 0..600u32 {
                assert_eq!(*peer.frame().await.1, n.to_le_bytes(), "round {round}");
            }
            assert!(peer.events.try_recv().is_none(), "no loss is told");
        }
        if cfg!(target_os = "linux") {
            let both = connections_to(at_a.port()) + connections_to(at_b.port());
            assert_eq!(both, 1, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_frame_passes_and_a_larger_one_is_refused() {
    let (a, mut b) = pair().await;
    let largest = Bytes::from(vec![3; Lane::Consensus.frame_bytes_max()]);
    assert_eq!(largest.len(), 16 << 20);
    for lane in [Lane::Consensus, Lane::Request] {
        a.net.send(&b.key(), lane, largest.clone()).expect("room");
        assert_eq!(b.frame().await, (lane, largest.clone()));
    }
    let larger = Bytes::from(vec![3; largest.len() + 1]);
    let refused = a.net.send(&b.key(), Lane::Request, larger);
    assert!(matches!(refused, Err(SendError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_says_what_is_wrong() {
    let a = Peer::start(1, SECRET).await;
    let own = a.net.listening().0.to_string();
    assert_eq!(a.net.dial(&own).await, Err(DialError::Ourselves(own)));
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = free.local_addr().expect("it is bound").to_string();
    let silent = a.net.dial(&address);
    assert_eq!(silent.await, Err(DialError::Timeout(address.clone())));
    drop(free);
    assert_eq!(a.net.dial(&address).await, Err(DialError::Refused(address)));
    let nowhere = a.net.dial("no-such-host.invalid:7946").await;
    assert!(matches!(nowhere, Err(DialError::Unreachable { .. })), "{nowhere:?}");
    assert!(matches!(a.net.dial("nonsense").await, Err(DialError::Address { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_is_told_apart_from_another_secret() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let a = Peer::start(1, SECRET).await;
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = other.local_addr().expect("it is bound").to_string();
        tokio::spawn(async move {
            let (mut stream, _) = other.accept().await.expect("a dial");
            let mut asked = [0; 64];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let outcome = a.net.dial(&address).await;
        assert!(matches!(outcome, Err(DialError::WrongProtocol { .. })), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_mesh_port_is_told_before_it_is_shared() {
    let a = Peer::start(1, SECRET).await;
    let config = Config {
        key_seed: [2; 32],
        secret: SECRET.to_vec(),
        mesh_listen: a.net.listening().0,
        consensus_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    let outcome = Net::start(config).await.err();
    assert!(matches!(outcome, Some(net::Error::PortTaken { .. })), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialled_peer_can_be_talked_to_before_its_consensus_address_is_known() {
    let (mut a, mut b) = (Peer::start(1, SECRET).await, Peer::start(2, SECRET).await);
    let key = b.net.dial(&a.net.listening().0.to_string()).await.expect("a is there");
    assert_eq!(key, a.key());
    let up = |e| if let Event::Up { reach, .. } = e { Some(reach) } else { None };
    let half = Reach { main: true, consensus: false };
    assert_eq!(a.expect("up", up).await, half);
    assert_eq!(b.expect("up", up).await, half);
    b.net.send(&key, Lane::Request, Bytes::from_static(b"may I join?")).expect("room");
    assert_eq!(a.frame().await.1, "may I join?");
    assert_eq!(b.net.send(&key, Lane::Consensus, Bytes::new()), Err(SendError::Down));
    a.knows(&b);
    assert!(a.expect("up", up).await.both());
    assert!(b.expect("up", up).await.both());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_peer_is_let_go() {
    let (mut a, mut b) = (Peer::start(1, SECRET).await, Peer::start(2, SECRET).await);
    a.knows(&b);
    a.up().await;
    b.up().await;
    a.net.forget(&b.key());
    while !a.down().await.none() {}
    while !b.down().await.none() {}
    sleep(Duration::from_millis(300)).await;
    assert!(a.events.try_recv().is_none() && b.events.try_recv().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures() {
    let (mut a, mut b) = (Peer::start(1, SECRET).await, Peer::start(2, SECRET).await);
    let started = Instant::now();
    a.knows(&b);
    a.up().await;
    println!("both connections stand after {:?}", started.elapsed());
    b.up().await;
    let (key_a, key_b) = (a.key(), b.key());
    let echo = b.net.clone();
    let echoes = tokio::spawn(async move {
        let mut bytes_taken = 0;
        while let Some(event) = b.events.recv().await {
            match event {
                Event::Frame { lane: Lane::Consensus, bytes, .. } => {
                    echo.send(&key_a, Lane::Consensus, bytes).expect("room");
                }
                Event::Frame { lane: Lane::Request, bytes, .. } => {
                    bytes_taken += bytes.len();
                    if bytes_taken == 256 << 20 {
                        echo.send(&key_a, Lane::Request, Bytes::new()).expect("room");
                    }
                }
                _ => {}
            }
        }
    });
    let mut times = Vec::new();
    for n in 0..2200 {
        let sent = Instant::now();
        a.net.send(&key_b, Lane::Consensus, Bytes::from_static(&[1; 100])).expect("room");
        a.frame().await;
        if n >= 200 {
            times.push(sent.elapsed());
        }
    }
    times.sort_unstable();
    println!("round trip of 100 B: p50 {:?}, p99 {:?}", times[1000], times[1980]);
    let started = Instant::now();
    let frame = Bytes::from(vec![1; 64 << 10]);
    let mut left = (256 << 20) / frame.len();
    while left > 0 {
        match a.net.send(&key_b, Lane::Request, frame.clone()) {
            Ok(()) => left -= 1,
            Err(SendError::Full) => sleep(Duration::from_millis(1)).await,
            Err(other) => panic!("{other}"),
        }
    }
    a.frame().await;
    println!("256 MiB in frames of 64 KiB: {:.0} MB/s", 268.4 / started.elapsed().as_secs_f64());
    echoes.abort();
}

#[tokio::test]
async fn a_network_that_carries_nothing_any_more_says_so() {
    let peer = Peer::start(1, SECRET).await;
    let net = peer.net.clone();
    let mut ended = tokio::spawn(async move { net.ended().await });
    assert!(timeout(Duration::from_millis(200), &mut ended).await.is_err(), "it runs");
    peer.net.stop().await;
    timeout(PATIENCE, ended).await.expect("it has ended").expect("no panic");
}
