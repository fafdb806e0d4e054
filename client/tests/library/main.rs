//! Tests of the client library against fake nodes that misbehave on demand. No test asserts how long something takes;
//! each is bounded in time.

mod connecting;
mod many;
mod pipeline;
mod retries;
mod routes;
mod sessions;
mod slow;
mod values;

use std::future::Future;
use std::time::Duration;

use dynode_client::fake::Server;
use dynode_client::wire::Topic;
use dynode_client::{Bucket, Client, NodeId};

/// Far more than any test takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test; one that hangs fails.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test hangs") });
}

/// A client that is connected to all these nodes, and a bucket.
async fn client_of(servers: &[Server]) -> (Client, Bucket) {
    let client = Client::builder().timeout(PATIENCE).connect(servers.iter().map(Server::addr)).await.unwrap();
    // Requests do not wait for a connection where another node is there already.
    for server in servers {
        client.inspect(Some(NodeId(server.id())), Topic::Status).await.unwrap();
    }
    let bucket = client.bucket("files").unwrap();
    (client, bucket)
}

/// A key whose partition has this node as its first owner.
fn key_of(client: &Client, server: &Server) -> String {
    let layout = client.layout();
    let owned = |key: &String| layout.owners(layout.partition_of(b"files", key.as_bytes()))[0].0 == server.id();
    (0..).map(|i| format!("key{i}")).find(owned).unwrap()
}

/// Waits until something is so.
async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
