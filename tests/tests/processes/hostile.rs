//! Rubbish on the port: the connection is closed, the node lives, and others notice nothing.

use std::time::Duration;

use bytes::BytesMut;
use dynode_client::wire::limits::VALUE_BYTES_MAX;
use dynode_client::wire::{
    self, Causality, Decoder, ErrorCode, Expiry, Frame, Get, GetLayout, Message, Put, Quorum, Role, handshake,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{folder, run, text};
use tests::processes::Cluster;

/// A node gives strangers 5 s to greet it.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// On a machine that runs other tests at the same time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// What a node takes beside the requests themselves: its tables in memory, a commit, sockets' buffers.
const SLACK_MIB: u64 = 160;

pub(super) fn frame(message: &Message) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    wire::encode(1, message, b"", &mut bytes).unwrap();
    bytes.to_vec()
}

/// A frame that is damaged at one place.
fn damaged(at: usize) -> Vec<u8> {
    let mut bytes = frame(&GetLayout {}.into());
    bytes[at] ^= 0x55;
    bytes
}

/// The length and version of a frame, and then nothing of it but rubbish.
fn announcing(length: u32) -> Vec<u8> {
    let mut bytes = frame(&GetLayout {}.into());
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// What no node can read.
fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    let noise: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("noise", noise),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("a wrong checksum", damaged(5)),
        ("another version", damaged(8)),
        ("an unknown kind", damaged(9)),
        ("flags", damaged(10)),
        ("a header too long", damaged(21)),
        ("a frame too long", announcing(u32::MAX)),
        ("a frame too short", announcing(3)),
    ]
}

/// What might have become a frame.
fn beginnings() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", Vec::new()),
        ("half a frame", frame(&GetLayout {}.into())[..15].to_vec()),
        ("a length and no more", 20_u32.to_le_bytes().to_vec()),
    ]
}

/// Sends bytes, ends its side, and waits until the node has closed. What the node said.
async fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<Vec<Frame>, String> {
    // The node may close before all of it is taken.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut said = BytesMut::new();
    let closed = async {
        // A reset is an end too.
        while stream.read_buf(&mut said).await.is_ok_and(|n| n > 0) {}
    };
    tokio::time::timeout(CLOSED_WITHIN, closed).await.map_err(|_| "the connection was not closed".to_string())?;
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = Decoder::new().decode(&mut said) {
        frames.push(frame);
    }
    Ok(frames)
}

fn is_refusal(frame: &Frame) -> bool {
    matches!(&frame.message, Message::Failure(failure) if failure.code == ErrorCode::Refused)
}

pub(super) async fn greeted(addr: &str) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(addr).await.map_err(text)?;
    let hello = handshake::hello(handshake::ANY_CLUSTER, Role::Client);
    stream.write_all(&frame(&hello.into())).await.map_err(text)?;
    let mut said = BytesMut::new();
    loop {
        match Decoder::handshake().decode(&mut said).map_err(text)? {
            Some(Frame { message: Message::Welcome(_), .. }) => return Ok(stream),
            Some(other) => return Err(format!("{other:?}")),
            None if stream.read_buf(&mut said).await.map_err(text)? == 0 => return Err("closed".into()),
            None => {}
        }
    }
}

#[test]
fn rubbish_closes_its_connection_and_nothing_else() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 1, 16)?;
        cluster.start_all().await?;
        let addr = cluster.nodes[0].addr.clone();
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        bucket.put("k", "v").await.map_err(text)?;
        let wrong = rubbish().into_iter().map(|(what, bytes)| (what, bytes, 1));
        let unfinished = beginnings().into_iter().map(|(what, bytes)| (what, bytes, 0));
        for (what, bytes, answers) in wrong.chain(unfinished) {
            let stranger = TcpStream::connect(&addr).await.map_err(text)?;
            for (mut stream, when) in [(stranger, "before"), (greeted(&addr).await?, "after")] {
                let said = send(&mut stream, &bytes).await.map_err(|e| format!("{what}, {when} the greeting: {e}"))?;
                // The other side is told why, where there is something to tell, and nothing else.
                if said.len() != answers || !said.iter().all(is_refusal) {
                    return Err(format!("{what}, {when} the greeting, was answered: {said:?}"));
                }
            }
            // A client that was there before has noticed nothing.
            let value = bucket.get("k").await.map_err(|e| format!("after {what}: {e}"))?.single().map_err(text)?;
            if value.as_deref() != Some(b"v") {
                return Err(format!("after {what} the value is {value:?}"));
            }
        }
        // The log says why, for whoever looks for it.
        let log = std::fs::read_to_string(cluster.nodes[0].dir.join("dynode.log")).map_err(text)?;
        for why in ["checksum", "version", "was announced", "flags"] {
            if !log.lines().any(|line| line.contains("WARN") && line.contains(why)) {
                return Err(format!("the log does not name `{why}`:\n{log}"));
            }
        }
        cluster.stop_all().await
    });
}

