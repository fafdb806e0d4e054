//! All keys of a bucket in byte order: the partitions' lists, merged.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bytes::Bytes;
use dynode_ring::PartitionId;
use tokio::task::JoinSet;

use crate::call::{call, deadline_in};
use crate::client::{ask_once, unexpected};
use crate::followed::carried;
use crate::limits::{KEYS_FETCHES_MAX, KEYS_PAGE_DEFAULT};
use crate::retry::Kind;
use crate::routing::Target;
use crate::wire::limits::{KEY_BYTES_MAX, KEYS_PAGE_MAX};
use crate::wire::{self, ListKeys, Message};
use crate::{Bucket, Client, Error, NodeId};

/// A listing of a bucket's keys: see [`Bucket::keys`]. Await [`next`](Keys::next) until it says `None`.
///
/// Each partition is listed by one of its owners, from its own copy: a key that was just written may be missing, and one
/// that was just deleted may still be there, until the owner has caught up. Keys that were there all the time are
/// listed, each once. A partition without a reachable owner is an error: a listing that ends is complete.
///
/// It holds a page of keys of every partition.
#[derive(Debug)]
#[must_use = "a listing does nothing until `next` is awaited"]
pub struct Keys {
    bucket: Bucket,
    prefix: Bytes,
    /// Only keys after this one; empty: from the start.
    after: Bytes,
    page: u32,
    /// One for each partition; none before the first `next`.
    sources: Vec<Source>,
    /// The first key of each source that has one.
    heads: BinaryHeap<Reverse<(Bytes, u16)>>,
    started: bool,
}

/// How far one partition has been listed.
#[derive(Debug)]
struct Source {
    keys: VecDeque<Bytes>,
    /// The last key received; where the listing begins before the first.
    after: Bytes,
    more: bool,
}

impl Keys {
    pub(crate) fn new(bucket: Bucket) -> Keys {
        Keys {
            bucket,
            prefix: Bytes::new(),
            after: Bytes::new(),
            page: KEYS_PAGE_DEFAULT,
            sources: Vec::new(),
            heads: BinaryHeap::new(),
            started: false,
        }
    }

    /// Only keys that start with this. Call it before the first [`next`](Keys::next).
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Keys {
        // No key starts with a longer one; a byte too many is enough for the node to find nothing.
        let prefix = prefix.as_ref();
        self.prefix = Bytes::copy_from_slice(&prefix[..prefix.len().min(KEY_BYTES_MAX + 1)]);
        self
    }

    /// Only keys after this one, in byte order. Call it before the first [`next`](Keys::next).
    ///
    /// Keys are spread over all partitions by a hash: a listing asks every one of them, however few keys are wanted. Give a
    /// small [`page`](Keys::page) then.
    pub fn after(mut self, key: impl AsRef<[u8]>) -> Keys {
        let key = key.as_ref();
        self.after = Bytes::copy_from_slice(&key[..key.len().min(KEY_BYTES_MAX)]);
        self
    }

    /// Keys to ask for at once from each partition, 1 to 2,048; 256 by default.
    pub fn page(mut self, keys: u32) -> Keys {
        self.page = keys.clamp(1, KEYS_PAGE_MAX);
        self
    }

