//! The end of a run: faults stop, everyone pulls from everyone, and what must hold then is checked.

use bytes::Bytes;
use dynode_storage::answer::Budget;
use dynode_storage::rules::{Rule, broken};
use dynode_storage::{Clock, Space, View, codec};

use super::node::bound;
use super::oracle::Truth;
use super::world::{NODES, World, generous};

/// Pulls of one asker from one source until it has all. Each moves something, so that few are needed.
const PULLS_MAX: usize = 200;

impl World {
    /// Collects and strips, and lets a copy go that every owner contains.
    pub fn housekeep(&mut self, at: usize, strip_limit: usize) {
        if !self.nodes[at].has_copy() {
            return;
        }
        let (partition, owners) = (self.partition(), self.owners(at));
        let node = &mut self.nodes[at];
        let others: Vec<usize> = owners.iter().copied().filter(|o| *o != at).collect();
        let known: Vec<&Clock> = others.iter().filter_map(|o| node.heard.get(o)).collect();
        if known.len() == others.len() {
            node.store.collect(partition, &known).unwrap();
        }
        node.store.strip(partition, strip_limit).unwrap();
        let all_said = known.len() == others.len() || broken(Rule::Drop);
        if !owners.contains(&at) && all_said && node.store.let_go(partition, &known).unwrap() {
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
            self.nodes[asker].more = false;
            self.ask(asker, source, None, budget);
            self.flush();
            let node = &mut self.nodes[asker];
            if node.asking.is_none() && !node.more && node.clock() == before {
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
        let epoch = self.layouts.len() - 1;
        (0..NODES).for_each(|n| self.adopt(n, epoch));
        self.flush();
        for _ in 0..4 {
            for asker in self.layouts[epoch] {
                for source in 0..NODES {
                    if source != asker && self.nodes[source].has_copy() {
                        self.pull_all(asker, source, budget);
                    }
                }
            }
            (0..NODES).for_each(|n| self.sync(n));
            (0..NODES).for_each(|n| self.close_lives(n));
        }
        for _ in 0..3 {
            (0..NODES).for_each(|n| self.housekeep(n, 2 + self.keys.len()));
            self.flush();
        }
    }

    pub fn check(&mut self) {
        let owners = self.layouts[self.layouts.len() - 1];
        let foreign = (0..NODES).find(|n| !owners.contains(n) && self.nodes[*n].has_copy());
        assert_eq!(foreign, None, "a foreign copy stayed");
        let partition = self.partition();
        let mut first: Option<(Clock, u64, Vec<_>)> = None;
        for n in owners {
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
            for n in owners.into_iter().filter(|_| self.oracle.is_acknowledged(op)) {
                let reflected = self.nodes[n].truth.of(&write.key);
                assert!(reflected.contains(&op), "the acknowledged write {op} of {} is lost at {n}", write.key);
            }
        }
    }

    /// Nothing is left but values and the clock.
    fn check_residue(&mut self, n: usize, clock: &Clock) {
        assert!(!clock.has_gaps(), "a gap stayed in the clock of {n}");
        let node = &self.nodes[n];
        let (from, to) = (node.partition.0.to_be_bytes(), bound(node.partition));
        let disk = node.store.engine();
        disk.scan(Space::Index, &from, &to, &mut |at, _| {
            panic!("an index record stayed at {n}: {}", at.escape_ascii())
        })
        .unwrap();
        disk.scan(Space::Objects, &from, &to, &mut |at, value| {
            let object = codec::decode_object(Bytes::copy_from_slice(value)).unwrap();
            assert!(object.context.is_empty(), "the context {} of {at:?} stayed at {n}", object.context);
            true
        })
        .unwrap();
    }
}