#[test]
fn strangers_that_say_they_are_peers_are_refused() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 3, 16)?;
        cluster.start_all().await?;
        let client = cluster.client().await?;
        let peer = client.layout().member_named("n1").map(|member| member.id.0).unwrap_or_default();
        let id = client.cluster();
        for (what, cluster_id, node) in
            [("a wrong token", id, peer), ("no member", id, 7), ("another cluster", [9; 16], peer)]
        {
            let hello = handshake::hello(cluster_id, Role::Peer { node, token: [1; 16] });
            let mut stranger = TcpStream::connect(&cluster.nodes[0].addr).await.map_err(text)?;
            let said = send(&mut stranger, &frame(&hello.into())).await?;
            if said.len() != 1 || !said.iter().all(is_refusal) {
                return Err(format!("{what}: {said:?}"));
            }
        }
        // The true peers are still connected.
        let status = cluster.nodes[0].status().await?;
        let peers = status["peers"].as_array().cloned().unwrap_or_default();
        if peers.len() != 2 || peers.iter().any(|peer| peer["up"] != true) {
            return Err(status.to_string());
        }
        cluster.stop_all().await
    });
}

/// Many connections that never say a word are dropped, and clients get in meanwhile.
#[test]
fn silent_strangers_are_dropped() {
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 1, 16)?;
        cluster.start_all().await?;
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(TcpStream::connect(&cluster.nodes[0].addr).await.map_err(text)?);
        }
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        bucket.put("k", "v").await.map_err(text)?;
        for mut stream in silent {
            let mut byte = [0];
            let read = tokio::time::timeout(CLOSED_WITHIN, stream.read(&mut byte)).await;
            match read.map_err(|_| "a silent connection was kept")? {
                Ok(0) | Err(_) => {}
                Ok(_) => return Err("a silent connection was answered".into()),
            }
        }
        cluster.stop_all().await
    });
}

/// A put of the largest value but for its last byte.
fn almost_a_put(key: usize) -> Vec<u8> {
    let put = Put {
        bucket: "b".into(),
        key: format!("large-{key}").into(),
        causality: Causality::Blind,
        w: Quorum::One,
        strict: false,
        timeout_ms: 30_000,
        content_type: "".into(),
        expiry: Expiry::OfBucket,
        request: None,
    };
    let mut bytes = BytesMut::new();
    wire::encode(1, &put.into(), &vec![b'v'; VALUE_BYTES_MAX], &mut bytes).unwrap();
    bytes.truncate(bytes.len() - 1);
    bytes.to_vec()
}

/// The most memory that the node ever had, in MiB.
fn peak_mib(pid: u32) -> Result<u64, String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(text)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().map_err(text)?;
    Ok(kib >> 10)
}

async fn next_frame(stream: &mut TcpStream) -> Result<Frame, String> {
    let mut said = BytesMut::new();
    let come = async {
        loop {
            if let Some(frame) = Decoder::new().decode(&mut said).map_err(text)? {
                return Ok(frame);
            }
            if stream.read_buf(&mut said).await.map_err(text)? == 0 {
                return Err("closed".to_string());
            }
        }
    };
    tokio::time::timeout(ANSWERED_WITHIN, come).await.map_err(|_| "no answer".to_string())?
}

fn is_overloaded(frame: &Frame) -> bool {
    matches!(&frame.message, Message::Failure(failure) if failure.code == ErrorCode::Overloaded)
}

