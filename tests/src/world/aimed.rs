//! Faults that are aimed at changes of ownership: histories of several steps that faults drawn one by one hardly ever make.
//! Nodes and times are drawn, from a stream of their own.
//!
//! | history | steps |
//! | --- | --- |
//! | behind | a node is cut off while others write; it is back, but for a while nothing can be pulled except from it; meanwhile owners change |
//! | forgetful | owners change; a former owner that has just heard of it is cut off from all; when the others are through, another former owner loses its disk, and comes back where it reaches only the first |
//! | returning | an owner gives way, and is cut off as soon as it has heard of that; another owner misses what is written then; the one that gave way is to take a third one's place, and meets only the one that has missed something |

use dynode::protocol::{Observation, Phase as Stage};
use dynode_client::wire::Operator;
use dynode_ring::{Layout, PartitionId};
use rand::RngExt;
use rand_pcg::Pcg64;

use super::changes::FOLLOWS;
use super::plan::{MS, SECOND, around, one_of};
use super::{Happening, Phase, Violation, World};

/// What is going on of such histories.
pub(crate) struct Aimed {
    rng: Pcg64,
    history: Option<History>,
    /// How many histories have begun.
    begun: u32,
    /// Transfers from all other nodes than this hang: pulls do not get through to them, nor do their offers to others.
    pub(crate) only_source: Option<usize>,
}

/// The history under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum History {
    Behind,
    /// Nobody has been cut off yet.
    Forgetful,
    /// This one is, in the first phase.
    Lags(usize),
    /// And another is about to lose its disk, or has.
    Lost,
    /// This one gives way.
    Gives(usize),
    /// It has heard of it, and is cut off.
    Gone(usize),
    /// It is to be an owner again.
    Returns,
}

/// A step of a history.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A history begins.
    Begin,
    /// What is staged at this node is committed.
    Commit { at: usize },
    /// The node that was cut off is back.
    Back { behind: usize, partition: PartitionId },
    /// A node loses its disk.
    Lose { at: usize, reaches: usize },
    /// A node that gave way takes the place of an owner, but not of the one that was cut off meanwhile.
    Return { returns: usize, stays: usize, partition: PartitionId },
    /// These two reach each other, and nobody else.
    Meet { returns: usize, stays: usize },
    /// The history of this number is over.
    End { number: u32 },
}

impl Aimed {
    pub(crate) fn new(rng: Pcg64) -> Aimed {
        Aimed { rng, history: None, begun: 0, only_source: None }
    }
}

impl World {
    /// When the next history begins.
    pub(crate) fn plan_aimed(&mut self) {
        if self.plan.aimed_every > 0 {
            let at = self.now + around(&mut self.aimed.rng, self.plan.aimed_every);
            self.queue.push(at, Happening::Aimed(Step::Begin));
        }
    }

    /// A history goes on.
    pub(crate) fn aimed(&mut self, step: Step) -> Result<(), Violation> {
        if self.phase != Phase::Faults {
            return Ok(());
        }
        match step {
            Step::Begin => {
                self.plan_aimed();
                if self.aimed.history.is_none() {
                    self.begin_history();
                }
            }
            Step::Commit { at } => self.commit_all(at),
            Step::Back { behind, partition } => {
                self.trace.line(self.now, |_| format!("n{behind} is back, and only it can be pulled from"));
                self.aimed.only_source = Some(behind);
                for peer in (0..self.plan.nodes).filter(|peer| *peer != behind) {
                    // What a cut has held up would bring it what it has missed.
                    self.reset(behind, peer);
                    self.uncut(behind, peer);
                    self.uncut(peer, behind);
                }
                let mut give_way = self.owners_of(partition);
                give_way.retain(|at| *at != behind);
                // Mostly as many as can; sometimes one alone.
                give_way.truncate(one_of(&mut self.aimed.rng, &[1, 2, 2, 3]));
                self.change_owners(give_way);
                self.later(4 * SECOND..12 * SECOND, Step::End { number: self.aimed.begun });
            }
            Step::Lose { at, reaches } => {
                if !self.is_spare(at, &[]) {
                    return self.aimed(Step::End { number: self.aimed.begun });
                }
                self.lose_disk(at)?;
                self.stats.fault("promise lost");
                self.cut_off(at);
                self.uncut(at, reaches);
                self.uncut(reaches, at);
                let back = self.now + self.aimed.rng.random_range(50 * MS..500 * MS);
                self.queue.push(back, Happening::Restart { host: at });
                self.later(3 * SECOND..8 * SECOND, Step::End { number: self.aimed.begun });
            }
            Step::Return { returns, stays, partition } => {
                for peer in (0..self.plan.nodes).filter(|peer| ![stays, returns].contains(peer)) {
                    self.reset(stays, peer);
                    self.uncut(stays, peer);
                    self.uncut(peer, stays);
                }
                let mut others = self.owners_of(partition);
                others.retain(|at| ![stays, returns].contains(at));
                if !others.is_empty() {
                    let old = one_of(&mut self.aimed.rng, &others);
                    let what = Operator::Replace { old: format!("n{old}"), new: self.as_told(returns) };
                    let at = one_of(&mut self.aimed.rng, &others);
                    self.tell_node(at, what, FOLLOWS);
                    self.queue.push(self.now + 20 * MS, Happening::Aimed(Step::Commit { at }));
                }
                self.later(300 * MS..3 * SECOND, Step::Meet { returns, stays });
            }
            Step::Meet { returns, stays } => {
                self.cut_off(stays);
                self.uncut(stays, returns);
                self.uncut(returns, stays);
                self.later(3 * SECOND..8 * SECOND, Step::End { number: self.aimed.begun });
            }
            Step::End { number } if number != self.aimed.begun => {}
            Step::End { .. } => {
                if self.aimed.history != Some(History::Behind) {
                    self.mend();
                }
                self.end_history();
            }
        }
        Ok(())
    }

