//! What happens at random in the world. Every run has its own mix of actions, so that rare combinations meet ("swarm
//! testing", Groce, Zhang, Eide, Chen, Regehr, 2012).

use dynode_storage::answer::Budget;

use super::world::{NODES, Session, World, generous};

type Act = fn(&mut World);

const ACTS: [(Act, usize); 22] = [
    (World::receive, 450),
    (World::write, 150),
    (World::read, 100),
    (World::pull, 100),
    (World::catch_up, 60),
    (World::gossip, 60),
    (World::repair, 30),
    (World::split, 20),
    (World::tidy, 60),
    (World::cut, 60),
    (World::sync_one, 30),
    (World::check_one, 20),
    (World::forget_scan, 10),
    (World::abandon_scan, 10),
    (World::lose_one, 10),
    (World::cut_power, 10),
    (World::restart_one, 10),
    (World::drop_heard, 5),
    (World::change_owners, 8),
    (World::back_up_one, 10),
    (World::restore_one, 10),
    (World::close_one, 10),
];

impl World {
    /// Runs so many steps; in half of the runs one owner is away for the middle third of them, while the others write on
    /// and let their index go.
    pub fn live(&mut self, steps: usize) {
        let factors = [0, 3, 10, 10, 30, 90];
        let weights: Vec<usize> = ACTS.iter().map(|a| a.1 * self.rng.pick(&factors)).collect();
        let total: usize = weights.iter().sum();
        let away = self.rng.chance(500).then(|| self.owner());
        for step in 0..if total == 0 { 0 } else { steps } {
            let mut at = self.rng.below(total);
            let act = weights.iter().position(|w| {
                let here = at < *w;
                at = at.saturating_sub(*w);
                here
            });
            ACTS[act.unwrap_or(0)].0(self);
            if let Some(away) = away {
                let middle = (steps / 3..2 * steps / 3).contains(&step);
                self.group[away] = if middle { 2 } else { self.group[away] % 2 };
                if step + 1 == 2 * steps / 3 && self.rng.chance(700) {
                    self.let_the_index_go(away);
                }
            }
        }
    }

    /// The owners who are there become equal, and their index goes: the one that is away will need a scan.
    fn let_the_index_go(&mut self, away: usize) {
        self.group = [0; NODES];
        self.group[away] = 2;
        self.flush();
        let near: Vec<usize> = self.owners(away).into_iter().filter(|o| *o != away).collect();
        let epoch = self.nodes[away].epoch;
        (0..NODES).for_each(|n| self.adopt(n, epoch));
        if near.len() != 2 || near.iter().any(|n| self.nodes[*n].epoch != epoch) {
            return;
        }
        for key in self.keys.clone() {
            if self.rng.chance(300) {
                let mut session = Session::new();
                self.read_at(&near[..1], &key, &mut session);
                self.write_at(near[0], &key, false, &session, &near[1..]);
            }
        }
        for (at, of) in [(near[0], near[1]), (near[1], near[0]), (near[0], near[1])] {
            if self.nodes[at].has_copy() && self.nodes[of].has_copy() {
                self.pull_all(at, of, generous());
                self.sync(at);
                self.sync(of);
                let partition = self.partition();
                let told = self.nodes[of].store.told(partition).unwrap();
                self.hear(at, of, epoch, told);
            }
        }
        near.iter().for_each(|at| self.cut_at(*at));
    }

    fn any(&mut self) -> usize {
        self.rng.below(NODES)
    }

    /// A node that takes itself for an owner, where there is one.
    fn owner(&mut self) -> usize {
        let owners: Vec<usize> = (0..NODES).filter(|n| self.owns(*n)).collect();
        if owners.is_empty() { self.any() } else { *self.rng.pick(&owners) }
    }

    fn holder(&mut self) -> Option<usize> {
        let at = self.any();
        self.nodes[at].has_copy().then_some(at)
    }

    fn budget(&mut self) -> Budget {
        Budget { bytes: *self.rng.pick(&[0, 1, 60, 300, 1 << 20]), keys: *self.rng.pick(&[0, 1, 2, 3, 100]) }
    }

    /// The owners that the coordinator reaches, and stand-ins for the others.
    fn replicas(&self, at: usize) -> Vec<usize> {
        let owners = self.owners(at);
        let mut out: Vec<usize> = owners.into_iter().filter(|o| *o != at && self.reach(at, *o)).collect();
        let lacking = (owners.len() - 1).saturating_sub(out.len());
        let spare = (0..NODES).filter(|n| *n != at && !owners.contains(n) && self.reach(at, *n));
        out.extend(spare.take(lacking).collect::<Vec<_>>());
        out
    }

    fn coordinator(&mut self) -> usize {
        let via = self.any();
        let near: Vec<usize> = self.owners(via).into_iter().filter(|o| self.reach(via, *o)).collect();
        if near.is_empty() { via } else { *self.rng.pick(&near) }
    }

    fn write(&mut self) {
        let (at, s) = (self.coordinator(), self.rng.below(self.sessions.len()));
        let key = self.rng.pick(&self.keys).clone();
        let session = if self.rng.chance(200) { Default::default() } else { self.sessions[s].clone() };
        let (is_put, peers) = (!self.rng.chance(350), self.replicas(at));
        self.write_at(at, &key, is_put, &session, &peers);
    }

    fn read(&mut self) {
        let (at, s) = (self.coordinator(), self.rng.below(self.sessions.len()));
        let key = self.rng.pick(&self.keys).clone();
        let mut from = vec![at];
        let peers: Vec<usize> = self.replicas(at).into_iter().filter(|p| self.nodes[*p].has_copy()).collect();
        if !peers.is_empty() && self.rng.chance(700) {
            from.push(*self.rng.pick(&peers));
        }
        let mut session = std::mem::take(&mut self.sessions[s]);
        self.read_at(&from, &key, &mut session);
        self.sessions[s] = session;
    }

