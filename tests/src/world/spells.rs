//! Faults that last for a while and end of themselves. They have a clock and a stream of random numbers of their own,
//! beside those of [`super::faults`], so that several things go wrong at once.

use bytes::Bytes;
use dynode::protocol::Durability;
use dynode_ring::PartitionId;
use dynode_storage::{Clock, Space, View};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use super::disk::Trouble;
use super::journal::Op;
use super::plan::{MS, SECOND, Spell, around, weighted};
use super::{Happening, Outcome, Phase, Violation, World};

/// Of a million messages, so many are lost under heavy loss.
const LOSS_PPM: u32 = 300_000;

/// How much slower a node is that crawls.
const CRAWL: u64 = 100;

/// What crawls on top of a slow disk or network is bounded all the same: else nothing would move for minutes.
const CRAWL_MAX: u64 = 2 * SECOND;

/// What is going on of spells.
pub(crate) struct Spells {
    pub(crate) rng: Pcg64,
    /// Every spell has a number. Those that go on now, with it.
    now: Vec<(u32, Spell, usize, usize)>,
    begun: u32,
}

impl Spells {
    pub(crate) fn new(rng: Pcg64) -> Spells {
        Spells { rng, now: Vec::new(), begun: 0 }
    }

    fn goes_on(&self, which: impl Fn(&Spell, usize, usize) -> bool) -> bool {
        self.now.iter().any(|(_, spell, at, other)| which(spell, *at, *other))
    }
}

impl World {
    /// When the next spell comes.
    pub(crate) fn plan_spell(&mut self) {
        if self.plan.spell_every > 0 && self.plan.spells.iter().any(|w| *w > 0) {
            let at = self.now + around(&mut self.spells.rng, self.plan.spell_every);
            self.queue.push(at, Happening::Spell);
        }
    }

    /// A spell begins, and when it ends is decided.
    pub(crate) fn spell(&mut self) {
        if self.phase != Phase::Faults {
            return;
        }
        if let Some(which) = weighted(&mut self.spells.rng, &self.plan.spells) {
            let (spell, name, _) = Spell::ALL[which];
            let nodes = self.plan.nodes;
            let at = self.spells.rng.random_range(0..nodes);
            let other = (at + self.spells.rng.random_range(0..nodes)) % nodes;
            let span = self.spells.rng.random_range(100 * MS..8 * SECOND);
            if spell != Spell::Rot || self.rot_something(at) {
                self.begin_spell(spell, at, other, span);
                self.stats.fault(name);
            }
        }
        self.plan_spell();
    }

