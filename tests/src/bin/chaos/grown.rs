//! What came of `grow`: figures for each change, and whether all held.

use std::time::Duration;

use dynode::cli::table::Side::{Left, Right};
use dynode::cli::table::{Cell, Table};
use dynode::cli::units;
use dynode_bench::audit::verdict::Verdict;
use owo_colors::OwoColorize;
use serde_json::{Value, json};

use crate::load::{Phase, Seconds};
use crate::outcome::Held;

/// The bytes that syncs take in during a change, at most, of those of the keys and values that must move.
const BYTES_RATIO_MAX: f64 = 1.1;

/// The p99 during a change, at most, of that before it.
const P99_RATIO_MAX: f64 = 2.0;

/// Operations, as the load names them.
const OPS: [&str; 2] = ["read", "write"];

/// One change of ownership.
pub(crate) struct Step {
    pub(crate) what: &'static str,
    /// What went before.
    pub(crate) calm: Phase,
    pub(crate) phase: Phase,
    /// From the operator's word until `commit --wait` was content.
    pub(crate) settled: Duration,
    pub(crate) copies: u64,
    pub(crate) least_copies: u64,
    /// Bytes that syncs took in meanwhile, on all nodes.
    pub(crate) moved: u64,
    /// The keys and values in the fewest copies that must move.
    pub(crate) least: u64,
}

/// A run.
pub(crate) struct Grown {
    pub(crate) seed: u64,
    pub(crate) steps: Vec<Step>,
    pub(crate) kills: u64,
    pub(crate) seconds: Seconds,
    pub(crate) verdict: Verdict,
    /// Of the records that were there before.
    pub(crate) lost_records: u64,
    pub(crate) troubles: Vec<String>,
}

impl Step {
    fn bytes_ratio(&self) -> f64 {
        self.moved as f64 / self.least.max(1) as f64
    }
}

impl Grown {
    fn failed(&self) -> u64 {
        self.seconds.ends.iter().filter(|((_, kind, _), _)| *kind != "ok").map(|(_, count)| count).sum()
    }

    /// The p99 before, during and after a change, in milliseconds.
    fn p99(&self, step: &Step, op: &'static str) -> Option<[f64; 3]> {
        let of = |phase| self.seconds.quantile_ms(op, phase, 0.99);
        Some([of(step.calm)?, of(step.phase)?, of(step.phase + 1)?])
    }

    fn p99_ratio_max(&self) -> f64 {
        let all = self.steps.iter().flat_map(|step| OPS.map(|op| self.p99(step, op)));
        all.flatten().map(|[before, during, _]| during / before.max(1e-6)).fold(0.0, f64::max)
    }

    pub(crate) fn held(&self) -> Vec<Held> {
        let none = |what, count: u64| Held { what, held: count == 0, figure: count.to_string() };
        let verdict = &self.verdict;
        let bytes = self.steps.iter().map(Step::bytes_ratio).fold(0.0, f64::max);
        let (p99, strict_reads) = (self.p99_ratio_max(), verdict.strict_reads);
        let mut held = vec![
            none("acknowledged writes lost", verdict.lost.len() as u64 + self.lost_records),
            none("replaced values resurrected", verdict.resurrected.len() as u64),
            none("false words", verdict.false_words.len() as u64),
            none("strange values, or keys that cannot be read", (verdict.strange.len() + verdict.unread.len()) as u64),
            Held {
                what: "strict reads that missed what was acknowledged before",
                held: verdict.missed.is_empty() && strict_reads > 0,
                figure: format!("{} of {}", verdict.missed.len(), units::count(strict_reads)),
            },
        ];
        // A node that was killed has counted anew, and taken some in twice; and where one that has not all yet is asked beside
        // one that is down, there may be no quorum for longer than a client's budget of retries lasts.
        if self.kills == 0 {
            held.push(none("operations failed after the client's own retries", self.failed()));
            held.push(Held {
                what: "bytes moved, at most 1.1 of the least possible",
                held: bytes <= BYTES_RATIO_MAX,
                figure: format!("{bytes:.3} at most"),
            });
            held.push(Held {
                what: "p99 during a change, at most twice that before",
                held: p99 <= P99_RATIO_MAX,
                figure: format!("{p99:.2} at most"),
            });
        }
        held.push(none("what should not have happened", self.troubles.len() as u64));
        held
    }

    pub(crate) fn all_held(&self) -> bool {
        self.held().iter().all(|held| held.held)
    }
}

