//! A cluster of real processes on this machine: free ports, configurations, start, kill, stop, and the end of all of them
//! whatever happens.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use dynode::config::{ClusterFile, DiskFile, File, MemberFile};
use dynode_client::{Client, NodeId, Topic};
use rand::RngExt;
use serde_json::Value;

/// A node opens its data, and calls its peers, well within this on a slow machine.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// A node that is told to stop answers what is under way and syncs; see the daemon's own limit of 10 s.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// Below the ports that systems give to outgoing connections.
const PORTS: std::ops::Range<u16> = 12_000..30_000;

/// Where `dynode` is: `DYNODE_BIN`, or where Cargo puts it.
///
/// # Errors
///
/// What to do, when it is nowhere.
pub(crate) fn binary() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("DYNODE_BIN") {
        let named = PathBuf::from(named);
        return if named.is_file() { Ok(named) } else { Err(format!("DYNODE_BIN: {} is no file", named.display())) };
    }
    // Programs are beside it; tests one folder further down.
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let beside = own.ancestors().skip(1).take(2).map(|dir| dir.join("dynode")).find(|path| path.is_file());
    beside.ok_or_else(|| "the program `dynode` is missing: run `make build` first, or name it in DYNODE_BIN".into())
}

/// Some nodes of one cluster. Those that run are killed when it is dropped.
pub(crate) struct Cluster {
    binary: PathBuf,
    /// All its nodes.
    pub(crate) nodes: Vec<Node>,
}

/// One of them.
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) addr: String,
    /// Its folder: `dynode.toml`, `dynode.log`, `data`.
    pub(crate) dir: PathBuf,
    child: Option<Child>,
}

impl Cluster {
    /// Writes configurations for `count` nodes into `dir`, and starts none.
    ///
    /// # Errors
    ///
    /// The program is missing, or a file cannot be written.
    pub(crate) fn new(dir: &Path, count: usize, partitions: u32) -> Result<Cluster, String> {
        let binary = binary()?;
        let ports = free_ports(count)?;
        let member = |(i, port): (usize, &u16)| MemberFile {
            name: format!("n{i}"),
            addr: format!("127.0.0.1:{port}"),
            zone: "default".into(),
            weight: 1,
        };
        let members: Vec<MemberFile> = ports.iter().enumerate().map(member).collect();
        let cluster = ClusterFile { id: random_hex(16), secret: random_hex(32), partitions, replicas: 3, members };
        let mut nodes = Vec::new();
        for member in &cluster.members {
            let dir = dir.join(&member.name);
            let file = File {
                name: member.name.clone(),
                data: "data".into(),
                listen: member.addr.clone(),
                http: None,
                resp: None,
                durability: "group".into(),
                insecure: false,
                disk: DiskFile::default(),
                cluster: cluster.clone(),
            };
            file.write(&dir.join("dynode.toml")).map_err(|e| e.to_string())?;
            nodes.push(Node { name: member.name.clone(), addr: member.addr.clone(), dir, child: None });
        }
        Ok(Cluster { binary, nodes })
    }

    /// The program.
    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Starts all nodes and waits until they see each other.
    ///
    /// # Errors
    ///
    /// A node ends, or says nothing in time.
    pub(crate) async fn start_all(&mut self) -> Result<(), String> {
        for i in 0..self.nodes.len() {
            self.start(i)?;
        }
        for i in 0..self.nodes.len() {
            self.wait_until_up(i).await?;
        }
        Ok(())
    }

    /// Starts one node, which then dies with this process.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub(crate) fn start(&mut self, i: usize) -> Result<(), String> {
        let node = &mut self.nodes[i];
        let log = OpenOptions::new().create(true).append(true).open(node.log()).map_err(|e| e.to_string())?;
        let child = Command::new(&self.binary)
            .args(["start", "--stop-with-parent", &std::process::id().to_string(), "--config"])
            .arg(node.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        node.child = Some(child.map_err(|e| format!("{}: {e}", self.binary.display()))?);
        Ok(())
    }

