//! What buckets are like: kept by every node, changed at any, and spread without a leader.
//!
//! Of each bucket the properties with the greatest stamp (then node id) count, so all nodes end with the same, in whatever
//! order they hear of them. A change is told to all peers at once, all is told on a new connection, and once a second one
//! peer is told a hash, in turn, so that a lost message costs seconds. Where nobody has said anything of any bucket, nothing
//! is sent.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use dynode_client::wire::limits::BUCKET_BYTES_MAX;
use dynode_client::wire::{
    self, BucketIs, BucketKind, Buckets as Told, BucketsHash, ErrorCode, Failure, Frame, GetBucket, Hlc, Message,
    Properties, Quorum, SetBucket,
};
use dynode_ring::NodeId;
use dynode_storage::{Engine, EngineError, Space, Store};

use super::{Effects, Node, ReplyTo, Time, failure};
use crate::limits;

/// Notes of buckets: this and the name.
const NOTES: &[u8] = b"bucket/";

/// What was said of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Said {
    since: Hlc,
    node: u64,
    properties: Properties,
}

/// All that is known of buckets.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    said: BTreeMap<Bytes, Said>,
    /// The peer that was told the hash last.
    told_last: Option<NodeId>,
}

impl Buckets {
    /// What was stored.
    pub(super) fn load<E: Engine>(store: &Store<E>) -> Result<Buckets, EngineError> {
        let wrong = || EngineError::Damaged {
            place: Space::Meta.name(),
            partition: None,
            detail: "a bucket's properties that cannot be read".into(),
        };
        let mut said = BTreeMap::new();
        for (name, note) in store.notes(NOTES)? {
            // As it travels: one form, one decoder.
            let frame = wire::decode(&mut BytesMut::from(&note[..])).ok().flatten().ok_or_else(wrong)?;
            let Message::BucketIs(is) = frame.message else { return Err(wrong()) };
            said.insert(name, Said { since: is.since, node: is.node, properties: is.properties });
        }
        Ok(Buckets { said, told_last: None })
    }

    /// What a bucket is like.
    pub(super) fn of(&self, bucket: &[u8]) -> Properties {
        self.said.get(bucket).map(|said| said.properties).unwrap_or_default()
    }

    fn is(&self, bucket: &Bytes, n: u8) -> BucketIs {
        let Said { since, node, properties } = self.said.get(bucket).copied().unwrap_or_default();
        BucketIs { bucket: bucket.clone(), n, properties, since, node }
    }

    fn all(&self, n: u8) -> Vec<BucketIs> {
        self.said.keys().map(|bucket| self.is(bucket, n)).collect()
    }

    fn hash(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for (bucket, said) in &self.said {
            hasher.update(&(bucket.len() as u32).to_le_bytes());
            hasher.update(bucket);
            hasher.update(&said.since.0.to_le_bytes());
            hasher.update(&said.node.to_le_bytes());
        }
        let mut hash = [0; 8];
        hasher.finalize_xof().fill(&mut hash);
        u64::from_le_bytes(hash)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.said.len()
    }
}

impl<E: Engine> Node<E> {
    /// A bucket's properties, as this node knows them.
    pub(super) fn get_bucket(&mut self, reply_to: ReplyTo, m: &GetBucket, out: &mut Effects) {
        match check_name(&m.bucket) {
            Ok(()) => out.reply(reply_to, self.buckets.is(&m.bucket, self.n())),
            Err(refusal) => self.refuse(reply_to, refusal, out),
        }
    }

    /// Changes a bucket's properties, and tells everybody.
    pub(super) fn set_bucket(&mut self, now: Time, reply_to: ReplyTo, m: &SetBucket, out: &mut Effects) {
        if let Err(refusal) = check_name(&m.bucket).and_then(|()| self.check_change(m)) {
            self.refuse(reply_to, refusal, out);
            return;
        }
        let mut said = self.buckets.said.get(&m.bucket).copied().unwrap_or_default();
        said.since = self.wall.stamp(now, said.since);
        said.node = self.config.node.0;
        let properties = &mut said.properties;
        properties.kind = m.kind.unwrap_or(properties.kind);
        properties.r = m.r.unwrap_or(properties.r);
        properties.w = m.w.unwrap_or(properties.w);
        properties.ttl_ms = m.ttl_ms.unwrap_or(properties.ttl_ms);
        self.keep(&m.bucket, said);
        let is = self.buckets.is(&m.bucket, self.n());
        let peers: Vec<NodeId> = self.up.iter().copied().collect();
        for peer in peers {
            out.send(peer, 0, Told { buckets: vec![is.clone()] }, Bytes::new());
        }
        out.reply(reply_to, is);
    }

