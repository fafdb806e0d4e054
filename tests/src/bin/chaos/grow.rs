//! `grow`: five nodes under load grow to eight, lose one with its disk and have it replaced, and shrink to the three that came
//! last. All by the operator's commands, while clients write and read with strict quorums and everything is checked.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dynode::cli::units;
use dynode_bench::dynode::Quorum;
use dynode_bench::workload::keys::record_key;
use dynode_client::{Bucket, Client, Layout};
use owo_colors::OwoColorize;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;
use tests::processes::{Cluster, Place, free_ports, wait_until_equal};
use tokio::task::JoinSet;

use crate::args::GrowArgs;
use crate::grown::{self, Grown, Step};
use crate::load::{Load, Phase, Plan};

const NODES: usize = 5;

/// The nodes that come, as guests first.
const COMING: [&str; 3] = ["n6", "n7", "n8"];

/// Killed with its data, and replaced by [`NEW`].
const OLD: &str = "n2";
const NEW: &str = "n9";

/// They leave at the end; those who stay all came in this run.
const LEAVING: [&str; 5] = ["n1", "n3", "n4", "n5", "n6"];

/// What the load goes to, and what is there before it.
const BUCKET: &str = "chaos";
const RECORDS: &str = "records";

/// A change is settled in seconds; one that takes longer hangs.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// A staged change has come to the node that is asked for the plan, and a guest is heard of, within this.
const HEARD_WITHIN: Duration = Duration::from_secs(30);

/// Clients have looked for a newer layout.
const CLIENTS_KNOW: Duration = Duration::from_secs(9);

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// With `--kill`: a node is down for so long, and up for so long before the next one is.
const DOWN: Duration = Duration::from_millis(700);
const BETWEEN: Duration = Duration::from_millis(500);

/// Nodes killed in one change: then it may come to its end.
const KILLS_MAX: u64 = 4;

/// Records written at a time.
const IN_FLIGHT: usize = 64;

/// Runs it. Whether all held.
pub(crate) async fn run(args: &GrowArgs) -> Result<bool, String> {
    let made = tempfile::Builder::new().prefix("dynode-grow-").tempdir().map_err(|e| e.to_string())?;
    let dir = match &args.keep {
        Some(path) => std::fs::create_dir_all(path)
            .and_then(|()| path.canonicalize())
            .map_err(|e| format!("{}: {e}", path.display()))?,
        None => made.path().to_path_buf(),
    };
    let grown = Growing::start(args, &dir).await?.through().await.map_err(|why| {
        let place = if args.keep.is_some() { dir.clone() } else { made.keep() };
        format!("{why}; logs and data are kept in {}", place.display())
    })?;
    grown::show(&grown, args.json)?;
    Ok(grown.all_held())
}

/// The cluster, its load, and what was seen so far.
struct Growing<'a> {
    args: &'a GrowArgs,
    cluster: Cluster,
    rng: Pcg64,
    seed: u64,
    origin: Instant,
    load: Load,
    /// Keys and values that are there from the beginning, in bytes, by partition.
    bytes: Vec<u64>,
    steps: Vec<Step>,
    phase: Phase,
    kills: u64,
}

