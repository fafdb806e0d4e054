//! What leaves a copy: index entries that every owner contains, contexts that the clock has caught up with, and copies
//! that have no business here any more.

use dynode_ring::{NodeId, PartitionId};

use crate::clock::Clock;
use crate::codec::Corrupt;
use crate::dot::Actor;
use crate::engine::{Engine, EngineError, Space, Step};
use crate::place::{
    clock_at, object_at, partition_end, partition_start, unstripped_at, unstripped_bounds, unstripped_key,
};
use crate::rules::{Rule, broken};
use crate::store::{Store, damaged};

impl<E: Engine> Store<E> {
    /// Index entries leave once every owner contains their dots: `others` are the synced clocks of all other owners.
    /// Returns whether anything left.
    pub fn collect(&mut self, partition: PartitionId, others: &[&Clock]) -> Result<bool, EngineError> {
        self.raise(partition, |mine, theirs| others.iter().map(|c| theirs(c)).fold(mine, u64::min))
    }

    /// The index is over its budget: entries leave that at least one other owner contains. An owner that lacks them will
    /// get a scan. What no other owner has stays: were this copy lost while it is scanned, nobody could tell of it.
    pub fn cut_index(&mut self, partition: PartitionId, others: &[&Clock]) -> Result<bool, EngineError> {
        self.raise(partition, |mine, theirs| others.iter().map(|c| theirs(c)).max().unwrap_or(0).min(mine))
    }

    /// Raises the watermark to what `stable` makes of this copy's word and the others' words of the same.
    fn raise(
        &mut self,
        partition: PartitionId,
        stable: impl Fn(u64, &dyn Fn(&Clock) -> u64) -> u64,
    ) -> Result<bool, EngineError> {
        if self.find(partition)?.is_none() {
            return Ok(false);
        }
        let Some((_, turn, copy)) = self.loaded(partition) else { return Ok(false) };
        let rises: Vec<(Actor, u64)> = copy
            .clock()
            .bases()
            .map(|(actor, base)| (actor, stable(base, &|c| c.base(actor))))
            .filter(|(actor, stable)| *stable > copy.watermark().base(*actor))
            .collect();
        let closed: Vec<(NodeId, u64)> = copy
            .clock()
            .closed()
            .iter()
            .map(|(node, life)| (*node, stable(*life, &|c| c.closed_below(*node))))
            .filter(|(node, stable)| *stable > copy.watermark().closed_below(*node))
            .collect();
        rises.iter().for_each(|(actor, stable)| copy.raise_watermark(turn, *actor, *stable));
        closed.iter().for_each(|(node, life)| copy.raise_watermark_over(turn, *node, *life));
        let any = !rises.is_empty() || !closed.is_empty();
        if any {
            self.touch(partition);
        }
        Ok(any)
    }

    /// Strips stored contexts of what the clock has come to say itself, and forgets unfinished scans that it has caught
    /// up with. Looks at most at `limit` keys of the list of what is not stripped, and goes on from there the next time.
    /// Returns how many keys of the present pass must stay on the list for now.
    pub fn strip(&mut self, partition: PartitionId, limit: usize) -> Result<usize, EngineError> {
        let mut from = match self.find(partition)? {
            Some(copy) if copy.maybe_unstripped() => {
                let forgot = copy.forget_scans();
                let from = std::mem::take(&mut copy.strips.from);
                if forgot {
                    self.touch(partition);
                }
                from
            }
            _ => return Ok(0),
        };
        let limit = limit.max(1);
        self.commit(false)?;
        let (start, to) = unstripped_bounds(partition);
        let begins = from.is_empty();
        if begins {
            from = start;
        }
        let (mut keys, mut wrong) = (Vec::new(), false);
        self.engine.scan(Space::Index, &from, &to, &mut |at, _| {
            let key = unstripped_key(at);
            wrong = key.is_none();
            keys.extend(key);
            keys.len() < limit && !wrong
        })?;
        if wrong {
            return Err(damaged(partition, Space::Index, &Corrupt("an entry of the list of what is not stripped")));
        }
        let Some((engine, turn, copy)) = self.loaded(partition) else { return Ok(0) };
        if begins {
            (copy.strips.added, copy.strips.left) = (false, 0);
            copy.strips.named.clear();
        }
        for key in &keys {
            let at = object_at(partition, key.as_bytes());
            let stored = turn.object(engine, &at)?;
            if stored.context.is_empty() {
                turn.push(Step::Delete(Space::Index, unstripped_at(partition, key)));
                continue;
            }
            let beyond = stored.context.beyond(copy.clock());
            copy.strips.left += usize::from(!beyond.is_empty());
            // Of closed lives: the one that was not, when a reader heard that all below it are.
            let named = beyond.ranges().map(|r| (r.actor.node, r.actor.life));
            for (node, life) in named.chain(beyond.closed().iter().copied()) {
                let greatest = copy.strips.named.entry(node).or_default();
                *greatest = life.max(*greatest);
            }
            copy.store(turn, key, at, &stored, stored.clone());
        }
        let left = copy.strips.left;
        match keys.last().filter(|_| keys.len() == limit) {
            Some(last) => copy.strips.from = [&unstripped_at(partition, last)[..], &[0]].concat(),
            None => copy.strips.any = left > 0 || copy.strips.added,
        }
        if !keys.is_empty() {
            self.touch(partition);
        }
        Ok(left)
    }

    /// Lets a copy go that this node does not own: only when every owner has said, under the present layout, that its synced
    /// clock contains it. `owners` are those clocks, one for each owner (of none, no copy goes). Returns whether it went.
    pub fn let_go(&mut self, partition: PartitionId, owners: &[&Clock]) -> Result<bool, EngineError> {
        let Some(copy) = self.find(partition)? else { return Ok(false) };
        let leaves =
            broken(Rule::Drop) || (!owners.is_empty() && owners.iter().all(|clock| clock.covers(copy.clock())));
        if leaves {
            self.discard(partition)?;
        }
        Ok(leaves)
    }

    /// Removes the copy whole: one that every owner contains, or that is damaged. Its actor is never used again; the
    /// node's next copy of the partition begins a new life.
    pub fn discard(&mut self, partition: PartitionId) -> Result<(), EngineError> {
        self.forget(partition);
        let (from, to) = (partition_start(partition).to_vec(), partition_end(partition));
        for space in [Space::Objects, Space::Index] {
            self.turn.push(Step::DeleteRange(space, from.clone().into(), to.clone().into()));
        }
        self.turn.push(Step::Delete(Space::Clocks, clock_at(partition)));
        // Written now: what follows in this turn may make a new copy, and must not read what was the old one's.
        self.commit(false)
    }
}
