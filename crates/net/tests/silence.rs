//! What breaks without a sound: a path that swallows bytes, a process that is stopped.

use bytes::Bytes;
use net::{Config, Event, Events, Lane, Net, PeerKey};
use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, tcp},
    process::Command,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn start(seed: u8) -> (Net, Events) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let secret = b"secret".to_vec();
    let config = Config { key_seed: [seed; 32], secret, mesh_listen: any, consensus_listen: any };
    Net::start(config).await.expect("free ports")
}

async fn next(events: &mut Events) -> Event {
    timeout(PATIENCE, events.recv()).await.expect("in time").expect("the network runs")
}

async fn up(events: &mut Events) {
    while !matches!(next(events).await, Event::Up { reach, .. } if reach.both()) {}
}

async fn down(events: &mut Events) {
    while !matches!(next(events).await, Event::Down { .. }) {}
}

/// Passes connections on to an address; those whose number is below `frozen` are swallowed.
async fn path_to(target: SocketAddr, frozen: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        for number in 0.. {
            let (near, _) = listener.accept().await.expect("a connection");
            let far = TcpStream::connect(target).await.expect("the peer listens");
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(number, near_in, far_out, frozen.clone()));
            tokio::spawn(pass(number, far_in, near_out, frozen.clone()));
        }
    });
    address
}

async fn pass(
    number: usize,
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    frozen: Arc<AtomicUsize>,
) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        while number < frozen.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(20)).await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_swallows_bytes_is_left_for_one_that_does_not() {
    let ((a, mut at_a), (b, mut at_b)) = (start(1).await, start(2).await);
    let frozen = Arc::new(AtomicUsize::new(0));
    let mesh = path_to(b.listening().0, frozen.clone()).await;
    let consensus = path_to(b.listening().1, frozen.clone()).await;
    a.know(b.local_key().clone(), mesh, consensus);
    up(&mut at_a).await;
    up(&mut at_b).await;
    frozen.store(1, Ordering::Relaxed);
    let since = Instant::now();
    a.send(b.local_key(), Lane::Request, Bytes::from_static(b"swallowed")).expect("room");
    // the loss is told on both sides, and so is the new connection
    for events in [&mut at_a, &mut at_b] {
        down(events).await;
        up(events).await;
        println!("a swallowing path is left after {:?}", since.elapsed());
    }
    sleep(Duration::from_millis(500)).await;
    a.send(b.local_key(), Lane::Request, Bytes::from_static(b"passed")).expect("room");
    loop {
        if let Event::Frame { bytes, .. } = next(&mut at_b).await {
            assert_eq!(bytes, "passed");
            break;
        }
    }
}

/// Not a test: the process that the next one stops. Echoes frames until its input ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as another test's child"]
async fn child() {
    let (net, mut events) = start(9).await;
    let (mesh, consensus) = net.listening();
    println!("\nlistening {mesh} {consensus}");
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::Frame { peer, lane, bytes } = event {
                net.send(&peer, lane, bytes).expect("room");
            }
        }
    });
    let ended = || std::io::stdin().read_line(&mut String::new());
    let _ = tokio::task::spawn_blocking(ended).await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_process_finds_its_connections_and_every_frame_when_it_wakes() {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("this test runs again");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (mesh, consensus) = loop {
        let line = lines.next_line().await.expect("text").expect("it says where it listens");
        let mut words = line.split(' ').map(str::to_owned);
        if words.next().as_deref() == Some("listening") {
            break (words.next().expect("mesh"), words.next().expect("consensus"));
        }
    };
    let (net, mut events) = start(1).await;
    let key = PeerKey::from_seed([9; 32]);
    net.know(key.clone(), mesh, consensus);
    up(&mut events).await;
    // long enough for a first ping to be answered, so that the stop falls into the quiet
    sleep(Duration::from_secs(1)).await;
    signal(&child, "-STOP").await;
    for n in 0..10u32 {
        for lane in [Lane::Consensus, Lane::Request] {
            net.send(&key, lane, n.to_le_bytes().to_vec().into()).expect("room");
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!(events.try_recv().is_none(), "nothing is told of a silent peer");
    signal(&child, "-CONT").await;
    let woken = Instant::now();
    let mut echoed = 0;
    while echoed < 20 {
        match next(&mut events).await {
            Event::Frame { .. } => echoed += 1,
            other => panic!("{other:?} {:?} after it woke", woken.elapsed()),
        }
    }
    println!("all frames answered {:?} after it woke", woken.elapsed());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(events.try_recv(), None);
}

#[cfg(unix)]
async fn signal(child: &tokio::process::Child, signal: &str) {
    let pid = child.id().expect("it runs").to_string();
    let status = Command::new("kill").args([signal, &pid]).status().await.expect("kill is there");
    assert!(status.success());
}
