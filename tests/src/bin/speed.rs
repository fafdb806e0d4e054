//! `make bench`: what three nodes on this machine do beside what bare RocksDB does with the same keys and values, in one
//! run, so that the ratio holds where the machine's speed drifts.
//!
//! Three nodes, N = 3, `durability = "os"`, quorum puts and gets of 128-byte values, 64 in flight, all from one client
//! thread on the same processors. Bare: one process, one thread, no sync; puts in batches of 32, gets one by one.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use dynode::config::File;
use dynode_client::Bucket;
use dynode_storage::engine::Step;
use dynode_storage::rocks::{Options, RocksEngine};
use dynode_storage::{Engine, Space, View};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use tests::processes::{Cluster, Node};

/// The floor of the present step: one so-many-th of bare RocksDB.
const PUT_FLOOR: f64 = 1.0 / 25.0;
const GET_FLOOR: f64 = 1.0 / 10.0;

/// Speed of three nodes beside bare RocksDB.
#[derive(Parser)]
struct Args {
    /// Keys to put, and to get from.
    #[arg(long, default_value_t = 300_000)]
    keys: usize,
    /// Requests in flight.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Bytes of each value.
    #[arg(long, default_value_t = 128)]
    value_size: usize,
    /// Partitions of the cluster.
    #[arg(long, default_value_t = 256)]
    partitions: u32,
    /// `os`, `group` or `interval:<duration>`.
    #[arg(long, default_value = "os")]
    durability: String,
}

struct Measured {
    rate: f64,
    p50: Duration,
    p99: Duration,
    /// CPU microseconds an operation: all nodes together, and this process.
    nodes_us: f64,
    own_us: f64,
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(|e| e.to_string()).and_then(|runtime| runtime.block_on(run(&args)));
    match result {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(why) => {
            eprintln!("speed: {why}");
            std::process::exit(2);
        }
    }
}

async fn run(args: &Args) -> Result<bool, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let keys: Rc<Vec<Bytes>> = Rc::new((0..args.keys).map(key).collect());
    let mut value = vec![0; args.value_size];
    Pcg64::seed_from_u64(7).fill_bytes(&mut value);
    let value = Bytes::from(value);

    eprintln!("three nodes, {} keys …", args.keys);
    let mut nodes = Cluster::new(dir.path(), 3, args.partitions)?;
    for node in &nodes.nodes {
        let path = node.config();
        let mut file = File::read(&path).map_err(|e| e.to_string())?;
        file.durability.clone_from(&args.durability);
        file.write(&path).map_err(|e| e.to_string())?;
    }
    nodes.start_all().await?;
    let client = nodes.client().await?;
    let bucket = client.bucket("speed").map_err(|e| e.to_string())?;
    let put = measure(
        &nodes,
        args,
        &keys,
        |bucket, key, value| async move { bucket.put(key, value).await.map(|_| ()).map_err(|e| e.to_string()) },
        &bucket,
        &value,
        false,
    )
    .await?;
    let get = measure(
        &nodes,
        args,
        &keys,
        |bucket, key, value| async move {
            match bucket.get(key).await.map_err(|e| e.to_string())?.single() {
                Ok(Some(found)) if found == value => Ok(()),
                other => Err(format!("a get gave {other:?}")),
            }
        },
        &bucket,
        &value,
        true,
    )
    .await?;
    nodes.stop_all().await?;

    eprintln!("bare RocksDB …");
    let (bare_put, bare_get) = bare(&dir.path().join("bare"), &keys, &value)?;

    println!();
    println!(
        "three nodes, N = 3, r = w = quorum, durability {}, {}-byte values, {} in flight",
        args.durability, args.value_size, args.in_flight
    );
    println!();
    println!("          ops/s   bare RocksDB    ratio   floor               p50        p99   CPU/op nodes    client");
    // The floor is for `os`: bare RocksDB does not sync either.
    let judged = args.durability == "os";
    let mut met = true;
    for (name, ours, bare, floor) in [("put", &put, bare_put, PUT_FLOOR), ("get", &get, bare_get, GET_FLOOR)] {
        let ratio = ours.rate / bare;
        let verdict = match (judged, ratio >= floor) {
            (false, _) => "-".to_string(),
            (true, true) => format!("1/{:.0}, met", 1.0 / floor),
            (true, false) => format!("1/{:.0}, NOT MET", 1.0 / floor),
        };
        met &= !judged || ratio >= floor;
        println!(
            "{name}   {:>9.0}   {bare:>12.0}   1/{:<4.1}   {verdict:<13}   {:>8.2?}   {:>8.2?}   {:>9.1} µs   {:>4.1} µs",
            ours.rate,
            1.0 / ratio,
            ours.p50,
            ours.p99,
            ours.nodes_us,
            ours.own_us,
        );
    }
    println!();
    println!(
        "The nodes, the client and bare RocksDB share {} processors; bare puts go in batches of 32.",
        processors()
    );
    Ok(met)
}

