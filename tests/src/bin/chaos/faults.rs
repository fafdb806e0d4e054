//! What can be done to a cluster, how it is written, and what comes next. Nothing here does it.

use std::collections::BTreeSet;

use clap::ValueEnum;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// SIGKILL; started again at the end
    Kill,
    /// SIGTERM, a clean stop; started again at the end
    Stop,
    /// SIGSTOP: it hangs, its connections stand
    Pause,
    /// The network falls into two
    Split,
    /// What one node sends does not arrive; what it is sent does
    OneWay,
    /// One node's links are slow
    Slow,
    /// All connections of one node break, again and again
    Reset,
    /// One node's disk is full
    Disk,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Kind; 8] =
        [Kind::Kill, Kind::Stop, Kind::Pause, Kind::Split, Kind::OneWay, Kind::Slow, Kind::Reset, Kind::Disk];

    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Stop => "stop",
            Kind::Pause => "pause",
            Kind::Split => "split",
            Kind::OneWay => "one-way",
            Kind::Slow => "slow",
            Kind::Reset => "reset",
            Kind::Disk => "disk",
        }
    }

    /// Whether it needs something between the nodes that can be told.
    pub(crate) fn is_of_the_network(self) -> bool {
        matches!(self, Kind::Split | Kind::OneWay | Kind::Slow | Kind::Reset)
    }
}

/// A fault. Nodes are numbers from 0 here; people write them from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill(usize),
    Stop(usize),
    Pause(usize),
    /// Sides; a node on none of them hears all.
    Split(Vec<Vec<usize>>),
    /// From, to.
    OneWay(Vec<(usize, usize)>),
    Slow(usize),
    Reset(usize),
    Disk(usize),
}

impl Fault {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Fault::Kill(_) => Kind::Kill,
            Fault::Stop(_) => Kind::Stop,
            Fault::Pause(_) => Kind::Pause,
            Fault::Split(_) => Kind::Split,
            Fault::OneWay(_) => Kind::OneWay,
            Fault::Slow(_) => Kind::Slow,
            Fault::Reset(_) => Kind::Reset,
            Fault::Disk(_) => Kind::Disk,
        }
    }

    /// The node that does not work while it lasts.
    pub(crate) fn down(&self) -> Option<usize> {
        match self {
            Fault::Kill(node) | Fault::Stop(node) | Fault::Pause(node) | Fault::Disk(node) => Some(*node),
            _ => None,
        }
    }

    /// The ways that are cut while it lasts.
    pub(crate) fn cut(&self) -> BTreeSet<(usize, usize)> {
        match self {
            Fault::Split(sides) => {
                let sides = || sides.iter().enumerate();
                let pairs = sides().flat_map(|a| sides().map(move |b| (a, b))).filter(|((i, _), (j, _))| i != j);
                pairs.flat_map(|((_, a), (_, b))| a.iter().flat_map(|x| b.iter().map(|y| (*x, *y)))).collect()
            }
            Fault::OneWay(ways) => ways.iter().copied().collect(),
            _ => BTreeSet::new(),
        }
    }

    /// The highest node that it names.
    pub(crate) fn highest(&self) -> usize {
        match self {
            Fault::Split(sides) => sides.iter().flatten().copied().max().unwrap_or(0),
            Fault::OneWay(ways) => ways.iter().map(|(a, b)| *a.max(b)).max().unwrap_or(0),
            Fault::Slow(node) | Fault::Reset(node) => *node,
            _ => self.down().unwrap_or(0),
        }
    }

    /// For people.
    pub(crate) fn text(&self, names: &[String]) -> String {
        let name = |node: &usize| names.get(*node).cloned().unwrap_or_else(|| (node + 1).to_string());
        let list = |nodes: &[usize]| nodes.iter().map(name).collect::<Vec<_>>().join(" ");
        match self {
            Fault::Kill(node) => format!("{} killed", name(node)),
            Fault::Stop(node) => format!("{} stopped cleanly", name(node)),
            Fault::Pause(node) => format!("{} paused", name(node)),
            Fault::Split(sides) => sides.iter().map(|side| list(side)).collect::<Vec<_>>().join(" | "),
            Fault::OneWay(ways) => {
                let ways: Vec<String> = ways.iter().map(|(a, b)| format!("{} ↛ {}", name(a), name(b))).collect();
                ways.join(", ")
            }
            Fault::Slow(node) => format!("{} behind a slow link", name(node)),
            Fault::Reset(node) => format!("{}'s connections reset", name(node)),
            Fault::Disk(node) => format!("{}'s disk full", name(node)),
        }
    }
}

