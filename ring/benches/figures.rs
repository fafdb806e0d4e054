//! The figures of the ring: each promise, the worst that was measured, and its bound. Fails if one is not kept.
//!
//! `cargo bench -p dynode-ring --bench figures`, about a minute. As a test target (`cargo test --benches`) it does
//! nothing.

#[path = "../tests/common/mod.rs"]
mod common;

use std::{hint::black_box, process::ExitCode, time::Instant};

use common::{Random, broken_rule, imbalance, members, new_member};
use dynode_ring::{Layout, Member, NodeId, PartitionId, Token};

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("figures: run with cargo bench");
        return ExitCode::SUCCESS;
    }
    let mut table = Table { kept: true };
    println!("{:<66} {:>12} {:>12}", "", "worst", "bound");
    first_layouts(&mut table);
    histories(&mut table);
    planning_time(&mut table);
    lookup_time(&mut table);
    if table.kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Table {
    kept: bool,
}

impl Table {
    fn row(&mut self, claim: &str, worst: f64, bound: f64, unit: &str) {
        let kept = worst <= bound + common::ROUNDING;
        self.kept &= kept;
        let verdict = if kept { "ok" } else { "FAIL" };
        println!("{claim:<66} {worst:>12.3} {bound:>12.3} {unit:<10} {verdict}");
    }
}

/// Balance, zones and distinct owners of first layouts.
fn first_layouts(table: &mut Table) {
    let (mut worst, mut broken, mut layouts, mut place): (f64, u32, u32, f64) = (0.0, 0, 0, 0.0);
    let mut random = Random(1);
    for nodes in 1..=200 {
        for replicas in 1..=5 {
            for zones in 1..=5 {
                for mixed in [false, true] {
                    let members = members(nodes, zones, mixed, &mut random);
                    let layout = Layout::first(256, replicas, members).expect("a first layout");
                    worst = worst.max(imbalance(&layout));
                    place = place.max(common::worst_place(&layout));
                    broken += report(&layout);
                    layouts += 1;
                }
            }
        }
    }
    let claim = format!("distance from the share, 1..200 nodes, {layouts} layouts");
    table.row(&claim, worst, 1.0, "partitions");
    table.row("layouts with an owner twice, or too few zones", f64::from(broken), 0.0, "layouts");
    table.row("distance of first places from an even part", place, 1.0, "partitions");
}

/// Movement over random sequences of 50 joins and leaves, with all rules checked after each.
fn histories(table: &mut Table) {
    let (mut worst, mut broken, mut changes, mut distance): (f64, u32, u32, f64) = (1.0, 0, 0, 0.0);
    let (mut copies, mut least) = (0, 0);
    let mut random = Random(2);
    for (partitions, histories) in [(64, 60), (256, 60), (1024, 20)] {
        for _ in 0..histories {
            let (zones, mixed) = (1 + random.below(5), random.below(2) == 1);
            let mut now = members(1 + random.next() % 60, zones, mixed, &mut random);
            let replicas = 1 + random.below(5) as u8;
            let mut layout = Layout::first(partitions, replicas, now.clone()).expect("a first layout");
            for change in 0..50 {
                if now.len() > 1 && random.below(2) == 0 {
                    let leaver = random.below(now.len());
                    now.remove(leaver);
                } else {
                    now.push(new_member(1000 + change, zones, mixed, &mut random));
                }
                let plan = layout.plan(now.clone()).expect("a plan");
                copies += plan.copies();
                least += plan.least;
                // A plan without need to move must move nothing.
                let ratio = if plan.copies() == 0 { 1.0 } else { plan.copies() as f64 / plan.least as f64 };
                worst = worst.max(ratio);
                layout = plan.layout;
                distance = distance.max(imbalance(&layout));
                broken += report(&layout);
                changes += 1;
            }
        }
    }
    table.row(&format!("copies moved / least possible, {changes} joins and leaves"), worst, 1.05, "");
    table.row(&format!("the same over all: {copies} copies"), copies as f64 / least as f64, 1.05, "");
    table.row("distance from the share after changes", distance, 1.0, "partitions");
    table.row("layouts with an owner twice, or too few zones, after changes", f64::from(broken), 0.0, "layouts");
}

