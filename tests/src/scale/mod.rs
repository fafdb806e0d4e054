//! Large clusters: what it costs when nodes join, leave, are lost with their rack, and are started again one rack after
//! another, while clients read and write.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`cluster`] | real nodes, a network that counts what it carries |
//! | [`load`] | the clients |
//! | [`tally`] | the count, by what it is for |

pub mod cluster;
pub mod load;
pub mod tally;

use dynode::protocol::agree::read_change_id;
use dynode_client::wire::{MemberIs, Operator};
use dynode_ring::{Layout, Member, PartitionId};
use dynode_storage::Clock;

use cluster::{Cluster, SECOND, Setup, id};
use load::{KEY_BYTES, Served};
use tally::{AGREEMENT, DIGESTS, GOSSIP, PHASES, SYNC, Tally};

/// How long a quiet cluster is watched.
const QUIET: u64 = 10 * SECOND;

/// How long clients go on after a change is over.
const AFTERWARDS: u64 = 3 * SECOND;

/// For how long a node is away that is started again.
const RESTART: u64 = 2 * SECOND;

/// Nothing here takes so long.
const AT_MOST: u64 = 600 * SECOND;

/// What a cluster costs that nobody uses, in bytes a node and second.
#[derive(Debug, Clone)]
pub struct Quiet {
    /// To know who is there.
    pub gossip: f64,
    /// To know which layout there is.
    pub agreement: f64,
    /// To know that copies are equal.
    pub digests: f64,
    /// Everything.
    pub all: f64,
}

/// What a change has cost.
#[derive(Debug, Clone)]
pub struct Change {
    /// What it was.
    pub what: String,
    /// Members before and after.
    pub members: (usize, usize),
    /// Copies that were made, and the least that any layout of the new members needs.
    pub copies: (u64, u64),
    /// Bytes that sync moved.
    pub moved: u64,
    /// Bytes of keys and values in the copies of `least`.
    pub least: u64,
    /// How far the node that is farthest from its share is from it afterwards, in partitions.
    pub distance: f64,
    /// The partitions of the node with the most, by the average.
    pub fullest: f64,
    /// From the operator's word until every node knew every partition to be stable, in microseconds.
    pub stable: u64,
    /// Until all owners contained everything, and the copies of former owners had left.
    pub settled: u64,
    /// What became of the clients' operations meanwhile.
    pub served: Served,
    /// Running nodes that were taken for down.
    pub false_downs: u64,
    /// Everything that went over the wire until it was settled.
    pub tally: Tally,
}

impl Change {
    /// Bytes a node for these messages, over the whole change.
    pub fn bytes_a_node(&self, of: &[&str]) -> f64 {
        self.tally.bytes(of) as f64 / self.members.0.max(self.members.1) as f64
    }
}

/// A cluster with its data, quiet.
pub struct Bed {
    cluster: Cluster,
}

impl Bed {
    /// Starts the nodes and writes all keys.
    pub fn new(setup: Setup) -> Result<Bed, String> {
        let mut cluster = Cluster::start(setup)?;
        let now = cluster.now();
        cluster.load.fill(now, 20_000);
        cluster.until(AT_MOST, "all keys are written", |c| c.load.is_filled())?;
        let served = cluster.load.take_served();
        if served.done != setup.keys as u64 {
            return Err(format!("of {} keys {} were written: {:?}", setup.keys, served.done, served.details));
        }
        cluster.pass(5 * SECOND)?;
        Ok(Bed { cluster })
    }

    /// Watches it while nobody does anything.
    pub fn quiet(&mut self) -> Result<Quiet, String> {
        self.cluster.tally = Tally::default();
        self.cluster.pass(QUIET)?;
        let tally = std::mem::take(&mut self.cluster.tally);
        let node_seconds = (self.cluster.running().count() as u64 * QUIET / SECOND) as f64;
        let of = |messages| tally.bytes(messages) as f64 / node_seconds;
        let all: u64 = tally.by_message().iter().map(|(_, _, bytes)| bytes).sum();
        Ok(Quiet { gossip: of(GOSSIP), agreement: of(AGREEMENT), digests: of(DIGESTS), all: all as f64 / node_seconds })
    }

    /// So many new nodes join at once.
    pub fn join(&mut self, count: usize) -> Result<Change, String> {
        let cluster = &mut self.cluster;
        let guests = (0..count).map(|_| cluster.start_guest()).collect::<Result<Vec<Member>, String>>()?;
        cluster.until(60 * SECOND, "the guests are known", |c| {
            c.node(0).is_some_and(|node| guests.iter().all(|guest| node.agree().knows_guest(guest.id)))
        })?;
        let mut members = cluster.layout.members().to_vec();
        members.extend(guests.iter().cloned());
        let word = |m: &Member| {
            let Member { id, name, addr, zone, weight } = m.clone();
            Operator::Join(MemberIs { node: id.0, name, addr, zone, weight })
        };
        self.change(format!("{count} join"), members, guests.iter().map(word).collect())
    }