/// Draws faults: the given ones in turn, else all kinds in turn, shuffled, so that a short run sees each.
pub(crate) struct Deck {
    nodes: usize,
    kinds: Vec<Kind>,
    given: Vec<Fault>,
    kill_probability: f64,
    /// The only node whose disk can be filled.
    small_disk: usize,
    left: Vec<Kind>,
    drawn: usize,
    random: Pcg64,
}

impl Deck {
    /// `kinds` may be empty only where faults are given.
    pub(crate) fn new(nodes: usize, kinds: Vec<Kind>, given: Vec<Fault>, kill_probability: f64, seed: u64) -> Deck {
        let random = Pcg64::seed_from_u64(seed);
        Deck { nodes, kinds, given, kill_probability, small_disk: nodes - 1, left: Vec::new(), drawn: 0, random }
    }

    /// What comes next: one fault, and perhaps a node killed beside it.
    pub(crate) fn draw(&mut self) -> Vec<Fault> {
        let turn = self.drawn;
        self.drawn += 1;
        let fault = match self.given.get(turn % (self.given.len() + self.kinds.len()).max(1)) {
            Some(given) => given.clone(),
            None => match self.next_kind() {
                Some(kind) => self.fault(kind),
                None => return Vec::new(),
            },
        };
        let mut all = vec![fault];
        // Drawn in any case, so that one seed gives one sequence whatever the probability.
        let unlucky = (0..self.nodes).filter(|_| self.random.random_bool(self.kill_probability)).collect::<Vec<_>>();
        if all[0].down().is_none() {
            all.extend(unlucky.first().map(|node| Fault::Kill(*node)));
        }
        all
    }

    /// A coin, for what is decided on the way.
    pub(crate) fn coin(&mut self) -> bool {
        self.random.random_bool(0.5)
    }

    fn next_kind(&mut self) -> Option<Kind> {
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
            self.left.shuffle(&mut self.random);
        }
        self.left.pop()
    }

    fn fault(&mut self, kind: Kind) -> Fault {
        let mut order: Vec<usize> = (0..self.nodes).collect();
        order.shuffle(&mut self.random);
        let node = order[0];
        match kind {
            Kind::Kill => Fault::Kill(node),
            Kind::Stop => Fault::Stop(node),
            Kind::Pause => Fault::Pause(node),
            Kind::Slow => Fault::Slow(node),
            Kind::Reset => Fault::Reset(node),
            Kind::Disk => Fault::Disk(self.small_disk),
            Kind::Split => {
                let few = self.random.random_range(1..=self.nodes / 2);
                let mut sides = vec![order[..few].to_vec(), order[few..].to_vec()];
                sides.iter_mut().for_each(|side| side.sort_unstable());
                Fault::Split(sides)
            }
            Kind::OneWay => {
                // One pair, or all that one node says, or all that it hears.
                let ways = match self.random.random_range(0..3) {
                    0 => vec![(node, order[1])],
                    1 => order[1..].iter().map(|to| (node, *to)).collect(),
                    _ => order[1..].iter().map(|from| (*from, node)).collect(),
                };
                Fault::OneWay(ways)
            }
        }
    }
}

