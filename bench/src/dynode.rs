//! The binding to dynode: the one file that knows the client library.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dynode_client::{Bucket, Client, Error};
use tokio::task::JoinSet;

pub use dynode_client::Quorum;

use crate::target::{Changed, Connect, Failed, Over, Seen, Target, Written};

/// How to reach a cluster, and what to ask of it.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Nodes to begin with, `host:port`.
    pub nodes: Vec<String>,
    /// The bucket.
    pub bucket: String,
    /// Copies to read.
    pub r: Quorum,
    /// Copies to write.
    pub w: Quorum,
    /// Owners only, no stand-ins.
    pub strict: bool,
    /// Time for one request, with the client's own retries.
    pub timeout: Duration,
    /// Connections to each node, for each thread.
    pub connections: usize,
    /// Requests in flight on one connection.
    pub in_flight: usize,
}

impl Cluster {
    /// Does every read meet every write that was acknowledged before it began?
    pub fn is_register(&self) -> bool {
        let is_majority = |quorum| matches!(quorum, Quorum::Majority | Quorum::All);
        self.strict && is_majority(self.r) && is_majority(self.w)
    }
}

impl Connect for Cluster {
    type Target = Dynode;

    async fn connect(&self) -> Result<Dynode, Failed> {
        let options = Client::builder().timeout(self.timeout).connections(self.connections);
        let client = options.max_in_flight(self.in_flight).connect(&self.nodes).await.map_err(|e| failed(&e))?;
        let bucket = client.bucket(&self.bucket).map_err(|e| failed(&e))?;
        Ok(Dynode { bucket, r: self.r, w: self.w, strict: self.strict })
    }
}

/// A bucket of a cluster, as one thread holds it.
#[derive(Debug, Clone)]
pub struct Dynode {
    bucket: Bucket,
    r: Quorum,
    w: Quorum,
    strict: bool,
}

impl Dynode {
    /// The same, reading so many copies.
    #[must_use]
    pub fn with_r(&self, r: Quorum) -> Dynode {
        Dynode { r, ..self.clone() }
    }

    /// How often the client library sent a request once more, by what the attempt before came to.
    pub fn retries(&self) -> BTreeMap<&'static str, u64> {
        self.bucket.client().retries()
    }
}

impl Target for Dynode {
    type Context = dynode_client::Context;

    async fn get(&self, key: Bytes) -> Result<Seen<Self::Context>, Failed> {
        let read = self.bucket.get(key).r(self.r).strict(self.strict).await.map_err(|e| failed(&e))?;
        let context = read.context().clone();
        Ok(Seen { values: read.into_siblings().into_vec(), context })
    }

    async fn put(&self, key: Bytes, value: Bytes, over: Over<Self::Context>) -> Result<Written<Self::Context>, Failed> {
        let put = self.bucket.put(key, value).w(self.w).strict(self.strict);
        let put = match &over {
            Over::Nothing => put,
            Over::Current => put.over_current(),
            Over::Seen(context) => put.over(context),
        };
        let written = put.await.map_err(|e| failed(&e))?;
        Ok(Written { context: written.context().clone(), late: written.unknown_attempts() })
    }

    /// The record of `start` and those after it, read as gets in flight together. The listing asks every partition for a
    /// page, since keys are spread over all of them by a hash: a scan is what such a store does worst.
    async fn scan(&self, start: Bytes, count: usize) -> Result<usize, Failed> {
        let rest = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
        let mut listing = self.bucket.keys().after(&start).page(rest);
        let mut reads = JoinSet::new();
        let read = |key: Bytes| self.bucket.get(key).r(self.r).strict(self.strict).into_future();
        reads.spawn(read(start));
        for _ in 0..rest {
            let Some(key) = listing.next().await.map_err(|e| failed(&e))? else { break };
            reads.spawn(read(key));
        }
        let mut found = 0;
        for read in reads.join_all().await {
            found += usize::from(!read.map_err(|e| failed(&e))?.siblings().is_empty());
        }
        Ok(found)
    }
}

fn failed(error: &Error) -> Failed {
    let changed = match (error.changed(), error) {
        (dynode_client::Changed::Nothing, _) => Changed::Nothing,
        (_, Error::OutcomeUnknown { attempts, .. }) => Changed::Unknown { attempts: *attempts },
        (dynode_client::Changed::Unknown, _) => Changed::Unknown { attempts: 1 },
    };
    Failed { kind: error.kind(), changed, detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_server<R>(test: impl AsyncFnOnce(Dynode) -> R) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = dynode_client::fake::Server::start().await;
            let cluster = Cluster {
                nodes: vec![server.addr()],
                bucket: "bench".into(),
                r: Quorum::One,
                w: Quorum::One,
                strict: false,
                timeout: Duration::from_secs(5),
                connections: 1,
                in_flight: 64,
            };
            test(cluster.connect().await.expect("a connection")).await
        })
    }

    #[test]
    fn a_scan_reads_the_records_from_its_start_on() {
        on_a_server(async |store| {
            for key in ["a", "b", "c", "d", "e"] {
                store.put(key.into(), "v".into(), Over::Nothing).await.expect("a put");
            }
            assert_eq!(store.scan("b".into(), 3).await.expect("a scan"), 3);
            assert_eq!(store.scan("d".into(), 3).await.expect("a scan"), 2);
            assert_eq!(store.scan("b".into(), 1).await.expect("a scan"), 1);
            assert_eq!(
                store.scan("bb".into(), 2).await.expect("a scan"),
                1,
                "no record has the start itself as its key"
            );
        });
    }

    #[test]
    fn reads_writes_and_contexts_go_through() {
        on_a_server(async |store| {
            let key = Bytes::from_static(b"key");
            assert!(store.get(key.clone()).await.expect("a read").values.is_empty());
            for value in ["one", "two"] {
                store.put(key.clone(), value.into(), Over::Nothing).await.expect("a write");
            }
            let seen = store.get(key.clone()).await.expect("a read");
            assert_eq!(seen.values.len(), 2);
            let own = store.put(key.clone(), "three".into(), Over::Seen(seen.context)).await.expect("a write");
            store.put(key.clone(), "four".into(), Over::Seen(own.context)).await.expect("a write");
            assert_eq!(store.get(key.clone()).await.expect("a read").values, ["four"]);
            store.put(key.clone(), "five".into(), Over::Current).await.expect("a write");
            assert_eq!(store.get(key).await.expect("a read").values, ["five"]);
        });
    }

    #[test]
    fn errors_keep_their_name_and_what_they_say_of_the_write() {
        let unknown = Error::OutcomeUnknown { needed: 2, received: 1, attempts: 3, detail: "x".into() };
        assert_eq!(
            (failed(&unknown).kind, failed(&unknown).changed),
            ("outcome_unknown", Changed::Unknown { attempts: 3 })
        );
        let overloaded = failed(&Error::Overloaded { detail: "queue".into() });
        assert_eq!((overloaded.kind, overloaded.changed), ("overloaded", Changed::Nothing));
        assert!(overloaded.detail.contains("queue"));
    }

    #[test]
    fn nobody_there_is_an_error_that_names_the_address() {
        let cluster = Cluster {
            nodes: vec!["127.0.0.1:1".into()],
            bucket: "bench".into(),
            r: Quorum::One,
            w: Quorum::One,
            strict: false,
            timeout: Duration::from_millis(500),
            connections: 1,
            in_flight: 1,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let error = runtime.block_on(cluster.connect()).expect_err("nobody listens there");
        assert!(error.detail.contains("127.0.0.1:1"), "{error}");
    }
}
