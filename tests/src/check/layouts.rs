//! One layout an epoch, which all come to; and no intent is forgotten: what an operator was told to be staged is in a layout,
//! or was cancelled, or still waits to be committed, on every node.

use dynode_ring::PartitionId;

use crate::world::{Violation, World};

const NAME: &str = "11 one layout an epoch";

impl World {
    /// What is still to come of changes of ownership; `None`: nothing.
    pub(crate) fn unsettled_layouts(&self) -> Option<Violation> {
        let unsettled = |what: String| Some(Violation::new("liveness", what));
        for (at, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.node else { continue };
            let (epoch, newest) = (node.layout().epoch(), self.layout.epoch());
            if epoch != newest {
                return unsettled(format!("n{at} goes by epoch {epoch}, and there is {newest}"));
            }
            if let Some(p) = self.layout.partition_ids().find(|p| node.phase(*p) != dynode::protocol::Phase::Stable) {
                return unsettled(format!("partition {p} is {:?} at n{at}", node.phase(p)));
            }
            let first = self.hosts.iter().find_map(|host| host.node.as_ref());
            if first.is_some_and(|first| first.agree().staged() != node.agree().staged()) {
                return unsettled(format!("n{at} knows of other staged changes than another node"));
            }
            let committed: Vec<_> = node.agree().staged().committed(epoch).collect();
            let possible = dynode::protocol::agree::apply(node.layout(), committed.iter().copied()).done;
            if let (Some((_, op)), false) = (committed.first(), possible.is_empty()) {
                let voters = self.hosts.iter().enumerate().filter(|(_, h)| {
                    let node = h.node.as_ref();
                    node.is_some_and(|node| node.is_member() && node.agree().knows_its_votes())
                });
                let voters: Vec<String> = voters.map(|(at, _)| format!("n{at}")).collect();
                let (op, of) = (op.describe(node.layout()), self.layout.members().len());
                return unsettled(format!(
                    "{op} is committed at n{at}, and not done; of {of} vote {}",
                    voters.join(", ")
                ));
            }
        }
        None
    }

    /// Looks closely, once everything seems to be in order.
    pub(crate) fn check_layouts(&self) -> Result<(), Violation> {
        for partition in (0..self.layout.partitions()).map(|p| PartitionId(p as u16)) {
            let most = self.layout.replicas().min(self.layout.members().len());
            if self.layout.owners(partition).len() != most {
                return Err(Violation::new(NAME, format!("partition {partition} has not {most} owners")));
            }
        }
        // A node that lost its disk may have been the only one that knew.
        if self.disks_lost > 0 {
            return Ok(());
        }
        let open = self.layouts.staged.difference(&self.layouts.over);
        for id in open {
            for (at, host) in self.hosts.iter().enumerate() {
                let Some(node) = host.node.as_ref().filter(|_| self.layout.member(host.id).is_some()) else { continue };
                if !node.agree().staged().wanted().any(|(wanted, _)| wanted == id) {
                    let what = format!("n{at} knows nothing of the change {id:?}, which was staged and is not done");
                    return Err(Violation::new(NAME, what));
                }
            }
        }
        Ok(())
    }
}
