//! How far a change of ownership has come on this node, for operators: copies that came to it and are whole, and copies that
//! it still has to hand over. Nothing is decided by it.

use std::collections::BTreeSet;

use dynode_ring::{NodeId, PartitionId};
use dynode_storage::{Engine, EngineError};
use serde_json::{Value, json};

use super::{Node, Time};

/// What was to come when this node began to go by its layout or, after a restart, when it was first asked.
pub(super) struct Transfers {
    since: Time,
    comes: BTreeSet<PartitionId>,
    /// Copies that were to be handed over.
    leaves: usize,
    /// What syncs had taken in by then.
    bytes_before: u64,
    /// When all was seen to have come, and what had been taken in by then.
    ended: Option<(Time, u64)>,
}

impl<E: Engine> Node<E> {
    /// Notes what comes and what leaves from now on.
    pub(super) fn begin_transfers(&mut self, now: Time) -> Result<(), EngineError> {
        let mut comes = BTreeSet::new();
        for partition in self.config.layout.owned_by(self.config.node).collect::<Vec<_>>() {
            if self.is_recovering(partition)? {
                comes.insert(partition);
            }
        }
        // A former owner's copy is held for the owners once its partition is stable.
        let leaving = self.phases.partitions().filter(|p| !self.config.layout.owns(self.config.node, *p));
        let former =
            leaving.filter(|p| self.phases.before(*p).contains(&self.config.node) && !self.hints.holds(*p)).count();
        let (leaves, bytes_before) = (self.hints.len() + former, self.counters.sync_bytes_in);
        self.transfers = Some(Transfers { since: now, comes, leaves, bytes_before, ended: None });
        Ok(())
    }

    /// How far they have come.
    pub(super) fn transfers_report(&mut self, now: Time) -> Result<Value, EngineError> {
        if self.transfers.is_none() {
            self.begin_transfers(now)?;
        }
        let Some(mut transfers) = self.transfers.take() else { return Ok(Value::Null) };
        let mut whole = 0;
        for partition in &transfers.comes {
            whole += usize::from(!self.is_recovering(*partition)?);
        }
        let (comes, bytes_in) = (transfers.comes.len(), self.counters.sync_bytes_in);
        if whole == comes {
            transfers.ended.get_or_insert((now, bytes_in));
        }
        let (until, bytes_in) = transfers.ended.filter(|_| whole == comes).unwrap_or((now, bytes_in));
        let report = json!({
            "seconds": (until - transfers.since).0 as f64 / 1e6,
            "comes": comes,
            "whole": whole,
            "bytes_in": bytes_in.saturating_sub(transfers.bytes_before),
            "leaves": transfers.leaves,
            "held": self.held_report()?,
        });
        self.transfers = Some(transfers);
        Ok(report)
    }

    /// The copies that are held here for their owners, and who has not said yet that it contains them.
    fn held_report(&mut self) -> Result<Vec<Value>, EngineError> {
        let mut held = Vec::new();
        for (partition, bytes) in self.hints.copies().collect::<Vec<_>>() {
            let mut lacked_by: Vec<NodeId> = Vec::new();
            for owner in self.config.layout.owners(partition).to_vec() {
                if !self.has_handed_to(partition, owner)? {
                    lacked_by.push(owner);
                }
            }
            let lacked_by: Vec<String> = lacked_by.iter().map(NodeId::to_string).collect();
            held.push(json!({ "partition": partition.0, "bytes": bytes, "lacked_by": lacked_by }));
        }
        Ok(held)
    }
}
