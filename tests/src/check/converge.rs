//! Invariant 3: copies converge, and at any time equal clocks mean equal copies.

use bytes::Bytes;
use dynode_ring::PartitionId;
use dynode_storage::{Clock, Sibling, Space, View, codec};

use super::Live;
use crate::world::journal::{OpId, writer_of_stored};
use crate::world::{Violation, World};

const NAME: &str = "3 copies converge";

/// What an owner has of a partition.
struct Owned {
    at: usize,
    clock: Clock,
    content: u64,
    scanning: bool,
    recovering: bool,
}

impl World {
    /// The owners' copies of a partition.
    fn copies(&mut self, partition: PartitionId) -> Result<Vec<Owned>, Violation> {
        let mut copies = Vec::new();
        for at in 0..self.hosts.len() {
            if !self.layout.owns(self.hosts[at].id, partition) {
                continue;
            }
            let Some(node) = &mut self.hosts[at].node else { continue };
            copies.push(match Violation::unless_found(node.store().find(partition))? {
                Some(copy) => Owned {
                    at,
                    clock: copy.clock().clone(),
                    content: copy.content(),
                    scanning: copy.is_scanning(),
                    recovering: copy.is_recovering(),
                },
                None => Owned { at, clock: Clock::new(), content: 0, scanning: false, recovering: true },
            });
        }
        Ok(copies)
    }

    /// Wherever two clocks are equal now, no scan is half done, and nothing is being recovered, so is the content.
    pub(crate) fn check_equal_clocks(&mut self) -> Result<(), Violation> {
        for partition in self.layout.partition_ids().collect::<Vec<_>>() {
            let copies = self.copies(partition)?;
            let whole: Vec<&Owned> = copies.iter().filter(|c| !c.scanning && !c.recovering).collect();
            for (i, a) in whole.iter().enumerate() {
                let other = whole[i + 1..].iter().find(|b| b.clock == a.clock && b.content != a.content);
                if let Some(b) = other {
                    let what = format!(
                        "n{} and n{} have equal clocks and different content in partition {partition}",
                        a.at, b.at
                    );
                    return Err(Violation::new(NAME, what));
                }
            }
        }
        Ok(())
    }

    /// The first difference between owners of the same partition.
    pub(crate) fn unequal(&mut self) -> Result<Option<Violation>, Violation> {
        for partition in self.layout.partition_ids().collect::<Vec<_>>() {
            let copies = self.copies(partition)?;
            let first = &copies[0];
            let mut what = None;
            for Owned { at, clock, content, scanning, .. } in &copies {
                if *scanning {
                    what = Some(format!("n{at} has not finished a scan of partition {partition}"));
                } else if *clock != first.clock {
                    let lacks = first.clock.missing_in(clock).len();
                    what = Some(format!(
                        "n{at} has another clock of {partition} than n{}: {lacks} runs lacking",
                        first.at
                    ));
                } else if *content != first.content {
                    what = Some(format!("n{at} and n{} differ in partition {partition} with equal clocks", first.at));
                }
            }
            if let Some(what) = what {
                return Ok(Some(Violation::new(NAME, what)));
            }
        }
        Ok(None)
    }

    /// All copies of all keys are equal, value for value, and each is what its set hash says. Returns the values.
    pub(crate) fn check_converged(&mut self) -> Result<Live, Violation> {
        let mut live: Live = vec![Vec::new(); self.journal.keys.len()];
        for partition in self.layout.partition_ids().collect::<Vec<_>>() {
            let mut first: Option<Vec<(Bytes, Vec<Sibling>)>> = None;
            for Owned { at, content, .. } in self.copies(partition)? {
                let Some(node) = &mut self.hosts[at].node else { continue };
                let (counted, _) = node.store().recount(partition).map_err(Violation::storage)?;
                if counted != content {
                    let what = format!("n{at}: the set hash kept of partition {partition} is not what is counted");
                    return Err(Violation::new(NAME, what));
                }
                let values = all_values(node.store().engine(), partition)?;
                match &first {
                    None => first = Some(values),
                    Some(f) if *f != values => {
                        let what = format!("n{at} has other values in partition {partition} than another owner");
                        return Err(Violation::new(NAME, what));
                    }
                    Some(_) => {}
                }
            }
            for (key, values) in first.into_iter().flatten() {
                let writers: Option<Vec<OpId>> =
                    values.iter().map(|s| s.value.bytes().and_then(writer_of_stored)).collect();
                let place = self.journal.keys.iter().position(|k| *k.as_bytes() == key);
                let (Some(mut writers), Some(place)) = (writers, place) else {
                    return Err(Violation::new("8 no false word", "a copy holds what nobody wrote"));
                };
                writers.sort_unstable();
                // Attempts at one put that came to different coordinators are both there until they are replaced.
                writers.dedup();
                live[place] = writers;
            }
        }
        Ok(live)
    }
}

/// Every key of a partition that has values, with them.
fn all_values<E: View>(engine: &E, partition: PartitionId) -> Result<Vec<(Bytes, Vec<Sibling>)>, Violation> {
    let mut values = Vec::new();
    let mut wrong = None;
    let (from, to) = (partition.0.to_be_bytes(), (partition.0 + 1).to_be_bytes());
    engine
        .scan(Space::Objects, &from, &to, &mut |key, value| {
            match codec::decode_object(Bytes::copy_from_slice(value)) {
                Ok(object) if object.values.is_empty() => {}
                Ok(object) => values.push((Bytes::copy_from_slice(&key[2..]), object.values)),
                Err(e) => wrong = Some(Violation::new("storage", e.to_string())),
            }
            wrong.is_none()
        })
        .map_err(Violation::storage)?;
    wrong.map_or(Ok(values), Err)
}
