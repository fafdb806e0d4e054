//! What it costs to bring a copy up to date: bytes, messages and time, for so many keys and so many that are missing.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`cluster`] | three real nodes, a network that counts what it carries |
//! | [`tally`] | the count |
//! | [`merkle`] | what an exchange of Merkle trees costs in the same case, computed |

pub mod cluster;
pub mod merkle;
pub mod tally;

use cluster::{Cluster, Disks, KEY_BYTES, NODES, SECOND, Setup};
use tally::Tally;

/// The node that is behind.
pub const BEHIND: usize = NODES - 1;

/// How long the quiet afterwards is watched, in seconds.
pub const QUIET_SECONDS: u64 = 10;

/// How the one node came to lack keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// They were written while it was stopped, and the others' index still says which.
    Stopped,
    /// They were written while it was stopped, and the others have cut their index since: it gets scans.
    IndexCut,
    /// Its disk was lost with all that was on it.
    DiskLost,
}

/// One case.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Keys on each of the other two nodes.
    pub keys: usize,
    /// How many of them the one node lacks.
    pub missing: usize,
    /// How that came about.
    pub way: Way,
}

/// What a case has cost, from the moment that the node is back until every node has told every other that nothing
/// differs.
#[derive(Debug, Clone)]
pub struct Cost {
    /// What went over the wire between all three.
    pub tally: Tally,
    /// When the last of what was missing had come, in simulated microseconds.
    pub whole_after: u64,
    /// When everybody knew that nothing differs.
    pub agreed_after: u64,
    /// Partitions that were scanned.
    pub scans: u64,
}

/// Clusters that hold so many keys, to start cases from.
pub struct Bed {
    setup: Setup,
    /// Ascending by the number of keys.
    stopped: Vec<(usize, Disks)>,
}

/// A case that is ready to be measured: the node is stopped.
pub struct Ready {
    cluster: Cluster,
}

impl Case {
    /// How many keys all three nodes have before the one is stopped.
    pub fn on_all(&self) -> usize {
        match self.way {
            Way::Stopped | Way::IndexCut => self.keys - self.missing,
            Way::DiskLost => self.keys,
        }
    }

    /// The bytes of the keys and values that are missing, without bucket names, lengths or any metadata.
    pub fn missing_bytes(&self, setup: &Setup) -> u64 {
        (self.missing * (KEY_BYTES + setup.value_bytes)) as u64
    }
}

impl Bed {
    /// Nothing written yet.
    pub fn new(setup: Setup) -> Bed {
        Bed { setup, stopped: vec![(0, Disks::default())] }
    }

    /// What the clusters are like.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Brings about a case, up to the moment before the node comes back.
    pub fn prepare(&mut self, case: Case) -> Result<Ready, String> {
        let on_all = case.on_all();
        let setup = match case.way {
            Way::IndexCut => Setup { index_entries_max: 0, ..self.setup },
            Way::Stopped | Way::DiskLost => self.setup,
        };
        let mut cluster = Cluster::start(setup, self.with_keys(on_all)?)?;
        cluster.agree()?;
        cluster.stop_node(BEHIND)?;
        match case.way {
            Way::Stopped => cluster.write(on_all..case.keys)?,
            Way::IndexCut => {
                cluster.write(on_all..case.keys)?;
                cluster.settle()?; // nothing else empties the index while an owner is away
            }
            Way::DiskLost => cluster.lose_disk(BEHIND),
        }
        // The others are done with each other.
        cluster.pass(3 * SECOND)?;
        cluster.take_tally();
        Ok(Ready { cluster })
    }

    /// The disks of a quiet cluster whose nodes all have the first `keys` keys.
    fn with_keys(&mut self, keys: usize) -> Result<Disks, String> {
        let at = self.stopped.partition_point(|(has, _)| *has <= keys) - 1;
        let (has, disks) = self.stopped[at].clone();
        if has == keys {
            return Ok(disks);
        }
        let mut cluster = Cluster::start(self.setup, disks)?;
        cluster.agree()?; // on new disks nobody writes before it has heard from the others
        cluster.write(has..keys)?;
        cluster.settle()?;
        let disks = cluster.stop()?;
        self.stopped.insert(at + 1, (keys, disks.clone()));
        Ok(disks)
    }
}

impl Ready {
    /// The node comes back; counts until all know that nothing differs.
    pub fn sync(&mut self) -> Result<Cost, String> {
        let began = self.cluster.now();
        self.cluster.start_node(BEHIND)?;
        let whole_after = self.cluster.agree()?;
        Ok(Cost {
            tally: self.cluster.take_tally(),
            whole_after,
            agreed_after: self.cluster.now() - began,
            scans: self.cluster.scans(BEHIND),
        })
    }

    /// Checks that all three copies of every partition are equal now, and that all keys are there.
    pub fn check(&mut self, case: Case) -> Result<(), String> {
        self.cluster.compare()?;
        match self.cluster.keys()? {
            keys if keys == [case.keys as u64; NODES] => Ok(()),
            keys => Err(format!("the nodes have {keys:?} keys and not {} each", case.keys)),
        }
    }

    /// What goes over the wire in the [`QUIET_SECONDS`] that follow.
    pub fn quiet(&mut self) -> Result<Tally, String> {
        self.cluster.settle()?;
        self.cluster.close()?;
        self.cluster.take_tally();
        self.cluster.pass(QUIET_SECONDS * SECOND)?;
        Ok(self.cluster.take_tally())
    }
}