    fn check_change(&self, m: &SetBucket) -> Result<(), Failure> {
        let n = self.n();
        if m.n.is_some_and(|wanted| wanted != n) {
            let detail = format!("buckets have as many copies as the layout, {n}; nothing was changed");
            return Err(failure(ErrorCode::BadRequest, detail));
        }
        for quorum in [m.r, m.w].into_iter().flatten() {
            if quorum == Quorum::OfBucket {
                let detail = "a bucket's default cannot be the bucket's default; nothing was changed";
                return Err(failure(ErrorCode::BadRequest, detail));
            }
            if quorum.of(usize::from(n)).is_none() {
                let detail = format!("{quorum} of {n} copies cannot be a bucket's default; nothing was changed");
                return Err(failure(ErrorCode::BadRequest, detail));
            }
        }
        if m.ttl_ms == Some(Some(0)) {
            return Err(failure(ErrorCode::BadRequest, "values that expire at once are none; nothing was changed"));
        }
        if m.ttl_ms.flatten().is_some_and(|ms| ms > limits::TTL_MS_MAX) {
            let detail = "values are kept for a hundred years at most, or for ever; nothing was changed";
            return Err(failure(ErrorCode::BadRequest, detail));
        }
        if self.buckets.len() >= limits::BUCKETS_MAX && !self.buckets.said.contains_key(&m.bucket) {
            let detail =
                format!("{} buckets have properties of their own, as many as there can be", limits::BUCKETS_MAX);
            return Err(failure(ErrorCode::BadRequest, detail));
        }
        Ok(())
    }

    /// A peer tells what it knows of buckets.
    pub(super) fn told_buckets(&mut self, told: Told) {
        for is in told.buckets {
            let said = Said { since: is.since, node: is.node, properties: is.properties };
            let known = self.buckets.said.get(&is.bucket);
            let news = known.is_none_or(|known| (known.since, known.node) < (said.since, said.node));
            let fits = check_name(&is.bucket).is_ok() && (known.is_some() || self.buckets.len() < limits::BUCKETS_MAX);
            if news && fits {
                self.keep(&is.bucket, said);
            }
        }
    }

    /// A peer knows other things of buckets than this node: it is told what this one knows.
    pub(super) fn told_buckets_hash(&mut self, peer: NodeId, m: &BucketsHash, out: &mut Effects) {
        let ours = self.buckets.hash();
        if m.hash == ours {
            return;
        }
        self.tell_buckets(peer, out);
        if !m.answers {
            // It may know more than this node does.
            out.send(peer, 0, BucketsHash { hash: ours, answers: true }, Bytes::new());
        }
    }

    /// Tells a peer all that is known of buckets, if anything is.
    pub(super) fn tell_buckets(&self, peer: NodeId, out: &mut Effects) {
        if self.buckets.len() > 0 {
            out.send(peer, 0, Told { buckets: self.buckets.all(self.n()) }, Bytes::new());
        }
    }

    /// Tells one of these peers, the next in turn, the hash of all.
    pub(super) fn compare_buckets(&mut self, peers: &[NodeId], out: &mut Effects) {
        let after = |last: NodeId| peers.iter().find(|peer| **peer > last);
        let next = self.buckets.told_last.and_then(after).or(peers.first()).copied();
        if let Some(peer) = next.filter(|_| self.buckets.len() > 0) {
            self.buckets.told_last = Some(peer);
            out.send(peer, 0, BucketsHash { hash: self.buckets.hash(), answers: false }, Bytes::new());
        }
    }

    fn keep(&mut self, bucket: &Bytes, said: Said) {
        let bucket = Bytes::copy_from_slice(bucket); // what came shares the memory of a whole read
        self.buckets.said.insert(bucket.clone(), said);
        let frame =
            Frame { request: 0, trace: None, message: self.buckets.is(&bucket, self.n()).into(), body: Bytes::new() };
        let mut note = BytesMut::new();
        // A name within its limit fits into a frame.
        if wire::encode(frame.request, &frame.message, &frame.body, &mut note).is_ok() {
            self.store.note(&[NOTES, &bucket[..]].concat(), &note);
        }
        if said.properties.ttl_ms.is_some() {
            self.expect_expiry();
        }
    }

    /// How many copies buckets have.
    fn n(&self) -> u8 {
        self.config.layout.replicas() as u8
    }

    /// The quorum that is meant.
    pub(super) fn meant(&self, wanted: Quorum, of_bucket: Quorum) -> Quorum {
        if wanted == Quorum::OfBucket { of_bucket } else { wanted }
    }

    /// Does the bucket keep only the last of concurrent values?
    pub(super) fn is_lww(&self, bucket: &[u8]) -> bool {
        self.buckets.of(bucket).kind == BucketKind::Lww
    }
}

fn check_name(bucket: &[u8]) -> Result<(), Failure> {
    match bucket.len() {
        1..=BUCKET_BYTES_MAX => Ok(()),
        0 => Err(failure(ErrorCode::BadRequest, "the bucket is empty")),
        len => {
            let detail = format!("the bucket has {len} bytes; at most {BUCKET_BYTES_MAX} are taken");
            Err(failure(ErrorCode::TooLarge, detail))
        }
    }
}

#[cfg(test)]
mod tests;