    /// Begins a spell at a node (where it concerns one), or between it and another.
    pub(crate) fn begin_spell(&mut self, spell: Spell, at: usize, other: usize, span: u64) {
        self.spells.begun += 1;
        let number = self.spells.begun;
        self.spells.now.push((number, spell, at, other));
        self.trace.line(self.now, |_| format!("{spell:?} begins at n{at}"));
        match spell {
            Spell::Loss => self.network.loss_ppm = LOSS_PPM,
            Spell::Flapping => self.queue.push(self.now, Happening::Flap { number, open: true }),
            Spell::Lopsided => {
                let mut order: Vec<usize> = (0..self.plan.nodes).collect();
                order.shuffle(&mut self.spells.rng);
                let (left, right) = order.split_at(self.plan.nodes / 2);
                for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))).collect::<Vec<_>>() {
                    self.cut(a, b);
                }
            }
            Spell::Crawl => self.hosts[at].crawl = CRAWL,
            Spell::DiskFull => self.hosts[at].trouble.set(Some(Trouble::Full)),
            Spell::DiskFails => self.hosts[at].trouble.set(Some(Trouble::Fails)),
            Spell::Rot => {}
        }
        self.queue.push(self.now + span, Happening::SpellEnds { number });
    }

    /// A spell ends; what another one of its kind keeps up goes on.
    pub(crate) fn spell_ends(&mut self, number: u32) {
        let Some(place) = self.spells.now.iter().position(|(n, ..)| *n == number) else { return };
        let (_, spell, at, other) = self.spells.now.remove(place);
        self.trace.line(self.now, |_| format!("{spell:?} ends at n{at}"));
        match spell {
            Spell::Loss if !self.spells.goes_on(|s, _, _| *s == Spell::Loss) => self.network.loss_ppm = 0,
            Spell::Flapping => self.uncut(at, other),
            Spell::Lopsided => self.mend(),
            Spell::Crawl if !self.spells.goes_on(|s, host, _| *s == spell && host == at) => self.hosts[at].crawl = 1,
            Spell::DiskFull | Spell::DiskFails => self.hosts[at].trouble.set(None),
            Spell::Loss | Spell::Crawl | Spell::Rot => {}
        }
    }

    /// How long something takes at a node that is so many times slower.
    pub(crate) fn slowed(&self, span: u64, crawl: u64) -> u64 {
        span.max((span * crawl).min(CRAWL_MAX))
    }

    /// Damages an object on a machine's disk; false where none may be.
    fn rot_something(&mut self, at: usize) -> bool {
        let Some(node) = &mut self.hosts[at].node else { return false };
        let mut keys = Vec::new();
        let disk = node.store().engine().image();
        let _ = disk.scan(Space::Objects, &[], &[0xff; 8], &mut |key, _| {
            keys.push(Bytes::copy_from_slice(key));
            true
        });
        if keys.is_empty() {
            return false;
        }
        let key = keys.swap_remove(self.spells.rng.random_range(0..keys.len()));
        let partition = PartitionId(u16::from_be_bytes([key[0], key[1]]));
        let kept: Vec<PartitionId> = self.layout.partition_ids().collect();
        let kept: Vec<Clock> =
            kept.iter().map(|p| if *p == partition { Clock::new() } else { self.hosts[at].clock(*p, true) }).collect();
        if self.layout.owners(partition).len() < 2 || !self.is_spare(at, &kept) {
            return false;
        }
        self.rot(at, Space::Objects, key);
        true
    }

    /// Damages a record.
    pub(crate) fn rot(&mut self, at: usize, space: Space, key: Bytes) {
        self.trace.line(self.now, |_| format!("n{at}: a record of {} rots: {}", space.name(), key.escape_ascii()));
        self.hosts[at].rotten.insert(PartitionId(u16::from_be_bytes([key[0], key[1]])));
        self.hosts[at].trouble.rot(space, key);
    }

    /// A node has discarded what was damaged of its copies: what only they had is gone.
    pub(crate) fn found_rot(&mut self, at: usize, discarded: Vec<(PartitionId, Clock)>) -> Result<(), Violation> {
        for (partition, was) in discarded {
            self.trace.line(self.now, |t| format!("n{at} has discarded {partition}: {}", t.clock(&was)));
            let mut before = vec![Clock::new(); self.layout.partitions() as usize];
            before[usize::from(partition.0)] = was;
            let host = &mut self.hosts[at];
            host.rotten.remove(&partition);
            host.remember(&before);
            self.disks_lost += 1;
            self.stats.fault("damage found");
            let is_group = self.plan.durability == Durability::Group;
            let several = |op: &&Op| is_group && op.outcome == Outcome::Done && op.acks.owners + op.acks.stand_ins > 1;
            let gone: Vec<_> = self.gone(&before).into_iter().map(|(id, _)| id).collect();
            if let Some(op) = gone.iter().map(|id| self.journal.op(*id)).find(several) {
                let what = format!("#{} was acknowledged by several, and damage of one copy has taken it", op.id);
                return Err(Violation::new("1 no acknowledged write is lost", what));
            }
            self.take(&before);
        }
        Ok(())
    }

    /// A way that flaps changes.
    pub(crate) fn flap(&mut self, number: u32, open: bool) {
        let Some((_, _, at, other)) = self.spells.now.iter().find(|(n, ..)| *n == number).copied() else { return };
        match open {
            true => self.cut(at, other),
            false => self.uncut(at, other),
        }
        let most = if self.spells.rng.random_bool(0.5) { 100 * MS } else { 2 * SECOND };
        let again = self.now + self.spells.rng.random_range(MS..most);
        self.queue.push(again, Happening::Flap { number, open: !open });
    }

    /// All spells end.
    pub(crate) fn end_spells(&mut self) {
        let numbers: Vec<u32> = self.spells.now.iter().map(|(n, ..)| *n).collect();
        numbers.into_iter().for_each(|number| self.spell_ends(number));
    }
}
