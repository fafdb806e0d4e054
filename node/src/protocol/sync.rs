//! Owners compare clocks about once a second, and pull what they lack.
//!
//! A round with a peer: hashes of this node's synced clocks for the partitions that both own, and for those that this
//! node holds as a stand-in and the peer owns; back come the peer's clocks where they differ. Equal hashes cost 18 bytes
//! a partition; where the last round found nothing that differs, one hash goes over all of them, and they are listed only
//! if that differs. What is missing twice in a row (once may be under way), or at the first word on a new connection, is
//! pulled: a delta, or a scan where the source's index no longer reaches back. A pull goes on answer by answer, and
//! after an interruption where it stopped.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynode_client::wire::{Clocks, Digest, Digests, Lacks, Message};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::codec::{decode_clock, encode_clock};
use dynode_storage::{Clock, Engine, EngineError};

use super::pull::ScanSoFar;
use super::{Effects, Heard, Node, Observation, Operation, ReplyTo, Then, Time};
use crate::limits;

#[cfg(test)]
mod tests;

/// What a node knows of other owners' copies.
#[derive(Default)]
pub(super) struct SyncState {
    /// The synced clocks that other owners told, under the present layout.
    pub(super) heard: BTreeMap<(PartitionId, NodeId), Clock>,
    /// What other owners' copies may lack, as they told last.
    pub(super) lacking: BTreeMap<NodeId, BTreeMap<PartitionId, Lacks>>,
    /// What a peer told one round ago and this copy lacked then, and since when it has lacked something in every round.
    pub(super) lacked: BTreeMap<(PartitionId, NodeId), (Clock, Time)>,
    /// When clocks were last compared with a peer.
    pub(super) compared: BTreeMap<NodeId, Time>,
    /// When somebody last asked for a comparison at once, and it was made.
    pub(super) asked_now: Option<Time>,
    /// The partitions that came to this node by the present layout, since its start.
    pub(super) came: BTreeSet<PartitionId>,
    /// The partitions that are being pulled.
    pub(super) pulling: BTreeMap<PartitionId, NodeId>,
    /// The partitions to be pulled next, and from whom.
    pub(super) wanted: BTreeMap<PartitionId, NodeId>,
    /// Where an interrupted scan goes on.
    pub(super) scans: BTreeMap<PartitionId, (NodeId, ScanSoFar)>,
    /// One-key pulls under way.
    pub(super) repairs: usize,
    /// Digest rounds answered so far.
    rounds: u64,
    /// The peers with which everything was equal in the last round.
    equal: BTreeSet<NodeId>,
    /// What came so far is within the share of bytes and time that sync has until then: see [`super::busy`].
    pub(super) paid_until: Time,
}

/// The synced clocks of which a peer is told.
type Told = Vec<(PartitionId, Clock)>;

/// A round of digests that waits for its answer.
pub(super) struct DigestRound {
    pub(super) peer: NodeId,
    /// What was said, so that silence about a partition means "equal".
    told: Told,
    /// The connection is new: what is missing is not under way on it.
    greeting: bool,
    /// So many of what was said, from the first on, were only in the sum.
    summed: usize,
}

impl DigestRound {
    /// What is answered of this partition counts no more.
    pub(super) fn forget(&mut self, partition: PartitionId) {
        self.summed -= self.told[..self.summed].iter().filter(|(p, _)| *p == partition).count();
        self.told.retain(|(p, _)| *p != partition);
    }
}

impl SyncState {
    /// A partition is to be pulled from a peer, as soon as there is room.
    pub(super) fn want(&mut self, partition: PartitionId, source: NodeId) {
        if !self.pulling.contains_key(&partition) {
            self.wanted.insert(partition, source);
        }
    }

    /// Partitions that are being pulled now.
    pub(super) fn pulling(&self) -> usize {
        self.pulling.len()
    }

