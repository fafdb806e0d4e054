//! Many seeds on many threads: what each came to, and all of it added up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dynode_storage::rules::{Rule, break_rule};

use crate::world::plan::{Plan, Spell};
use crate::world::stats::Stats;
use crate::world::{Violation, World};

/// What is deliberately wrong in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// A rule of versions and copies.
    Rule(Rule),
    /// A turn's effects are let out before it is committed.
    SendFirst,
    /// A node goes on after its disk has refused a batch.
    Unfenced,
    /// Puts are asked for again without the id of their request.
    NoRequestIds,
    /// Reads of sessions do not say what was seen.
    NoSessions,
}

/// Do operators change who owns what?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Changes {
    /// As the seed says.
    #[default]
    Drawn,
    /// In every run.
    Always,
    /// In none: seeds mean what they meant before.
    Never,
}

/// How seeds are run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// What is deliberately wrong.
    pub wrong: Option<Break>,
    /// So many nodes, whatever the seeds say.
    pub nodes: Option<usize>,
    /// Only what there was before spells and stand-ins: see [`Plan::plain_of_seed`].
    pub plain: bool,
    /// Of sixteen operations, so many let stand-ins count, whatever the seeds say.
    pub sloppy: Option<u32>,
    /// A spell about so often, in microseconds, whatever the seeds say.
    pub spell_every: Option<u64>,
    /// Objects rot, too.
    pub rot: bool,
    /// Do operators change who owns what?
    pub changes: Changes,
    /// Go on after a failure.
    pub go_on: bool,
    /// Print a line an event.
    pub echo: bool,
}

/// A seed that failed.
#[derive(Debug, Clone)]
pub struct Failed {
    /// Which.
    pub seed: u64,
    /// What did not hold.
    pub violation: Violation,
}

/// Runs one seed; a panic counts as a violation.
pub fn run_seed(seed: u64, options: Options) -> Result<(Stats, u64), Failed> {
    break_rule(match options.wrong {
        Some(Break::Rule(rule)) => Some(rule),
        _ => None,
    });
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut plan = if options.plain { Plan::plain_of_seed(seed) } else { Plan::of_seed(seed) };
        plan.nodes = options.nodes.unwrap_or(plan.nodes);
        plan.sloppy = options.sloppy.unwrap_or(plan.sloppy);
        plan.spell_every = options.spell_every.unwrap_or(plan.spell_every);
        if options.changes != Changes::Never && !options.plain {
            plan.draw_changes(seed, options.changes == Changes::Always);
        }
        plan.spells[Spell::Rot as usize] = if options.rot { plan.rot } else { 0 };
        let mut world = World::new(seed, plan, false, options.echo);
        world.sends_first = options.wrong == Some(Break::SendFirst);
        world.unfenced = options.wrong == Some(Break::Unfenced);
        world.forgets_requests = options.wrong == Some(Break::NoRequestIds);
        world.forgets_sessions = options.wrong == Some(Break::NoSessions);
        world.run().map(|()| {
            world.stats.slowest = (world.stats.settled_us_max, seed);
            (world.stats.clone(), world.trace.hash())
        })
    }));
    break_rule(None);
    match ran {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(violation)) => Err(Failed { seed, violation }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            let violation = Violation::new("panic", text.unwrap_or_else(|| "without words".into()));
            Err(Failed { seed, violation })
        }
    }
}

/// Runs a range of seeds on so many threads, until one fails unless it is to go on. `progress` hears how many are done.
pub fn run_range(
    seeds: std::ops::Range<u64>,
    options: Options,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> (Stats, Vec<Failed>) {
    let next = AtomicU64::new(seeds.start);
    let done = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let total = Mutex::new((Stats::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (mut stats, mut failed) = (Stats::default(), Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    match run_seed(seed, options) {
                        Ok((more, _)) => stats.add(&more),
                        Err(f) => {
                            failed.push(f);
                            stop.store(!options.go_on, Ordering::Relaxed);
                        }
                    }
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                }
                if let Ok(mut total) = total.lock() {
                    total.0.add(&stats);
                    total.1.append(&mut failed);
                }
            });
        }
    });
    let (stats, mut failed) = total.into_inner().unwrap_or_default();
    failed.sort_by_key(|f| f.seed);
    (stats, failed)
}
