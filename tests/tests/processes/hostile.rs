//! Rubbish on the port: the connection is closed, the node lives, and others notice nothing.

use std::time::Duration;

use bytes::BytesMut;
use dynode_client::wire::{self, Decoder, ErrorCode, Frame, GetLayout, Message, Role, handshake};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{folder, run, text};
use tests::processes::Cluster;

/// A node gives strangers 5 s to greet it.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

fn frame(message: &Message) -> Vec<u8> {
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

async fn greeted(addr: &str) -> Result<TcpStream, String> {
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