    /// What is remembered of partitions: at most a few entries for each that is owned, and each of its other owners.
    pub(super) fn entries(&self) -> usize {
        let lacking: usize = self.lacking.values().map(BTreeMap::len).sum();
        self.heard.len() + self.lacked.len() + self.pulling.len() + self.wanted.len() + self.scans.len() + lacking
    }

    /// The copy of a partition has left, or is another than it was: nothing that was said to the former one counts.
    pub(super) fn forget(&mut self, partition: PartitionId) {
        self.heard.retain(|(p, _), _| *p != partition);
        self.lacked.retain(|(p, _), _| *p != partition);
        self.pulling.remove(&partition);
        self.wanted.remove(&partition);
        self.scans.remove(&partition);
    }

    /// Only these have copies of the partition that count: what others lacked or had is of no interest any more.
    pub(super) fn only_of(&mut self, partition: PartitionId, owners: &[NodeId]) {
        self.heard.retain(|(p, node), _| *p != partition || owners.contains(node));
        self.lacked.retain(|(p, node), _| *p != partition || owners.contains(node));
    }

    /// What others have told of their copies counts no more.
    pub(super) fn forget_words(&mut self) {
        self.heard.clear();
        self.lacked.clear();
        self.lacking.clear();
        self.equal.clear();
    }

    /// Rounds answered so far.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }
}

impl<E: Engine> Node<E> {
    /// A peer has come (back): compare clocks now, not in a second.
    pub(super) fn greet(&mut self, now: Time, peer: NodeId, out: &mut Effects) -> Result<(), EngineError> {
        self.list_digests(now, peer, self.in_common(peer), true, out)
    }

    /// Asks a peer for nothing but a sign of life.
    pub(super) fn empty_round(&mut self, now: Time, peer: NodeId, out: &mut Effects) {
        let round = DigestRound { peer, told: Vec::new(), greeting: false, summed: 0 };
        self.send_digests(now, round, None, Vec::new(), out);
    }

    /// Tells a peer the hashes of this node's synced clocks.
    pub(super) fn digest_round(&mut self, now: Time, peer: NodeId, out: &mut Effects) -> Result<(), EngineError> {
        let partitions = self.in_common(peer);
        if !self.sync.equal.contains(&peer) || partitions.is_empty() {
            return self.list_digests(now, peer, partitions, false, out);
        }
        let (told, digests) = self.own_digests(&partitions)?;
        let round = DigestRound { peer, greeting: false, summed: told.len(), told };
        self.send_digests(now, round, Some(sum(&digests)), Vec::new(), out);
        let held = self.to_hand_off(peer);
        self.list(now, peer, &held, false, out)
    }

    /// The partitions that both own, in order.
    fn in_common(&self, peer: NodeId) -> Vec<PartitionId> {
        self.held_here().into_iter().filter(|p| self.is_holder(peer, *p)).collect()
    }

    /// The synced clocks of these partitions, and what is said of them.
    fn own_digests(&mut self, partitions: &[PartitionId]) -> Result<(Told, Vec<Digest>), EngineError> {
        let (mut told, mut digests) = (Vec::new(), Vec::new());
        for partition in partitions {
            let (clock, content, ahead) = match self.store.find(*partition)? {
                Some(copy) => (copy.told().clone(), copy.told_content(), copy.told_ahead()),
                None => (Clock::new(), 0, false),
            };
            // In the middle of a scan the content may be ahead of the clock. A hash that fits nobody's keeps it from
            // being compared, and has the peer answer with its clock.
            let hash = if ahead { !clock.hash() } else { clock.hash() };
            digests.push(Digest { partition: partition.0, clock: hash, content });
            told.push((*partition, clock));
        }
        Ok((told, digests))
    }

    fn list_digests(
        &mut self,
        now: Time,
        peer: NodeId,
        mut partitions: Vec<PartitionId>,
        greeting: bool,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        partitions.extend(self.to_hand_off(peer));
        if partitions.is_empty() && self.lives.wants_answer(peer, self.store.knows_its_lives()) {
            // What the peer knows of this node's former lives is wanted all the same.
            self.empty_round(now, peer, out);
        }
        self.list(now, peer, &partitions, greeting, out)
    }

