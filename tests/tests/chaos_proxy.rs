//! The proxy of the chaos harness: what a cut, a delay, a throttle and a reset do to bytes, and to whose.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "sockets and clocks are real here")]

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use dynode_client::wire::handshake::{ANY_CLUSTER, hello};
use dynode_client::wire::{Role, encode};
use tests::processes::free_ports;
use tests::processes::proxy::{Behind, End, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What takes longer hangs.
const TEST_TIME_MAX: Duration = Duration::from_secs(60);

/// Long enough for bytes that nothing holds back, on any machine that is not broken. Where it is too short, a test that
/// should fail passes; none fails that should pass.
const AWHILE: Duration = Duration::from_millis(300);

const A: End = End::Node(0);
const B: End = End::Node(1);

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(TEST_TIME_MAX, test).await.unwrap() });
}

/// Two nodes behind a proxy; the test plays both.
struct Bed {
    proxy: Proxy,
    b_addr: String,
    b: TcpListener,
}

/// The greeting of node `id`, or of a client.
fn greeting(id: Option<u64>) -> BytesMut {
    let role = id.map_or(Role::Client, |node| Role::Peer { node, token: [0; 16] });
    let mut bytes = BytesMut::new();
    encode(1, &hello(ANY_CLUSTER, role).into(), &[], &mut bytes).unwrap();
    bytes
}

impl Bed {
    async fn new() -> Bed {
        let addrs: Vec<String> = free_ports(4).unwrap().into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let b = TcpListener::bind(&addrs[3]).await.unwrap();
        let behind = |i: usize| Behind { id: 100 + i as u64, addr: addrs[i].clone(), listen: addrs[2 + i].clone() };
        Bed { proxy: Proxy::start(vec![behind(0), behind(1)]).unwrap(), b_addr: addrs[1].clone(), b }
    }

    async fn call(&self, id: Option<u64>) -> TcpStream {
        let mut caller = TcpStream::connect(&self.b_addr).await.unwrap();
        caller.write_all(&greeting(id)).await.unwrap();
        caller
    }

    /// B accepts, and reads the greeting.
    async fn accept(&self, id: Option<u64>) -> TcpStream {
        let (mut callee, _) = self.b.accept().await.unwrap();
        let mut read = vec![0; greeting(id).len()];
        callee.read_exact(&mut read).await.unwrap();
        assert_eq!(read, greeting(id), "the greeting arrives as it was sent");
        callee
    }

    /// A connection that stands, of node A or of a client, and B's end of it.
    async fn connected(&self, id: Option<u64>) -> (TcpStream, TcpStream) {
        let caller = self.call(id).await;
        let callee = self.accept(id).await;
        (caller, callee)
    }
}

async fn arrives(stream: &mut TcpStream, said: &[u8]) {
    let mut read = vec![0; said.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read, said);
}

async fn nothing_arrives(stream: &mut TcpStream) {
    let read = tokio::time::timeout(AWHILE, stream.read_u8()).await;
    assert!(read.is_err(), "{read:?}");
}

async fn breaks(stream: &mut TcpStream) {
    let read = stream.read_u8().await;
    assert!(read.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset), "{read:?}");
}

#[test]
fn a_one_way_cut_holds_back_one_way_only_until_it_is_healed() {
    run(async {
        let bed = Bed::new().await;
        let (mut a, mut b) = bed.connected(Some(100)).await;
        a.write_all(b"before").await.unwrap();
        arrives(&mut b, b"before").await;
        bed.proxy.change(A, B, |way| way.cut = true);
        a.write_all(b"held").await.unwrap();
        b.write_all(b"through").await.unwrap();
        arrives(&mut a, b"through").await;
        nothing_arrives(&mut b).await;
        bed.proxy.heal(false);
        arrives(&mut b, b"held").await;
        // And the other way alone.
        bed.proxy.change(B, A, |way| way.cut = true);
        b.write_all(b"held").await.unwrap();
        a.write_all(b"through").await.unwrap();
        arrives(&mut b, b"through").await;
        nothing_arrives(&mut a).await;
    });
}

