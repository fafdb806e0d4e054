//! Is a node that has just started ready for clients? Not before it could serve a quorum of each of its partitions: until
//! then it would refuse what the others serve.
//!
//! Once ready it stays so. A node that loses sight of others later is no worse than they are, and a balancer that took all
//! of them out would make it worse.

use dynode_ring::PartitionId;
use dynode_storage::{Engine, EngineError};

use super::{Node, Time};

impl<E: Engine> Node<E> {
    /// What it still waits for, if it does: no longer than [`limits::READY_AFTER`](crate::limits::READY_AFTER).
    pub(super) fn starting(&mut self, now: Time) -> Result<Option<String>, EngineError> {
        let Some(until) = self.starting_until else { return Ok(None) };
        let why = if now < until { self.not_ready(now)? } else { None };
        if why.is_none() {
            self.starting_until = None;
        }
        Ok(why)
    }

    /// Why a partition of its own cannot be served yet. Who owns nothing hands everything on, and needs the owners of all.
    fn not_ready(&mut self, now: Time) -> Result<Option<String>, EngineError> {
        let partitions: Vec<PartitionId> = match self.owned.is_empty() {
            true => self.config.layout.partition_ids().collect(),
            false => self.owned.clone(),
        };
        for partition in partitions {
            let owners = self.readers(partition);
            let (reachable, all) = (owners.iter().filter(|n| self.is_up(**n)).count(), owners.len());
            if 2 * reachable <= all {
                return Ok(Some(format!("{reachable} of {all} owners of partition {partition} can be reached so far")));
            }
            if self.owns(partition) {
                let refusal = match self.knows_its_lives(now, partition) {
                    Err(refusal) => Some(refusal),
                    Ok(()) => self.still_compares(now, partition)?,
                };
                if let Some(refusal) = refusal {
                    return Ok(Some(refusal.detail));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::trio::Trio;
    use crate::limits;
    use crate::protocol::Micros;

    #[test]
    fn a_node_is_ready_once_it_sees_a_majority_of_owners_and_stays_so() {
        let mut trio = Trio::new();
        trio.put(0, b"v", |_| {});
        trio.run(2);
        trio.restart_alone(0);
        let now = trio.now;
        let why = trio.nodes[0].starting(now).unwrap().unwrap();
        assert!(why.contains("1 of 3 owners"), "{why}");
        trio.bring_back(0);
        trio.run(3);
        let now = trio.now;
        assert_eq!(trio.nodes[0].starting(now).unwrap(), None);
        trio.put(0, b"w", |put| put.w = dynode_client::wire::Quorum::Majority);
        trio.cut_off(0);
        assert_eq!(trio.nodes[0].starting(now).unwrap(), None, "it was ready once");
    }

    #[test]
    fn a_node_that_sees_nobody_is_ready_in_the_end() {
        let mut trio = Trio::new();
        trio.restart_alone(0);
        let (began, last) = (trio.now, Micros(limits::READY_AFTER.0 - 1));
        assert!(trio.nodes[0].starting(began + last).unwrap().is_some());
        assert_eq!(trio.nodes[0].starting(began + limits::READY_AFTER).unwrap(), None);
    }
}
