//! Lives that have ended: which of them a node refuses, and copies that are older than the closing of a life they hold.
//!
//! To *refuse* a node's lives below some life, in a partition, is a promise that is kept for good: what this node has of
//! them is handed over, from then on their dots are taken only from nodes that have promised the same, and nothing at all
//! that was sent in one of them. Once every member has promised, what was handed over is all that there will ever be of
//! these lives, and a copy that contains it may [close](Store::close_lives) them.

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};

use crate::clock::Clock;
use crate::codec::{self, Corrupt};
use crate::dot::Dot;
use crate::engine::{Engine, EngineError, Space, Step};
use crate::place::{object_at, object_key, partition_end};
use crate::store::{Lives, Store, damaged};

/// The records in [`Space::Meta`] of what is refused, one a partition.
const REFUSED: &[u8] = b"refused/";

/// The records in [`Space::Meta`] of values that were set aside: partition, key and dot.
const ASIDE: &[u8] = b"aside/";

/// So many bytes of values are set aside in one batch.
const ASIDE_BATCH_BYTES: usize = 8 << 20;

/// The node's life among these; 0 when it is not.
pub fn life_of(lives: &[(NodeId, u64)], node: NodeId) -> u64 {
    lives.iter().find(|(n, _)| *n == node).map_or(0, |(_, life)| *life)
}

impl<E: Engine> Store<E> {
    /// The lives that are refused in a partition: all of these nodes' below these, ascending by node.
    pub fn refused(&self, partition: PartitionId) -> &[(NodeId, u64)] {
        self.refused.get(&partition).map_or(&[], |lives| lives)
    }

    /// Refuses all lives of these nodes below these, from now on and for good: it is on the disk with the turn's batch. A copy
    /// of this node that lives in one of them begins a new life.
    pub fn refuse(&mut self, partition: PartitionId, lives: &[(NodeId, u64)]) -> Result<(), EngineError> {
        self.live_beyond(partition, lives)?;
        let mut refused = Clock::new();
        self.refused(partition).iter().chain(lives).for_each(|(node, life)| refused.close(*node, *life));
        if refused.closed() != self.refused(partition) {
            let bytes = codec::encode_clock(&refused);
            self.turn.push(Step::Put(Space::Meta, refused_at(partition), bytes.into()));
            self.refused.insert(partition, refused.closed().to_vec());
        }
        Ok(())
    }

    /// Takes over what another node refuses, where this one holds nothing of it: then there is nothing to hand over, and what
    /// it takes of it from now on comes from nodes that have.
    pub fn adopt_refused(&mut self, partition: PartitionId, theirs: &[(NodeId, u64)]) -> Result<(), EngineError> {
        let ours = self.refused(partition).to_vec();
        let clock = self.find(partition)?.map_or_else(Clock::new, |copy| copy.hand_over(theirs));
        let lives: Vec<(NodeId, u64)> = theirs
            .iter()
            .filter(|(node, life)| *life > life_of(&ours, *node) && clock.of_lives_below(*node, *life).is_empty())
            .copied()
            .collect();
        if lives.is_empty() { Ok(()) } else { self.refuse(partition, &lives) }
    }

    /// Is this dot of a life that is refused?
    pub fn refuses(&self, partition: PartitionId, dot: Dot) -> bool {
        dot.actor.life < life_of(self.refused(partition), dot.actor.node)
    }

    /// Is among these dots (none of them closed) one that is refused: new to the copy, and of a life that its bringer, who
    /// refuses only `theirs`, had not handed over when it sent it?
    pub fn brings_refused(
        &mut self,
        partition: PartitionId,
        theirs: &[(NodeId, u64)],
        dots: &Clock,
    ) -> Result<bool, EngineError> {
        let mut banned = Clock::new();
        for (node, life) in self.refused(partition) {
            let mut of_node = dots.of_lives_below(*node, *life);
            of_node.forget_lives_below(*node, life_of(theirs, *node));
            banned.merge(&of_node);
        }
        if banned.is_empty() {
            return Ok(false);
        }
        Ok(self.find(partition)?.is_none_or(|copy| !copy.clock().covers(&banned)))
    }

    /// What this copy has of the lives of these nodes below these, to be handed over once they are refused.
    pub fn hand_over(&mut self, partition: PartitionId, lives: &[(NodeId, u64)]) -> Result<Clock, EngineError> {
        Ok(self.find(partition)?.map_or_else(Clock::new, |copy| copy.hand_over(lives)))
    }

