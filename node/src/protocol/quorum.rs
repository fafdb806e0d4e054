//! Counting answers: which replicas said yes, which will not, and what that means.

use dynode_ring::NodeId;

/// Where a quorum stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// More answers are needed, and can still come.
    Pending,
    /// Enough said yes.
    Met,
    /// Too few are left that could.
    Lost,
}

/// The answers of a set of replicas, each counted once however often it is heard.
#[derive(Debug, Clone)]
pub struct Tally {
    needed: usize,
    /// Where a partition gets other owners: so many are needed of each of these. None: `needed` of all.
    sides: Vec<(usize, Vec<NodeId>)>,
    /// Only replicas that are in a side count for it; else those that are in none stand in for any.
    strict: bool,
    waiting: Vec<NodeId>,
    yes: Vec<NodeId>,
}

impl Tally {
    /// Waits for `needed` of `replicas`.
    pub fn new(needed: usize, replicas: Vec<NodeId>) -> Tally {
        Tally { needed, sides: Vec::new(), strict: false, yes: Vec::with_capacity(replicas.len()), waiting: replicas }
    }

    /// So many are needed of each of these; `strict`: nobody stands in for them.
    pub fn of_each(&mut self, sides: Vec<(usize, Vec<NodeId>)>, strict: bool) {
        (self.sides, self.strict) = (sides, strict);
    }

    /// How many of these stand for this side.
    fn of_side(&self, side: &[NodeId], nodes: &[NodeId]) -> usize {
        let stands_in = |node: &NodeId| !self.strict && self.sides.iter().all(|(_, side)| !side.contains(node));
        nodes.iter().filter(|node| side.contains(node) || stands_in(node)).count()
    }

    /// A replica said yes. A second time, or from one that was not asked, it changes nothing.
    pub fn yes(&mut self, from: NodeId) -> Outcome {
        if self.leaves(from) {
            self.yes.push(from);
        }
        self.outcome()
    }

    /// A replica refused, or cannot answer any more.
    pub fn no(&mut self, from: NodeId) -> Outcome {
        self.leaves(from);
        self.outcome()
    }

    /// One more replica is asked.
    pub fn also(&mut self, replica: NodeId) {
        if !self.waiting.contains(&replica) && !self.yes.contains(&replica) {
            self.waiting.push(replica);
        }
    }

    /// Where it stands.
    pub fn outcome(&self) -> Outcome {
        let outcome = |needed: usize, yes: usize, waiting: usize| match yes {
            yes if yes >= needed => Outcome::Met,
            yes if yes + waiting < needed => Outcome::Lost,
            _ => Outcome::Pending,
        };
        if self.sides.is_empty() {
            return outcome(self.needed, self.yes.len(), self.waiting.len());
        }
        let of_side = |(needed, side): &(usize, Vec<NodeId>)| {
            outcome(*needed, self.of_side(side, &self.yes), self.of_side(side, &self.waiting))
        };
        let outcomes: Vec<Outcome> = self.sides.iter().map(of_side).collect();
        match () {
            () if outcomes.contains(&Outcome::Lost) => Outcome::Lost,
            () if outcomes.contains(&Outcome::Pending) => Outcome::Pending,
            () => Outcome::Met,
        }
    }

    /// Is an answer from this replica awaited?
    pub fn waits_for(&self, node: NodeId) -> bool {
        self.waiting.contains(&node)
    }

    /// The replicas whose answer is awaited.
    pub fn waiting(&self) -> &[NodeId] {
        &self.waiting
    }

    /// How many are needed.
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// How many said yes.
    pub fn received(&self) -> usize {
        let of_sides = self.sides.iter().map(|(_, side)| self.of_side(side, &self.yes));
        of_sides.min().unwrap_or(self.yes.len())
    }

    /// Those that said yes.
    pub fn yeses(&self) -> &[NodeId] {
        &self.yes
    }

    fn leaves(&mut self, node: NodeId) -> bool {
        match self.waiting.iter().position(|n| *n == node) {
            Some(at) => {
                self.waiting.swap_remove(at);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    #[test]
    fn a_duplicate_counts_once() {
        let mut tally = Tally::new(2, vec![A, B, C]);
        assert_eq!(tally.yes(A), Outcome::Pending);
        assert_eq!(tally.yes(A), Outcome::Pending);
        assert_eq!(tally.received(), 1);
        assert_eq!(tally.yes(B), Outcome::Met);
    }

    #[test]
    fn a_stranger_counts_nothing() {
        let mut tally = Tally::new(1, vec![A]);
        assert_eq!(tally.yes(B), Outcome::Pending);
        assert_eq!(tally.no(C), Outcome::Pending);
        assert_eq!(tally.yes(A), Outcome::Met);
    }

    #[test]
    fn it_is_lost_when_too_few_are_left() {
        let mut tally = Tally::new(2, vec![A, B, C]);
        assert_eq!(tally.no(A), Outcome::Pending);
        assert_eq!(tally.no(A), Outcome::Pending);
        assert_eq!(tally.no(B), Outcome::Lost);
        assert_eq!(tally.yes(C), Outcome::Lost);
    }

    #[test]
    fn a_replica_that_is_asked_later_counts_once() {
        let mut tally = Tally::new(2, vec![A, B]);
        tally.yes(A);
        tally.no(B);
        tally.also(A);
        assert_eq!(tally.outcome(), Outcome::Lost);
        tally.also(C);
        tally.also(C);
        assert_eq!(tally.outcome(), Outcome::Pending);
        assert_eq!(tally.yes(C), Outcome::Met);
        assert_eq!(tally.waiting(), &[]);
    }

    #[test]
    fn former_and_new_owners_are_both_needed() {
        const D: NodeId = NodeId(4);
        const STAND_IN: NodeId = NodeId(5);
        let mut tally = Tally::new(2, vec![A, B, C, D, STAND_IN]);
        let sides = vec![(2, vec![A, B, C]), (2, vec![B, C, D])];
        tally.of_each(sides.clone(), false);
        assert_eq!(tally.yes(A), Outcome::Pending);
        assert_eq!(tally.yes(B), Outcome::Pending, "one of the new owners only");
        assert_eq!(tally.received(), 1);
        assert_eq!(tally.clone().yes(D), Outcome::Met);
        assert_eq!(tally.clone().yes(STAND_IN), Outcome::Met);
        let mut strict = tally.clone();
        strict.of_each(sides, true);
        assert_eq!(strict.yes(STAND_IN), Outcome::Pending, "nobody stands in");
        strict.of_each(vec![(2, vec![C, D])], true);
        assert_eq!(strict.outcome(), Outcome::Pending, "who is an owner no more does not count");
        tally.no(STAND_IN);
        tally.no(C);
        assert_eq!(tally.no(D), Outcome::Lost);
    }

    #[test]
    fn a_refusal_after_a_yes_takes_nothing_back() {
        let mut tally = Tally::new(2, vec![A, B]);
        tally.yes(A);
        assert_eq!(tally.no(A), Outcome::Pending);
        assert_eq!(tally.yes(B), Outcome::Met);
    }
}
