//! Which nodes a local cluster has, with which configurations. Pure: what is on disk comes in, what is to be is said.

use std::path::{Path, PathBuf};

use crate::cli::output::Failure;
use crate::config::{ClusterFile, DiskFile, File, MemberFile, PARTITIONS, REPLICAS};

/// In each node's folder.
pub(crate) const CONFIG_FILE: &str = "dynode.toml";
pub(crate) const PID_FILE: &str = "dynode.pid";
pub(crate) const DATA_DIR: &str = "data";
const LOG_FILE: &str = "dynode.log";

const NODES_DEFAULT: u16 = 3;
const BASE_PORT_DEFAULT: u16 = 7100;

/// Native, HTTP, RESP; the rest of ten is free for what may come.
const PORTS_A_NODE: u16 = 10;

/// What the flags say.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) nodes: Option<u16>,
    pub(super) base_port: Option<u16>,
    pub(super) durability: Option<String>,
    pub(super) partitions: Option<u32>,
    pub(super) replicas: Option<u8>,
}

/// The cluster to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) data: PathBuf,
    pub(super) nodes: Vec<NodePlan>,
}

/// One of its nodes.
#[derive(Debug, Clone)]
pub(super) struct NodePlan {
    pub(super) dir: PathBuf,
    pub(super) file: File,
    /// Its configuration is to be written.
    pub(super) is_new: bool,
}

impl Plan {
    pub(super) fn cluster(&self) -> &ClusterFile {
        &self.nodes[0].file.cluster
    }

    /// Whether nothing of it was there before.
    pub(super) fn is_new(&self) -> bool {
        self.nodes.iter().all(|node| node.is_new)
    }
}

impl NodePlan {
    pub(super) fn name(&self) -> &str {
        &self.file.name
    }

    pub(super) fn config(&self) -> PathBuf {
        self.dir.join(CONFIG_FILE)
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.dir.join(PID_FILE)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join(LOG_FILE)
    }
}

/// The folder of node `i`.
pub(super) fn folder(data: &Path, i: usize) -> PathBuf {
    data.join(format!("n{i}"))
}

/// Plans a cluster in `data`. `found`: the configurations that are there, by node number; `random_hex(n)`: n random bytes.
pub(super) fn plan(
    data: &Path,
    found: &[(usize, File)],
    wanted: &Wanted,
    random_hex: impl Fn(usize) -> String,
) -> Result<Plan, Failure> {
    let cluster = match found.first() {
        Some((_, file)) => {
            check_found(data, found, wanted)?;
            file.cluster.clone()
        }
        None => new_cluster(wanted, random_hex)?,
    };
    let durability = found.first().map(|(_, file)| file.durability.clone()).or(wanted.durability.clone());
    let durability = durability.unwrap_or_else(|| "group".into());
    let mut nodes = Vec::new();
    for (i, member) in cluster.members.iter().enumerate() {
        let there = found.iter().find(|(at, _)| *at == i).map(|(_, file)| file.clone());
        let is_new = there.is_none();
        let file = match there {
            Some(file) => file,
            None => new_file(&cluster, member, &durability)?,
        };
        let place = folder(data, i).join(CONFIG_FILE);
        file.clone().check(&place.display().to_string()).map_err(|e| Failure::new("config", e.to_string()))?;
        nodes.push(NodePlan { dir: folder(data, i), file, is_new });
    }
    Ok(Plan { data: data.to_path_buf(), nodes })
}

fn new_cluster(wanted: &Wanted, random_hex: impl Fn(usize) -> String) -> Result<ClusterFile, Failure> {
    let (nodes, base) = (wanted.nodes.unwrap_or(NODES_DEFAULT), wanted.base_port.unwrap_or(BASE_PORT_DEFAULT));
    let last = u32::from(base) + u32::from(PORTS_A_NODE) * u32::from(nodes - 1) + 2;
    if last > u32::from(u16::MAX) {
        let what = format!("{nodes} nodes from port {base} on would need port {last}; ports end at {}", u16::MAX);
        return Err(Failure::new("usage", what).advice("Choose a smaller --base-port.").exit(2));
    }
    let member = |i: u16| MemberFile {
        name: format!("n{i}"),
        addr: format!("127.0.0.1:{}", base + PORTS_A_NODE * i),
        zone: "default".into(),
        weight: 1,
    };
    Ok(ClusterFile {
        id: random_hex(16),
        secret: random_hex(32),
        partitions: wanted.partitions.unwrap_or(PARTITIONS),
        replicas: wanted.replicas.unwrap_or(REPLICAS),
        members: (0..nodes).map(member).collect(),
    })
}

fn new_file(cluster: &ClusterFile, member: &MemberFile, durability: &str) -> Result<File, Failure> {
    let (host, port) = host_and_port(&member.addr)?;
    Ok(File {
        name: member.name.clone(),
        data: DATA_DIR.into(),
        listen: member.addr.clone(),
        http: Some(format!("{host}:{}", port.saturating_add(1))),
        resp: Some(format!("{host}:{}", port.saturating_add(2))),
        durability: durability.to_string(),
        join: Vec::new(),
        zone: None,
        weight: None,
        auto: false,
        insecure: false,
        disk: DiskFile::default(),
        cluster: cluster.clone(),
    })
}

fn host_and_port(addr: &str) -> Result<(&str, u16), Failure> {
    let parts = addr.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    parts.ok_or_else(|| Failure::new("config", format!("a member's address is `{addr}`: it should be host:port")))
}

