//! What is measured: any store of keys and values with siblings. The one binding to dynode is in `dynode.rs`.

use std::future::Future;
use std::task::Poll;

use bytes::Bytes;

/// A store, as one thread of the generator holds it. Cheap to clone; its futures stay on the thread that made them.
pub trait Target: Clone + 'static {
    /// What a reader has seen of a key, to be handed to a later write.
    type Context: Clone + 'static;

    /// Reads a key.
    fn get(&self, key: Bytes) -> impl Future<Output = Result<Seen<Self::Context>, Failed>>;

    /// Writes a value; `over` says what it replaces.
    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        over: Over<Self::Context>,
    ) -> impl Future<Output = Result<Written<Self::Context>, Failed>>;

    /// Reads `count` records from key `start` on, in key order. Gives how many there were.
    fn scan(&self, start: Bytes, count: usize) -> impl Future<Output = Result<usize, Failed>>;
}

/// Makes one target for each thread, on that thread's runtime.
pub trait Connect: Send + Sync + 'static {
    /// What it makes.
    type Target: Target;

    /// Connects.
    fn connect(&self) -> impl Future<Output = Result<Self::Target, Failed>>;
}

/// What a read gave.
#[derive(Debug, Clone)]
pub struct Seen<C> {
    /// The siblings; none: not found.
    pub values: Vec<Bytes>,
    /// To write over them.
    pub context: C,
}

/// A write that was acknowledged.
#[derive(Debug, Clone)]
pub struct Written<C> {
    /// The context after the write.
    pub context: C,
    /// Attempts beside the one that was acknowledged which may arrive yet: each may bring the value back once.
    pub late: u32,
}

/// What a write replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over<C> {
    /// Nothing: it becomes a sibling of whatever is there.
    Nothing,
    /// What the coordinator holds when the write arrives: the last one wins.
    Current,
    /// What an earlier read saw.
    Seen(C),
}

/// An operation that gave an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct Failed {
    /// A stable name to count by.
    pub kind: &'static str,
    /// What remains true of a write.
    pub changed: Changed,
    /// For people.
    pub detail: String,
}

/// What an error says about a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It has not been done, and never will be.
    Nothing,
    /// It may have been done, or may yet be.
    Unknown {
        /// By so many attempts.
        attempts: u32,
    },
}

/// A store that answers every request at once and keeps nothing: what is measured then is the generator itself.
#[derive(Debug, Clone, Default)]
pub struct Nowhere {
    value: Bytes,
}

impl Nowhere {
    /// Reads give `value_size` bytes.
    pub fn new(value_size: usize) -> Nowhere {
        Nowhere { value: Bytes::from(vec![b'x'; value_size]) }
    }
}

impl Target for Nowhere {
    type Context = ();

    async fn get(&self, _key: Bytes) -> Result<Seen<()>, Failed> {
        yield_once().await;
        Ok(Seen { values: vec![self.value.clone()], context: () })
    }

    async fn put(&self, _key: Bytes, _value: Bytes, _over: Over<()>) -> Result<Written<()>, Failed> {
        yield_once().await;
        Ok(Written { context: (), late: 0 })
    }

    async fn scan(&self, _start: Bytes, count: usize) -> Result<usize, Failed> {
        yield_once().await;
        Ok(count)
    }
}

impl Connect for Nowhere {
    type Target = Nowhere;

    async fn connect(&self) -> Result<Nowhere, Failed> {
        Ok(self.clone())
    }
}

/// Lets the other tasks run once, as waiting for an answer would. Tokio's own `yield_now` waits for the next look at
/// the sockets, which a busy loop takes seldom.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
