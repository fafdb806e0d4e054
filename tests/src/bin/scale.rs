//! `make scale`: what changes of ownership cost in clusters of 100 and 1,000 nodes.
//!
//! Real nodes over engines in memory, on a network that counts what it carries. Bytes, copies and simulated seconds are
//! the same in every run; links carry 1 Gbit/s with 0.25 ms each way, and computing takes no time on them.

use std::time::Instant;

use clap::{Parser, ValueEnum};
use tests::scale::cluster::Setup;
use tests::scale::{Bed, COLUMNS, Change, Quiet};

type Step = Result<Change, String>;

/// What changes of ownership cost in large clusters.
#[derive(Parser)]
struct Args {
    /// Nodes: a table for each.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1000])]
    nodes: Vec<usize>,
    /// Partitions; four for each node, as a power of two, but no less than 1,024 unless said otherwise.
    #[arg(long)]
    partitions: Option<u32>,
    /// Keys in each partition.
    #[arg(long, default_value_t = 16)]
    keys: usize,
    /// Bytes of each value.
    #[arg(long, default_value_t = 1024)]
    value_size: usize,
    /// Operations of clients a second, while something changes.
    #[arg(long, default_value_t = 500)]
    load: u64,
    /// Only these changes, in this order; all of them unless said otherwise.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<What>,
    /// Also what every message costs.
    #[arg(long)]
    messages: bool,
}

/// A change of the cluster.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    Join,
    Leave,
    RackJoins,
    RackLeaves,
    Restart,
    RackLost,
}

impl What {
    fn happen(self, bed: &mut Bed, rack: usize) -> Step {
        match self {
            What::Join => bed.join(1),
            What::Leave => bed.leave(1),
            What::RackJoins => bed.join(rack),
            What::RackLeaves => bed.leave(rack),
            What::Restart => bed.restart_all(),
            What::RackLost => bed.lose_rack(),
        }
    }
}

fn main() {
    match run(&Args::parse()) {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(why) => {
            eprintln!("scale: {why}");
            std::process::exit(2);
        }
    }
}

fn run(args: &Args) -> Result<bool, String> {
    let mut all_good = true;
    for &nodes in &args.nodes {
        let partitions = args.partitions.unwrap_or_else(|| (4 * nodes as u32).next_power_of_two().max(1024));
        let setup = Setup {
            nodes,
            rack: (nodes / 20).max(1),
            partitions,
            keys: args.keys * partitions as usize,
            value_bytes: args.value_size,
            load: args.load,
        };
        let began = Instant::now();
        let mut bed = Bed::new(setup)?;
        let layout_bytes = bed.layout_bytes()?;
        let progress = |what: &str| eprintln!("{nodes} nodes: {what}, {:.0} s so far", began.elapsed().as_secs_f64());
        progress("started and filled");
        let quiet = bed.quiet()?;
        progress("quiet");
        print_quiet(&setup, &quiet, layout_bytes);
        println!(
            "| {nodes} nodes: change | members | copies made / least | MB moved / least | ratio | fullest / average | \
             farthest from its share | stable after | settled after | operations | slowest | attempts made again | refused | false downs | {} |",
            COLUMNS.map(|(name, _)| format!("{name}: kB a node")).join(" | ")
        );
        println!("|{}", " --- |".repeat(14 + COLUMNS.len()));
        for what in if args.only.is_empty() { What::value_variants() } else { &args.only } {
            let change = what.happen(&mut bed, setup.rack)?;
            progress(&change.what);
            print_change(&change);
            change.served.details.iter().for_each(|(why, detail)| eprintln!("  {why}: {detail}"));
            if args.messages {
                change
                    .tally
                    .by_message()
                    .iter()
                    .for_each(|(name, n, bytes)| eprintln!("  {name:<14} {n:>10} {bytes:>14}"));
            }
            all_good &= change.served.refused == 0;
        }
        println!();
    }
    Ok(all_good)
}

fn print_quiet(setup: &Setup, quiet: &Quiet, layout_bytes: f64) {
    println!(
        "{} nodes in {} racks, {} partitions, N = 3, {} keys of 20 bytes with values of {}; {} operations a second\n",
        setup.nodes,
        setup.nodes / setup.rack,
        setup.partitions,
        setup.keys,
        setup.value_bytes,
        setup.load
    );
    println!("| quiet, bytes a node and second | gossip | agreement | digests | all | a layout in memory |");
    println!("|{}", " --- |".repeat(6));
    let Quiet { gossip, agreement, digests, all } = quiet;
    println!("| | {gossip:.0} | {agreement:.0} | {digests:.0} | {all:.0} | {:.0} kB |\n", layout_bytes / 1e3);
}

fn print_change(change: &Change) {
    let seconds = |micros: u64| format!("{:.1} s", micros as f64 / 1e6);
    let ratio =
        if change.least == 0 { "-".into() } else { format!("{:.2}", change.moved as f64 / change.least as f64) };
    let again: Vec<String> = change.served.again.iter().map(|(why, n)| format!("{n} {why}")).collect();
    let again = if again.is_empty() { "0".into() } else { again.join(", ") };
    let columns = COLUMNS.map(|(_, messages)| format!("{:.1}", change.bytes_a_node(messages) / 1e3));
    println!(
        "| {} | {} → {} | {} / {} | {:.1} / {:.1} | {ratio} | {:.2} | {:.2} | {} | {} | {} | {} | {again} | {} | {} | {} |",
        change.what,
        change.members.0,
        change.members.1,
        change.copies.0,
        change.copies.1,
        change.moved as f64 / 1e6,
        change.least as f64 / 1e6,
        change.fullest,
        change.distance,
        seconds(change.stable),
        seconds(change.settled),
        change.served.done,
        seconds(change.served.slowest),
        change.served.refused,
        change.false_downs,
        columns.join(" | ")
    );
}
