//! The checkers: each watches the whole world for one invariant.
//!
//! | file | invariant |
//! | --- | --- |
//! | [`lost`] | 1: no acknowledged write is lost; no node tells of what a power cut would take |
//! | [`back`] | 2: nothing comes back |
//! | [`converge`] | 3: copies converge, and equal clocks mean equal copies |
//! | [`strict`] | 4: with `r + w > n` a read sees every write acknowledged before it began |
//! | [`sessions`] | 5: sessions hold; and a retry is no sibling of itself |
//! | [`metadata`] | 6: no metadata is left |
//! | [`leaving`] | 7: a copy leaves a node only when every owner contains it |
//! | [`words`] | 8: no false word |
//! | [`bounds`] | 9: everything is bounded |
//! | [`layouts`] | one layout an epoch, and no intent forgotten |
//! | [`determinism`] | 10: one seed, one history |

pub mod back;
pub mod bounds;
pub mod converge;
pub mod determinism;
pub mod layouts;
pub mod leaving;
pub mod lost;
pub mod metadata;
pub mod sessions;
pub mod strict;
pub mod words;

use dynode::protocol::{Counters, Liveness, Observation};

use crate::world::journal::OpId;
use crate::world::{Violation, World};

/// The count of how often a node has taken another for down.
pub(crate) const TAKEN_FOR_DOWN: &str = "members taken for down";

impl World {
    /// Looks at everything that can be looked at while it changes.
    pub(crate) fn probe(&mut self) -> Result<(), Violation> {
        self.check_equal_clocks()?;
        self.check_bounds()
    }

    /// What is still to come until everything is in order; `None`: nothing.
    pub(crate) fn is_settled(&mut self) -> Result<Option<Violation>, Violation> {
        if let Some(op) = self.clients.iter().find_map(|c| c.busy) {
            return Ok(Some(Violation::new("liveness", format!("#{op} has no outcome"))));
        }
        if let Some((from, to)) = self.missing_link() {
            return Ok(Some(Violation::new("liveness", format!("n{from} finds no connection to n{to}"))));
        }
        if let Some(what) = self.unsettled_layouts() {
            return Ok(Some(what));
        }
        let ids: Vec<_> = self.layout.members().iter().map(|m| m.id).collect();
        for (at, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.node else { continue };
            if node.is_member() && node.agree().may_have_gone_on() {
                let what = format!("n{at} counts in no strict quorum: it may have gone by a later layout");
                return Ok(Some(Violation::new("liveness", what)));
            }
            if let Some(to) = ids.iter().find(|id| !node.is_up(**id)) {
                let (name, liveness) = (self.layout.member(*to).map(|m| m.name.clone()), node.liveness(*to));
                let what = format!("n{at} takes {} for unreachable, {liveness:?}", name.unwrap_or_default());
                return Ok(Some(Violation::new("liveness", what)));
            }
        }
        if let Some(at) = self.hosts.iter().position(|h| h.rotten.iter().any(|p| h.trouble.is_rotten(*p))) {
            return Ok(Some(Violation::new("liveness", format!("n{at} has not found what is damaged on its disk"))));
        }
        match self.unequal()? {
            Some(what) => Ok(Some(what)),
            None => self.leftovers(),
        }
    }

    /// Looks closely, once everything seems to be in order.
    pub(crate) fn check_settled(&mut self) -> Result<(), Violation> {
        let live = self.check_converged()?;
        self.check_nothing_left(&live)?;
        self.check_nothing_lost(&live)?;
        self.check_nothing_back(&live)?;
        self.check_layouts()?;
        self.check_values_true(&live)
    }

    /// What a node says for its log.
    pub(crate) fn observe(&mut self, at: usize, what: Observation) -> Result<(), Violation> {
        self.trace.line(self.now, |t| format!("n{at} says: {}", t.observation(&what)));
        match what {
            Observation::ContentDiffers { partition, peer } => {
                let peer = self.hosts.iter().position(|h| h.id == peer).unwrap_or(usize::MAX);
                let what = format!("n{at} and n{peer} differ in partition {partition} with equal clocks");
                Err(Violation::new("3 copies converge", what))
            }
            Observation::ScanDiffers { partition, source } => {
                let what = format!("n{at} is listed something else by {source} in partition {partition} than it says");
                Err(Violation::new("3 copies converge", what))
            }
            Observation::NoProgress { partition, .. } => {
                Err(Violation::new("9 bounded", format!("n{at} syncs partition {partition} in circles")))
            }
            // A new disk and a clock that was set back: only the others know of former lives.
            Observation::NewLife { .. } if self.disks_lost > 0 => Ok(()),
            Observation::NewLife { partition } => {
                // No fault here rolls a disk back without the node being told.
                Err(Violation::new("9 bounded", format!("n{at} begins a new life of {partition} without a rollback")))
            }
            Observation::Unreadable { detail, .. } => {
                Err(Violation::new("8 no false word", format!("n{at} cannot read what a peer says: {detail}")))
            }
            Observation::OtherLayout { .. } if self.changes_owners() => Ok(()),
            Observation::OtherLayout { .. } => {
                Err(Violation::new("8 no false word", format!("n{at} sees another layout where there is one")))
            }
            Observation::Overruled { .. } | Observation::NoLayout { .. } => {
                Err(Violation::new("8 no false word", format!("n{at} says {what:?} where nobody forced anything")))
            }
            Observation::Discarded { detail, .. } if detail.contains("simulated") => Ok(()),
            Observation::Discarded { partition, detail, .. } | Observation::Shelved { partition, detail } => {
                let what = format!("n{at} finds partition {partition} damaged, and nothing was: {detail}");
                Err(Violation::new("1 no acknowledged write is lost", what))
            }
            Observation::Liveness { liveness: Liveness::Down, .. } => {
                *self.stats.counters.entry(TAKEN_FOR_DOWN).or_default() += 1;
                Ok(())
            }
            Observation::SetAside { partition, .. } => {
                self.hosts[at].set_aside.insert(partition);
                Ok(())
            }
            Observation::Breaker { .. }
            | Observation::Liveness { .. }
            | Observation::Rebuilt { .. }
            | Observation::Scrubbed { .. }
            | Observation::HandedOff { .. }
            | Observation::Guest { .. }
            | Observation::Adopted { .. }
            | Observation::Phase { .. }
            | Observation::Forced { .. }
            | Observation::ScanBegan { .. }
            | Observation::ScanEnded { .. } => Ok(()),
        }
    }

    /// Adds a node's counts to those of the run.
    pub(crate) fn count(&mut self, c: &Counters) {
        let counts = [
            ("puts done before", c.repeated),
            ("forwarded", c.forwarded),
            ("hedged reads", c.hedged),
            ("breakers opened", c.breakers_opened),
            ("requests past their time", c.expired),
            ("sloppy writes", c.sloppy),
            ("hints taken", c.hinted),
            ("hints declined", c.hints_declined),
            ("copies handed off", c.handed_off),
            ("read repairs", c.repairs),
            ("pulls", c.pulls),
            ("scans", c.scans),
            ("keys by sync", c.sync_entries_in),
            ("writes by sync", c.sync_dots_in),
            ("lives begun by themselves", c.lives_begun),
            ("closings of lives", c.closed),
            ("messages of ended lives", c.stale),
            ("backups set aside", c.set_aside),
            ("syncs in circles", c.no_progress),
            ("content differs", c.content_differs),
        ];
        for (name, n) in counts {
            *self.stats.counters.entry(name).or_default() += n;
        }
    }
}

/// The values of every key, by the operation that wrote them, ascending.
pub type Live = Vec<Vec<OpId>>;