#[test]
fn clients_are_not_nodes() {
    run(async {
        let bed = Bed::new().await;
        let (mut client, mut b) = bed.connected(None).await;
        let (mut stranger, mut b_too) = bed.connected(Some(7)).await;
        bed.proxy.change(A, B, |way| way.cut = true);
        for (caller, callee) in [(&mut client, &mut b), (&mut stranger, &mut b_too)] {
            caller.write_all(b"ask").await.unwrap();
            arrives(callee, b"ask").await;
        }
        bed.proxy.change(End::Clients, B, |way| way.cut = true);
        client.write_all(b"ask").await.unwrap();
        nothing_arrives(&mut b).await;
    });
}

#[test]
fn no_connection_is_made_while_either_way_is_cut() {
    run(async {
        let bed = Bed::new().await;
        for (from, to) in [(A, B), (B, A)] {
            bed.proxy.change(from, to, |way| way.cut = true);
            let mut a = bed.call(Some(100)).await;
            a.write_all(b"more").await.unwrap();
            assert!(tokio::time::timeout(AWHILE, bed.b.accept()).await.is_err());
            bed.proxy.heal(false);
            arrives(&mut bed.accept(Some(100)).await, b"more").await;
        }
    });
}

#[test]
fn the_end_of_a_caller_is_held_back_like_its_bytes() {
    run(async {
        let bed = Bed::new().await;
        let (mut a, mut b) = bed.connected(Some(100)).await;
        bed.proxy.change(A, B, |way| way.cut = true);
        a.write_all(b"last").await.unwrap();
        drop(a);
        nothing_arrives(&mut b).await;
        bed.proxy.heal(false);
        arrives(&mut b, b"last").await;
        assert_eq!(b.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn a_delay_and_a_throttle_take_their_time() {
    run(async {
        let bed = Bed::new().await;
        let (mut a, mut b) = bed.connected(Some(100)).await;
        bed.proxy.change(A, B, |way| way.delay = AWHILE);
        let began = Instant::now();
        a.write_all(b"slow").await.unwrap();
        arrives(&mut b, b"slow").await;
        assert!(began.elapsed() >= AWHILE, "{:?}", began.elapsed());
        bed.proxy.heal(false);
        bed.proxy.change(A, B, |way| way.bytes_per_second = Some(100_000));
        let began = Instant::now();
        a.write_all(&[7; 50_000]).await.unwrap();
        arrives(&mut b, &[7; 50_000]).await;
        assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    });
}

#[test]
fn a_reset_breaks_both_ends_and_others_stand() {
    run(async {
        let bed = Bed::new().await;
        let (mut a, mut b) = bed.connected(Some(100)).await;
        let (mut client, mut b_too) = bed.connected(None).await;
        bed.proxy.reset(A, B);
        breaks(&mut a).await;
        breaks(&mut b).await;
        client.write_all(b"still here").await.unwrap();
        arrives(&mut b_too, b"still here").await;
    });
}

#[test]
fn a_heal_may_break_what_was_cut_and_then_nothing_of_it_arrives() {
    run(async {
        let bed = Bed::new().await;
        let (mut a, mut b) = bed.connected(Some(100)).await;
        bed.proxy.change(A, B, |way| way.cut = true);
        a.write_all(b"lost").await.unwrap();
        nothing_arrives(&mut b).await;
        bed.proxy.heal(true);
        breaks(&mut a).await;
        breaks(&mut b).await;
        // A connection is possible again, and one that was not cut is left alone by a further heal.
        let (mut a, mut b) = bed.connected(Some(100)).await;
        bed.proxy.heal(true);
        a.write_all(b"new").await.unwrap();
        arrives(&mut b, b"new").await;
    });
}
