//! Liveness in figures: how soon a crash is found, how soon all know, how often a live member is taken for down, and what it
//! costs; for 3 to 1,000 members, with loss, pauses and one-way cuts.
//!
//! `cargo bench -p dynode --no-default-features --bench liveness`, about a minute. As a test target it does nothing. With
//! `-- --bench 100` only clusters of up to 100 members.

#[path = "../tests/liveness/cluster.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod cluster;

use std::time::Instant;

use cluster::{Cluster, MS, SECOND};
use dynode::protocol::Liveness;

/// Until all have met.
const WARM: u64 = 15 * SECOND;

/// What makes life hard in a row of the table.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    None,
    /// Connections to the crashed process are reset, as when it was killed and the machine goes on.
    Resets,
    /// One member in ten, at least one, stands still for 1 to 4 s, half of the time.
    Pauses,
    /// One member in ten, at least one, cannot send to half of the others.
    OneWay,
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("liveness: run with cargo bench");
        return;
    }
    let most = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(1000);
    println!(
        "| members | loss | trouble | first suspects (s) | first knows (s) | all know (s) | worst (s) | false downs / node hour | bytes / node s | seconds to run |"
    );
    println!("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for members in [3, 10, 100, 1000].into_iter().filter(|n| *n <= most) {
        for loss in [0, 5, 20, 30] {
            row(members, loss, Trouble::None);
        }
        row(members, 0, Trouble::Resets);
        row(members, 0, Trouble::Pauses);
        row(members, 0, Trouble::OneWay);
    }
}

fn row(members: usize, loss: u32, trouble: Trouble) {
    let began = Instant::now();
    let crashes = (300 / members).clamp(3, 30);
    let mut found: [Vec<f64>; 3] = Default::default();
    for seed in 0..crashes {
        let mut cluster = Cluster::new(members, seed as u64);
        cluster.loss_percent = loss;
        cluster.resets = trouble == Trouble::Resets;
        cluster.run_for(WARM / 2);
        let until = cluster.now + WARM / 2 + cluster.random(SECOND);
        live(&mut cluster, members, trouble, until);
        let crashed = cluster.now;
        cluster.crash(0);
        let observers = 1..if trouble == Trouble::Pauses { members - troubled(members) } else { members };
        while !observers.clone().all(|n| cluster.liveness(n, 0) == Liveness::Down) {
            assert!(cluster.now < crashed + 300 * SECOND, "{members} members, {loss} % loss, seed {seed}: never found");
            let until = cluster.now + 50 * MS;
            live(&mut cluster, members, trouble, until);
        }
        // Each one's first word of it since the crash; one who suspected it already knew at once.
        let first = |liveness, observer| {
            let of =
                cluster.changes.iter().filter(|c| c.about == 0 && c.observer == observer && c.liveness == liveness);
            of.map(|c| c.at).find(|at| *at >= crashed).map_or(0, |at| at - crashed) as f64 / SECOND as f64
        };
        let times = |liveness| observers.clone().map(move |observer| first(liveness, observer));
        found[0].push(times(Liveness::Suspect).fold(f64::MAX, f64::min));
        found[1].push(times(Liveness::Down).fold(f64::MAX, f64::min));
        found[2].push(times(Liveness::Down).fold(0.0, f64::max));
    }
    let mean = |times: &Vec<f64>| times.iter().sum::<f64>() / times.len() as f64;
    let worst = found[2].iter().copied().fold(0.0, f64::max);
    let (false_downs, bytes) = calm(members, loss, trouble);
    let trouble = match trouble {
        Trouble::None => "",
        Trouble::Resets => "connections reset",
        Trouble::Pauses => "pauses",
        Trouble::OneWay => "one-way cuts",
    };
    println!(
        "| {members} | {loss} % | {trouble} | {:.1} | {:.1} | {:.1} | {worst:.1} | {false_downs:.2} | {bytes:.0} | {:.1} |",
        mean(&found[0]),
        mean(&found[1]),
        mean(&found[2]),
        began.elapsed().as_secs_f64(),
    );
}

fn troubled(members: usize) -> usize {
    members.div_ceil(10)
}

/// A long time without crashes: members that were taken for down by mistake a node and hour, and bytes a node and second.
fn calm(members: usize, loss: u32, trouble: Trouble) -> (f64, f64) {
    let mut cluster = Cluster::new(members, 99);
    cluster.loss_percent = loss;
    cluster.run_for(WARM);
    let (since, bytes) = (cluster.now, cluster.bytes);
    let span = (20 * 3600 / members as u64).max(30) * SECOND;
    live(&mut cluster, members, trouble, since + span);
    let troubled = troubled(members);
    // Those who stand still are rightly taken for down when they do so for long: only the others count.
    let counts = |about: usize| trouble != Trouble::Pauses || about < members - troubled;
    let downs = cluster.changes_to(Liveness::Down, since, counts);
    let node_seconds = members as f64 * span as f64 / SECOND as f64;
    (downs as f64 / (node_seconds / 3600.0), (cluster.bytes - bytes) as f64 / node_seconds)
}

/// Lets time pass, with trouble.
fn live(cluster: &mut Cluster, members: usize, trouble: Trouble, until: u64) {
    let troubled = troubled(members);
    if trouble == Trouble::OneWay && cluster.cut.is_empty() && members > 3 {
        for from in members - troubled..members {
            let cut: Vec<usize> = (1..members).filter(|to| *to != from && (to + from) % 2 == 0).collect();
            cluster.cut.extend(cut.into_iter().map(|to| (from, to)));
        }
    }
    while cluster.now < until {
        let second = cluster.now / SECOND;
        cluster.run_until(until.min((second + 1) * SECOND));
        if trouble == Trouble::Pauses && cluster.now / SECOND > second {
            for node in members - troubled..members {
                if cluster.random(5) == 0 {
                    let span = SECOND + cluster.random(3 * SECOND);
                    cluster.pause(node, span);
                }
            }
        }
    }
}