    fn receive(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let i = self.rng.below(self.queue.len());
        let letter = if self.rng.chance(self.twice) { self.queue[i].clone() } else { self.queue.swap_remove(i) };
        if !self.rng.chance(self.lost) {
            self.deliver(letter);
        }
    }

    fn pull(&mut self) {
        let (asker, source, budget) = (self.owner(), self.any(), self.budget());
        if asker != source && self.reach(asker, source) && self.nodes[source].has_copy() {
            // A scan under way is mostly gone on with, and sometimes left for another source.
            let source = match &self.nodes[asker].asking {
                Some(a) if self.rng.chance(700) => a.source,
                _ => source,
            };
            self.ask(asker, source, None, budget);
        }
    }

    /// A stretch of a sync, without other events between its letters, that may break off anywhere.
    fn catch_up(&mut self) {
        let (asker, mut source, budget) = (self.owner(), self.any(), self.budget());
        if let Some(asking) = self.nodes[asker].asking.as_ref().filter(|_| self.rng.chance(700)) {
            source = asking.source;
        }
        for _ in 0..1 + self.rng.below(8) {
            if asker == source || !self.reach(asker, source) || !self.nodes[source].has_copy() {
                return;
            }
            self.ask(asker, source, None, budget);
            self.end_turn(asker);
            for at in [source, asker] {
                // The last letter of the other is the one that matters here.
                let last = self.queue.iter().rposition(|l| l.to == at && l.from + at == asker + source);
                if let Some(letter) = last.map(|i| self.queue.remove(i)) {
                    if self.rng.chance(100) {
                        self.queue.push(letter.clone());
                    }
                    self.deliver(letter);
                    if self.rng.chance(20) {
                        self.power_cut(asker);
                    }
                    self.end_turn(at);
                }
            }
        }
    }

    /// One node hears what another has synced.
    fn gossip(&mut self) {
        let (at, of) = (self.any(), self.any());
        if at != of && self.reach(at, of) && self.nodes[of].has_copy() {
            self.end_turn(of);
            let partition = self.partition();
            let told = self.nodes[of].store.told(partition).unwrap();
            let epoch = self.nodes[of].epoch;
            self.adopt(at, epoch);
            self.hear(at, of, epoch, told);
        }
    }

    fn repair(&mut self) {
        let (asker, source, budget) = (self.any(), self.any(), self.budget());
        let key = self.rng.pick(&self.keys).clone();
        if asker != source && self.reach(asker, source) && self.nodes[source].has_copy() {
            self.ask(asker, source, Some(key), budget);
        }
    }

    fn split(&mut self) {
        for n in 0..NODES {
            self.group[n] = *self.rng.pick(&[0, 0, 0, 1]);
        }
        let group = self.group;
        self.log(|| format!("network {group:?}"));
    }

    fn tidy(&mut self) {
        let (at, limit) = (self.any(), *self.rng.pick(&[1, 2, 100]));
        self.housekeep(at, limit);
    }

    fn cut(&mut self) {
        if let Some(at) = self.holder() {
            self.cut_at(at);
        }
    }

    fn cut_at(&mut self, at: usize) {
        let owners = self.owners(at);
        let node = &mut self.nodes[at];
        let others = node.heard.iter().filter(|(n, _)| **n != at && owners.contains(n)).map(|(_, c)| c);
        let others: Vec<_> = others.collect();
        let cut = node.store.cut_index(node.partition, &others).unwrap();
        self.log(|| format!("index of {at} cut: {cut}"));
        self.may_end_turn(at);
    }

    fn sync_one(&mut self) {
        let at = self.any();
        self.end_turn(at);
        self.sync(at);
    }

    fn check_one(&mut self) {
        let at = self.any();
        self.end_turn(at);
        self.nodes[at].check(&self.oracle);
    }

    fn forget_scan(&mut self) {
        let at = self.any();
        self.nodes[at].scans.clear();
    }

    fn abandon_scan(&mut self) {
        let at = self.any();
        self.nodes[at].asking = None;
    }

    fn lose_one(&mut self) {
        let at = self.any();
        self.lose_disk(at);
    }

    fn cut_power(&mut self) {
        let at = self.any();
        self.power_cut(at);
    }

    fn restart_one(&mut self) {
        let (at, clean) = (self.any(), self.rng.chance(500));
        self.restart(at, clean);
    }

    fn change_owners(&mut self) {
        let mut owners = self.layouts[self.layouts.len() - 1];
        let count = *self.rng.pick(&[1, 1, 3]);
        for _ in 0..count {
            let others: Vec<usize> = (0..NODES).filter(|n| !owners.contains(n)).collect();
            let place = self.rng.below(owners.len());
            owners[place] = *self.rng.pick(&others);
        }
        self.layouts.push(owners);
        self.counts.owners_changed += 1;
        let (at, epoch) = (self.any(), self.layouts.len() - 1);
        self.adopt(at, epoch);
        self.log(|| format!("owners {owners:?}, as {at} knows"));
    }

    fn back_up_one(&mut self) {
        let at = self.any();
        self.back_up(at);
    }

    fn restore_one(&mut self) {
        let at = self.any();
        self.restore(at);
    }

    fn close_one(&mut self) {
        let at = self.any();
        self.close_lives(at);
    }

    fn drop_heard(&mut self) {
        let at = self.any();
        self.nodes[at].heard.clear();
    }
}
