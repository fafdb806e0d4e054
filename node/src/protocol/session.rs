//! Reads that must have seen what their reader has seen or written: read-your-writes and monotonic reads at any `r`
//! (Terry et al., "Session guarantees for weakly consistent replicated data", 1994).
//!
//! The reader sends the sealed context that it was given. An answer is as good as what its copies have seen together: where
//! that does not cover the context further copies are asked, one after the other, and then all of them anew, until it does
//! or time is up. Most often the first copy will do, and the read costs nothing more.

use dynode_client::wire::{ErrorCode, Failure, Get as GetRequest};
use dynode_storage::{Clock, Engine, EngineError};

use super::get::Get;
use super::whom::Does;
use super::{Effects, Node, Outcome, Phase, Then, Time, failure};
use crate::limits;

/// No copy that was asked in time has seen enough.
pub(super) fn not_seen_yet() -> Failure {
    let detail = "no copies that answered in time have seen what this reader has: a write is on its way to them, or those \
                  that have it cannot be reached";
    failure(ErrorCode::NotSeenYet, detail)
}

impl Get {
    /// Do the copies that have answered contain all that the answer must have seen?
    pub(super) fn has_seen_enough(&self) -> bool {
        let Some(least) = &self.least else { return true };
        if self.own.context.covers(least) {
            return true;
        }
        let mut seen = self.own.context.union(&self.seen);
        self.answers.iter().for_each(|(_, object)| seen.merge(&object.context));
        seen.covers(least)
    }

    /// Has it its quorum, and nobody left to ask for what is missing?
    pub(super) fn lags(&self) -> bool {
        self.tally.outcome() == Outcome::Met && self.spare.is_empty() && !self.has_seen_enough()
    }

    /// When it is to be looked at again.
    pub(super) fn next_look(&self, now: Time) -> Time {
        match self.lags() {
            true => self.deadline.min(now + limits::SESSION_AGAIN_AFTER),
            false => self.deadline,
        }
    }
}

impl<E: Engine> Node<E> {
    /// What a reader asks the answer to have seen.
    pub(super) fn least_of(&self, request: &GetRequest) -> Result<Option<Clock>, Failure> {
        let Some(sealed) = &request.at_least else { return Ok(None) };
        match self.config.seal.open(&request.bucket, &request.key, sealed) {
            Ok(least) => Ok(Some(least)),
            Err(why) => {
                let detail = format!("the context does not fit: {why}; read the key without it");
                Err(failure(ErrorCode::ForeignContext, detail))
            }
        }
    }

    /// Asks all copies once more.
    pub(super) fn get_anew(
        &mut self,
        now: Time,
        id: u64,
        get: &mut Get,
        out: &mut Effects,
    ) -> Result<Then, EngineError> {
        if let Some(refusal) = self.withheld(get.partition) {
            self.refuse(get.reply_to, refusal, out);
            return Ok(Then::Done);
        }
        let again = Then::Wait(Some(get.deadline.min(now + limits::SESSION_AGAIN_AFTER)));
        let Ok(mut whom) = self.whom(get.partition, get.wanted, get.strict, Does::Read) else {
            return Ok(again);
        };
        if get.strict {
            // Who coordinates need not be an owner any more.
            match self.sides(get.partition, get.wanted, Does::Read) {
                Ok(sides) => whom.sides = sides,
                Err(_) => return Ok(again),
            }
        }
        let mut spare = whom.owners;
        spare.extend(whom.stand_ins);
        let me = self.config.node;
        let replicas = spare.iter().copied().chain([me]).collect();
        get.own = self.store.read(get.partition, &get.key)?;
        (get.tally, get.spare) = (super::Tally::new(whom.needed, replicas), spare);
        (get.asked, get.asked_first, get.vouched) = ([me].into(), 0, false);
        get.answers.clear();
        get.same.clear();
        get.tally.of_each(whom.sides, get.strict);
        get.reads_before = self.phase(get.partition) == Phase::Joint;
        get.recovering.clear();
        get.other_layout_seen = false;
        get.seen = Clock::new();
        let (owns, recovering) = (self.reads(get.partition), self.is_recovering(get.partition)?);
        let recovering = recovering || self.may_have_promised(get.partition);
        if get.heard_of(me, owns, recovering) == Outcome::Met && get.may_answer() {
            self.answer_get(now, get, out)?;
            return Ok(Then::Done);
        }
        get.ask(id, self.config.layout.epoch(), usize::MAX, out);
        Ok(again)
    }
}
