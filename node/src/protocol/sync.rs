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
use dynode_client::wire::{AnswerKind, Clocks, Digest, Digests, Message, Pull as PullRequest, ScanAt};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::codec::{Part, decode_clock, decode_parts, encode_clock};
use dynode_storage::{Clock, Engine, EngineError};

use super::{Effects, Heard, Node, Observation, Operation, ReplyTo, Then, Time};
use crate::limits;

#[cfg(test)]
mod tests;

/// What a node knows of other owners' copies.
#[derive(Default)]
pub(super) struct SyncState {
    /// The synced clocks that other owners told, under the present layout.
    pub(super) heard: BTreeMap<(PartitionId, NodeId), Clock>,
    /// What a peer told one round ago and this copy lacked then, and since when it has lacked something in every round.
    pub(super) lacked: BTreeMap<(PartitionId, NodeId), (Clock, Time)>,
    /// When clocks were last compared with a peer.
    pub(super) compared: BTreeMap<NodeId, Time>,
    /// When somebody last asked for a comparison at once, and it was made.
    pub(super) asked_now: Option<Time>,
    /// The partitions that are being pulled.
    pub(super) pulling: BTreeMap<PartitionId, NodeId>,
    /// The partitions to be pulled next, and from whom.
    pub(super) wanted: BTreeMap<PartitionId, NodeId>,
    /// Where an interrupted scan goes on.
    pub(super) scans: BTreeMap<PartitionId, (NodeId, ScanAt)>,
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

/// A pull that waits for its next answer.
#[derive(Clone)]
pub(super) struct Pull {
    pub(super) source: NodeId,
    partition: PartitionId,
    /// The life of this copy when it asked: an answer to a former life promises nothing to this one.
    life: u64,
    scan: Option<ScanAt>,
    /// The clock that this copy has asked with.
    asked: Clock,
    /// When it has asked: in the turn that took in the answer before.
    asked_at: Time,
    /// It waits for its turn to ask, not for an answer.
    rests: bool,
    /// Answers in a row that brought nothing, since the source is still looking for it.
    empty: u32,
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
        self.heard.len() + self.lacked.len() + self.pulling.len() + self.wanted.len() + self.scans.len()
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
        let whole = self.store.knows_its_lives() && !recovering.iter().any(|(_, may_lack)| *may_lack);
        let mut reply = Clocks {
            epoch,
            sum_differs: false,
            differing: Vec::new(),
            absent: Vec::new(),
            last_life,
            whole,
            recovering,
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
                        true => self.content_differs(now, partition, peer, (digest.clock, digest.content), out)?,
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
        let recovering: BTreeMap<u16, bool> = m.recovering.iter().copied().collect();
        let mut lacks = Vec::new();
        for (partition, told) in std::mem::take(&mut round.told) {
            // Nothing said of a partition means that the peer's clock was equal to what it was told.
            let clock = theirs.remove(&partition).unwrap_or(told);
            // Whoever has ceased to be an owner meanwhile says nothing that counts, and would not be asked again.
            if self.owns(partition) && self.is_holder(peer, partition) {
                let standing = recovering.get(&partition.0).copied();
                self.hear(partition, peer, clock, standing, round.greeting, out)?;
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
        recovering: Option<bool>,
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
        self.recover(partition, peer, recovering, &clock)?;
        self.sync.heard.insert(at, clock);
        if missed_before || lacks && greeting {
            self.sync.want(partition, peer);
        }
        Ok(())
    }

    /// Begins as many of the wanted pulls as may run at once.
    pub(super) fn begin_pulls(&mut self, now: Time, out: &mut Effects) -> Result<(), EngineError> {
        while self.sync.pulling() < self.pulls_max(now) && self.writes_refused.is_none() {
            let Some((partition, source)) = self.sync.wanted.pop_first() else { return Ok(()) };
            // What is not begun now is wanted again after the next round.
            if self.owns(partition) && self.is_up(source) && self.not_compared(now, partition)?.is_none() {
                self.begin_pull(now, partition, source, out)?;
            }
        }
        Ok(())
    }

    fn begin_pull(
        &mut self,
        now: Time,
        partition: PartitionId,
        source: NodeId,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let scan = match self.sync.scans.get(&partition) {
            Some((from, at)) if *from == source => Some(at.clone()),
            _ => None,
        };
        let life = self.store.copy(partition)?.actor().life;
        self.sync.pulling.insert(partition, source);
        self.counters.pulls += 1;
        let pull = Pull { source, partition, life, scan, asked: Clock::new(), asked_at: now, rests: true, empty: 0 };
        match self.sync.rest_until() {
            until if now < until => {
                let id = self.new_id();
                self.begin(id, Operation::Pull(pull), until);
                Ok(())
            }
            _ => self.ask(now, pull, out),
        }
    }

    /// Asks for the next part of an answer, under an id of its own: a part that comes twice, or late, answers nothing.
    fn ask(&mut self, now: Time, mut pull: Pull, out: &mut Effects) -> Result<(), EngineError> {
        pull.asked = self.store.copy(pull.partition)?.clock().clone();
        (pull.asked_at, pull.rests) = (now, false);
        // A large part makes clients wait for as long as it takes to take it in.
        let budget = self.answer_bytes(now);
        let id = self.new_id();
        let clock = encode_clock(&pull.asked);
        let message = PullRequest {
            epoch: self.config.layout.epoch(),
            partition: pull.partition.0,
            only: Bytes::new(),
            scan: pull.scan.clone(),
            budget: budget as u32,
        };
        out.send(pull.source, id, message, clock.into());
        self.begin(id, Operation::Pull(pull), now + limits::PULL_TIMEOUT);
        Ok(())
    }

    pub(super) fn pull_heard(
        &mut self,
        now: Time,
        pull: &mut Pull,
        heard: Heard,
        out: &mut Effects,
    ) -> Result<Then, EngineError> {
        let goes_on = match heard {
            Heard::Alarm if pull.rests && self.owns(pull.partition) => true,
            Heard::Answer(..) if pull.rests => return Ok(Then::Wait(None)), // it came twice
            Heard::Answer(from, ..) | Heard::Lost(from) | Heard::Unsent(from) if from != pull.source => {
                return Ok(Then::Wait(None));
            }
            // It is an owner no more: what it has leaves, and gets no further.
            _ if !self.owns(pull.partition) => false,
            Heard::Answer(_, Message::Answer(m), body)
                if self.store.copy(pull.partition)?.actor().life == pull.life =>
            {
                let took = Some(now - pull.asked_at).filter(|_| self.is_busy(now));
                self.sync.pay(now, body.len(), took);
                self.counters.sync_bytes_in += body.len() as u64;
                match decode_parts(body) {
                    Ok(parts) if self.is_stale(pull.partition, pull.source, m.life, &m.refused, &parts)? => false,
                    Ok(parts) => self.take_answer(pull, m.kind, parts, out)?,
                    Err(why) => {
                        out.observe(Observation::Unreadable { peer: pull.source, detail: why.to_string() });
                        false
                    }
                }
            }
            _ => false,
        };
        let rest_until = self.sync.rest_until();
        if goes_on && now < rest_until {
            pull.rests = true;
            return Ok(Then::Wait(Some(rest_until)));
        }
        if goes_on {
            self.ask(now, pull.clone(), out)?;
            return Ok(Then::Done);
        }
        self.sync.pulling.remove(&pull.partition);
        self.begin_pulls(now, out)?;
        Ok(Then::Done)
    }

    /// Takes an answer in; true if there is more to ask for.
    fn take_answer(
        &mut self,
        pull: &mut Pull,
        kind: AnswerKind,
        parts: Vec<Part>,
        out: &mut Effects,
    ) -> Result<bool, EngineError> {
        let partition = pull.partition;
        for part in &parts {
            let closed = match part {
                Part::Closed(closed) => closed,
                Part::Claim(claim) => claim.clock.closed(),
                Part::Entry(_) => continue,
            };
            if self.retire_if_old(partition, closed, out)? {
                return Ok(false);
            }
        }
        let claimed = parts.iter().any(|p| matches!(p, Part::Claim(_)));
        // Some of what comes may have come another way meanwhile: what counts is what this copy had when it asked.
        let brings_dots = parts.iter().any(|p| match p {
            Part::Entry(entry) => entry.dots.iter().any(|d| !pull.asked.has(*d)),
            Part::Claim(_) => true,
            Part::Closed(closed) => closed.iter().any(|(node, life)| *life > pull.asked.closed_below(*node)),
        });
        let (absorbed, more) = match kind {
            AnswerKind::Gone => {
                self.sync.scans.remove(&partition);
                return Ok(pull.scan.take().is_some()); // without the scan, from the start
            }
            AnswerKind::Delta { more } => {
                if claimed {
                    return Ok(false); // a delta has no claim: a peer's bug, and nothing to build on
                }
                let (mut entries, mut closed) = (Vec::new(), Vec::new());
                for part in parts {
                    match part {
                        Part::Entry(entry) => entries.push(entry),
                        Part::Closed(c) if !more => closed = c,
                        Part::Closed(_) | Part::Claim(_) => {}
                    }
                }
                let absorbed = self.store.absorb_delta(partition, entries)?;
                if absorbed.is_ok() && !closed.is_empty() {
                    self.store.absorb_closed(partition, &closed)?;
                }
                (absorbed, more)
            }
            AnswerKind::Page { id, after, done } => {
                let before = pull.scan.as_ref().map_or_else(Bytes::new, |at| at.after.clone());
                if pull.scan.is_none() {
                    self.counters.scans += 1;
                    out.observe(Observation::ScanBegan { partition, source: pull.source });
                }
                let absorbed = self.store.absorb_page(partition, &before, &after, done, parts)?;
                if done {
                    pull.scan = None;
                    self.sync.scans.remove(&partition);
                    out.observe(Observation::ScanEnded { partition, source: pull.source });
                } else {
                    let at = ScanAt { id, after };
                    self.sync.scans.insert(partition, (pull.source, at.clone()));
                    pull.scan = Some(at);
                }
                // The delta that follows a scan brings what was written meanwhile.
                (absorbed, true)
            }
        };
        let Ok(absorbed) = absorbed else {
            // The source took this copy for one that contains more than it does: begin anew with the next round.
            self.sync.scans.remove(&partition);
            return Ok(false);
        };
        self.counters.sync_entries_in += absorbed.entries as u64;
        self.counters.sync_dots_in += absorbed.dots as u64;
        pull.empty = if absorbed.entries > 0 || claimed { 0 } else { pull.empty + 1 };
        if pull.empty > limits::EMPTY_ANSWERS_MAX {
            return Ok(false);
        }
        if absorbed.entries > 0 && !brings_dots {
            out.observe(Observation::NoProgress { partition, peer: pull.source });
            self.counters.no_progress += 1;
            return Ok(false);
        }
        Ok(more)
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
