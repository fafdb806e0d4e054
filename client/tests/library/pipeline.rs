//! Many requests on one connection.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use dynode_client::Client;
use dynode_client::fake::{Fault, Server};
use tokio::task::JoinSet;

use crate::{PATIENCE, client_of, run, until};

#[test]
fn answers_come_in_any_order() {
    run(async {
        let server = Server::start().await;
        let (_, files) = client_of(std::slice::from_ref(&server)).await;
        for i in 0..50 {
            files.put(format!("k{i}"), format!("v{i}")).await.unwrap();
        }
        // Later ones overtake earlier ones.
        server.next("Get", (0..50).map(|i| Fault::Delay(Duration::from_millis((50 - i) * 2 % 17))));
        let mut reads = JoinSet::new();
        for i in 0..50 {
            let read = files.get(format!("k{i}"));
            reads.spawn(async move { (i, read.await.unwrap().single().unwrap()) });
        }
        while let Some(read) = reads.join_next().await {
            let (i, value) = read.unwrap();
            assert_eq!(value.unwrap(), format!("v{i}"));
        }
        assert_eq!(server.seen("Hello"), 1, "one connection carries them all");
    });
}

#[test]
fn a_request_does_not_wait_for_those_before_it() {
    run(async {
        let server = Server::start().await;
        let (_, files) = client_of(std::slice::from_ref(&server)).await;
        server.next("Get", [Fault::Hold]);
        let held = tokio::spawn(files.get("held").into_future());
        until(|| server.seen("Get") == 1).await;
        files.put("a", "1").await.unwrap();
        assert!(!held.is_finished());
        server.release();
        held.await.unwrap().unwrap();
    });
}

#[test]
fn no_more_than_allowed_are_in_flight() {
    run(async {
        let server = Server::start().await;
        let client = Client::builder().max_in_flight(4).timeout(PATIENCE).connect([server.addr()]).await.unwrap();
        let files = client.bucket("files").unwrap();
        server.always("Get", Fault::Hold);
        let mut reads = JoinSet::new();
        for i in 0..20 {
            reads.spawn(files.get(format!("{i}")).into_future());
        }
        for round in 1..=5 {
            until(|| server.seen("Get") == round * 4).await;
            // Give a fifth one the time to slip through.
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(server.seen("Get"), round * 4);
            server.release();
        }
        while let Some(read) = reads.join_next().await {
            read.unwrap().unwrap();
        }
    });
}

#[test]
fn who_waits_for_a_place_in_vain_is_told_so() {
    run(async {
        let server = Server::start().await;
        let client = Client::builder().max_in_flight(1).timeout(PATIENCE).connect([server.addr()]).await.unwrap();
        let files = client.bucket("files").unwrap();
        server.always("Get", Fault::Hold);
        let held = tokio::spawn(files.get("a").into_future());
        until(|| server.seen("Get") == 1).await;
        let write = files.put("b", "1").timeout(Duration::from_millis(30)).await;
        assert_eq!(write.unwrap_err().kind(), "overloaded", "it was never sent");
        assert_eq!(server.seen("Put"), 0);
        held.abort();
    });
}

#[test]
fn a_request_that_is_dropped_gives_its_place_back() {
    run(async {
        let server = Server::start().await;
        let client = Client::builder().max_in_flight(2).timeout(PATIENCE).connect([server.addr()]).await.unwrap();
        let files = client.bucket("files").unwrap();
        for round in 1..20 {
            server.next("Get", [Fault::Hold, Fault::Hold]);
            let reads = [0, 1].map(|i| tokio::spawn(files.get(format!("{i}")).into_future()));
            until(|| server.seen("Get") == round * 2).await;
            reads.iter().for_each(tokio::task::JoinHandle::abort);
            for read in reads {
                assert!(read.await.unwrap_err().is_cancelled());
            }
        }
        // The late answers meet other requests in the same places, and are not taken for theirs.
        let write = files.put("x", "1");
        server.release();
        write.await.unwrap();
        assert_eq!(files.get("x").await.unwrap().single().unwrap().unwrap(), "1");
    });
}

#[test]
fn large_and_small_values_share_a_connection() {
    run(async {
        let server = Server::start().await;
        let (_, files) = client_of(std::slice::from_ref(&server)).await;
        let mut writes = JoinSet::new();
        let value =
            |i: usize| Bytes::from(vec![i as u8; [0, 1, 100, 16 << 10, (16 << 10) + 1, 1 << 20, 8 << 20][i % 7]]);
        for i in 0..21 {
            let files = files.clone();
            writes.spawn(async move {
                files.put(format!("{i}"), value(i)).await.unwrap();
                let read = files.get(format!("{i}")).await.unwrap().single().unwrap().unwrap();
                assert!(read == value(i), "{i}");
            });
        }
        while let Some(write) = writes.join_next().await {
            write.unwrap();
        }
        let over = files.put("k", vec![0; (8 << 20) + 1]).await.unwrap_err();
        assert_eq!(over.kind(), "too_large");
    });
}

#[test]
fn several_connections_share_the_requests() {
    run(async {
        let server = Server::start().await;
        let client = Client::builder().connections(3).timeout(PATIENCE).connect([server.addr()]).await.unwrap();
        let files = client.bucket("files").unwrap();
        until(|| server.seen("Hello") == 3).await;
        server.always("Put", Fault::Hold);
        let mut writes = JoinSet::new();
        (0..30).for_each(|i| drop(writes.spawn(files.put(format!("{i}"), "v").into_future())));
        until(|| server.seen("Put") == 30).await;
        server.release();
        while let Some(write) = writes.join_next().await {
            write.unwrap().unwrap();
        }
    });
}