    fn list(
        &mut self,
        now: Time,
        peer: NodeId,
        partitions: &[PartitionId],
        greeting: bool,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        for chunk in partitions.chunks(limits::DIGESTS_MAX) {
            let (told, digests) = self.own_digests(chunk)?;
            self.send_digests(now, DigestRound { peer, told, greeting, summed: 0 }, None, digests, out);
        }
        Ok(())
    }

    fn send_digests(
        &mut self,
        now: Time,
        round: DigestRound,
        sum: Option<u64>,
        digests: Vec<Digest>,
        out: &mut Effects,
    ) {
        let id = self.new_id();
        out.send(round.peer, id, Digests { epoch: self.config.layout.epoch(), sum, digests }, Bytes::new());
        self.begin(id, Operation::Digests(round), now + limits::DIGEST_TIMEOUT);
    }

    /// A peer tells the hashes of its clocks: answer with this node's own where they differ.
    pub(super) fn digests(
        &mut self,
        now: Time,
        peer: NodeId,
        reply_to: ReplyTo,
        m: &Digests,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let epoch = self.config.layout.epoch();
        let last_life = self.store.last_life(peer)?;
        let recovering = self.recovering_copies()?;
        let whole = self.store.knows_its_lives() && !recovering.iter().any(|(_, lacks)| *lacks == Lacks::Own);
        let mut reply = Clocks {
            epoch,
            sum_differs: false,
            differing: Vec::new(),
            absent: Vec::new(),
            last_life,
            whole,
            recovering,
            unlike: Vec::new(),
        };
        let mut body = Vec::new();
        if let Some(theirs) = m.sum {
            let common = self.in_common(peer);
            let (told, digests) = self.own_digests(&common)?;
            reply.sum_differs = m.epoch != epoch || theirs != sum(&digests);
            if !reply.sum_differs {
                for (partition, clock) in told {
                    self.content_agrees(partition, peer);
                    self.sync.heard.insert((partition, peer), clock);
                }
            }
        }
        for digest in &m.digests {
            let partition = match self.agrees_to_own(peer, m.epoch, digest.partition, out) {
                Ok(partition) => partition,
                Err(refusal) => {
                    out.reply(reply_to, refusal);
                    return Ok(());
                }
            };
            let Some(copy) = self.store.find(partition)? else {
                if digest.clock != Clock::new().hash() {
                    reply.absent.push(digest.partition);
                }
                continue;
            };
            let told = copy.told().clone();
            if told.hash() != digest.clock {
                let clock = encode_clock(&told);
                reply.differing.push((digest.partition, clock.len() as u32));
                body.extend_from_slice(&clock);
            } else {
                let differs = copy.told_content() != digest.content;
                if !copy.told_ahead() {
                    match differs {
                        true => {
                            reply.unlike.push(digest.partition);
                            self.content_differs(now, partition, peer, (digest.clock, digest.content), out)?;
                        }
                        false => self.content_agrees(partition, peer),
                    }
                }
                if self.is_holder(peer, partition) {
                    self.sync.heard.insert((partition, peer), told);
                }
            }
        }
        out.reply_with(reply_to, reply, body.into());
        Ok(())
    }

