//! The cluster that is tested, and faults as they are done to it and undone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dynode::config::File;
use dynode_client::{Client, NodeId, inspect};
use tests::processes::disk::SmallDisk;
use tests::processes::equal::Moment;
use tests::processes::proxy::{Behind, End, Proxy};
use tests::processes::spaces::Spaces;
use tests::processes::{Cluster, Place, free_ports, wait_until_equal};

use crate::args::{Network, RunArgs};
use crate::faults::{Fault, Kind};
use crate::quorums::Reach;

/// Behind a slow link: some hundred times a local round trip.
const SLOW_DELAY: Duration = Duration::from_millis(50);
const SLOW_BYTES_PER_SECOND: u64 = 256 << 10;

/// The port of each node in its own namespace.
const SPACE_PORT: u16 = 7100;

/// A copy that is not whole after this is not waited for any longer.
const WHOLE_GIVE_UP: Duration = Duration::from_secs(60);

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A node whose disk has room again may come back by itself within this; else it is started again.
const BACK_BY_ITSELF: Duration = Duration::from_secs(3);

/// A cluster under test. What it is made of ends in the order of the fields.
pub(crate) struct Subject {
    /// Its processes, where they can be touched.
    cluster: Option<Cluster>,
    disk: Option<SmallDisk>,
    network: Joined,
    /// Where clients find the nodes.
    pub(crate) addrs: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) ids: Vec<NodeId>,
    /// What cannot be done here, and why.
    pub(crate) skipped: Vec<String>,
    /// What works now.
    pub(crate) reach: Reach,
}

enum Joined {
    Plain,
    Proxy(Proxy),
    Spaces(Spaces),
}

impl Subject {
    /// Starts a cluster in `dir`.
    pub(crate) async fn start(args: &RunArgs, dir: &Path) -> Result<Subject, String> {
        let count = usize::from(args.nodes);
        let name = |i: usize| format!("n{}", i + 1);
        let mut skipped = Vec::new();
        let spaces = match args.network {
            Network::Netns => Some(Spaces::new(count).map_err(|e| {
                format!("network namespaces are not permitted here ({e}): run as root, or with --network proxy")
            })?),
            Network::Proxy | Network::Plain => None,
        };
        let places: Vec<Place> = match (&spaces, args.network) {
            (Some(spaces), _) => {
                let addr = |i: usize| format!("{}:{SPACE_PORT}", spaces.address(i));
                (0..count)
                    .map(|i| Place { name: name(i), addr: addr(i), listen: addr(i), prefix: spaces.prefix(i) })
                    .collect()
            }
            (None, network) => {
                let ports = free_ports(2 * count)?;
                let addr = |at: usize| format!("127.0.0.1:{}", ports[at]);
                let own = |i: usize| if network == Network::Proxy { addr(count + i) } else { addr(i) };
                (0..count).map(|i| Place { name: name(i), addr: addr(i), listen: own(i), prefix: Vec::new() }).collect()
            }
        };
        let cluster = Cluster::at(dir, places, args.partitions, &args.durability)?;
        let network = match (spaces, args.network) {
            (Some(spaces), _) => {
                if let Err(why) = spaces.slow(0).and_then(|()| spaces.heal()) {
                    skipped.push(format!("slow: the scheduler of packets cannot be told ({why})"));
                }
                Joined::Spaces(spaces)
            }
            (None, Network::Proxy) => Joined::Proxy(proxy(&cluster)?),
            (None, _) => Joined::Plain,
        };
        let disk = if wants(args, Kind::Disk) {
            small_disk(&cluster)
                .map_err(|e| skipped.push(format!("disk: a small disk cannot be mounted here ({e})")))
                .ok()
        } else {
            None
        };
        let mut subject = Subject::of(Some(&cluster), network);
        subject.skipped = skipped;
        subject.disk = disk;
        // In its place first: should a node not start, all ends in the order of the fields.
        subject.cluster.insert(cluster).start_all().await?;
        Ok(subject)
    }

    /// A cluster that runs already.
    pub(crate) async fn attach(args: &RunArgs) -> Result<Subject, String> {
        if let Some(data) = &args.data {
            let cluster = Cluster::attach(data)?;
            if let Some(why) = trouble_in(&cluster).await {
                return Err(format!("{why}: a cluster must be whole before it is tested"));
            }
            let mut subject = Subject::of(Some(&cluster), Joined::Plain);
            subject.cluster = Some(cluster);
            return Ok(subject);
        }
        let client = Client::connect(&args.attach).await.map_err(|e| e.to_string())?;
        let layout = client.layout();
        let mut subject = Subject::of(None, Joined::Plain);
        subject.addrs = args.attach.clone();
        subject.names = layout.members().iter().map(|member| member.name.clone()).collect();
        subject.ids = layout.members().iter().map(|member| member.id).collect();
        Ok(subject)
    }