fn report(layout: &Layout) -> u32 {
    let broken = broken_rule(layout);
    if let Some(rule) = &broken {
        println!("{rule}");
    }
    u32::from(broken.is_some())
}

const PARTITIONS: u32 = 16_384;

/// Planning 1,000 nodes × 16,384 partitions.
fn planning_time(table: &mut Table) {
    let mut random = Random(3);
    let (mut ratio, mut broken): (f64, u32) = (1.0, 0);
    for (zones, mixed) in [(1, false), (3, true), (5, true), (1000, true)] {
        let kind = format!("{zones} zones, {} weights", if mixed { "mixed" } else { "equal" });
        let all = members(1000, zones, mixed, &mut random);
        let mut row = |change: &str, from: &Layout, to: &[Member]| {
            let start = Instant::now();
            let plan = from.plan(to.to_vec()).expect("a plan");
            let seconds = start.elapsed().as_secs_f64();
            table.row(&format!("1000 x 16384, {kind}: {change}"), seconds, 2.0, "s");
            ratio = ratio.max(plan.copies() as f64 / plan.least as f64);
            broken += report(&plan.layout);
            plan.layout
        };
        let start = Instant::now();
        let first = Layout::first(PARTITIONS, 3, all.clone()).expect("a first layout");
        let seconds = start.elapsed().as_secs_f64();
        let fewer = row("one leaves", &first, &all[1..]);
        row("one joins", &fewer, &all);
        let half = row("half leave", &first, &all[500..]);
        row("as many join", &half, &all);
        let moved: Vec<Member> =
            all.iter().map(|m| common::member(m.id.0, (m.id.0 as usize / 7) % zones, m.weight % 3 + 1)).collect();
        row("zones and weights change", &first, &moved);
        table.row(&format!("1000 x 16384, {kind}: first"), seconds, 2.0, "s");
    }
    table.row("1000 x 16384: copies moved / least possible", ratio, 1.05, "");
    table.row("1000 x 16384: layouts that break a rule", f64::from(broken), 0.0, "layouts");
}

/// Preference lists and tokens.
fn lookup_time(table: &mut Table) {
    let mut random = Random(4);
    for zones in [2, 3, 50] {
        let layout = Layout::first(PARTITIONS, 3, members(1000, zones, true, &mut random)).expect("a layout");
        for down in [0, 1, 100, 500] {
            let mut live = [true; 1000];
            for _ in 0..down {
                live[random.below(1000)] = false;
            }
            let live = |node: NodeId| live[node.0 as usize];
            let ns = median_ns(|| {
                for p in 0..PARTITIONS {
                    black_box(layout.preference_list(PartitionId(p as u16), live));
                }
            }) / f64::from(PARTITIONS);
            table.row(&format!("a preference list, {zones} zones, {down} of 1000 nodes down"), ns, 100.0, "ns");
        }
        // Only partitions that lack an owner, the nodes of a whole zone being away: no stand-in has a zone of its own.
        let zone_away = |node: NodeId| !(node.0 as usize).is_multiple_of(zones);
        let lacking: Vec<PartitionId> =
            layout.partition_ids().filter(|&p| layout.owners(p).iter().any(|&node| !zone_away(node))).collect();
        let ns = median_ns(|| {
            for &p in &lacking {
                black_box(layout.preference_list(p, zone_away));
            }
        }) / lacking.len() as f64;
        table.row(&format!("a preference list, a whole one of {zones} zones down"), ns, 100.0, "ns");
    }
    let keys: Vec<[u8; 16]> = (0..1024).map(|_| (u128::from(random.next()) << 7).to_le_bytes()).collect();
    let ns = median_ns(|| {
        for key in &keys {
            black_box(Token::of(black_box(b"users"), key));
        }
    }) / keys.len() as f64;
    table.row("a token of a 16-byte key", ns, 30.0, "ns");
}

/// Nanoseconds of a run, the median of 15.
fn median_ns(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e9
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
