//! Batches: one request for each of many keys, some of them under way at a time at each coordinator.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::followed::carried;
use crate::limits::MANY_IN_FLIGHT;
use crate::{Bucket, Delete, Error, Get, NodeId, Put, Read, Written};

/// Requests for many keys, to be awaited: see [`Bucket::get_many`], [`Bucket::put_many`], [`Bucket::delete_many`].
///
/// There is an answer for each, in the order in which the keys were given, and each is what the request alone would have
/// given: some may fail while others are done, and each error says what remains true of its key. A request's own time
/// begins when it is sent, so all together may take longer than one timeout.
///
/// Keys are grouped by the node that coordinates them, and each group has its own bound of requests under way: a slow node
/// holds up its own keys and no others. Frames for one node share its connection and its writes. Dropping the future makes
/// no further requests; what was sent is sent.
///
/// A key that is given twice is written twice, by writers that know nothing of each other.
#[must_use = "requests are made when they are awaited"]
#[derive(Debug, Clone)]
pub struct Many<R> {
    bucket: Bucket,
    requests: Vec<(Bytes, R)>,
    in_flight: usize,
}

impl<R> Many<R> {
    pub(crate) fn new(bucket: Bucket, requests: Vec<(Bytes, R)>) -> Many<R> {
        Many { bucket, requests, in_flight: MANY_IN_FLIGHT }
    }

    /// Says more of each request: `files.get_many(keys).each(|get| get.r(Quorum::All))`.
    pub fn each(mut self, say: impl FnMut(R) -> R) -> Many<R> {
        let (keys, requests): (Vec<Bytes>, Vec<R>) = self.requests.into_iter().unzip();
        self.requests = keys.into_iter().zip(requests.into_iter().map(say)).collect();
        self
    }

    /// How many requests may be under way at one coordinator, 1 at least; 64 by default.
    pub fn in_flight(mut self, requests: usize) -> Many<R> {
        self.in_flight = requests.max(1);
        self
    }
}

/// A request of which there can be many.
pub trait Request: IntoFuture<IntoFuture: Send> + Send + sealed::Sealed + 'static {
    /// What is said of one that was not made, since the runtime is going down.
    #[doc(hidden)]
    fn not_made(why: String) -> Self::Output;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Get {}
    impl Sealed for crate::Put {}
    impl Sealed for crate::Delete {}
}

impl Request for Get {
    fn not_made(detail: String) -> Result<Read, Error> {
        Err(Error::Unreachable { detail })
    }
}

impl Request for Put {
    fn not_made(detail: String) -> Result<Written, Error> {
        Err(Error::OutcomeUnknown { needed: 0, received: 0, attempts: 1, detail })
    }
}

impl Request for Delete {
    fn not_made(detail: String) -> Result<Written, Error> {
        Err(Error::OutcomeUnknown { needed: 0, received: 0, attempts: 1, detail })
    }
}

impl<R: Request> IntoFuture for Many<R>
where
    R::Output: Send + 'static,
{
    type Output = Vec<R::Output>;
    type IntoFuture = Pin<Box<dyn Future<Output = Vec<R::Output>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

/// The requests of one coordinator that were not begun yet, each with its place in the answer.
type Group<R> = Arc<Mutex<VecDeque<(usize, R)>>>;

impl<R: Request> Many<R>
where
    R::Output: Send + 'static,
{
    async fn make(self) -> Vec<R::Output> {
        let count = self.requests.len();
        let layout = self.bucket.client.layout();
        let mut groups: BTreeMap<Option<NodeId>, VecDeque<(usize, R)>> = BTreeMap::new();
        for (place, (key, request)) in self.requests.into_iter().enumerate() {
            let owners = layout.owners(layout.partition_of(&self.bucket.name, &key));
            groups.entry(owners.first().copied()).or_default().push_back((place, request));
        }
        let mut workers = JoinSet::new();
        for group in groups.into_values() {
            let width = self.in_flight.min(group.len());
            let group: Group<R> = Arc::new(Mutex::new(group));
            (0..width).for_each(|_| drop(workers.spawn(carried(work(Arc::clone(&group))))));
        }
        let mut answers: Vec<Option<R::Output>> = (0..count).map(|_| None).collect();
        let mut why = String::new();
        while let Some(worked) = workers.join_next().await {
            match worked {
                Ok(done) => done.into_iter().for_each(|(place, answer)| answers[place] = Some(answer)),
                Err(e) => why = e.to_string(),
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| R::not_made(why.clone()))).collect()
    }
}

/// Makes one request of the group after the other, until none is left.
async fn work<R: Request>(group: Group<R>) -> Vec<(usize, R::Output)> {
    let next = || group.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut done = Vec::new();
    while let Some((place, request)) = next() {
        done.push((place, request.await));
    }
    done
}