    /// The last `count` members leave.
    pub fn leave(&mut self, count: usize) -> Result<Change, String> {
        let mut members = self.cluster.layout.members().to_vec();
        let gone = members.split_off(members.len() - count);
        let words = gone.iter().map(|m| Operator::Leave(m.name.clone())).collect();
        let change = self.change(format!("{count} leave"), members, words)?;
        gone.iter().try_for_each(|m| self.cluster.stop_node(m.id.0 as usize - 1))?;
        self.cluster.pass(5 * SECOND)?;
        Ok(change)
    }

    /// The last rack loses its power, for good; its nodes are removed as soon as they are known to be down.
    pub fn lose_rack(&mut self) -> Result<Change, String> {
        let cluster = &mut self.cluster;
        let mut members = cluster.layout.members().to_vec();
        let gone = members.split_off(members.len() - cluster.setup.rack);
        let now = cluster.now();
        cluster.load.begin(now);
        cluster.pass(SECOND)?;
        let now = cluster.now();
        for member in &gone {
            let n = member.id.0 as usize - 1;
            cluster.cut_power(n);
            cluster.load.cut_off(now, n);
        }
        let down = dynode::protocol::Liveness::Down;
        let found = cluster.until(120 * SECOND, "the rack is known to be down", |c| {
            c.node(0).is_some_and(|node| gone.iter().all(|m| node.liveness(m.id) == down))
        })?;
        let words = gone.iter().map(|m| Operator::Remove(m.name.clone())).collect();
        let what = format!("a rack of {} is lost, found after {:.0} s, and removed", gone.len(), found as f64 / 1e6);
        self.change(what, members, words)
    }

    /// Every node is stopped and started again, a rack at a time.
    pub fn restart_all(&mut self) -> Result<Change, String> {
        let cluster = &mut self.cluster;
        let racks: Vec<Vec<usize>> = cluster
            .layout
            .members()
            .chunks(cluster.setup.rack)
            .map(|rack| rack.iter().map(|m| m.id.0 as usize - 1).collect())
            .collect();
        let layout = cluster.layout.clone();
        let began = self.begin();
        for rack in racks {
            let cluster = &mut self.cluster;
            rack.iter().for_each(|n| cluster.drain(*n));
            cluster.until(AT_MOST, "clients are answered", |c| {
                rack.iter().all(|n| c.node(*n).is_none_or(|node| node.is_idle()))
            })?;
            rack.iter().try_for_each(|n| cluster.stop_node(*n))?;
            cluster.pass(RESTART)?;
            rack.iter().try_for_each(|n| cluster.start_node(*n))?;
            let missed = rack.iter().flat_map(|n| owned(cluster, *n)).collect::<Vec<_>>();
            cluster.until(AT_MOST, "the restarted nodes have what they missed", |c| {
                missed.iter().all(|(n, partition, clock)| {
                    let copy = c.node_mut(*n).map(|node| node.store().find(*partition));
                    copy.is_some_and(|copy| copy.is_ok_and(|copy| copy.is_some_and(|copy| copy.clock().covers(clock))))
                })
            })?;
        }
        let settled = self.cluster.now() - began;
        self.end("rolling restart, a rack at a time".into(), &layout, 0, (settled, settled))
    }

    /// What a layout takes in memory, in bytes: from the memory of this process with and without many of them.
    pub fn layout_bytes(&self) -> Result<f64, String> {
        let before = resident()?;
        let copies: Vec<Layout> = (0..200).map(|_| self.cluster.layout.clone()).collect();
        Ok(resident()?.saturating_sub(before) as f64 / copies.len() as f64)
    }

    /// An operator's changes, from word to end, while clients read and write.
    fn change(&mut self, what: String, members: Vec<Member>, words: Vec<Operator>) -> Result<Change, String> {
        let before = self.cluster.layout.clone();
        let least = before.plan(members).map_err(|e| e.to_string())?.least;
        let began = self.begin();
        let cluster = &mut self.cluster;
        words.into_iter().try_for_each(|word| cluster.operate(0, word).map(|_| ()))?;
        let report = cluster.operate(0, Operator::Show)?;
        let staged = report["changes"].as_array().ok_or("a report without changes")?;
        let changes = staged.iter().filter_map(|change| read_change_id(change["id"].as_str()?)).collect();
        cluster.operate(0, Operator::Commit { changes, force: false })?;
        let epoch = before.epoch() + 1;
        cluster.until(AT_MOST, "the layout is chosen", |c| decided(c, 0) == Some(epoch))?;
        let layout = cluster.node(0).map(|node| node.agree().decision().layout.clone());
        cluster.layout = layout.ok_or("the first node does not run")?;
        let everywhere = |c: &mut Cluster| {
            c.running().all(|n| decided(c, n) == Some(epoch) && c.node(n).is_some_and(|node| node.is_settled()))
        };
        cluster.until(AT_MOST, "every node knows every partition to be stable", everywhere)?;
        let stable = cluster.now() - began;
        let all = cluster.layout.replicas() as u64 * u64::from(cluster.layout.partitions());
        cluster.until(AT_MOST, "owners contain everything, and former owners' copies have left", |c| {
            copies(c) == all && recovering(c) == 0
        })?;
        let settled = cluster.now() - began;
        self.end(what, &before, least, (stable, settled))
    }

