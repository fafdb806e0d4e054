//! Who owns, who is believed, and the closing of lives that have ended: what the nodes agree on beside their copies.

use dynode_ring::NodeId;
use dynode_storage::codec::{self, Part};
use dynode_storage::rules::{Rule, broken};
use dynode_storage::{Clock, Dot};

use super::world::{Body, Letter, NODES, World};

impl World {
    /// Goes by a newer layout. What was said under the former one counts no more.
    pub fn adopt(&mut self, at: usize, epoch: usize) {
        let node = &mut self.nodes[at];
        if epoch > node.epoch {
            node.epoch = epoch;
            if !broken(Rule::Epoch) {
                node.heard.clear();
            }
        }
    }

    /// A peer's word counts only as an owner's, under the very layout that this node goes by.
    pub fn hear(&mut self, at: usize, of: usize, epoch: usize, told: Clock) {
        let same = epoch == self.nodes[at].epoch || broken(Rule::Epoch);
        if self.owners(at).contains(&of) && same {
            self.nodes[at].heard.insert(of, told);
        }
    }

    /// Was the letter sent in a life that is refused, or does it bring dots of one from a node that had not handed it over?
    pub fn is_stale(&mut self, letter: &Letter) -> bool {
        if broken(Rule::Refuse) {
            return false;
        }
        let node = &mut self.nodes[letter.to];
        let of_sender = node.refused.get(&NodeId(letter.from as u64 + 1)).copied().unwrap_or(0);
        if letter.life < of_sender {
            return true;
        }
        let clock = node.clock();
        let refused = |dot: &Dot| {
            let theirs = letter.refused.get(&dot.actor.node).copied().unwrap_or(0);
            node.refused.get(&dot.actor.node).is_some_and(|mine| (theirs..*mine).contains(&dot.actor.life))
        };
        brought(&letter.body).iter().any(|dot| refused(dot) && !clock.has(*dot))
    }

    /// An ended life is closed when every node has handed over what it has of it, and takes no more of it directly.
    pub fn close_lives(&mut self, at: usize) {
        let all_near = (0..NODES).all(|n| self.reach(at, n));
        if broken(Rule::Close) || !self.nodes[at].has_copy() || !all_near {
            return;
        }
        (0..NODES).for_each(|n| self.end_turn(n));
        let lives: Vec<(NodeId, u64)> = (0..NODES).map(|n| (self.nodes[n].id, self.nodes[n].life())).collect();
        let mut contained = true;
        let clock = self.nodes[at].clock();
        for node in &mut self.nodes {
            contained &= clock.covers(&node.clock().below(&lives));
            node.refused.extend(lives.iter().copied());
        }
        if contained || broken(Rule::HandOver) {
            let partition = self.partition();
            let gaps = self.nodes[at].clock().below(&lives).has_gaps();
            self.log(|| format!("{at} closes {lives:?}"));
            let news = self.nodes[at].store.close_lives(partition, &lives).unwrap();
            self.counts.lives_closed += usize::from(news);
            self.counts.gaps_closed += usize::from(news && gaps);
            self.may_end_turn(at);
        }
    }
}

/// The dots that a letter brings.
fn brought(body: &Body) -> Vec<Dot> {
    let of_parts = |parts: Vec<Part>| {
        let mut dots = Vec::new();
        for part in parts {
            match part {
                Part::Entry(entry) => dots.extend(entry.dots.iter().copied().chain(entry.object.dots())),
                Part::Claim(claim) => dots.extend(named(&claim.clock).chain(named(&claim.remains))),
                Part::Closed(_) => {}
            }
        }
        dots
    };
    match body {
        Body::Write { entry, .. } => codec::decode_entry(entry.clone()).unwrap().dots,
        Body::Delta { parts, .. } | Body::Page { parts, .. } => of_parts(codec::decode_parts(parts.clone()).unwrap()),
        Body::Pull { .. } | Body::Gone => Vec::new(),
    }
}

fn named(clock: &Clock) -> impl Iterator<Item = Dot> + '_ {
    clock.ranges().flat_map(|r| (r.first..=r.last).map(move |counter| Dot { actor: r.actor, counter }))
}