impl<'a> Growing<'a> {
    async fn start(args: &'a GrowArgs, dir: &Path) -> Result<Growing<'a>, String> {
        let ports = free_ports(NODES)?.into_iter().enumerate();
        let place = |(i, port): (usize, u16)| {
            let addr = format!("127.0.0.1:{port}");
            Place { name: format!("n{}", i + 1), addr: addr.clone(), listen: addr, prefix: Vec::new() }
        };
        let mut cluster = Cluster::at(dir, ports.map(place).collect(), args.partitions, &args.durability)?;
        cluster.start_all().await?;
        let seed = args.seed.unwrap_or_else(rand::random);
        let client = cluster.client().await?;
        let bytes = fill(&client, args).await?;
        wait_until_equal(&cluster.nodes, SETTLED_WITHIN).await?;
        let origin = Instant::now();
        let plan = Plan {
            nodes: cluster.nodes.iter().map(|node| node.addr.clone()).collect(),
            bucket: BUCKET.into(),
            writers: args.writers,
            rate: args.rate,
            keys: args.keys,
            value_size: args.value_size,
            timeout: args.timeout,
            strict: true,
            seed,
            settle: Duration::from_secs(30),
        };
        let load = Load::start(plan, origin)?;
        let (steps, rng) = (Vec::new(), Pcg64::seed_from_u64(seed));
        let growing = Growing { args, cluster, rng, seed, origin, load, bytes, steps, phase: 0, kills: 0 };
        growing.say(&format!(
            "{} records, {} of them; seed {seed}",
            args.records,
            units::bytes(growing.bytes.iter().sum())
        ));
        Ok(growing)
    }

    async fn through(mut self) -> Result<Grown, String> {
        self.draw_ring("1-five")?;
        self.quiet().await;

        let addrs = self.guests(&COMING).await?;
        let by = self.addr(OLD)?;
        self.change("grow from 5 to 8", &by, &|by| addrs.iter().try_for_each(|addr| stage(by, &["join", addr])))
            .await?;
        self.draw_ring("2-eight")?;
        self.quiet().await;

        self.enter(true);
        let (old, by) = (self.node(OLD)?, self.addr(LEAVING[0])?);
        self.cluster.kill(old);
        std::fs::remove_dir_all(self.cluster.nodes[old].dir.join("data")).map_err(|e| e.to_string())?;
        self.say(&format!("{OLD} is killed, and its data removed"));
        tokio::time::sleep(self.args.calm.min(Duration::from_secs(3))).await;
        let addrs = self.guests(&[NEW]).await?;
        // It never comes back.
        self.cluster.nodes.remove(old);
        self.change("replace a dead node", &by, &|by| stage(by, &["replace", OLD, &addrs[0]])).await?;
        self.draw_ring("3-replaced")?;
        self.quiet().await;

        let by = self.addr(NEW)?;
        self.change("shrink from 8 to 3", &by, &|by| LEAVING.iter().try_for_each(|name| stage(by, &["leave", name])))
            .await?;
        self.draw_ring("4-three")?;
        // Clients that still go by an older layout are served by those who have left: they look about every five seconds.
        tokio::time::sleep(CLIENTS_KNOW).await;
        self.let_go().await?;
        self.quiet().await;
        self.end().await
    }

    /// One change: staged and looked at, then committed and waited for.
    async fn change(
        &mut self,
        what: &'static str,
        by: &str,
        stage: &dyn Fn(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        stage(by)?;
        let plan = dynode(by, &["plan"])?;
        let before = self.moved().await;
        let calm = self.last_calm();
        self.enter(true);
        let began = Instant::now();
        self.say(&format!("{what}: {} copies move", plan["copies"]));
        let mut commit = command(by, &["commit", "--yes", "--wait"])?;
        let settled = self.until_done(&mut commit, by, began).await?;
        self.say(&format!("settled after {}", units::time(settled)));
        let moved = self.moved().await - before;
        let moves = plan["moves"].as_array().map(Vec::as_slice).unwrap_or_default();
        let partition =
            |step: &Value| usize::try_from(step["partition"].as_u64().unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let comes = moves.iter().filter(|step| !step["to"].is_null());
        let planned: u64 = comes.map(|step| self.bytes.get(partition(step)).copied().unwrap_or(0)).sum();
        let (copies, least_copies) = (plan["copies"].as_u64().unwrap_or(0), plan["least_copies"].as_u64().unwrap_or(0));
        let least = planned as f64 * least_copies as f64 / copies.max(1) as f64;
        self.steps.push(Step {
            what,
            calm,
            phase: self.phase,
            settled,
            copies,
            least_copies,
            moved,
            least: least as u64,
        });
        Ok(())
    }

    /// Waits until a command has ended; meanwhile, if that is wanted, one node after the other is killed and started again.
    async fn until_done(&mut self, commit: &mut Child, by: &str, began: Instant) -> Result<Duration, String> {
        let mut down: Option<usize> = None;
        let before = self.kills;
        let mut next = began + BETWEEN;
        let ended = loop {
            if let Some(status) = commit.try_wait().map_err(|e| e.to_string())? {
                break status;
            }
            if began.elapsed() > SETTLED_WITHIN {
                let _ = commit.kill();
                let transfers = dynode(by, &["transfers"]).unwrap_or_default();
                return Err(format!("not settled after {} s: {transfers}", SETTLED_WITHIN.as_secs()));
            }
            let may_kill = self.args.kill && (down.is_some() || self.kills - before < KILLS_MAX);
            if may_kill && Instant::now() >= next {
                next = Instant::now() + if down.is_some() { BETWEEN } else { DOWN };
                down = match down.take() {
                    Some(node) => self.bring_back(node).await?,
                    None => self.kill_one(by),
                };
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        let settled = began.elapsed();
        if let Some(node) = down {
            self.bring_back(node).await?;
        }
        match ended.success() {
            true => Ok(settled),
            false => Err(format!("`commit --wait` ended with {ended}")),
        }
    }

    fn kill_one(&mut self, but: &str) -> Option<usize> {
        let node = self.rng.random_range(0..self.cluster.nodes.len());
        if self.cluster.nodes[node].addr == but || !self.cluster.nodes[node].runs() {
            return None;
        }
        self.cluster.kill(node);
        self.kills += 1;
        Some(node)
    }

    async fn bring_back(&mut self, node: usize) -> Result<Option<usize>, String> {
        self.cluster.start(node)?;
        self.cluster.wait_until_answers(node).await?;
        Ok(None)
    }

    /// Former members own nothing and hold nothing, and may be stopped.
    async fn let_go(&mut self) -> Result<(), String> {
        for name in LEAVING {
            let node = self.node(name)?;
            let status = self.cluster.nodes[node].status().await?;
            if status["partitions_owned"] != 0 || status["hints"]["partitions"] != 0 {
                let (owned, held) = (&status["partitions_owned"], &status["hints"]["partitions"]);
                return Err(format!("{name} has left, and still owns {owned} partitions and holds {held}"));
            }
            let ended = self.cluster.stop(node).await?;
            if !ended.success() {
                return Err(format!("{name} was stopped and ended with {ended}"));
            }
            self.cluster.nodes.remove(node);
        }
        self.say("who has left is stopped");
        Ok(())
    }

    async fn end(mut self) -> Result<Grown, String> {
        self.load.quiet().await;
        let mut troubles = Vec::new();
        for node in &mut self.cluster.nodes {
            if let Some(how) = node.has_ended() {
                troubles.push(format!("{} ended by itself ({how}): {}", node.name, node.end_of_log()));
            }
        }
        let equal = wait_until_equal(&self.cluster.nodes, SETTLED_WITHIN).await.err();
        troubles.extend(equal.map(|why| format!("owners' copies differ at the end: {why}")));
        let records = self.all_records().await?;
        let by = self.addr(NEW)?;
        troubles.extend(dynode(&by, &["doctor"]).err().map(|why| format!("doctor: {why}")));
        self.say(&format!("{} requests answered; every key is read and checked", units::count(self.load.done())));
        let (verdict, seconds) = self.load.verdict().await?;
        let (steps, seed, kills) = (self.steps, self.seed, self.kills);
        Ok(Grown { seed, steps, kills, seconds, verdict, lost_records: records, troubles })
    }

    /// The records that are not there any more.
    async fn all_records(&self) -> Result<u64, String> {
        let client = self.cluster.client().await?;
        let bucket = client.bucket(RECORDS).map_err(|e| e.to_string())?;
        let mut lost = 0;
        for_all(
            self.args.records,
            &bucket,
            |bucket, number| async move {
                let read =
                    bucket.get(record_key(number)).r(Quorum::Majority).strict(true).await.map_err(|e| e.to_string())?;
                Ok(u64::from(read.siblings().is_empty()))
            },
            |missing| lost += missing,
        )
        .await?;
        Ok(lost)
    }

    /// Starts guests, and waits until the members have heard of them.
    async fn guests(&mut self, names: &[&str]) -> Result<Vec<String>, String> {
        let mut addrs = Vec::new();
        for name in names {
            let node = self.cluster.start_guest(name).await?;
            addrs.push(self.cluster.nodes[node].addr.clone());
        }
        self.say(&format!("{} started as guests", names.join(", ")));
        Ok(addrs)
    }

    /// Nothing is changed for a while: what later figures are held against.
    async fn quiet(&mut self) {
        self.enter(false);
        tokio::time::sleep(self.args.calm).await;
    }

    fn enter(&mut self, disturbed: bool) {
        self.phase += if (self.phase % 2 == 1) == disturbed { 2 } else { 1 };
        self.load.enter(self.phase);
    }

    fn last_calm(&self) -> Phase {
        // A disturbance may have begun before the change.
        if self.phase % 2 == 1 { self.phase - 1 } else { self.phase }
    }

    /// What syncs have taken in, all nodes that run together. Who was killed counts from its last start.
    async fn moved(&self) -> u64 {
        let mut moved = 0;
        for node in &self.cluster.nodes {
            if let Ok(status) = node.status().await {
                moved += status["counters"]["sync_bytes_in"].as_u64().unwrap_or(0);
            }
        }
        moved
    }

    fn node(&self, name: &str) -> Result<usize, String> {
        let found = self.cluster.nodes.iter().position(|node| node.name == name);
        found.ok_or_else(|| format!("there is no {name}"))
    }

    fn addr(&self, name: &str) -> Result<String, String> {
        self.node(name).map(|node| self.cluster.nodes[node].addr.clone())
    }

    fn draw_ring(&self, name: &str) -> Result<(), String> {
        let Some(dir) = &self.args.rings else { return Ok(()) };
        std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let place: PathBuf = dir.join(format!("{name}.svg"));
        let at = self.cluster.nodes.last().map(|node| node.addr.clone()).unwrap_or_default();
        dynode(&at, &["ring", "--svg", &place.display().to_string()]).map(|_| ())
    }

    fn say(&self, what: &str) {
        let line = format!("{}  {what}", format!("{:>6.1} s", self.origin.elapsed().as_secs_f64()).dimmed());
        match self.args.json {
            true => anstream::eprintln!("{line}"),
            false => anstream::println!("{line}"),
        }
    }
}

/// Writes the records. Keys and values of them in each partition, in bytes.
async fn fill(client: &Client, args: &GrowArgs) -> Result<Vec<u64>, String> {
    let layout: Layout = (*client.layout()).clone();
    let mut bytes = vec![0; layout.partitions() as usize];
    for number in 0..args.records {
        let key = record_key(number);
        let partition = layout.partition_of(RECORDS.as_bytes(), &key);
        bytes[usize::from(partition.0)] += (key.len() + args.record_size) as u64;
    }
    let bucket = client.bucket(RECORDS).map_err(|e| e.to_string())?;
    let size = args.record_size;
    for_all(
        args.records,
        &bucket,
        move |bucket, number| async move {
            let value = format!("{number}.").repeat(size / 2 + 1).into_bytes()[..size].to_vec();
            bucket.put(record_key(number), value).w(Quorum::All).await.map(|_| 0).map_err(|e| e.to_string())
        },
        |_| {},
    )
    .await?;
    Ok(bytes)
}

/// Does something with each record, several at a time.
async fn for_all<F>(
    records: u64,
    bucket: &Bucket,
    one: impl Fn(Bucket, u64) -> F + Clone + 'static,
    mut done: impl FnMut(u64),
) -> Result<(), String>
where
    F: Future<Output = Result<u64, String>> + 'static,
{
    let local = tokio::task::LocalSet::new();
    let work = async {
        let mut under_way = JoinSet::new();
        for number in 0..records {
            if under_way.len() >= IN_FLIGHT
                && let Some(ended) = under_way.join_next().await
            {
                done(ended.map_err(|e| e.to_string())??);
            }
            under_way.spawn_local(one(bucket.clone(), number));
        }
        while let Some(ended) = under_way.join_next().await {
            done(ended.map_err(|e| e.to_string())??);
        }
        Ok(())
    };
    local.run_until(work).await
}

/// Stages a change; a guest may not have been heard of at once.
fn stage(by: &str, args: &[&str]) -> Result<(), String> {
    let began = Instant::now();
    loop {
        match dynode(by, args) {
            Ok(_) => return Ok(()),
            Err(why) if began.elapsed() > HEARD_WITHIN => return Err(why),
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

fn command(by: &str, args: &[&str]) -> Result<Child, String> {
    let mut command = Command::new(tests::processes::binary()?);
    command.args(args).args(["--json", "--node", by]).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().map_err(|e| e.to_string())
}

/// Runs a command of the operator's at a node: what it printed, or what it said was wrong.
fn dynode(by: &str, args: &[&str]) -> Result<Value, String> {
    let mut command = Command::new(tests::processes::binary()?);
    let done =
        command.args(args).args(["--json", "--node", by]).stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    match done.status.success() {
        true => Ok(serde_json::from_slice(&done.stdout).unwrap_or_default()),
        false => Err(format!(
            "`{}`: {}{}",
            args.join(" "),
            String::from_utf8_lossy(&done.stderr),
            String::from_utf8_lossy(&done.stdout)
        )),
    }
}