    fn begin(&mut self) -> u64 {
        let now = self.cluster.now();
        (self.cluster.tally, self.cluster.false_downs) = (Tally::default(), 0);
        self.cluster.load.begin(now);
        now
    }

    fn end(&mut self, what: String, before: &Layout, least: u64, times: (u64, u64)) -> Result<Change, String> {
        let cluster = &mut self.cluster;
        let tally = std::mem::take(&mut cluster.tally);
        cluster.pass(AFTERWARDS)?;
        cluster.load.end();
        cluster.until(AT_MOST, "all clients are answered", |c| c.load.is_answered())?;
        let served = cluster.load.take_served();
        let shares = cluster.layout.shares();
        let average = shares.iter().map(|s| f64::from(s.held)).sum::<f64>() / shares.len() as f64;
        let setup = cluster.setup;
        let a_copy = (setup.keys * (KEY_BYTES + setup.value_bytes)) as f64 / f64::from(setup.partitions);
        let made = before.diff(&cluster.layout).iter().filter(|m| m.to.is_some()).count() as u64;
        Ok(Change {
            what,
            members: (before.members().len(), cluster.layout.members().len()),
            copies: (made, least),
            moved: tally.bytes(SYNC),
            least: (least as f64 * a_copy) as u64,
            distance: shares.iter().map(|s| (f64::from(s.held) - s.target).abs()).fold(0.0, f64::max),
            fullest: shares.iter().map(|s| f64::from(s.held)).fold(0.0, f64::max) / average,
            stable: times.0,
            settled: times.1,
            served,
            false_downs: cluster.false_downs,
            tally,
        })
    }
}

/// The epoch that a node goes by.
fn decided(cluster: &Cluster, n: usize) -> Option<u64> {
    cluster.node(n).map(|node| node.agree().decision().epoch())
}

/// How many copies all running nodes hold.
fn copies(cluster: &mut Cluster) -> u64 {
    let running: Vec<usize> = cluster.running().collect();
    let held = |n| {
        cluster
            .node_mut(n)
            .and_then(|node| node.store().stored_partitions().ok())
            .map_or(0, |copies| copies.len() as u64)
    };
    running.into_iter().map(held).sum()
}

/// How many copies of owners do not contain yet what others have.
fn recovering(cluster: &mut Cluster) -> usize {
    let layout = cluster.layout.clone();
    let mut count = 0;
    for partition in layout.partition_ids() {
        for owner in layout.owners(partition) {
            let node = cluster.node_mut(owner.0 as usize - 1);
            count += usize::from(node.is_none_or(|node| node.is_recovering(partition).unwrap_or(true)));
        }
    }
    count
}

/// The partitions of a node, each with what another owner has of it now.
fn owned(cluster: &mut Cluster, n: usize) -> Vec<(usize, PartitionId, Clock)> {
    let partitions: Vec<PartitionId> = cluster.layout.owned_by(id(n)).collect();
    let mut clocks = Vec::new();
    for partition in partitions {
        let others: Vec<usize> = cluster.layout.owners(partition).iter().map(|o| o.0 as usize - 1).collect();
        let Some(other) = others.into_iter().find(|o| *o != n && cluster.node(*o).is_some()) else { continue };
        let copy = cluster.node_mut(other).map(|node| node.store().find(partition));
        if let Some(Ok(Some(copy))) = copy {
            clocks.push((n, partition, copy.clock().clone()));
        }
    }
    clocks
}

/// The memory of this process, in bytes.
fn resident() -> Result<u64, String> {
    let pages = std::fs::read_to_string("/proc/self/statm").map_err(|e| e.to_string())?;
    let pages: u64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).ok_or("statm has another form")?;
    Ok(pages * 4096)
}

/// The messages for which there is a column.
pub const COLUMNS: [(&str, &[&str]); 4] =
    [("agreement", AGREEMENT), ("phases", PHASES), ("gossip", GOSSIP), ("digests", DIGESTS)];
