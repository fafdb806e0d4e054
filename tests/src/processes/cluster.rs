//! A cluster of real processes on this machine: configurations, start, kill, pause, stop, and the end of all of them
//! whatever happens. Or one that runs already, whose processes are then left as they were found.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use dynode::config::{ClusterFile, DiskFile, File, MemberFile};
use dynode_client::{Client, NodeId};
use rustix::process::Signal;

use super::node::{Life, Node};
use super::{binary, free_ports, random_hex};

/// A node opens its data, and calls its peers, well within this on a slow machine.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// Some nodes of one cluster. Those that were started here are killed when it is dropped.
pub struct Cluster {
    binary: PathBuf,
    /// What its nodes were told at its beginning; of one that ran already it is not known.
    beginning: Option<Beginning>,
    /// All its nodes.
    pub nodes: Vec<Node>,
    /// What nodes that are started log: `DYNODE_LOG`.
    pub log_filter: Option<String>,
}

/// Where a node to be is.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Where members and clients find it.
    pub addr: String,
    /// Where it listens.
    pub listen: String,
    /// The command that runs the program elsewhere; empty: here.
    pub prefix: Vec<String>,
}

/// What further nodes of a cluster need.
struct Beginning {
    dir: PathBuf,
    durability: String,
    cluster: ClusterFile,
}

impl Cluster {
    /// Writes configurations for `count` nodes into `dir`, and starts none. They are `n0`, `n1`, … on free ports.
    ///
    /// # Errors
    ///
    /// The program is missing, or a file cannot be written.
    pub fn new(dir: &Path, count: usize, partitions: u32) -> Result<Cluster, String> {
        let place = |(i, port): (usize, u16)| {
            let addr = format!("127.0.0.1:{port}");
            Place { name: format!("n{i}"), addr: addr.clone(), listen: addr, prefix: Vec::new() }
        };
        let places = free_ports(count)?.into_iter().enumerate().map(place).collect();
        Cluster::at(dir, places, partitions, "group")
    }

    /// Writes configurations for nodes at these places into `dir`, and starts none.
    ///
    /// # Errors
    ///
    /// The program is missing, or a file cannot be written.
    pub fn at(dir: &Path, places: Vec<Place>, partitions: u32, durability: &str) -> Result<Cluster, String> {
        let binary = binary()?;
        let member = |place: &Place| MemberFile {
            name: place.name.clone(),
            addr: place.addr.clone(),
            zone: "default".into(),
            weight: 1,
        };
        let members = places.iter().map(member).collect();
        let cluster = ClusterFile { id: random_hex(16), secret: random_hex(32), partitions, replicas: 3, members };
        let mut nodes = Vec::new();
        let beginning = Beginning { dir: dir.into(), durability: durability.into(), cluster: cluster.clone() };
        for place in places {
            let dir = dir.join(&place.name);
            let file = File {
                name: place.name.clone(),
                data: "data".into(),
                listen: place.listen.clone(),
                http: None,
                resp: None,
                durability: durability.into(),
                join: Vec::new(),
                zone: None,
                weight: None,
                auto: false,
                insecure: !place.listen.starts_with("127."),
                disk: DiskFile::default(),
                cluster: cluster.clone(),
            };
            file.write(&dir.join("dynode.toml")).map_err(|e| e.to_string())?;
            nodes.push(Node::new(&file, place.addr, dir, place.prefix)?);
        }
        Ok(Cluster { binary, beginning: Some(beginning), nodes, log_filter: None })
    }

    /// Starts a further node as a guest, on a free port, and waits until it answers. Its index.
    ///
    /// # Errors
    ///
    /// No node runs that it could come to; it ends, or says nothing in time.
    pub async fn start_guest(&mut self, name: &str) -> Result<usize, String> {
        let Beginning { dir, durability, cluster } = self.beginning.as_ref().ok_or("a cluster of somebody else's")?;
        let listen = format!("127.0.0.1:{}", free_ports(1)?[0]);
        let file = File {
            name: name.into(),
            data: "data".into(),
            listen: listen.clone(),
            http: None,
            resp: None,
            durability: durability.clone(),
            join: self.nodes.iter().filter(|node| node.runs()).map(|node| node.addr.clone()).collect(),
            zone: None,
            weight: None,
            auto: false,
            insecure: false,
            disk: DiskFile::default(),
            cluster: ClusterFile { members: Vec::new(), ..cluster.clone() },
        };
        let dir = dir.join(name);
        file.write(&dir.join("dynode.toml")).map_err(|e| e.to_string())?;
        self.nodes.push(Node::new(&file, listen, dir, Vec::new())?);
        let i = self.nodes.len() - 1;
        self.start(i)?;
        self.wait_until_answers(i).await?;
        Ok(i)
    }

