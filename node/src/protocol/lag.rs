//! How far this node's copies and its peers' are apart, as the node knows: a report for people. Nothing goes by it.

use bytes::Bytes;
use dynode_client::wire::{GetSync, Report};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::{Clock, Engine, EngineError};
use serde_json::{Value, json};

use super::sync::SyncState;
use super::{Effects, Node, ReplyTo, Time};
use crate::limits;

/// What one of two copies of a partition lacks of the other.
struct Apart {
    partition: PartitionId,
    peer: NodeId,
    /// Writes that the peer's copy had and this one lacks.
    lacks: u64,
    /// Since when it has been lacking something at every comparison.
    since: Option<Time>,
    /// Writes that this copy has and the peer had not yet told of.
    peer_lacks: u64,
}

impl SyncState {
    /// Partitions in which this node knows that it lacks something.
    pub(super) fn lacking(&self) -> usize {
        let mut partitions: Vec<PartitionId> = self.lacked.keys().map(|(p, _)| *p).collect();
        partitions.dedup();
        partitions.len()
    }

    /// Partitions in which this node knows that it lacks something which a peer has.
    pub(super) fn lacking_of(&self, peer: NodeId) -> usize {
        self.lacked.keys().filter(|(_, other)| *other == peer).count()
    }

    /// Since when this node has lacked something of a peer's in one partition at least, at every comparison.
    pub(super) fn lacking_since(&self, peer: NodeId) -> Option<Time> {
        self.lacked.iter().filter(|((_, other), _)| *other == peer).map(|(_, (_, since))| *since).min()
    }
}

impl<E: Engine> Node<E> {
    /// Tells who lacks what of whom; compares clocks with all peers first, when asked to: what comes of that is in the next
    /// report. Asked for again at once, it is left to the comparison that was just made.
    pub(super) fn get_sync(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        m: &GetSync,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let rested = self.sync.asked_now.is_none_or(|at| now - at >= limits::COMPARE_NOW_PAUSE);
        if m.now && rested {
            self.sync.asked_now = Some(now);
            let peers: Vec<NodeId> = self.up.iter().copied().filter(|peer| self.is_up(*peer)).collect();
            // As with a peer that has just come: what is found missing is pulled at once.
            peers.into_iter().try_for_each(|peer| self.greet(now, peer, out))?;
        }
        let report = self.sync_report(now)?;
        out.reply_with(reply_to, Report {}, Bytes::from(report.to_string()));
        Ok(())
    }

    fn sync_report(&mut self, now: Time) -> Result<Value, EngineError> {
        let mut apart = self.apart()?;
        let layout = self.config.layout.clone();
        let name = |node: NodeId| layout.member(node).map_or_else(|| node.to_string(), |m| m.name.clone());
        let seconds = |since: Time| (now - since).0 as f64 / 1e6;
        let peers = layout.members().iter().filter(|m| m.id != self.config.node).map(|member| {
            let of_peer = || apart.iter().filter(|a| a.peer == member.id);
            json!({
                "name": member.name,
                "node": member.id.to_string(),
                "up": self.is_up(member.id),
                "in_common": self.held_here().into_iter().filter(|p| self.is_holder(member.id, *p)).count(),
                "compared_seconds": self.sync.compared.get(&member.id).map(|at| seconds(*at)),
                "lacks": {
                    "partitions": of_peer().filter(|a| a.lacks > 0).count(),
                    "writes": of_peer().map(|a| a.lacks).sum::<u64>(),
                    "for_seconds": of_peer().filter_map(|a| a.since).min().map(seconds),
                },
                "peer_lacks": {
                    "partitions": of_peer().filter(|a| a.peer_lacks > 0).count(),
                    "writes": of_peer().map(|a| a.peer_lacks).sum::<u64>(),
                },
            })
        });
        let peers: Vec<Value> = peers.collect();
        let pulls = self.sync.pulling.iter().map(|(partition, source)| {
            let scanning = self.sync.scans.get(partition).is_some_and(|(from, _)| from == source);
            json!({ "partition": partition.0, "source": name(*source), "kind": if scanning { "scan" } else { "delta" } })
        });
        let pulls: Vec<Value> = pulls.collect();
        let told = apart.len().min(limits::APART_TOLD_MAX);
        apart.sort_by_key(|a| (std::cmp::Reverse(a.lacks), std::cmp::Reverse(a.peer_lacks), a.partition, a.peer));
        let partitions = apart[..told].iter().map(|a| {
            json!({
                "partition": a.partition.0,
                "peer": name(a.peer),
                "lacks": a.lacks,
                "for_seconds": a.since.map(seconds),
                "peer_lacks": a.peer_lacks,
            })
        });
        let partitions: Vec<Value> = partitions.collect();
        Ok(json!({
            "name": self.config.name,
            "epoch": layout.epoch(),
            "peers": peers,
            "partitions": partitions,
            "partitions_not_told": apart.len() - told,
            "pulls": pulls,
            "waiting": self.sync.wanted.len(),
            "scans_served": self.source.scans(),
            "deltas_served": self.source.deltas(),
            "held": self.hints.len(),
        }))
    }

    /// The pairs of copies that are apart. A copy that the peer has not spoken of since its connection stands is in none.
    fn apart(&mut self) -> Result<Vec<Apart>, EngineError> {
        let (mut apart, none) = (Vec::new(), Clock::new());
        for partition in self.held_here() {
            for peer in self.other_owners(partition) {
                let at = (partition, peer);
                let Some(heard) = self.sync.heard.get(&at) else { continue };
                let lacked = self.sync.lacked.get(&at);
                let mine = match self.store.find(partition)? {
                    Some(copy) => copy.clock(),
                    None => &none,
                };
                // What was missing when it was compared may have come since.
                let lacks = lacked.map_or(0, |(clock, _)| clock.minus(mine).len());
                let peer_lacks = mine.minus(heard).len();
                if lacks > 0 || peer_lacks > 0 {
                    let since = lacked.map(|(_, since)| *since).filter(|_| lacks > 0);
                    apart.push(Apart { partition, peer, lacks, since, peer_lacks });
                }
            }
        }
        Ok(apart)
    }
}

#[cfg(test)]
#[path = "lag/tests.rs"]
mod tests;
