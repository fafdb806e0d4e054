//! Invariant 6: no metadata is left. A deleted key and a settled key leave nothing but the clock.

use bytes::Bytes;
use dynode_ring::PartitionId;
use dynode_storage::{Clock, Dot, Space, View, codec};

use super::Live;
use crate::world::journal::Op;
use crate::world::{Journal, Violation, World};

const NAME: &str = "6 no metadata is left";

impl World {
    /// The first thing that is still to be tidied away.
    ///
    /// ASSUMPTION: ended lives are not closed yet. Dots that a fault has taken may leave a gap in the clocks, and what lies
    /// beyond the gap keeps its metadata; and contexts that name them keep doing so.
    pub(crate) fn leftovers(&mut self) -> Result<Option<Violation>, Violation> {
        for partition in self.layout.partition_ids().collect::<Vec<_>>() {
            for (at, host) in self.hosts.iter_mut().enumerate() {
                let Some(node) = &mut host.node else { continue };
                let is_foreign = !self.layout.owns(node.id(), partition);
                let Some(copy) = node.store().find(partition).map_err(Violation::storage)? else { continue };
                if is_foreign {
                    let what = format!("n{at} still holds a copy of {partition}, which it does not own");
                    return Ok(Some(Violation::new(NAME, what)));
                }
                let beyond_gaps = copy.clock().len() - copy.clock().floor().len();
                let (indexed, unstripped, clock) = (copy.indexed(), copy.maybe_unstripped(), copy.clock().clone());
                let what = if indexed > beyond_gaps {
                    format!("n{at} has {indexed} index entries of {partition}, {beyond_gaps} of them beyond gaps")
                } else if let Some(dot) = self.journal.gap_without_reason(&clock, partition, self.layout.partitions()) {
                    format!("n{at} lacks {dot} below others in {partition}, and it is not lost")
                } else if unstripped && beyond_gaps == 0 && !self.journal.names_lost_dots(node.store().engine())? {
                    format!("n{at} may have contexts to strip in {partition}")
                } else {
                    continue;
                };
                return Ok(Some(Violation::new(NAME, what)));
            }
        }
        Ok(None)
    }

    /// Looks at the records themselves: no index, no contexts, nothing of a key without values.
    pub(crate) fn check_nothing_left(&mut self, live: &Live) -> Result<(), Violation> {
        for (at, host) in self.hosts.iter_mut().enumerate() {
            let Some(node) = &mut host.node else { continue };
            let mut has_reason = self.journal.names_lost_dots(node.store().engine())?;
            for partition in self.layout.partition_ids() {
                let copy = node.store().find(partition).map_err(Violation::storage)?;
                has_reason |= copy.is_some_and(|copy| copy.clock().has_gaps());
            }
            if has_reason {
                continue;
            }
            let mut wrong = None;
            let engine = node.store().engine();
            engine
                .scan(Space::Index, &[], &[0xff; 8], &mut |key, _| {
                    wrong = Some(format!("n{at} has an index record: {}", key.escape_ascii()));
                    false
                })
                .map_err(Violation::storage)?;
            engine
                .scan(Space::Objects, &[], &[0xff; 8], &mut |key, value| {
                    let place = self.journal.keys.iter().position(|k| key.get(2..) == Some(&k.as_bytes()[..]));
                    let has_values = place.is_some_and(|place| !live[place].is_empty());
                    wrong = match codec::decode_object(Bytes::copy_from_slice(value)) {
                        Ok(o) if o.values.is_empty() => Some(format!("n{at} keeps a record of a deleted key")),
                        Ok(o) if !o.context.is_empty() => Some(format!("n{at} keeps a context: {}", o.context)),
                        Ok(_) if !has_values => Some(format!("n{at} keeps a key without values")),
                        Ok(_) => None,
                        Err(e) => Some(e.to_string()),
                    };
                    wrong.is_none()
                })
                .map_err(Violation::storage)?;
            if let Some(what) = wrong {
                return Err(Violation::new(NAME, what));
            }
        }
        Ok(())
    }
}

impl Journal {
    /// A dot that a clock lacks below others, though no fault has taken it.
    fn gap_without_reason(&self, clock: &Clock, partition: PartitionId, partitions: u32) -> Option<Dot> {
        let lacks = |op: &Op, dot: Dot| dot.counter < clock.greatest(dot.actor) && !clock.has(dot) && !op.taken;
        let here = |op: &Op| self.keys[op.key].partition(partitions) == partition;
        self.writes().find(|(op, dot)| here(op) && lacks(op, *dot)).map(|(_, dot)| dot)
    }

    /// Does a stored context name a write that a fault has taken?
    fn names_lost_dots<E: View>(&self, engine: &E) -> Result<bool, Violation> {
        let lost: Vec<Dot> = self.writes().filter(|(op, _)| op.taken).map(|(_, dot)| dot).collect();
        let mut names = false;
        if lost.is_empty() {
            return Ok(false);
        }
        engine
            .scan(Space::Objects, &[], &[0xff; 8], &mut |_, value| {
                let context = codec::decode_object(Bytes::copy_from_slice(value)).map_or(Clock::new(), |o| o.context);
                names = lost.iter().any(|dot| context.has(*dot));
                !names
            })
            .map_err(Violation::storage)?;
        Ok(names)
    }
}