    /// The nodes of a cluster that runs already and has its folders here, as `dynode dev --data DIR` makes them. They
    /// are left running when this is dropped, and continued where they were paused.
    ///
    /// # Errors
    ///
    /// There are none, or a configuration cannot be read.
    pub fn attach(data: &Path) -> Result<Cluster, String> {
        let wrong = |e: std::io::Error| format!("{}: {e}", data.display());
        let mut nodes = Vec::new();
        for entry in std::fs::read_dir(data).map_err(wrong)? {
            let dir = entry.map_err(wrong)?.path();
            let config = dir.join("dynode.toml");
            if config.is_file() {
                let file = File::read(&config).map_err(|e| e.to_string())?;
                let mut node = Node::new(&file, file.listen.clone(), dir, Vec::new())?;
                node.life = node.found_life();
                node.kept = true;
                nodes.push(node);
            }
        }
        nodes.sort_by_key(|node| (node.name.len(), node.name.clone()));
        match nodes.is_empty() {
            true => Err(format!("{}: no folder in it has a dynode.toml", data.display())),
            false => Ok(Cluster { binary: binary()?, beginning: None, nodes, log_filter: None }),
        }
    }

    /// The program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Starts all nodes and waits until they see each other.
    ///
    /// # Errors
    ///
    /// A node ends, or says nothing in time.
    pub async fn start_all(&mut self) -> Result<(), String> {
        for i in 0..self.nodes.len() {
            self.start(i)?;
        }
        for i in 0..self.nodes.len() {
            self.wait_until_up(i).await?;
        }
        Ok(())
    }

    /// Starts one node, which then dies with this process, unless it is somebody else's.
    ///
    /// # Errors
    ///
    /// The program cannot be started.
    pub fn start(&mut self, i: usize) -> Result<(), String> {
        let node = &mut self.nodes[i];
        let log = OpenOptions::new().create(true).append(true).open(node.log()).map_err(|e| e.to_string())?;
        let mut words = node.prefix.iter().map(Into::into).chain([self.binary.clone().into_os_string()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg("start");
        if let Some(filter) = &self.log_filter {
            command.env("DYNODE_LOG", filter);
        }
        if !node.kept {
            command.args(["--stop-with-parent", &std::process::id().to_string()]);
        }
        // Ctrl-C in the terminal is for this process, which then ends its nodes in order.
        command.arg("--config").arg(node.config()).process_group(0);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        node.life = Life::Own(child.map_err(|e| format!("{}: {e}", self.binary.display()))?);
        Ok(())
    }

    /// Waits until a node says something of itself.
    ///
    /// # Errors
    ///
    /// It has ended, or says nothing in time.
    pub async fn wait_until_answers(&mut self, i: usize) -> Result<(), String> {
        let until = Instant::now() + UP_WITHIN;
        let node = &mut self.nodes[i];
        while node.status().await.is_err() {
            if let Some(status) = node.has_ended() {
                return Err(format!("{} has ended ({status}): {}", node.name, node.end_of_log()));
            }
            if Instant::now() > until {
                return Err(format!("{} does not answer: {}", node.name, node.end_of_log()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until a node answers and sees all others that run.
    ///
    /// # Errors
    ///
    /// It has ended, or says nothing in time.
    pub async fn wait_until_up(&mut self, i: usize) -> Result<(), String> {
        let until = Instant::now() + UP_WITHIN;
        loop {
            let running = self.nodes.iter().filter(|node| node.runs()).count();
            let node = &mut self.nodes[i];
            if let Some(status) = node.has_ended() {
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
    pub fn kill(&mut self, i: usize) {
        self.nodes[i].kill();
    }

    /// SIGSTOP: it hangs, and its connections stand.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn pause(&mut self, i: usize) -> Result<(), String> {
        self.nodes[i].signal(Signal::STOP)?;
        self.nodes[i].paused = true;
        Ok(())
    }

    /// SIGCONT.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn go_on(&mut self, i: usize) -> Result<(), String> {
        self.nodes[i].paused = false;
        self.nodes[i].signal(Signal::CONT)
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Errors
    ///
    /// It does not run, or does not end in time (and is killed then).
    pub async fn stop(&mut self, i: usize) -> Result<ExitStatus, String> {
        self.nodes[i].signal(Signal::TERM)?;
        self.nodes[i].ended().await
    }

    /// Stops all nodes that run.
    ///
    /// # Errors
    ///
    /// One does not end in time, or not cleanly.
    pub async fn stop_all(&mut self) -> Result<(), String> {
        for node in self.nodes.iter().filter(|node| node.runs()) {
            node.signal(Signal::TERM)?;
        }
        for node in self.nodes.iter_mut().filter(|node| node.runs()) {
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
    pub async fn client(&self) -> Result<Client, String> {
        Client::connect(self.nodes.iter().map(|node| &node.addr)).await.map_err(|e| e.to_string())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for i in 0..self.nodes.len() {
            if !self.nodes[i].kept {
                self.nodes[i].kill();
                continue;
            }
            if self.nodes[i].paused {
                let _ = self.go_on(i);
            }
            if !self.nodes[i].runs()
                && let Err(e) = self.start(i)
            {
                eprintln!("{} could not be started again: {e}", self.nodes[i].name);
            }
        }
    }
}

/// The id under which a client knows a node.
pub fn node_id(client: &Client, name: &str) -> Option<NodeId> {
    client.layout().member_named(name).map(|member| member.id)
}