/// Prints it.
pub(crate) fn show(grown: &Grown, as_json: bool) -> Result<(), String> {
    if as_json {
        let text = serde_json::to_string_pretty(&json(grown)).map_err(|e| e.to_string())?;
        anstream::println!("{text}");
        return Ok(());
    }
    anstream::println!("\n{}", steps(grown));
    anstream::println!("{}", requests(grown));
    let mut table = Table::new([("", Left), ("", Left), ("", Left)]).indented(2);
    for held in grown.held() {
        let (mark, figure) = match held.held {
            true => (Cell::good("✓"), Cell::good(held.figure.as_str())),
            false => (Cell::bad("✗"), Cell::bad(held.figure.as_str())),
        };
        table.row([mark, held.what.into(), figure]);
    }
    anstream::println!("{}", table.render());
    let missed = grown.verdict.missed.iter().chain(&grown.verdict.lost).take(10);
    missed.for_each(|offence| anstream::println!("  {} {}", offence.key, offence.what.red()));
    grown.seconds.errors.iter().for_each(|error| anstream::println!("  {} {error}", "failed".red()));
    grown.troubles.iter().for_each(|trouble| anstream::println!("  {} {trouble}", "trouble".red()));
    let words = match grown.all_held() {
        true => "all of it held".green().bold().to_string(),
        false => format!("{}; --seed {}", "NOT all of it held".red().bold(), grown.seed),
    };
    anstream::println!("\n{words}");
    Ok(())
}

fn steps(grown: &Grown) -> String {
    let mut table = Table::new([
        ("change", Left),
        ("settled in", Right),
        ("copies", Right),
        ("least", Right),
        ("moved", Right),
        ("least", Right),
        ("ratio", Right),
        ("p99 of reads before, during, after", Right),
        ("of writes", Right),
    ])
    .indented(2);
    for step in &grown.steps {
        let p99 = |op| match grown.p99(step, op) {
            None => Cell::faint("-"),
            Some([before, during, after]) => {
                let ratio = during / before.max(1e-6);
                let text = format!("{before:.1} → {during:.1} → {after:.1} ms, × {ratio:.2}");
                if during > before * P99_RATIO_MAX { Cell::notable(text) } else { text.into() }
            }
        };
        table.row([
            step.what.into(),
            units::time(step.settled).into(),
            step.copies.to_string().into(),
            step.least_copies.to_string().into(),
            units::bytes(step.moved).into(),
            units::bytes(step.least).into(),
            format!("{:.3}", step.bytes_ratio()).into(),
            p99("read"),
            p99("write"),
        ]);
    }
    table.render()
}

fn requests(grown: &Grown) -> String {
    let mut table = Table::new([("requests", Left), ("", Left), ("", Right)]).indented(2);
    for ((op, kind, known), count) in &grown.seconds.ends {
        let outcome = if *kind == "ok" { Cell::good("done") } else { Cell::bad(format!("{kind} ({known})")) };
        table.row([(*op).into(), outcome, units::count(*count).into()]);
    }
    for (why, count) in &grown.seconds.retries {
        table.row(["the client's own retry".into(), (*why).into(), units::count(*count).into()]);
    }
    table.row(["nodes killed and started again meanwhile".into(), "".into(), grown.kills.to_string().into()]);
    table.render()
}

fn json(grown: &Grown) -> Value {
    let step = |step: &Step| {
        let figures =
            |[before, during, after]: [f64; 3]| json!({ "before_ms": before, "during_ms": during, "after_ms": after });
        json!({
            "change": step.what,
            "settled_s": step.settled.as_secs_f64(),
            "copies": step.copies,
            "least_copies": step.least_copies,
            "bytes_moved": step.moved,
            "bytes_least": step.least,
            "p99_reads": grown.p99(step, "read").map(figures),
            "p99_writes": grown.p99(step, "write").map(figures),
        })
    };
    let end = |((op, kind, known), count): (&(&str, &str, &str), &u64)| json!({ "op": op, "ended_with": kind, "known": known, "count": count });
    let held = grown.held();
    let held = held.iter().map(|held| json!({ "what": held.what, "held": held.held, "figure": held.figure }));
    json!({
        "held": grown.all_held(),
        "seed": grown.seed,
        "criteria": held.collect::<Vec<_>>(),
        "changes": grown.steps.iter().map(step).collect::<Vec<_>>(),
        "requests": grown.seconds.ends.iter().map(end).collect::<Vec<_>>(),
        "retries": grown.seconds.retries,
        "kills": grown.kills,
        "errors": grown.seconds.errors,
        "audit": serde_json::to_value(&grown.verdict).unwrap_or_default(),
        "troubles": grown.troubles,
    })
}