    /// The next key; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] and its like when a partition's owners do not answer within the client's timeout. Calling
    /// again goes on where it was: no key is left out, none comes twice.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if !self.started {
            self.start().await?;
        }
        let Some(Reverse((_, place))) = self.heads.peek() else { return Ok(None) };
        let place = *place;
        let Some(source) = self.sources.get_mut(usize::from(place)) else { return Ok(None) };
        // The key after this one has to be known before this one may go: it could be the next of all.
        if source.keys.is_empty() && source.more {
            source.take(fetch(&self.bucket, place, &self.prefix, &source.after, self.page).await?);
        }
        let next = source.keys.pop_front();
        let Some(Reverse((key, _))) = self.heads.pop() else { return Ok(None) };
        self.heads.extend(next.map(|next| Reverse((next, place))));
        Ok(Some(key))
    }

    /// Fetches the first page of every partition, some at a time. After an error it can be called again.
    async fn start(&mut self) -> Result<(), Error> {
        let partitions = self.bucket.client.layout().partitions();
        let mut pages: JoinSet<(u16, Result<wire::Keys, Error>)> = JoinSet::new();
        let mut first: Vec<Option<Source>> = (0..partitions).map(|_| None).collect();
        let mut ids = (0..=u16::MAX).take(partitions as usize);
        loop {
            while pages.len() < KEYS_FETCHES_MAX
                && let Some(place) = ids.next()
            {
                let (bucket, page) = (self.bucket.clone(), self.page);
                let (prefix, after) = (self.prefix.clone(), self.after.clone());
                pages.spawn(carried(async move { (place, fetch(&bucket, place, &prefix, &after, page).await) }));
            }
            let Some(joined) = pages.join_next().await else { break };
            // A task is lost only when the runtime goes down, and we with it.
            let (place, fetched) = joined.map_err(|e| Error::Unreachable { detail: e.to_string() })?;
            let mut source = Source { keys: VecDeque::new(), after: self.after.clone(), more: false };
            source.take(fetched?);
            first[usize::from(place)] = Some(source);
        }
        self.sources = first.into_iter().flatten().collect();
        for (source, place) in self.sources.iter_mut().zip(0_u16..) {
            self.heads.extend(source.keys.pop_front().map(|key| Reverse((key, place))));
        }
        self.started = true;
        Ok(())
    }
}

impl Client {
    /// One page of one partition's keys, from one node's own copy, once: for who puts lists together otherwise than
    /// [`Keys`] does.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] when the layout has no such member; [`Error::OtherLayout`] when it is no owner of the partition;
    /// [`Error::Unreachable`] and its like.
    pub async fn keys_at(&self, node: NodeId, list: ListKeys) -> Result<wire::Keys, Error> {
        let routes = self.inner.routes();
        let Some(link) = routes.link(node) else {
            return Err(Error::BadRequest { detail: "the layout has no such member".into() });
        };
        let deadline = deadline_in(self.inner.options.timeout_default());
        let (partition, prefix, after) = (list.partition, list.prefix.clone(), list.after.clone());
        let frame = ask_once(link, &list.into(), deadline).await?;
        checked(frame.message, partition, &prefix, &after)
    }
}

impl Source {
    fn take(&mut self, page: wire::Keys) {
        if let Some(last) = page.keys.last() {
            self.after = last.clone();
        }
        self.keys = page.keys.into();
        self.more = page.more;
    }
}

/// One page of a partition, from one of its owners.
async fn fetch(
    bucket: &Bucket,
    partition: u16,
    prefix: &Bytes,
    after: &Bytes,
    limit: u32,
) -> Result<wire::Keys, Error> {
    let inner = &bucket.client.inner;
    let message = |_| {
        let (bucket, prefix, after) = (bucket.name.clone(), prefix.clone(), after.clone());
        ListKeys { partition, bucket, prefix, after, limit }.into()
    };
    let target = Target::Owners(PartitionId(partition));
    let deadline = deadline_in(inner.options.timeout_default());
    let frame = call(inner, Kind::Read, target, deadline, message, &Bytes::new()).await?;
    checked(frame.message, partition, prefix, after)
}

/// A page that was asked for.
fn checked(answer: Message, partition: u16, prefix: &Bytes, after: &Bytes) -> Result<wire::Keys, Error> {
    let page = match answer {
        Message::Keys(page) => page,
        other => return Err(unexpected("ListKeys", &other)),
    };
    // A page that does not go on from where we were would make keys come twice, or never end.
    let mut last = after;
    for key in &page.keys {
        if key <= last || !key.starts_with(prefix) {
            return Err(Error::Unexpected { detail: format!("a page of partition {partition} that is out of order") });
        }
        last = key;
    }
    if page.more && page.keys.is_empty() {
        return Err(Error::Unexpected { detail: format!("an empty page of partition {partition} with more to come") });
    }
    Ok(page)
}
