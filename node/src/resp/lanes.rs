//! What is done to keys through this node: each key has a *lane*, in which its operations stand in the order of their
//! coming, while other keys go on beside it.
//!
//! All that waits in a lane is done together: one read at a quorum, the operations one after the other on what it has
//! shown, one write over just what was read. So increments through one node are never lost to each other, answers of a
//! pipeline are those of its order, and a key that everybody writes costs two rounds for all who wait, not for each. A
//! batch that begins with a plain `SET` reads nothing, and writes over what the coordinator has.
//!
//! Siblings: shown is the one that was written last; a write replaces all that were seen.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes};
use dynode_client::Quorum;
use dynode_client::wire::{Causality, Delete, Expiry, Failure, Found, Get, Message, Put};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::codec::Reply;
use super::failures;
use super::limits::{BATCH_MAX, BYTES_MAX, TIMEOUT};
use super::op::{Effect, Op, Stored};
use crate::shell::inside::Inside;

/// The bucket that all keys are in.
pub const BUCKET: &str = "redis";

/// The answer to an operation, and its share of the memory for values until it has left.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) held: Option<Arc<OwnedSemaphorePermit>>,
}

type Waiting = (Op, oneshot::Sender<Answer>);

/// The lanes of all keys that something is done to.
#[derive(Debug)]
pub(super) struct Lanes {
    inside: Inside,
    waiting: Mutex<HashMap<Bytes, VecDeque<Waiting>>>,
    /// Memory for commands and values.
    pub(super) bytes: Arc<Semaphore>,
}

/// What a key is found to be.
#[derive(Debug)]
struct Seen {
    value: Option<Stored>,
    causality: Causality,
    held: Option<Arc<OwnedSemaphorePermit>>,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer { reply, held: None }
    }
}

impl Lanes {
    pub(super) fn new(inside: Inside) -> Arc<Lanes> {
        let bytes = Arc::new(Semaphore::new(BYTES_MAX));
        Arc::new(Lanes { inside, waiting: Mutex::default(), bytes })
    }

    /// Puts an operation behind those that were put before it. It is done whether or not the answer is waited for.
    pub(super) fn push(self: &Arc<Self>, key: Bytes, op: Op) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let mut lanes = self.lock();
        match lanes.get_mut(&key) {
            Some(lane) => lane.push_back((op, answer)),
            None => {
                lanes.insert(key.clone(), VecDeque::from([(op, answer)]));
                let lane = Lane { lanes: Arc::clone(self), key, ended: false };
                tokio::spawn(async move { lane.run().await });
            }
        }
        answered
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, VecDeque<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, key: &Bytes, r: Quorum) -> Result<Seen, Failure> {
        let (bucket, timeout_ms) = (Bytes::from_static(BUCKET.as_bytes()), TIMEOUT.as_millis() as u32);
        let get = Get { bucket, key: key.clone(), r, strict: false, timeout_ms, at_least: None };
        match self.inside.ask(get, Bytes::new(), TIMEOUT).await? {
            (Message::Found(found), body) => {
                let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
                let held = match size {
                    0 => None,
                    _ => Some(Arc::clone(&self.bytes).try_acquire_many_owned(size).map_err(|_| failures::full())?),
                };
                let context = found.context.clone();
                let value = latest(found, body).ok_or_else(|| failures::unexpected("Found"))?;
                Ok(Seen { value, causality: Causality::Seen(context), held: held.map(Arc::new) })
            }
            (other, _) => Err(failures::unexpected(other.name())),
        }
    }

    async fn write(&self, key: &Bytes, value: Option<Stored>, causality: Causality, w: Quorum) -> Result<(), Failure> {
        let (bucket, key) = (Bytes::from_static(BUCKET.as_bytes()), key.clone());
        let (strict, timeout_ms) = (false, TIMEOUT.as_millis() as u32);
        let (message, body) = match value {
            Some(Stored { bytes, expires_ms }) => {
                let expiry = expires_ms.map_or(Expiry::Never, Expiry::At);
                let (content_type, request) = (Bytes::new(), None);
                let put = Put { bucket, key, causality, w, strict, timeout_ms, content_type, expiry, request };
                (Message::from(put), bytes)
            }
            None => (Delete { bucket, key, causality, w, strict, timeout_ms }.into(), Bytes::new()),
        };
        match self.inside.ask(message, body, TIMEOUT).await? {
            (Message::PutDone(_), _) => Ok(()),
            (other, _) => Err(failures::unexpected(other.name())),
        }
    }
}