/// What is there must be one cluster, made by this command, and what the flags say.
fn check_found(data: &Path, found: &[(usize, File)], wanted: &Wanted) -> Result<(), Failure> {
    let place = |i: usize| folder(data, i).join(CONFIG_FILE);
    let Some((first, file)) = found.first() else { return Ok(()) };
    let cluster = &file.cluster;
    for (i, other) in found {
        if other.cluster != *cluster {
            let what = format!("{} and {} are of different clusters", place(*first).display(), place(*i).display());
            let advice = "Their [cluster] tables must be equal: mend them, or name another folder with --data.";
            return Err(Failure::new("config", what).advice(advice));
        }
        let expected = cluster.members.get(*i).map(|member| member.name.as_str());
        if expected != Some(other.name.as_str()) || other.name != format!("n{i}") {
            let what = format!("{} is of node `{}`: no cluster of `dynode dev`", place(*i).display(), other.name);
            return Err(Failure::new("config", what).advice("Run its nodes with `dynode start --config`."));
        }
    }
    let base = cluster.members.first().map(|member| host_and_port(&member.addr)).transpose()?.map(|(_, port)| port);
    let contradictions = [
        ("--nodes", wanted.nodes.map(|n| n.to_string()), cluster.members.len().to_string()),
        ("--base-port", wanted.base_port.map(|n| n.to_string()), base.unwrap_or_default().to_string()),
        ("--partitions", wanted.partitions.map(|n| n.to_string()), cluster.partitions.to_string()),
        ("--replicas", wanted.replicas.map(|n| n.to_string()), cluster.replicas.to_string()),
        ("--durability", wanted.durability.clone(), file.durability.clone()),
    ];
    for (flag, said, there) in contradictions {
        if let Some(said) = said.filter(|said| *said != there) {
            let what = format!("{flag} says {said}, and the cluster in {} has {there}", data.display());
            let advice = match flag {
                "--durability" => "Leave the flag out, or change `durability` in each node's dynode.toml.",
                _ => "Leave the flag out, or name another folder with --data for another cluster.",
            };
            return Err(Failure::new("config", what).advice(advice));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(bytes: usize) -> String {
        "5a".repeat(bytes)
    }

    fn planned(found: &[(usize, File)], wanted: &Wanted) -> Result<Plan, String> {
        plan(Path::new("d"), found, wanted, random).map_err(|e| e.to_string())
    }

    fn files(plan: &Plan) -> Vec<(usize, File)> {
        plan.nodes.iter().map(|node| node.file.clone()).enumerate().collect()
    }

    #[test]
    fn a_new_cluster_is_as_the_interface_says() {
        let plan = planned(&[], &Wanted::default()).unwrap();
        assert!(plan.is_new());
        assert_eq!(plan.nodes.len(), 3);
        let node = &plan.nodes[2];
        assert_eq!((node.name(), node.config()), ("n2", PathBuf::from("d/n2/dynode.toml")));
        assert_eq!(node.pid_file(), PathBuf::from("d/n2/dynode.pid"));
        let listeners: Vec<_> = node.file.listeners().map(|(_, addr)| addr.to_string()).collect();
        assert_eq!(listeners, ["127.0.0.1:7120", "127.0.0.1:7121", "127.0.0.1:7122"]);
        assert_eq!((plan.cluster().partitions, plan.cluster().replicas), (256, 3));
    }

    #[test]
    fn what_is_there_goes_on_and_what_is_missing_is_made_like_it() {
        let wanted =
            Wanted { nodes: Some(4), base_port: Some(9000), durability: Some("os".into()), ..Wanted::default() };
        let first = planned(&[], &wanted).unwrap();
        let mut found = files(&first);
        found.remove(1);
        let again = planned(&found, &Wanted::default()).unwrap();
        let is_new: Vec<bool> = again.nodes.iter().map(|node| node.is_new).collect();
        assert_eq!(is_new, [false, true, false, false]);
        assert_eq!(again.nodes[1].file.listen, "127.0.0.1:9010");
        assert_eq!(again.nodes[1].file.durability, "os");
        assert_eq!(again.nodes[1].file.cluster, *first.cluster());
        planned(&files(&first), &wanted).unwrap();
    }

    #[test]
    fn contradictions_are_refused_with_both_sides_named() {
        let found = || files(&planned(&[], &Wanted::default()).unwrap());
        for (wanted, says) in [
            (Wanted { nodes: Some(5), ..Wanted::default() }, "--nodes says 5, and the cluster in d has 3"),
            (Wanted { base_port: Some(1), ..Wanted::default() }, "--base-port says 1, and the cluster in d has 7100"),
            (Wanted { replicas: Some(1), ..Wanted::default() }, "--replicas says 1"),
            (Wanted { partitions: Some(64), ..Wanted::default() }, "--partitions says 64"),
            (Wanted { durability: Some("os".into()), ..Wanted::default() }, "--durability says os"),
        ] {
            let refused = planned(&found(), &wanted).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
        let mut mixed = found();
        mixed[1].1.cluster.id = "00".repeat(16);
        assert!(planned(&mixed, &Wanted::default()).unwrap_err().contains("different clusters"));
        let mut moved = found();
        moved[1].1.name = "n2".into();
        assert!(planned(&moved, &Wanted::default()).unwrap_err().contains("no cluster of `dynode dev`"));
    }

    #[test]
    fn ports_end() {
        let wanted = Wanted { nodes: Some(64), base_port: Some(65_000), ..Wanted::default() };
        assert!(planned(&[], &wanted).unwrap_err().contains("would need port 65632"));
        let odd = Wanted { partitions: Some(100), ..Wanted::default() };
        assert!(planned(&[], &odd).unwrap_err().contains("power of two"));
    }
}