    /// Waits until a node answers and sees all others that run.
    ///
    /// # Errors
    ///
    /// It has ended, or says nothing in time.
    pub(crate) async fn wait_until_up(&mut self, i: usize) -> Result<(), String> {
        let until = Instant::now() + UP_WITHIN;
        loop {
            let running = self.nodes.iter().filter(|node| node.child.is_some()).count();
            let node = &mut self.nodes[i];
            if let Some(child) = &mut node.child
                && let Ok(Some(status)) = child.try_wait()
            {
                node.child = None;
                return Err(format!("{} has ended ({status}): {}", node.name, node.end_of_log()));
            }
            if let Ok(status) = node.status().await {
                let peers = status["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
                if peers.iter().filter(|peer| peer["up"] == true).count() + 1 >= running {
                    return Ok(());
                }
            }
            if Instant::now() > until {
                return Err(format!("{} does not answer: {}", node.name, node.end_of_log()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL, as if it had never been told.
    pub(crate) fn kill(&mut self, i: usize) {
        self.nodes[i].kill();
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Errors
    ///
    /// It does not run, or does not end in time (and is killed then).
    pub(crate) async fn stop(&mut self, i: usize) -> Result<ExitStatus, String> {
        self.nodes[i].ask_to_stop()?;
        self.nodes[i].ended().await
    }

    /// Stops all nodes that run.
    ///
    /// # Errors
    ///
    /// One does not end in time, or not cleanly.
    pub(crate) async fn stop_all(&mut self) -> Result<(), String> {
        for node in self.nodes.iter().filter(|node| node.child.is_some()) {
            node.ask_to_stop()?;
        }
        for node in self.nodes.iter_mut().filter(|node| node.child.is_some()) {
            let status = node.ended().await?;
            if !status.success() {
                return Err(format!("{} ended with {status}: {}", node.name, node.end_of_log()));
            }
        }
        Ok(())
    }

    /// A client that knows all addresses.
    ///
    /// # Errors
    ///
    /// No node answers.
    pub(crate) async fn client(&self) -> Result<Client, String> {
        Client::connect(self.nodes.iter().map(|node| &node.addr)).await.map_err(|e| e.to_string())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
    }
}

impl Node {
    /// Its `dynode.toml`.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("dynode.toml")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("dynode.log")
    }

    /// The process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The last lines of its log.
    pub(crate) fn end_of_log(&self) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// What it says of itself, asked at its own address.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub(crate) async fn status(&self) -> Result<Value, String> {
        self.report(Topic::Status).await
    }

    /// A report of its own.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub(crate) async fn report(&self, topic: Topic) -> Result<Value, String> {
        let client = Client::connect([&self.addr]).await.map_err(|e| e.to_string())?;
        let report = client.inspect(None, topic).await.map_err(|e| e.to_string())?;
        serde_json::from_slice(&report).map_err(|e| e.to_string())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The id is its own until it was waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn ask_to_stop(&self) -> Result<(), String> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| format!("{} does not run", self.name))?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(|e| e.to_string())
    }

    async fn ended(&mut self) -> Result<ExitStatus, String> {
        let until = Instant::now() + STOPPED_WITHIN;
        loop {
            let Some(child) = &mut self.child else { return Err(format!("{} does not run", self.name)) };
            match child.try_wait() {
                Ok(Some(status)) => {
                    self.child = None;
                    return Ok(status);
                }
                Ok(None) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(20)).await,
                Ok(None) => {
                    self.kill();
                    return Err(format!("{} did not stop in time: {}", self.name, self.end_of_log()));
                }
                Err(e) => return Err(e.to_string()),
            }
        }
    }
}

/// What all owners' own copies say of each other: nothing, when every one is equal to the others.
///
/// # Errors
///
/// A node does not answer.
pub(crate) async fn differences(nodes: &[Node]) -> Result<Vec<String>, String> {
    let mut seen: std::collections::BTreeMap<u64, (String, Value)> = std::collections::BTreeMap::new();
    let mut found = Vec::new();
    for node in nodes {
        let report = node.report(Topic::LocalClocks).await?;
        let copies = report["copies"].as_array().cloned().unwrap_or_default();
        for copy in copies.iter().filter(|copy| copy["owner"] == true) {
            let partition = copy["partition"].as_u64().unwrap_or(u64::MAX);
            if copy["content"] != copy["content_kept"] {
                found.push(format!("partition {partition} on {}: its content is not what is kept of it", node.name));
            }
            let facts = serde_json::json!([copy["clock"], copy["content"], copy["keys"]]);
            match seen.get(&partition) {
                None => {
                    seen.insert(partition, (node.name.clone(), facts));
                }
                Some((_, other)) if *other == facts => {}
                Some((name, other)) => {
                    found.push(format!("partition {partition}: {name} has {other}, {} has {facts}", node.name));
                }
            }
        }
    }
    Ok(found)
}

/// Waits until all owners' copies are equal. How long it took.
///
/// # Errors
///
/// What still differs when time is up.
pub(crate) async fn wait_until_equal(nodes: &[Node], within: Duration) -> Result<Duration, String> {
    let began = Instant::now();
    loop {
        // Cheap questions first: the copies are counted by reading them.
        let mut whole = true;
        for node in nodes {
            let status = node.status().await?;
            let sync = &status["sync"];
            let up = status["peers"].as_array().is_some_and(|peers| peers.iter().all(|peer| peer["up"] == true));
            whole &= up && sync["lacking"] == 0 && sync["pulling"] == 0;
        }
        let took = began.elapsed();
        let differences = if whole { differences(nodes).await? } else { vec!["a node lacks something".into()] };
        if differences.is_empty() {
            return Ok(took);
        }
        if took > within {
            return Err(format!("after {took:?}: {}", differences[..differences.len().min(3)].join("; ")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The id under which a client knows a node.
pub(crate) fn node_id(client: &Client, name: &str) -> Option<NodeId> {
    client.layout().member_named(name).map(|member| member.id)
}

/// Random bytes in hexadecimal.
pub(crate) fn random_hex(bytes: usize) -> String {
    let mut random = rand::rng();
    (0..bytes).map(|_| format!("{:02x}", random.random::<u8>())).collect()
}

/// Ports of 127.0.0.1 that nobody listens on.
///
/// # Errors
///
/// There are none.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let mut random = rand::rng();
    let mut held: Vec<(u16, TcpListener)> = Vec::new();
    for _ in 0..1000 {
        if held.len() == count {
            break;
        }
        let port = random.random_range(PORTS);
        // Held until all are found, so that none is found twice.
        held.extend(TcpListener::bind(("127.0.0.1", port)).ok().map(|listener| (port, listener)));
    }
    if held.len() < count {
        return Err("no free ports on 127.0.0.1".into());
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}
