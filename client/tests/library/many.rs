//! Batches: an answer for each key in its place, bounded at each node, and no node waits for another.

use std::future::IntoFuture;
use std::time::Duration;

use dynode_client::fake::{Fault, Server};
use dynode_client::{Client, Quorum};

use crate::{PATIENCE, client_of, run, until};

#[test]
fn each_key_has_its_answer_in_its_place() {
    run(async {
        let servers = Server::start_many(3).await;
        let (_, files) = client_of(&servers).await;
        let pairs: Vec<(String, String)> = (0..500).map(|i| (format!("k{i}"), format!("v{i}"))).collect();
        let written = files.put_many(pairs.clone()).each(|put| put.w(Quorum::All).content_type("text/plain")).await;
        assert_eq!(written.len(), 500);
        written.into_iter().for_each(|written| assert!(written.is_ok()));
        let keys = pairs.iter().rev().map(|(key, _)| key.as_str()).chain(["absent"]);
        let read = files.get_many(keys).await;
        assert_eq!(read.len(), 501);
        for (read, (_, value)) in read.iter().zip(pairs.iter().rev()) {
            let read = read.as_ref().unwrap();
            assert_eq!(read.single().unwrap().unwrap(), value.as_bytes());
            assert_eq!(read.metas()[0].content_type, "text/plain");
        }
        assert_eq!(read[500].as_ref().unwrap().single().unwrap(), None);
        let deleted = files.delete_many(["k0", "k1"]).await;
        assert!(deleted.iter().all(Result::is_ok));
        let left: Vec<bool> = files
            .get_many(["k0", "k1", "k2"])
            .await
            .into_iter()
            .map(|r| r.unwrap().single().unwrap().is_some())
            .collect();
        assert_eq!(left, [false, false, true]);
        assert!(files.get_many(Vec::<&str>::new()).await.is_empty());
    });
}

#[test]
fn one_that_fails_fails_alone() {
    run(async {
        let server = Server::start().await;
        let (_, files) = client_of(std::slice::from_ref(&server)).await;
        let large = vec![0; (8 << 20) + 1];
        let written =
            files.put_many([("a", b"1".to_vec()), ("b", large), ("", b"2".to_vec()), ("c", b"3".to_vec())]).await;
        let kinds: Vec<&str> = written.iter().map(|w| w.as_ref().map_or_else(|e| e.kind(), |_| "done")).collect();
        assert_eq!(kinds, ["done", "too_large", "bad_request", "done"]);
    });
}

#[test]
fn no_more_than_allowed_are_under_way_at_a_node() {
    run(async {
        let server = Server::start().await;
        let (_, files) = client_of(std::slice::from_ref(&server)).await;
        server.always("Get", Fault::Hold);
        let reads = tokio::spawn(files.get_many((0..20).map(|i| format!("{i}"))).in_flight(4).into_future());
        for round in 1..=5 {
            until(|| server.seen("Get") == round * 4).await;
            // Give a fifth one the time to slip through.
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(server.seen("Get"), round * 4);
            server.release();
        }
        assert!(reads.await.unwrap().iter().all(Result::is_ok));
    });
}

#[test]
fn a_node_that_hangs_holds_up_its_own_keys_only() {
    run(async {
        let servers = Server::start_many(2).await;
        let (client, files) = client_of(&servers).await;
        let layout = client.layout();
        let first = |key: &String| layout.owners(layout.partition_of(b"files", key.as_bytes()))[0].0;
        let keys: Vec<String> = (0..200).map(|i| format!("key{i}")).collect();
        let others = keys.iter().filter(|key| first(key) == servers[1].id()).count();
        assert!((50..150).contains(&others), "{others} of 200");
        servers[0].always("Put", Fault::Hold);
        let pairs: Vec<(String, &str)> = keys.iter().map(|key| (key.clone(), "v")).collect();
        let writes = tokio::spawn(files.put_many(pairs).in_flight(2).into_future());
        // All of the other's are done while two of the first's wait.
        until(|| servers[1].seen("Put") >= others).await;
        assert!(!writes.is_finished());
        servers[0].behave();
        servers[0].release();
        assert!(writes.await.unwrap().iter().all(Result::is_ok));
    });
}

#[test]
fn dropped_it_sends_no_more() {
    run(async {
        let server = Server::start().await;
        let client = Client::builder().timeout(PATIENCE).connect([server.addr()]).await.unwrap();
        let files = client.bucket("files").unwrap();
        server.always("Get", Fault::Hold);
        let reads = tokio::spawn(files.get_many((0..20).map(|i| format!("{i}"))).in_flight(3).into_future());
        until(|| server.seen("Get") == 3).await;
        reads.abort();
        assert!(reads.await.unwrap_err().is_cancelled());
        server.behave();
        server.release();
        files.get("x").await.unwrap();
        assert_eq!(server.seen("Get"), 4);
    });
}