fn node(text: &str) -> Result<usize, String> {
    let number: Option<usize> = text.trim().trim_start_matches('n').parse().ok();
    number.and_then(|n| n.checked_sub(1)).ok_or_else(|| format!("`{text}` is no node: nodes count from 1"))
}

/// Reads `1,2|3,4,5`.
pub(crate) fn parse_split(text: &str) -> Result<Fault, String> {
    let side = |side: &str| side.split(',').map(node).collect::<Result<Vec<_>, _>>();
    let sides = text.split('|').map(side).collect::<Result<Vec<_>, _>>()?;
    let mut all: Vec<usize> = sides.iter().flatten().copied().collect();
    all.sort_unstable();
    if sides.len() < 2 || all.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("write two sides or more, and each node once, as in 1,2|3,4,5".into());
    }
    Ok(Fault::Split(sides))
}

/// Reads `1>2` or `1>2,1>3`.
pub(crate) fn parse_cut(text: &str) -> Result<Fault, String> {
    let way = |way: &str| {
        let (from, to) = way.split_once('>').ok_or_else(|| format!("`{way}`: write it as 1>2"))?;
        let (from, to) = (node(from)?, node(to)?);
        if from == to { Err(format!("`{way}`: a node always hears itself")) } else { Ok((from, to)) }
    };
    text.split(',').map(way).collect::<Result<Vec<_>, _>>().map(Fault::OneWay)
}

/// Reads `3`: a side of its own. The other side is filled in when the number of nodes is known.
pub(crate) fn parse_isolate(text: &str) -> Result<Fault, String> {
    Ok(Fault::Split(vec![vec![node(text)?]]))
}

/// Gives an isolated node its other side; refuses nodes that are not there.
pub(crate) fn complete(mut fault: Fault, nodes: usize) -> Result<Fault, String> {
    if fault.highest() >= nodes {
        return Err(format!("there is no node {}: they are 1 to {nodes}", fault.highest() + 1));
    }
    if let Fault::Split(sides) = &mut fault
        && let [alone] = &sides[..]
    {
        let others = (0..nodes).filter(|node| !alone.contains(node)).collect();
        sides.push(others);
    }
    Ok(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_cuts_both_ways_between_sides_only() {
        let split = parse_split("1,2|3").unwrap();
        assert_eq!(split.cut(), [(0, 2), (1, 2), (2, 0), (2, 1)].into());
        let alone = complete(parse_isolate("2").unwrap(), 3).unwrap();
        assert_eq!(alone.cut(), [(1, 0), (1, 2), (0, 1), (2, 1)].into());
        assert_eq!(parse_cut("1>2, n1>3").unwrap().cut(), [(0, 1), (0, 2)].into());
        assert!(complete(split, 2).is_err());
    }

    #[test]
    fn one_seed_one_sequence_and_every_kind_in_turn() {
        let draw = |seed| {
            let mut deck = Deck::new(5, Kind::ALL.to_vec(), Vec::new(), 0.2, seed);
            (0..64).map(|_| deck.draw()).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        for turns in draw(3).chunks(Kind::ALL.len()) {
            let kinds: BTreeSet<Kind> = turns.iter().map(|faults| faults[0].kind()).collect();
            assert_eq!(kinds.len(), Kind::ALL.len());
        }
        // Never two nodes down at once, and kills do happen beside faults of the network.
        let all = draw(3);
        assert!(all.iter().all(|faults| faults.iter().filter(|f| f.down().is_some()).count() <= 1));
        assert!(all.iter().any(|faults| faults.len() == 2));
    }

    #[test]
    fn what_is_given_comes_in_turn() {
        let given = vec![parse_cut("1>2").unwrap(), parse_split("1|2,3").unwrap()];
        let mut deck = Deck::new(3, Vec::new(), given.clone(), 0.0, 1);
        let drawn: Vec<Fault> = (0..4).flat_map(|_| deck.draw()).collect();
        assert_eq!(drawn, [given.clone(), given].concat());
    }
}
