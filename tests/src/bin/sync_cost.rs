//! `make sync-cost`: what it costs to bring one of three copies up to date, beside what an exchange of Merkle trees costs in
//! the same case.
//!
//! Three real nodes over engines in memory, on a network that carries encoded frames and counts them. Bytes and messages
//! are exact and the same in every run; simulated seconds are those of links of 1 Gbit/s with 0.25 ms each way, on which
//! computing takes no time; CPU seconds are this machine's, for all three nodes together.

use clap::Parser;
use tests::cost::cluster::{KEY_BYTES, Setup};
use tests::cost::{BEHIND, Bed, Case, Cost, QUIET_SECONDS, Way, merkle};

/// The bytes that it may cost to find out what differs, be it nothing.
const FINDING_BYTES_MAX: u64 = 100_000;

/// What is moved may be so many times what is missing.
const RATIO_MAX: f64 = 1.5;

/// What a scan may say of each key that it lists, beside the value where that is missing.
const LISTED_BYTES_MAX: u64 = 64;

/// What sync costs.
#[derive(Parser)]
struct Args {
    /// Keys on each of three copies.
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// Bytes of each value.
    #[arg(long, default_value_t = 128)]
    value_size: usize,
    /// Partitions of the cluster.
    #[arg(long, default_value_t = dynode::config::PARTITIONS)]
    partitions: u32,
    /// How many keys are missing on one copy: a row for each. More than there are: all.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 100, 10_000, usize::MAX])]
    missing: Vec<usize>,
    /// How keys came to be missing: `stopped` and `cut` give a row for each of `--missing`, `lost` one for all keys.
    #[arg(long, value_delimiter = ',', default_value = "stopped,cut,lost")]
    ways: Vec<String>,
}

struct Row {
    case: Case,
    cost: Cost,
    cpu: f64,
}

fn main() {
    match run(&Args::parse()) {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(why) => {
            eprintln!("sync_cost: {why}");
            std::process::exit(2);
        }
    }
}

fn run(args: &Args) -> Result<bool, String> {
    let mut bed = Bed::new(Setup {
        partitions: args.partitions,
        value_bytes: args.value_size,
        index_entries_max: dynode::limits::INDEX_ENTRIES_MAX,
    });
    let mut rows = Vec::new();
    let mut quiet = None;
    for case in cases(args)? {
        eprintln!("{} keys, {} missing, {} …", case.keys, case.missing, way(case.way));
        let mut ready = bed.prepare(case)?;
        let before = cpu_seconds();
        let cost = ready.sync()?;
        let cpu = cpu_seconds() - before;
        ready.check(case)?;
        let after = ready.quiet()?;
        let said = after.idle_bytes();
        if said != after.total().bytes {
            return Err(format!("a second pass moved {} bytes beside digests", after.total().bytes - said));
        }
        quiet = Some(after);
        rows.push(Row { case, cost, cpu });
    }
    rows.sort_by_key(|row| (row.case.way, row.case.missing));
    println!(
        "{} keys of {KEY_BYTES} bytes with values of {} on each of three copies, {} partitions, N = 3",
        separated(args.keys as u64),
        args.value_size,
        args.partitions
    );
    println!();
    print_rows(&rows, bed.setup());
    println!();
    print_kinds(&rows);
    if let Some(quiet) = quiet {
        let all = quiet.total();
        println!();
        println!(
            "Afterwards, all three together: {} bytes and {} messages a second, of digests, gossip and the answers to both alone.",
            separated(all.bytes / QUIET_SECONDS),
            all.messages / QUIET_SECONDS
        );
    }
    let broken: Vec<String> = rows.iter().filter_map(|row| over(row, bed.setup())).collect();
    broken.iter().for_each(|what| println!("NOT MET: {what}"));
    Ok(broken.is_empty())
}