    /// Nothing of it goes on, but what the network and the disks have suffered.
    pub(crate) fn end_history(&mut self) {
        (self.aimed.history, self.aimed.only_source) = (None, None);
    }

    fn begin_history(&mut self) {
        self.aimed.begun += 1;
        let partition = PartitionId(self.aimed.rng.random_range(0..self.layout.partitions()) as u16);
        let owners = self.owners_of(partition);
        let one = one_of(&mut self.aimed.rng, &owners);
        let history = one_of(&mut self.aimed.rng, &[History::Behind, History::Forgetful, History::Gives(one)]);
        self.aimed.history = Some(history);
        match history {
            History::Behind => {
                self.stats.fault("node behind at a change");
                self.cut_off(one);
                return self.later(300 * MS..3 * SECOND, Step::Back { behind: one, partition });
            }
            History::Gives(_) => self.change_owners(vec![one]),
            _ => {
                // Mostly as many as can; sometimes one alone.
                let most = one_of(&mut self.aimed.rng, &[1, 2, 2, 3]);
                self.change_owners(owners.into_iter().take(most).collect());
            }
        }
        // If nothing comes of it.
        self.later(10 * SECOND..12 * SECOND, Step::End { number: self.aimed.begun });
    }

    /// A node says something: is it what a history waits for?
    pub(crate) fn aim_at(&mut self, at: usize, what: &Observation) {
        match (what, self.aimed.history) {
            (Observation::Adopted { .. }, Some(History::Forgetful)) => {
                let owned = self.layout_before(self.hosts[at].epoch).is_some_and(|layout| {
                    let mut owned = layout.owned_by(self.hosts[at].id);
                    owned.next().is_some()
                });
                if owned && self.aimed.rng.random_bool(0.5) {
                    self.aimed.history = Some(History::Lags(at));
                    self.stats.fault("former owner left behind");
                    self.cut_off(at);
                }
            }
            (Observation::Adopted { is_member: false, .. }, Some(History::Gives(gives))) if at == gives => {
                self.aimed.history = Some(History::Gone(gives));
                self.cut_off(gives);
            }
            (Observation::Phase { partition, phase: Stage::Stable }, Some(History::Gone(returns))) if at != returns => {
                let owners = self.owners_of(*partition);
                let stays = one_of(&mut self.aimed.rng, &owners);
                self.aimed.history = Some(History::Returns);
                self.stats.fault("former owner returns");
                self.aimed.only_source = Some(returns);
                self.cut_off(stays);
                self.later(300 * MS..2 * SECOND, Step::Return { returns, stays, partition: *partition });
            }
            (Observation::Phase { partition, phase: Stage::Stable }, Some(History::Lags(lags))) if at != lags => {
                let owned = |who: usize, layout: &Layout| layout.owns(self.hosts[who].id, *partition);
                let before = self.layout_before(self.layout.epoch());
                if before.is_some_and(|layout| owned(at, layout) && owned(lags, layout)) {
                    self.aimed.history = Some(History::Lost);
                    self.later(MS..SECOND, Step::Lose { at, reaches: lags });
                }
            }
            _ => {}
        }
    }

    fn layout_before(&self, epoch: u64) -> Option<&Layout> {
        self.layouts.seen.range(..epoch).next_back().map(|(_, (_, layout))| layout)
    }

    /// An operator has these owners give way to guests.
    fn change_owners(&mut self, give_way: Vec<usize>) {
        let up: Vec<usize> = (0..self.hosts.len()).filter(|at| self.hosts[*at].is_up()).collect();
        let mut spares: Vec<usize> = up.iter().copied().filter(|at| !self.is_named(*at)).collect();
        if up.is_empty() {
            return;
        }
        let rng = &mut self.aimed.rng;
        let at = one_of(rng, &up);
        for old in give_way {
            let spare = (!spares.is_empty()).then(|| spares.swap_remove(self.aimed.rng.random_range(0..spares.len())));
            let old = format!("n{old}");
            let what = match spare {
                Some(new) => Operator::Replace { old, new: self.as_told(new) },
                None => Operator::Leave(old),
            };
            self.tell_node(at, what, FOLLOWS);
        }
        self.queue.push(self.now + 20 * MS, Happening::Aimed(Step::Commit { at }));
    }

    /// The owners of a partition, as the newest layout names them.
    fn owners_of(&self, partition: PartitionId) -> Vec<usize> {
        let owners = self.layout.owners(partition);
        (0..self.hosts.len()).filter(|at| owners.contains(&self.hosts[*at].id)).collect()
    }

    fn is_named(&self, at: usize) -> bool {
        self.layout.member(self.hosts[at].id).is_some()
    }

    fn cut_off(&mut self, at: usize) {
        self.trace.line(self.now, |_| format!("n{at} is cut off"));
        for peer in 0..self.plan.nodes {
            self.cut(at, peer);
            self.cut(peer, at);
        }
    }

    fn later(&mut self, span: std::ops::Range<u64>, step: Step) {
        let at = self.now + self.aimed.rng.random_range(span);
        self.queue.push(at, Happening::Aimed(step));
    }
}