    pub(super) fn digests_heard(
        &mut self,
        now: Time,
        round: &mut DigestRound,
        heard: Heard,
        out: &mut Effects,
    ) -> Result<Then, EngineError> {
        let (m, mut body) = match heard {
            Heard::Answer(from, ..) if from != round.peer => return Ok(Then::Wait(None)),
            Heard::Answer(_, Message::Clocks(m), body) if m.epoch == self.config.layout.epoch() => (m, body),
            _ => return Ok(Then::Done),
        };
        let peer = round.peer;
        self.told_of_lives(peer, m.last_life, m.whole)?;
        let mut theirs: BTreeMap<PartitionId, Clock> =
            m.absent.iter().map(|p| (PartitionId(*p), Clock::new())).collect();
        for (partition, len) in m.differing {
            let len = len as usize;
            let clock = (len <= body.len()).then(|| decode_clock(body.split_to(len)).ok()).flatten();
            let Some(clock) = clock else {
                out.observe(Observation::Unreadable { peer, detail: "a clock of its sync answer".into() });
                return Ok(Then::Done);
            };
            theirs.insert(PartitionId(partition), clock);
        }
        self.sync.rounds += 1;
        self.sync.compared.insert(peer, now);
        let differs = m.sum_differs || !theirs.is_empty();
        match differs {
            true => self.sync.equal.remove(&peer),
            false => self.sync.equal.insert(peer),
        };
        if m.sum_differs {
            round.told.drain(..round.summed);
            let common = self.in_common(peer);
            self.list(now, peer, &common, false, out)?;
        }
        let recovering = m.recovering.iter().map(|(partition, lacks)| (PartitionId(*partition), *lacks));
        let recovering: BTreeMap<PartitionId, Lacks> = recovering.filter(|(p, _)| self.owns(*p)).collect();
        self.sync.lacking.insert(peer, recovering.clone());
        let mut lacks = Vec::new();
        for (partition, told) in std::mem::take(&mut round.told) {
            // Nothing said of a partition means that the peer's clock was equal to what it was told.
            let clock = theirs.remove(&partition).unwrap_or(told);
            // Whoever has ceased to be an owner meanwhile says nothing that counts, and would not be asked again.
            if self.owns(partition) && self.is_holder(peer, partition) {
                let lacks_what = recovering.get(&partition).copied();
                self.hear(partition, peer, clock, lacks_what, round.greeting, out)?;
            } else if self.hints.holds(partition) && m.unlike.contains(&partition.0) {
                // One of the two is damaged: until it is known which, the copy here stays.
                self.sync.heard.remove(&(partition, peer));
                self.scrub.soon(partition);
            } else if self.hints.holds(partition) && self.heard_of_owner(partition, peer, clock, out)? {
                lacks.push(partition.0);
            }
        }
        self.offer(peer, lacks, out);
        self.begin_pulls(now, out)?;
        Ok(Then::Done)
    }

    /// Takes a peer's word of its synced clock. What is missing is pulled when it was missing one round ago too, or at
    /// once where the connection is new: a node that was away need not wait a second for what it has missed.
    fn hear(
        &mut self,
        partition: PartitionId,
        peer: NodeId,
        clock: Clock,
        lacks_what: Option<Lacks>,
        greeting: bool,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        self.retire_if_old(partition, clock.closed(), out)?;
        self.begin_life_if_behind(partition, &clock, out)?;
        let at = (partition, peer);
        let mine = self.store.copy(partition)?.clock();
        let before = self.sync.lacked.remove(&at);
        let missed_before = before.as_ref().is_some_and(|(before, _)| !mine.covers(before));
        let lacks = !mine.covers(&clock);
        if lacks {
            let since = before.map_or(self.last_event, |(_, since)| since);
            self.sync.lacked.insert(at, (clock.clone(), since));
        }
        self.recover(partition, peer, lacks_what, &clock)?;
        self.sync.heard.insert(at, clock);
        if missed_before || lacks && greeting {
            self.sync.want(partition, peer);
        }
        Ok(())
    }
}

/// One hash over digests.
fn sum(digests: &[Digest]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for digest in digests {
        hasher.update(&digest.partition.to_le_bytes());
        hasher.update(&digest.clock.to_le_bytes());
        hasher.update(&digest.content.to_le_bytes());
    }
    let mut word = [0; 8];
    hasher.finalize_xof().fill(&mut word);
    u64::from_le_bytes(word)
}