    /// Is this copy older than the closing of a life that it holds? Who was there when the life was closed has refused it
    /// before; a copy that holds something of it all the same comes from a backup, or from a member that was away for good.
    /// Its word cannot be told from what never was, and it is not a copy any more.
    pub fn predates(&mut self, partition: PartitionId, closed: &[(NodeId, u64)]) -> Result<bool, EngineError> {
        let ours = self.refused(partition).to_vec();
        let Some(copy) = self.find(partition)? else { return Ok(false) };
        let unknown = |(node, life): &&(NodeId, u64)| {
            *life > life_of(&ours, *node) && !copy.clock().of_lives_below(*node, *life).is_empty()
        };
        Ok(closed.iter().any(|lives| unknown(&lives)))
    }

    /// Discards a copy that [predates](Store::predates) a closing, for a new life of an empty one. Values of the closed lives
    /// that it held may exist nowhere else, or may have been replaced long ago: nobody can tell. They are set aside, durably,
    /// in [`Space::Meta`]. Returns how many.
    pub fn set_aside(&mut self, partition: PartitionId, closed: &[(NodeId, u64)]) -> Result<usize, EngineError> {
        let doubtful = self.find(partition)?.map_or_else(Clock::new, |copy| copy.clock().clone());
        let doubtful = |dot: Dot| dot.actor.life < life_of(closed, dot.actor.node) && !doubtful.is_closed(dot.actor);
        let (mut from, mut count) = (object_at(partition, &[]), 0);
        loop {
            self.commit(true)?;
            let (mut steps, mut bytes, mut wrong) = (Vec::new(), 0, None);
            let mut next = None;
            self.engine.scan(Space::Objects, &from, &partition_end(partition), &mut |at, value| {
                if bytes >= ASIDE_BATCH_BYTES {
                    next = Some(at.to_vec());
                    return false;
                }
                let stored = codec::decode_object(Bytes::copy_from_slice(value));
                let Some((key, object)) = object_key(at).zip(stored.ok()) else {
                    wrong = Some(Corrupt("an object record"));
                    return false;
                };
                for sibling in object.values.iter().filter(|s| doubtful(s.dot)) {
                    let value = sibling.value.bytes().cloned().unwrap_or_default();
                    bytes += value.len();
                    let dot = codec::encode_dots([sibling.dot]);
                    let place = [ASIDE, &partition.0.to_be_bytes(), key.as_bytes(), &dot].concat();
                    steps.push(Step::Put(Space::Meta, place.into(), value));
                }
                true
            })?;
            if let Some(wrong) = wrong {
                return Err(damaged(partition, Space::Objects, &wrong));
            }
            count += steps.len();
            steps.into_iter().for_each(|step| self.turn.push(step));
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        self.discard(partition)?;
        self.refuse(partition, closed)?;
        Ok(count)
    }

    /// The greatest life of a node that this one knows of, from what it refuses and from its copies: the node's next one must
    /// be greater.
    pub fn last_life(&mut self, node: NodeId) -> Result<u64, EngineError> {
        self.open_all()?;
        let refused = self.refused.values().map(|lives| life_of(lives, node).saturating_sub(1));
        let known = refused.chain(self.copies().map(|copy| copy.clock().last_life(node))).max();
        Ok(known.unwrap_or(0))
    }

    /// Hears of the greatest life of this node that others know of, in any partition. A run that cannot be sure of its lives
    /// (see [`Store::knows_its_lives`]) has not given out a dot yet: its copies begin others, where theirs are not greater.
    pub fn live_beyond_all(&mut self, last: u64) -> Result<(), EngineError> {
        self.raise_lives(last);
        if self.knows_its_lives() {
            return Ok(());
        }
        let ends = |copy: &crate::copy::Copy| copy.counter == 0 && copy.actor().life <= last;
        let partitions: Vec<PartitionId> =
            self.copies().filter(|c| ends(c)).map(crate::copy::Copy::partition).collect();
        partitions.into_iter().try_for_each(|partition| self.go_on_in_new_life(partition))
    }
}

/// Reads what is refused in every partition.
pub(crate) fn read_refused<E: Engine>(engine: &E) -> Result<Lives, EngineError> {
    let (mut lives, mut wrong) = (Lives::new(), false);
    engine.scan(Space::Meta, REFUSED, b"refused0", &mut |at, value| {
        let partition = at[REFUSED.len()..].try_into().map(|bytes| PartitionId(u16::from_be_bytes(bytes)));
        match partition.ok().zip(codec::decode_clock(Bytes::copy_from_slice(value)).ok()) {
            Some((partition, refused)) if refused.actors() == 0 => {
                lives.insert(partition, refused.closed().to_vec());
            }
            _ => wrong = true,
        }
        !wrong
    })?;
    match wrong {
        false => Ok(lives),
        true => {
            let detail = "what is refused".into();
            Err(EngineError::Damaged { place: Space::Meta.name(), partition: None, detail })
        }
    }
}

fn refused_at(partition: PartitionId) -> Bytes {
    [REFUSED, &partition.0.to_be_bytes()].concat().into()
}