/// The rows, in the order in which they can build on each other's clusters: those that need the fewest keys first.
fn cases(args: &Args) -> Result<Vec<Case>, String> {
    let mut missing: Vec<usize> = args.missing.iter().map(|m| (*m).min(args.keys)).collect();
    missing.sort_unstable();
    missing.dedup();
    let mut cases = Vec::new();
    for name in &args.ways {
        let (way, missing) = match name.as_str() {
            "stopped" => (Way::Stopped, missing.clone()),
            "cut" => (Way::IndexCut, missing.iter().copied().filter(|m| (1..args.keys).contains(m)).collect()),
            "lost" => (Way::DiskLost, vec![args.keys]),
            other => return Err(format!("`{other}` is none of stopped, cut and lost")),
        };
        cases.extend(missing.into_iter().map(|missing| Case { keys: args.keys, missing, way }));
    }
    cases.sort_by_key(Case::on_all);
    Ok(cases)
}

/// What is wrong with a row.
fn over(row: &Row, setup: &Setup) -> Option<String> {
    let (moved, missing) = (row.cost.tally.total().bytes, row.case.missing_bytes(setup));
    let listed = match row.case.way {
        Way::IndexCut => row.cost.scans * row.case.keys as u64 / u64::from(setup.partitions),
        Way::Stopped | Way::DiskLost => 0,
    };
    let most = FINDING_BYTES_MAX + (missing as f64 * RATIO_MAX) as u64 + listed * LISTED_BYTES_MAX;
    (moved > most).then(|| {
        let case = format!("{} keys missing, {}", row.case.missing, way(row.case.way));
        format!("{case}: {} bytes moved, and {} would be the most", separated(moved), separated(most))
    })
}

fn print_rows(rows: &[Row], setup: &Setup) {
    println!(
        "| missing | how | MB missing | MB moved | moved / missing | messages | whole after | CPU | Merkle: Riak, MB | \
         Merkle: Cassandra, MB |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for Row { case, cost, cpu } in rows {
        let (missing, moved) = (case.missing_bytes(setup), cost.tally.total());
        let ratio = match missing {
            0 => "-".into(),
            _ => format!("{:.2}", moved.bytes as f64 / missing as f64),
        };
        let (n, k, key, value) = (case.keys as u64, case.missing as u64, KEY_BYTES as u64, setup.value_bytes as u64);
        let (riak, cassandra) = (merkle::riak(n, k, setup.partitions, key, value), merkle::cassandra(n, k, key, value));
        println!(
            "| {} | {} | {} | {} | {ratio} | {} | {:.2} s | {:.2} s | {} | {} |",
            separated(case.missing as u64),
            way(case.way),
            mega(missing as f64),
            mega(moved.bytes as f64),
            separated(moved.messages),
            cost.whole_after as f64 / 1e6,
            cpu,
            mega(riak.0 + riak.1),
            mega(cassandra.0 + cassandra.1),
        );
    }
}

fn print_kinds(rows: &[Row]) {
    println!(
        "| missing | how | digests | clocks | pulls | answers | to the one that lacked | from it | all agreed after |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for Row { case, cost, .. } in rows {
        let kind = |name| {
            let count = cost.tally.of(name);
            format!("{} B in {}", separated(count.bytes), separated(count.messages))
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} B | {} B | {:.2} s |",
            separated(case.missing as u64),
            way(case.way),
            kind("Digests"),
            kind("Clocks"),
            kind("Pull"),
            kind("Answer"),
            separated(cost.tally.to(BEHIND).bytes),
            separated(cost.tally.from(BEHIND).bytes),
            cost.agreed_after as f64 / 1e6,
        );
    }
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Stopped => "delta: stopped meanwhile",
        Way::IndexCut => "scan: the index was cut",
        Way::DiskLost => "scan: disk lost",
    }
}

/// Millions of bytes, with as many digits as say something.
fn mega(bytes: f64) -> String {
    let mega = bytes / 1e6;
    match mega {
        m if m >= 100.0 => format!("{m:.0}"),
        m if m >= 1.0 => format!("{m:.1}"),
        m => format!("{m:.3}"),
    }
}

fn separated(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The seconds of CPU that this thread has used, from `/proc`; 0 where there is none.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}
