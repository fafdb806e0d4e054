//! Nodes that are slow, or silent: what waits for them, and what does not.
//!
//! A node that is "slow" here takes a second, or as long as the test says; one that answers takes less, however busy the
//! machine is, or the test only takes longer.

use std::future::IntoFuture;
use std::sync::Mutex;
use std::time::Duration;

use dynode_client::Client;
use dynode_client::fake::{Fault, Server};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::{PATIENCE, client_of, key_of, run, until};

const SLOW: Duration = Duration::from_secs(1);

#[test]
fn a_read_that_is_late_is_answered_by_another_owner() {
    run(async {
        let servers = Server::start_many(3).await;
        let (client, files) = client_of(&servers).await;
        let key = key_of(&client, &servers[1]);
        files.put(&key, "1").await.unwrap();
        servers[1].next("Get", [Fault::Hold]);
        // Without a second request it would wait for half of its time, which is half of the test's.
        let read = files.get(&key).timeout(PATIENCE * 4).await.unwrap();
        assert_eq!(read.single().unwrap().unwrap(), "1");
        assert_eq!((servers[1].seen("Get"), servers[2].seen("Get")), (1, 1));
    });
}

#[test]
fn a_hedge_that_fails_does_not_end_the_read() {
    run(async {
        let servers = Server::start_many(2).await;
        let (client, files) = client_of(&servers).await;
        let key = key_of(&client, &servers[1]);
        files.put(&key, "1").await.unwrap();
        servers[1].next("Get", [Fault::Hold]);
        servers[0].next("Get", [Fault::Close]);
        let read = tokio::spawn(files.get(&key).timeout(PATIENCE * 4).into_future());
        until(|| servers[0].seen("Get") == 1).await;
        servers[1].release();
        assert_eq!(read.await.unwrap().unwrap().single().unwrap().unwrap(), "1");
        assert_eq!((servers[0].seen("Get"), servers[1].seen("Get")), (1, 1));
    });
}

#[test]
fn hedges_have_a_budget() {
    run(async {
        let servers = Server::start_many(2).await;
        let (client, files) = client_of(&servers).await;
        let key = key_of(&client, &servers[1]);
        // All are late, everywhere, so nobody is avoided, and each read would be sent twice.
        let (reads, late) = (600, Duration::from_millis(150));
        servers.iter().for_each(|server| server.always("Get", Fault::Delay(late)));
        let mut under_way = JoinSet::new();
        for _ in 0..reads {
            under_way.spawn(files.get(&key).into_future());
        }
        while let Some(read) = under_way.join_next().await {
            read.unwrap().unwrap();
        }
        let sent = servers[0].seen("Get") + servers[1].seen("Get");
        // What is saved at first, and one in twenty.
        assert!((reads + 1..=reads + 100 + reads / 20 + 20).contains(&sent), "{sent}");
    });
}

#[test]
fn a_slow_first_owner_is_avoided_and_found_again() {
    run(async {
        let servers = Server::start_many(3).await;
        let (client, files) = client_of(&servers).await;
        let key = key_of(&client, &servers[1]);
        for _ in 0..20 {
            files.put(&key, "1").over_current().await.unwrap();
            files.get(key_of(&client, &servers[2])).await.unwrap();
        }
        servers[1].always("Get", Fault::Delay(SLOW));
        servers[1].always("Put", Fault::Delay(SLOW));
        // Until it has been noticed.
        until_with(
            || servers[2].seen("Put") >= 5,
            async || {
                files.get(&key).await.unwrap();
                files.put(&key, "1").over_current().await.unwrap();
            },
        )
        .await;
        let before = (servers[1].seen("Put"), servers[1].seen("Get"));
        for _ in 0..500 {
            files.put(&key, "1").over_current().await.unwrap();
            files.get(&key).await.unwrap();
        }
        let (puts, gets) = (servers[1].seen("Put") - before.0, servers[1].seen("Get") - before.1);
        assert!(puts <= 5, "{puts} of 500 writes went to the slow owner");
        assert!(gets <= 100, "{gets} of 500 reads went to the slow owner");
        // Well again: a share of the requests finds out.
        servers[1].behave();
        let before = servers[1].seen("Put");
        until_with(
            || servers[1].seen("Put") > before + 10,
            async || {
                files.get(&key).await.unwrap();
                files.put(&key, "2").over_current().await.unwrap();
            },
        )
        .await;
    });
}

#[test]
fn a_silent_owner_is_not_written_to() {
    run(async {
        let servers = Server::start_many(3).await;
        let (client, files) = client_of(&servers).await;
        let key = key_of(&client, &servers[1]);
        files.put(&key, "1").await.unwrap();
        servers[1].always("Get", Fault::Hold);
        servers[1].always("Put", Fault::Hold);
        // Reads do not wait, and writes only until it is clear that nothing comes. None of them is over before the test is.
        let waiting = Mutex::new(JoinSet::new());
        until_with(
            || servers[2].seen("Put") > 0,
            async || {
                files.get(&key).timeout(PATIENCE * 4).await.unwrap();
                let write = files.put(&key, "1").over_current().timeout(PATIENCE * 4);
                waiting.lock().unwrap().spawn(write.into_future());
            },
        )
        .await;
        let before = servers[1].seen("Put");
        for _ in 0..200 {
            files.put(&key, "1").over_current().await.unwrap();
            files.get(&key).await.unwrap();
        }
        assert_eq!(servers[1].seen("Put"), before);
    });
}

#[test]
fn nobody_waits_for_a_greeting_where_another_node_is_up() {
    run(async {
        let servers = Server::start_many(3).await;
        // Stopped as a process is: the system accepts connections in its place.
        let stopped = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = stopped.local_addr().unwrap().to_string();
        let given_up = tokio::spawn(async move {
            let (mut stream, _) = stopped.accept().await.unwrap();
            while stream.read(&mut [0; 100]).await.is_ok_and(|read| read > 0) {}
        });
        servers[0].change_layout(|layout| layout.members[1].addr = addr);
        let client = Client::builder().timeout(PATIENCE).connect([servers[0].addr()]).await.unwrap();
        let files = client.bucket("files").unwrap();
        let key = key_of(&client, &servers[1]);
        files.put(&key, "1").await.unwrap();
        assert!(!given_up.is_finished(), "the write went elsewhere only when the greeting was not answered in time");
        until(|| given_up.is_finished()).await;
    });
}

#[test]
fn a_write_on_a_slow_connection_is_not_cut() {
    run(async {
        let server = Server::start().await;
        let (_, files) = client_of(std::slice::from_ref(&server)).await;
        server.next("Put", [Fault::Delay(SLOW * 3)]);
        server.always("Get", Fault::Silence);
        // What the client asks by itself.
        server.always("GetLayout", Fault::Silence);
        let write = tokio::spawn(files.put("a", "1").into_future());
        until(|| server.seen("Put") == 1).await;
        // Nothing comes for longer than a connection may be silent without writes, and reads time out meanwhile.
        while !write.is_finished() {
            let _ = files.get("a").timeout(SLOW / 5).await;
        }
        write.await.unwrap().unwrap();
        assert_eq!(server.seen("Hello"), 1, "on the same connection");
    });
}

/// Does something until something is so.
async fn until_with(so: impl Fn() -> bool, mut act: impl AsyncFnMut()) {
    while !so() {
        act().await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