    fn of(cluster: Option<&Cluster>, network: Joined) -> Subject {
        let nodes = || cluster.into_iter().flat_map(|cluster| &cluster.nodes);
        Subject {
            addrs: nodes().map(|node| node.addr.clone()).collect(),
            names: nodes().map(|node| node.name.clone()).collect(),
            ids: nodes().map(|node| node.id).collect(),
            cluster: None,
            disk: None,
            network,
            skipped: Vec::new(),
            reach: Reach::default(),
        }
    }

    /// Whether a kind can be done here; else why not.
    pub(crate) fn can(&self, kind: Kind) -> Result<(), &'static str> {
        match (kind, &self.network) {
            _ if self.cluster.is_none() => Err("its processes are out of reach"),
            (Kind::Reset, Joined::Spaces(_)) => Err("namespaces only lose packets"),
            (kind, Joined::Plain) if kind.is_of_the_network() => Err("nothing stands between the nodes"),
            (Kind::Disk, _) if self.disk.is_none() => Err("no node has a small disk"),
            _ if self.skipped.iter().any(|said| said.starts_with(kind.name())) => Err("as was said"),
            _ => Ok(()),
        }
    }

    /// Does a fault.
    pub(crate) async fn inject(&mut self, fault: &Fault) -> Result<(), String> {
        self.reach.down.extend(fault.down());
        self.reach.cut.extend(fault.cut());
        let cluster = self.cluster.as_mut().ok_or("no process is in reach")?;
        match (fault, &self.network) {
            (Fault::Kill(node), _) => cluster.kill(*node),
            (Fault::Stop(node), _) => {
                let status = cluster.stop(*node).await?;
                if !status.success() {
                    let node = &cluster.nodes[*node];
                    return Err(format!("{} was stopped and ended with {status}: {}", node.name, node.end_of_log()));
                }
            }
            (Fault::Pause(node), _) => cluster.pause(*node)?,
            (Fault::Disk(_), _) => self.disk.as_ref().map_or(Ok(()), SmallDisk::fill)?,
            (Fault::Split(_) | Fault::OneWay(_), Joined::Proxy(proxy)) => {
                for (from, to) in fault.cut() {
                    proxy.change(End::Node(from), End::Node(to), |way| way.cut = true);
                }
            }
            (Fault::Split(_) | Fault::OneWay(_), Joined::Spaces(spaces)) => {
                fault.cut().iter().try_for_each(|(from, to)| spaces.cut(*from, *to))?;
            }
            (Fault::Slow(node), Joined::Proxy(proxy)) => slow(proxy, *node, self.ids.len()),
            (Fault::Slow(node), Joined::Spaces(spaces)) => spaces.slow(*node)?,
            (Fault::Reset(node), Joined::Proxy(proxy)) => reset(proxy, *node, self.ids.len()),
            (Fault::Reset(_), _) | (_, Joined::Plain) => return Err("nothing stands between the nodes".into()),
        }
        Ok(())
    }

    /// What goes on while a fault lasts: connections break once more.
    pub(crate) fn again(&self, fault: &Fault) {
        if let (Fault::Reset(node), Joined::Proxy(proxy)) = (fault, &self.network) {
            reset(proxy, *node, self.ids.len());
        }
    }

    /// Undoes faults. What cut ways held back arrives, or with `reset` their connections break. Says what is worth knowing.
    pub(crate) async fn heal(&mut self, faults: &[Fault], break_connections: bool) -> Result<Vec<String>, String> {
        let mut notes = Vec::new();
        match &self.network {
            Joined::Plain => {}
            Joined::Proxy(proxy) => proxy.heal(break_connections),
            Joined::Spaces(spaces) => spaces.heal()?,
        }
        let cluster = self.cluster.as_mut().ok_or("no process is in reach")?;
        for fault in faults {
            match fault {
                Fault::Kill(node) | Fault::Stop(node) => cluster.start(*node)?,
                Fault::Pause(node) => cluster.go_on(*node)?,
                Fault::Disk(node) => {
                    let ended = cluster.nodes[*node].has_ended();
                    let words = match &ended {
                        Some(status) => format!("with its disk full it ended ({status})"),
                        None => "with its disk full it went on running".into(),
                    };
                    notes.push(words);
                    if let Some(disk) = &self.disk {
                        disk.free();
                    }
                    notes.extend(bring_back(cluster, *node, ended.is_some()).await?);
                }
                _ => {}
            }
        }
        self.reach = Reach::default();
        Ok(notes)
    }

    /// A process that has ended though nobody had asked it to. Not to be asked while a disk is full.
    pub(crate) fn ended_unasked(&mut self) -> Option<String> {
        let node = self.cluster.as_mut()?.nodes.iter_mut().find_map(|node| node.has_ended().map(|how| (node, how)));
        node.map(|(node, how)| format!("{} ended by itself ({how}): {}", node.name, node.end_of_log()))
    }

    /// Waits until every node sees all others and every owner contains all that anybody had when this was called. How
    /// long it took, or what is missing.
    pub(crate) async fn until_whole(&mut self) -> Result<Duration, String> {
        let (began, mut moment) = (Instant::now(), Moment::default());
        loop {
            if let Some(why) = self.ended_unasked() {
                return Err(why);
            }
            let Some(cluster) = &self.cluster else { return Ok(Duration::ZERO) };
            let Some(missing) = moment.missing(&cluster.nodes).await else { return Ok(began.elapsed()) };
            if began.elapsed() > WHOLE_GIVE_UP {
                return Err(format!("not whole after {} s: {missing}", WHOLE_GIVE_UP.as_secs()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the owners' copies are equal, once nobody writes any more. Whether that can be told at all.
    pub(crate) async fn until_equal(&self) -> Result<bool, String> {
        match &self.cluster {
            Some(cluster) => wait_until_equal(&cluster.nodes, WHOLE_GIVE_UP).await.map(|_| true),
            None => Ok(false),
        }
    }
}

/// A proxy before each node of a cluster.
pub(crate) fn proxy(cluster: &Cluster) -> Result<Proxy, String> {
    let behind = cluster.nodes.iter();
    Proxy::start(behind.map(|n| Behind { id: n.id.0, addr: n.addr.clone(), listen: n.listen.clone() }).collect())
}

/// The last node gets a disk that can be filled.
fn small_disk(cluster: &Cluster) -> Result<SmallDisk, String> {
    let Some(node) = cluster.nodes.last() else { return Err("there are no nodes".into()) };
    let place = node.dir.join("disk");
    let disk = SmallDisk::mount(&place)?;
    let mut file = File::read(&node.config()).map_err(|e| e.to_string())?;
    file.data = PathBuf::from("disk/data");
    file.write(&node.config()).map_err(|e| e.to_string())?;
    Ok(disk)
}

/// Whether a kind may come up.
fn wants(args: &RunArgs, kind: Kind) -> bool {
    let given = !(args.split.is_empty() && args.cut.is_empty() && args.isolate.is_empty());
    if args.faults.is_empty() { !given } else { args.faults.contains(&kind) }
}

fn ends(count: usize, but: usize) -> impl Iterator<Item = End> {
    (0..count).filter(move |node| *node != but).map(End::Node).chain([End::Clients])
}

fn slow(proxy: &Proxy, node: usize, count: usize) {
    for other in ends(count, node) {
        for (from, to) in [(End::Node(node), other), (other, End::Node(node))] {
            proxy.change(from, to, |way| {
                way.delay = SLOW_DELAY;
                way.bytes_per_second = Some(SLOW_BYTES_PER_SECOND);
            });
        }
    }
}

fn reset(proxy: &Proxy, node: usize, count: usize) {
    ends(count, node).for_each(|other| proxy.reset(End::Node(node), other));
}

/// A node whose disk has room again: started if it has ended, and once more if it does not come back by itself.
async fn bring_back(cluster: &mut Cluster, node: usize, ended: bool) -> Result<Option<String>, String> {
    if ended {
        cluster.start(node)?;
        return Ok(None);
    }
    let until = Instant::now() + BACK_BY_ITSELF;
    while Instant::now() < until {
        if cluster.nodes[node].has_ended().is_some() {
            cluster.start(node)?;
            return Ok(Some("it ended once there was room again".into()));
        }
        if cluster.nodes[node].status().await.is_ok_and(|status| status["state"] == "up") {
            return Ok(Some("it came back by itself".into()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    // Fenced: that it does not end cleanly is no fault of its.
    let _ = cluster.stop(node).await;
    cluster.start(node)?;
    Ok(Some("it was started again".into()))
}

/// What is wrong with a cluster that somebody else runs.
async fn trouble_in(cluster: &Cluster) -> Option<String> {
    for node in &cluster.nodes {
        if !node.runs() {
            return Some(format!("{} does not run", node.name));
        }
        if let Err(why) = inspect(&node.addr, dynode_client::Topic::Status, LOOK_EVERY * 20).await {
            return Some(format!("{} does not answer: {why}", node.name));
        }
    }
    None
}
