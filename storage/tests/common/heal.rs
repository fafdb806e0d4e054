//! The end of a run: faults stop, everyone pulls from everyone, and what must hold then is checked.

use std::collections::BTreeSet;

use bytes::Bytes;
use dynode_storage::answer::Budget;
use dynode_storage::{Clock, Dot, Space, View, codec};

use super::node::bound;
use super::oracle::Truth;
use super::world::{NODES, OWNERS, World, generous};

/// Pulls of one asker from one source until it has all. Each moves something, so that few are needed.
const PULLS_MAX: usize = 200;

impl World {
    /// Collects and strips, and lets a copy go that every owner contains.
    pub fn housekeep(&mut self, at: usize, strip_limit: usize) {
        if !self.nodes[at].has_copy() {
            return;
        }
        let partition = self.partition();
        let node = &mut self.nodes[at];
        let others: Vec<usize> = (0..OWNERS).filter(|o| *o != at).collect();
        let known: Vec<&Clock> = others.iter().filter_map(|o| node.heard.get(o)).collect();
        if known.len() == others.len() {
            node.store.collect(partition, &known).unwrap();
        }
        let leaves = at >= OWNERS && known.len() == others.len() && {
            let clock = node.store.find(partition).unwrap().unwrap().clock();
            known.iter().all(|c| c.covers(clock))
        };
        node.store.strip(partition, strip_limit).unwrap();
        if leaves {
            node.store.discard(partition).unwrap();
            node.heard.clear();
            node.scans.clear();
            node.asking = None;
            node.truth = Truth::default();
            self.log(|| format!("{at} lets its copy go"));
            self.counts.copies_let_go += 1;
            self.end_turn(at);
            self.sync(at);
        } else {
            self.may_end_turn(at);
        }
    }

    /// Delivers all letters, and those that they lead to.
    pub fn flush(&mut self) {
        loop {
            (0..NODES).for_each(|n| self.end_turn(n));
            if self.queue.is_empty() {
                return;
            }
            let letter = self.queue.remove(0);
            self.deliver(letter);
        }
    }

    /// One asker pulls from one source until it has all.
    pub fn pull_all(&mut self, asker: usize, source: usize, budget: Budget) {
        self.nodes[asker].asking = None;
        for _ in 0..PULLS_MAX {
            let before = self.nodes[asker].clock();
            self.ask(asker, source, None, budget);
            self.flush();
            if self.nodes[asker].asking.is_none() && self.nodes[asker].clock() == before {
                return;
            }
        }
        panic!("{asker} does not come to an end with {source}");
    }

    pub fn heal(&mut self) {
        self.log(|| "heal".into());
        let budget =
            self.rng.pick(&[generous(), Budget { bytes: 100, keys: 2 }, Budget { bytes: 0, keys: 0 }]).to_owned();
        self.group = [0; NODES];
        self.flush();
        for _ in 0..3 {
            for asker in 0..OWNERS {
                for source in 0..NODES {
                    if source != asker && self.nodes[source].has_copy() {
                        self.pull_all(asker, source, budget);
                    }
                }
            }
            (0..NODES).for_each(|n| self.sync(n));
        }
        for _ in 0..3 {
            (0..NODES).for_each(|n| self.housekeep(n, 2 + self.keys.len()));
            self.flush();
        }
    }

    pub fn check(&mut self) {
        assert!((OWNERS..NODES).all(|n| !self.nodes[n].has_copy()), "a stand-in's copy stayed");
        let partition = self.partition();
        let mut first: Option<(Clock, u64, Vec<_>)> = None;
        for n in 0..OWNERS {
            self.nodes[n].store.copy(partition).unwrap();
            self.nodes[n].check(&self.oracle);
            let read = |key| self.nodes[n].store.read(partition, key).unwrap().values;
            let values: Vec<_> = self.keys.iter().map(read).collect();
            let copy = self.nodes[n].store.copy(partition).unwrap().clone();
            assert!(!copy.is_scanning(), "a scan is remembered at {n}");
            let state = (copy.clock().clone(), copy.content(), values);
            let (clock, content, values) = first.get_or_insert_with(|| state.clone());
            assert_eq!(*clock, state.0, "clocks differ at {n}");
            assert_eq!(*values, state.2, "values differ at {n}");
            assert_eq!(*content, state.1, "set hashes differ at {n}");
            self.check_residue(n, &state.0);
        }
        for (op, write) in self.oracle.writes.iter().enumerate() {
            for n in (0..OWNERS).filter(|_| self.oracle.is_acknowledged(op)) {
                let reflected = self.nodes[n].truth.of(&write.key);
                assert!(reflected.contains(&op), "the acknowledged write {op} of {} is lost at {n}", write.key);
            }
        }
    }

    /// Nothing is left but values and the clock, except where a write was lost for good and its life is not closed: what
    /// lies beyond such a gap stays.
    fn check_residue(&mut self, n: usize, clock: &Clock) {
        let lossy: BTreeSet<_> = self.oracle.writes.iter().filter(|w| !clock.has(w.dot)).map(|w| w.dot.actor).collect();
        let beyond = |d: Dot| lossy.contains(&d.actor) && d.counter > clock.base(d.actor);
        let node = &self.nodes[n];
        let (from, to) = (node.partition.0.to_be_bytes(), bound(node.partition));
        let disk = node.store.engine();
        disk.scan(Space::Index, &from, &to, &mut |at, _| {
            let word = |i: usize| u64::from_be_bytes(at[i..i + 8].try_into().unwrap());
            let node = dynode_ring::NodeId;
            let dot =
                || Dot { actor: dynode_storage::Actor { node: node(word(3)), life: word(11) }, counter: word(19) };
            assert!(at[2] != 1 || beyond(dot()), "the index entry of {} stayed at {n}", dot());
            assert!(at[2] == 1 || !lossy.is_empty(), "a key stayed on the list of what is not stripped at {n}");
            true
        })
        .unwrap();
        disk.scan(Space::Objects, &from, &to, &mut |at, value| {
            let object = codec::decode_object(Bytes::copy_from_slice(value)).unwrap();
            for range in object.context.ranges() {
                let mut dots = (range.first..=range.last).map(|counter| Dot { actor: range.actor, counter });
                assert!(dots.all(beyond), "the context {} of {at:?} stayed at {n}", object.context);
            }
            true
        })
        .unwrap();
    }
}