/// Clients that together send 800 MiB of requests and end none are refused beyond the 256 MiB that there are for
/// unfinished ones; whose request is refused can go on, and small requests are answered all the while.
#[test]
fn unfinished_requests_have_a_bound_together() {
    const CLIENTS: usize = 100;
    const FIT: usize = (256 << 20) / VALUE_BYTES_MAX;
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 1, 16)?;
        cluster.start_all().await?;
        let addr = cluster.nodes[0].addr.clone();
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        bucket.put("k", "v").await.map_err(text)?;
        let pid = cluster.nodes[0].pid().ok_or("no process")?;
        let before = peak_mib(pid)?;

        let mut senders = JoinSet::new();
        for key in 0..CLIENTS {
            let mut stream = greeted(&addr).await?;
            senders.spawn(async move {
                stream.write_all(&almost_a_put(key)).await.map_err(text)?;
                Ok::<_, String>((key, stream))
            });
        }
        let (mut streams, mut written) = (Vec::new(), Vec::new());
        while !senders.is_empty() {
            tokio::select! {
                Some(sent) = senders.join_next() => streams.push(sent.map_err(text)??),
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    let key = format!("small-{}", written.len());
                    bucket.put(&key, key.clone()).await.map_err(|e| format!("meanwhile: {e}"))?;
                    written.push(key);
                }
            }
        }
        let peak = peak_mib(pid)?;
        if peak > before + 256 + SLACK_MIB {
            return Err(format!("{before} MiB became {peak} MiB"));
        }

        // Those that were refused have been told so, and can ask something else; the others come to their end.
        let (mut refused, mut done) = (0, Vec::new());
        for (key, mut stream) in streams {
            stream.write_all(b"v").await.map_err(text)?;
            let answer = next_frame(&mut stream).await?;
            match answer.message {
                Message::PutDone(_) => done.push(key),
                _ if is_overloaded(&answer) => {
                    refused += 1;
                    stream.write_all(&frame(&GetLayout {}.into())).await.map_err(text)?;
                    let answer = next_frame(&mut stream).await?;
                    if !matches!(answer.message, Message::LayoutIs(_)) {
                        return Err(format!("after a refusal: {}", answer.message.name()));
                    }
                }
                other => return Err(format!("{other:?}")),
            }
        }
        if done.is_empty() || refused < CLIENTS - FIT - 1 {
            return Err(format!("{} were taken, {refused} refused", done.len()));
        }
        for key in written {
            let value = bucket.get(&key).await.map_err(text)?.single().map_err(text)?;
            if value.as_deref() != Some(key.as_bytes()) {
                return Err(format!("{key} is {value:?}"));
            }
        }
        for key in done {
            let value = bucket.get(format!("large-{key}")).await.map_err(text)?.single().map_err(text)?;
            if value.is_none_or(|value| value.len() != VALUE_BYTES_MAX || value.iter().any(|byte| *byte != b'v')) {
                return Err(format!("large-{key} is not what was written"));
            }
        }
        cluster.stop_all().await
    });
}

/// Clients that ask for 4 GiB of values in one go, and take none, get 256 MiB and are told that there is no more.
#[test]
fn answers_that_nobody_takes_have_a_bound_together() {
    const CLIENTS: usize = 16;
    const GETS: u64 = 32;
    run(async {
        let folder = folder();
        let mut cluster = Cluster::new(folder.path(), 1, 16)?;
        cluster.start_all().await?;
        let addr = cluster.nodes[0].addr.clone();
        let bucket = cluster.client().await?.bucket("b").map_err(text)?;
        bucket.put("k", vec![b'v'; VALUE_BYTES_MAX]).await.map_err(text)?;
        bucket.put("small", "v").await.map_err(text)?;
        let pid = cluster.nodes[0].pid().ok_or("no process")?;
        let before = peak_mib(pid)?;

        let get = Get {
            bucket: "b".into(),
            key: "k".into(),
            r: Quorum::One,
            strict: false,
            timeout_ms: 30_000,
            at_least: None,
        };
        let mut gets = BytesMut::new();
        for request in 0..GETS {
            wire::encode(request, &get.clone().into(), b"", &mut gets).unwrap();
        }
        let mut streams = Vec::new();
        for _ in 0..CLIENTS {
            let mut stream = greeted(&addr).await?;
            stream.write_all(&gets).await.map_err(text)?;
            streams.push(stream);
        }
        for _ in 0..20 {
            bucket.get("small").await.map_err(|e| format!("meanwhile: {e}"))?;
        }
        let peak = peak_mib(pid)?;
        if peak > before + 256 + SLACK_MIB {
            return Err(format!("{before} MiB became {peak} MiB"));
        }
        // Who takes them after all gets an answer to each.
        let (mut found, mut refused) = (0, 0);
        for mut stream in streams {
            let mut said = BytesMut::new();
            for _ in 0..GETS {
                let frame = loop {
                    if let Some(frame) = Decoder::new().decode(&mut said).map_err(text)? {
                        break frame;
                    }
                    said.reserve(1 << 20);
                    let read = tokio::time::timeout(ANSWERED_WITHIN, stream.read_buf(&mut said)).await;
                    if read.map_err(|_| "no answer")?.map_err(text)? == 0 {
                        return Err("closed".into());
                    }
                };
                match frame.message {
                    Message::Found(_) if frame.body.len() == VALUE_BYTES_MAX => found += 1,
                    _ if is_overloaded(&frame) => refused += 1,
                    other => return Err(format!("{other:?}")),
                }
            }
        }
        if found == 0 || refused == 0 {
            return Err(format!("{found} were answered, {refused} refused"));
        }
        cluster.stop_all().await
    });
}
