//! Pulling what this copy lacks from another: asking, and taking in the answers, one part after the other.
//!
//! The parts of a delta come from the source's index, those of a scan from one snapshot of all its keys. What a scan has listed
//! must come to the set hash that the source's copy keeps of itself before its clock is taken over: else the listing is not
//! whole, or the copy is damaged, and the clock would say of keys that never came that they were deleted.

use bytes::Bytes;
use dynode_client::wire::{AnswerKind, Message, Pull as PullRequest, ScanAt};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::codec::{Part, decode_parts, encode_clock, listed};
use dynode_storage::{Clock, Engine, EngineError};

use super::{Effects, Heard, Node, Observation, Operation, Then, Time};
use crate::limits;

/// A pull that waits for its next answer.
#[derive(Clone)]
pub(super) struct Pull {
    pub(super) source: NodeId,
    partition: PartitionId,
    /// The life of this copy when it asked: an answer to a former life promises nothing to this one.
    life: u64,
    scan: Option<ScanSoFar>,
    /// What the last scan listed was not what its source says of its copy.
    doubted: bool,
    /// The clock that this copy has asked with.
    asked: Clock,
    /// When it has asked: in the turn that took in the answer before.
    asked_at: Time,
    /// It waits for its turn to ask, not for an answer.
    rests: bool,
    /// Answers in a row that brought nothing, since the source is still looking for it.
    empty: u32,
}

/// A scan that is not finished.
#[derive(Clone)]
pub(super) struct ScanSoFar {
    at: ScanAt,
    /// The set hash of all keys that it has listed.
    listed: u64,
}

impl<E: Engine> Node<E> {
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
        let pull = Pull {
            source,
            partition,
            life,
            scan,
            doubted: false,
            asked: Clock::new(),
            asked_at: now,
            rests: true,
            empty: 0,
        };
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
        let budget = self.asked_bytes(now, pull.partition)?;
        let id = self.new_id();
        let clock = encode_clock(&pull.asked);
        let message = PullRequest {
            epoch: self.config.layout.epoch(),
            partition: pull.partition.0,
            only: Bytes::new(),
            scan: pull.scan.as_ref().map(|scan| scan.at.clone()),
            budget: budget as u32,
            doubted: pull.doubted,
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
                let rest = self.rest_after(now, pull.partition, now - pull.asked_at)?;
                self.sync.pay(now, body.len(), rest);
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
                if pull.scan.is_none() {
                    self.counters.scans += 1;
                    out.observe(Observation::ScanBegan { partition, source: pull.source });
                }
                let (before, listed_before) =
                    pull.scan.take().map_or_else(Default::default, |s| (s.at.after, s.listed));
                let listed = listed_before.wrapping_add(listed(&parts));
                let is_other = |part: &Part| matches!(part, Part::Claim(claim) if claim.content != listed);
                if done && parts.last().is_some_and(is_other) {
                    self.sync.scans.remove(&partition);
                    self.counters.scans_differ += 1;
                    out.observe(Observation::ScanDiffers { partition, source: pull.source });
                    pull.doubted = true;
                    return Ok(true); // the source is told
                }
                let absorbed = self.store.absorb_page(partition, &before, &after, done, parts)?;
                if done {
                    self.sync.scans.remove(&partition);
                    out.observe(Observation::ScanEnded { partition, source: pull.source });
                } else {
                    let scan = ScanSoFar { at: ScanAt { id, after }, listed };
                    self.sync.scans.insert(partition, (pull.source, scan.clone()));
                    pull.scan = Some(scan);
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