/// Runs one operation on every key (`random`: on as many keys, drawn), `in_flight` at a time.
async fn measure<F, R>(
    nodes: &Cluster,
    args: &Args,
    keys: &Rc<Vec<Bytes>>,
    operation: F,
    bucket: &Bucket,
    value: &Bytes,
    random: bool,
) -> Result<Measured, String>
where
    F: Fn(Bucket, Bytes, Bytes) -> R + Clone + 'static,
    R: Future<Output = Result<(), String>> + 'static,
{
    let (nodes_before, own_before) = (nodes_cpu(nodes), cpu(std::process::id()));
    let began = Instant::now();
    let local = tokio::task::LocalSet::new();
    let workers: Vec<_> = (0..args.in_flight)
        .map(|worker| {
            let (keys, bucket, value) = (Rc::clone(keys), bucket.clone(), value.clone());
            let (operation, step) = (operation.clone(), args.in_flight);
            local.spawn_local(async move {
                let mut random_keys = Pcg64::seed_from_u64(worker as u64);
                let mut latencies = Vec::with_capacity(keys.len() / step + 1);
                for i in (worker..keys.len()).step_by(step) {
                    let at = if random { random_keys.random_range(0..keys.len()) } else { i };
                    let asked = Instant::now();
                    operation(bucket.clone(), keys[at].clone(), value.clone()).await?;
                    latencies.push(asked.elapsed());
                }
                Ok::<_, String>(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::with_capacity(keys.len());
    local
        .run_until(async {
            for worker in workers {
                latencies.extend(worker.await.map_err(|e| e.to_string())??);
            }
            Ok::<_, String>(())
        })
        .await?;
    let took = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize];
    let count = latencies.len() as f64;
    Ok(Measured {
        rate: count / took,
        p50: at(0.5),
        p99: at(0.99),
        nodes_us: (nodes_cpu(nodes) - nodes_before) * 1e6 / count,
        own_us: (cpu(std::process::id()) - own_before) * 1e6 / count,
    })
}

/// Puts in batches of 32, and gets, a second.
fn bare(dir: &Path, keys: &[Bytes], value: &Bytes) -> Result<(f64, f64), String> {
    let mut engine = RocksEngine::open(dir, Options::default()).map_err(|e| e.to_string())?;
    let began = Instant::now();
    for batch in keys.chunks(32) {
        let steps: Vec<Step> = batch.iter().map(|k| Step::Put(Space::Objects, k.clone(), value.clone())).collect();
        engine.write(&steps, false).map_err(|e| e.to_string())?;
    }
    let puts = keys.len() as f64 / began.elapsed().as_secs_f64();
    let mut random = Pcg64::seed_from_u64(1);
    let began = Instant::now();
    for _ in keys {
        let key = &keys[random.random_range(0..keys.len())];
        match engine.get(Space::Objects, key) {
            Ok(Some(found)) if found == *value => {}
            other => return Err(format!("bare RocksDB gave {other:?}")),
        }
    }
    Ok((puts, keys.len() as f64 / began.elapsed().as_secs_f64()))
}

/// Keys whose order says nothing of when they were written.
fn key(i: usize) -> Bytes {
    Bytes::from(format!("user{:016x}", (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

fn nodes_cpu(nodes: &Cluster) -> f64 {
    nodes.nodes.iter().filter_map(Node::pid).map(cpu).sum()
}

/// The seconds of CPU that a process has used, from `/proc`; 0 where there is none.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    ticks.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