/// The value that was written last; the outer `None`: the answer does not hold what it says.
fn latest(found: Found, mut body: Bytes) -> Option<Option<Stored>> {
    let mut last: Option<(_, Stored)> = None;
    for sibling in found.siblings {
        let length = sibling.length as usize;
        if length > body.remaining() {
            return None;
        }
        let bytes = body.split_to(length);
        // They stand in the order of their dots: of two with the same stamp the later one counts, as everywhere.
        if last.as_ref().is_none_or(|(written, _)| *written <= sibling.meta.written) {
            last = Some((sibling.meta.written, Stored { bytes, expires_ms: sibling.meta.expires_ms }));
        }
    }
    body.is_empty().then_some(last.map(|(_, stored)| stored))
}

/// Milliseconds of the wall clock since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// One key's. It ends with the last that waits; should it end before, it takes those with it that wait.
struct Lane {
    lanes: Arc<Lanes>,
    key: Bytes,
    ended: bool,
}

impl Drop for Lane {
    fn drop(&mut self) {
        if !self.ended {
            self.lanes.lock().remove(&self.key);
        }
    }
}

impl Lane {
    async fn run(mut self) {
        // Those who push from the same burst are let in first.
        tokio::task::yield_now().await;
        while let Some(batch) = self.next_batch() {
            self.work(batch).await;
        }
    }

    /// What waits; `None`: nothing, and the lane is gone.
    fn next_batch(&mut self) -> Option<Vec<Waiting>> {
        let mut lanes = self.lanes.lock();
        let lane = lanes.get_mut(&self.key).filter(|lane| !lane.is_empty());
        match lane {
            Some(lane) => Some(lane.drain(..lane.len().min(BATCH_MAX)).collect()),
            None => {
                lanes.remove(&self.key);
                self.ended = true;
                None
            }
        }
    }

    async fn work(&self, batch: Vec<Waiting>) {
        // Reads and plain writes are at the bucket's own quorums; what is written because of what was read must meet what
        // was acknowledged before.
        let plain = batch.iter().all(|(op, _)| op.is_read() || op.is_blind());
        let quorum = if plain { Quorum::OfBucket } else { Quorum::Majority };
        let begins_blind = batch.first().is_some_and(|(op, _)| op.is_blind());
        let seen = match begins_blind {
            true => Ok(Seen { value: None, causality: Causality::Current, held: None }),
            false => self.lanes.read(&self.key, quorum).await,
        };
        let Seen { mut value, causality, held } = match seen {
            Ok(seen) => seen,
            Err(why) => {
                for (_, answer) in batch {
                    let _ = answer.send(failures::reply(&why).into());
                }
                return;
            }
        };
        let now_ms = now_ms();
        let mut written = false;
        // Those whose answers hold only when the write is done.
        let mut after: Vec<(Reply, oneshot::Sender<Answer>)> = Vec::new();
        for (op, answer) in batch {
            let (reply, effect) = op.apply(&mut value, now_ms);
            written |= effect == Effect::Written;
            match written {
                true => after.push((reply, answer)),
                false => {
                    let _ = answer.send(Answer { reply, held: held.clone() });
                }
            }
        }
        if !written {
            return;
        }
        let value = value.filter(|value| value.expires_ms.is_none_or(|at| at > now_ms));
        let done = self.lanes.write(&self.key, value, causality, quorum).await;
        for (reply, answer) in after {
            let answered = match &done {
                Ok(()) => Answer { reply, held: held.clone() },
                Err(why) => failures::reply(why).into(),
            };
            let _ = answer.send(answered); // the asker may have gone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::limits::OPERATION_BYTES;
    use crate::shell::inside::Door;

    #[test]
    fn an_operation_takes_no_more_memory_than_is_counted_for_it() {
        let lane = Lane { lanes: Lanes::new(Door::pair().0), key: Bytes::new(), ended: true };
        // With as much again for the queues, the channels and the task that it stands in.
        let run = size_of_val(&lane.run());
        assert!(2 * run <= OPERATION_BYTES, "{run}");
    }
}
