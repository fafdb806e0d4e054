//! Copies that may lack what they had acknowledged: in a new life, after a lost disk, a rollback, damage.
//!
//! Such a copy is *recovering*: it takes part in everything, but no strict quorum may count it, and that it has nothing of a
//! key means nothing. It is so, restarts included, until it contains what enough other owners have told of their synced
//! clocks since: of `n` owners `n - w + 1`, where `w = n / 2 + 1` is a majority. A write that a majority has acknowledged
//! did so with at least `w - 1` of the `n - 1` others, and any `n - w + 1` of those include one of them. Of owners that may
//! themselves lack what they had acknowledged all must be contained, whoever they are.
//!
//! What was acknowledged before the present owners were the owners need not be on a majority of them, but it is on each that
//! is *whole*: one of those must be among the contained, or be the copy itself.

use std::collections::BTreeMap;

use dynode_client::wire::Lacks;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::copy::Wholeness;
use dynode_storage::rules::{Rule, broken};
use dynode_storage::{Clock, Engine, EngineError};

use super::{Node, Phase};

/// What recovering copies wait for: the first clock that each other owner told in the copy's present life. At most one for
/// each other owner of a partition that is owned here.
#[derive(Default)]
pub(super) struct Recovery {
    told: BTreeMap<(PartitionId, NodeId), Told>,
}

/// What another owner told.
#[derive(Clone)]
struct Told {
    /// The life that the copy here had then.
    life: u64,
    clock: Clock,
    /// What it may lack, as far as is known now.
    lacks: Option<Lacks>,
}

impl Recovery {
    pub(super) fn len(&self) -> usize {
        self.told.len()
    }
}

/// Who tells what a copy lacks.
pub(super) struct Vouchers {
    /// So many of them must be contained, and not be without what they acknowledged themselves,
    pub(super) needed: usize,
    /// and one of these must be whole, unless the copy is;
    pub(super) one_whole: bool,
    /// or else all of them must be contained.
    pub(super) nodes: Vec<NodeId>,
}

/// How many of the other owners must be contained, of `n` in all.
pub(super) fn enough(n: usize) -> usize {
    (n - n / 2).min(n.saturating_sub(1))
}

impl<E: Engine> Node<E> {
    /// May this node's copy of a partition that it owns lack what it had acknowledged? Where it has no copy yet, it may. Says
    /// nothing of copies that are held for others.
    ///
    /// # Errors
    ///
    /// The disk failed or is damaged.
    pub fn is_recovering(&mut self, partition: PartitionId) -> Result<bool, EngineError> {
        let counts_as_former = self.phase(partition) == Phase::Joint && self.was_owner(partition);
        Ok(match self.lacks(partition)? {
            None => false,
            Some(Lacks::Former) => !counts_as_former,
            Some(Lacks::Others | Lacks::Own) => true,
        })
    }

    /// What may this node's copy of a partition that it owns lack? Nothing, where there is nobody else who could tell it.
    fn lacks(&mut self, partition: PartitionId) -> Result<Option<Lacks>, EngineError> {
        if !self.owns(partition) || !self.has_vouchers(partition) {
            return Ok(None);
        }
        Ok(match self.store.find(partition)?.map(|copy| copy.wholeness()) {
            Some(Wholeness::Whole) => None,
            Some(Wholeness::Stays) => Some(Lacks::Former),
            Some(Wholeness::New) => Some(Lacks::Others),
            Some(Wholeness::MayLack) | None => (!broken(Rule::Amnesiac)).then_some(Lacks::Own),
        })
    }

    /// Does this node's copy contain what the former owners had, as a new owner's must?
    pub(super) fn contains_all(&mut self, partition: PartitionId) -> Result<bool, EngineError> {
        Ok(self.lacks(partition)?.is_none())
    }

    /// An owner has told its synced clock, under the present layout, and what it may lack.
    ///
    /// The clock of a copy that may lack what it acknowledged proves nothing. While the partition gets other owners the former ones
    /// vouch, and are whole if they were so as former owners. Where enough are not to be had, containing *everybody* will do:
    /// there is nothing else that could be contained.
    pub(super) fn recover(
        &mut self,
        partition: PartitionId,
        peer: NodeId,
        lacks: Option<Lacks>,
        clock: &Clock,
    ) -> Result<(), EngineError> {
        let Some(copy) = self.store.find(partition)?.filter(|copy| copy.wholeness() != Wholeness::Whole) else {
            return Ok(());
        };
        let life = copy.actor().life;
        if !self.vouchers(partition)?.iter().any(|v| v.nodes.contains(&peer)) {
            self.recovery.told.remove(&(partition, peer));
            return Ok(());
        }
        let told = Told { life, clock: clock.clone(), lacks };
        let before = self.recovery.told.entry((partition, peer)).or_insert_with(|| told.clone());
        // A peer that does not contain any more what it told has lost it: it cannot be had. And what one that is whole contains
        // is more than what it told before it was.
        if before.life != life || before.lacks != lacks || !clock.covers(&before.clock) {
            *before = told;
        }
        self.is_whole_by_now(partition)
    }

