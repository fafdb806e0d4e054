//! Faults that last for a while and end of themselves. They have a clock and a stream of random numbers of their own,
//! beside those of [`super::faults`], so that several things go wrong at once.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use super::disk::Trouble;
use super::plan::{MS, SECOND, Spell, around, weighted};
use super::{Happening, Phase, World};

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
            self.begin_spell(spell, at, other, span);
            self.stats.fault(name);
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
            Spell::Loss | Spell::Crawl => {}
        }
    }

    /// How long something takes at a node that is so many times slower.
    pub(crate) fn slowed(&self, span: u64, crawl: u64) -> u64 {
        span.max((span * crawl).min(CRAWL_MAX))
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