    /// Does the copy contain by now what it has to, of what was told? What was under way comes a moment later.
    pub(super) fn is_whole_by_now(&mut self, partition: PartitionId) -> Result<(), EngineError> {
        if !self.owns(partition) || self.store.find(partition)?.is_none_or(|copy| copy.wholeness() == Wholeness::Whole)
        {
            return Ok(());
        }
        let vouchers = self.vouchers(partition)?;
        let moves = self.phase(partition) != Phase::Stable;
        let Some(copy) = self.store.find(partition)? else { return Ok(()) };
        let (life, mine) = (copy.actor().life, copy.clock());
        let contained = self.recovery.told.range((partition, NodeId(0))..=(partition, NodeId(u64::MAX)));
        let contained: BTreeMap<NodeId, Option<Lacks>> = contained
            .filter(|(_, told)| told.life == life && mine.covers(&told.clock))
            .map(|((_, node), told)| (*node, told.lacks))
            .collect();
        let is_whole = |lacks: &Option<Lacks>| lacks.is_none() || moves && *lacks == Some(Lacks::Former);
        let stays = moves && copy.wholeness() == Wholeness::Stays;
        let contains_enough = |Vouchers { needed, one_whole, nodes }: &Vouchers| {
            // One that has told something need not be an owner any more.
            let told: Vec<_> = nodes.iter().filter_map(|node| contained.get(node)).collect();
            let proven = told.iter().filter(|lacks| ***lacks != Some(Lacks::Own)).count();
            proven >= *needed && (!one_whole || stays || told.into_iter().any(is_whole))
                || nodes.iter().all(|n| contained.contains_key(n))
        };
        if vouchers.iter().all(contains_enough) {
            self.store.recovered(partition)?;
            self.recovery.told.retain(|(p, _), _| *p != partition);
        }
        Ok(())
    }

    /// May this node's copy lack what it has acknowledged itself? So it is with one that is not there.
    pub(super) fn may_lack(&mut self, partition: PartitionId) -> Result<bool, EngineError> {
        Ok(self.lacks(partition)? == Some(Lacks::Own))
    }

    /// The copies that are owned here and not whole, and what they may lack.
    pub(super) fn recovering_copies(&mut self) -> Result<Vec<(u16, Lacks)>, EngineError> {
        let mut copies = Vec::new();
        for partition in self.held_here() {
            copies.extend(self.lacks(partition)?.map(|lacks| (partition.0, lacks)));
        }
        Ok(copies)
    }

    /// How many of the copies that are owned here are recovering.
    pub(super) fn count_recovering(&mut self) -> Result<usize, EngineError> {
        let mut count = 0;
        for partition in self.held_here() {
            count += usize::from(self.is_recovering(partition)?);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dynode_client::wire::{ListKeys, Message, Quorum};

    use crate::protocol::trio::Trio;

    /// How many keys a node's copy lists, and whether it may lack some.
    fn listed(trio: &mut Trio, at: usize) -> (usize, bool) {
        let (prefix, after) = (Bytes::new(), Bytes::new());
        match trio.ask(at, ListKeys { partition: 0, bucket: "b".into(), prefix, after, limit: 10 }, b"").0 {
            Message::Keys(m) => (m.keys.len(), m.recovering),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_of_a_copy_that_may_lack_keys_says_so() {
        let mut trio = Trio::new();
        trio.put(0, b"v", |put| put.w = Quorum::All);
        assert_eq!(listed(&mut trio, 2), (1, false));
        trio.lose(2);
        assert_eq!(listed(&mut trio, 2), (0, true));
        trio.bring_back(2);
        trio.run(10);
        assert_eq!(listed(&mut trio, 2), (1, false));
    }

    #[test]
    fn a_majority_is_met_by_all_but_so_few() {
        let expected = [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3), (7, 4)];
        for (n, enough) in expected {
            assert_eq!(super::enough(n), enough, "of {n}");
            let majority = n / 2 + 1;
            assert!(n == 1 || enough + (majority - 1) > n - 1, "of {n}");
        }
    }
}
