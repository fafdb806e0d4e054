//! A node's configuration: read raw from `dynode.toml` and flags, then checked. The rest of the program sees only checked
//! values.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dynode_ring::{Layout, Member, NodeId};
use serde::{Deserialize, Serialize};

use crate::protocol::{Durability, Micros, ScrubRate};

/// The partitions of a cluster when nobody says otherwise.
pub const PARTITIONS: u32 = 256;

/// The copies of each partition when nobody says otherwise.
pub const REPLICAS: u8 = 3;

/// What a configuration that was written here begins with.
const HEADER: &str = "\
# A node of a dynode cluster. The table [cluster] must be the same on every node.
# Whoever knows the secret can pass for a node: keep this file private.

";

/// `dynode.toml`, as written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The node's name, unique in its cluster.
    pub name: String,
    /// The data directory; relative to the file.
    pub data: PathBuf,
    /// Where clients and peers connect, `host:port`.
    pub listen: String,
    /// Where HTTP is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Where Redis' protocol is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resp: Option<String>,
    /// `group`, `os` or `interval:<duration>`.
    #[serde(default = "group")]
    pub durability: String,
    /// Nodes of a running cluster to which this one comes as a guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub join: Vec<String>,
    /// The zone with which a guest would join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The weight with which a guest would join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Guests that this node hears of become members without an operator's word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto: bool,
    /// Accepts that whoever reaches the listeners can read and write: needed for others than loopback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// How the disk is looked after.
    #[serde(default, skip_serializing_if = "DiskFile::is_default")]
    pub disk: DiskFile,
    /// The cluster.
    pub cluster: ClusterFile,
}

/// The table `[disk]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskFile {
    /// All copies are read and checked so many hours after the last time; 0: only when asked for.
    pub scrub_every_hours: u32,
    /// So fast, when it was not asked for.
    pub scrub_mib_per_s: u32,
    /// With less room than this no new values are taken. Left out: a fiftieth of the disk, at most 1 GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_mib_min: Option<u32>,
}

impl Default for DiskFile {
    fn default() -> DiskFile {
        DiskFile { scrub_every_hours: 7 * 24, scrub_mib_per_s: 4, free_mib_min: None }
    }
}

impl DiskFile {
    fn is_default(&self) -> bool {
        *self == DiskFile::default()
    }
}

/// The table `[cluster]`: the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// 32 hexadecimal digits. A guest may leave it out: the nodes that it comes to tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// At least 32 hexadecimal digits; keeps strangers out, and clients from forging contexts.
    pub secret: String,
    /// A power of two, fixed for the life of the cluster.
    #[serde(default = "partitions")]
    pub partitions: u32,
    /// Copies of each partition.
    #[serde(default = "replicas")]
    pub replicas: u8,
    /// The members of a new cluster, this node included. Later changes are the cluster's own: what a node has stored goes
    /// before this. A guest leaves it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberFile>,
}

/// One entry of `[[cluster.members]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberFile {
    /// Its name.
    pub name: String,
    /// Its native listener, `host:port`.
    pub addr: String,
    /// Its zone.
    #[serde(default = "zone")]
    pub zone: String,
    /// Its weight.
    #[serde(default = "weight")]
    pub weight: u32,
}

fn group() -> String {
    "group".into()
}

fn partitions() -> u32 {
    PARTITIONS
}

fn replicas() -> u8 {
    REPLICAS
}

fn zone() -> String {
    "default".into()
}

fn weight() -> u32 {
    1
}

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name.
    pub name: String,
    /// Its id.
    pub node: NodeId,
    /// The data directory.
    pub data: PathBuf,
    /// Where clients and peers connect.
    pub listen: String,
    /// Where HTTP is served.
    pub http: Option<String>,
    /// Where Redis' protocol is served.
    pub resp: Option<String>,
    /// When a write counts as taken.
    pub durability: Durability,
    /// The cluster's id.
    pub cluster: [u8; 16],
    /// The cluster's secret.
    pub secret: Vec<u8>,
    /// Who owns what in a new cluster, or in the one that a guest has come to; what is stored goes before it.
    pub layout: Layout,
    /// Nobody has said who owns what: it must be stored.
    pub is_layout_unknown: bool,
    /// This node as the member that it is, or would be.
    pub card: Member,
    /// Guests become members without an operator's word.
    pub auto: bool,
    /// How often and how fast all copies are checked.
    pub scrub: ScrubRate,
    /// Bytes of the disk that are kept free, where somebody has said so.
    pub free_min: Option<u64>,
    /// Where the process id is written while the node runs.
    pub pid_file: Option<PathBuf>,
}

/// What is wrong with a configuration, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ConfigError {
    /// The file.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl File {
    /// Reads a `dynode.toml`.
    pub fn read(path: &Path) -> Result<File, ConfigError> {
        let wrong = |what: String| ConfigError { place: path.display().to_string(), what };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
        let mut file: File = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        if file.data.is_relative() {
            file.data = path.parent().unwrap_or(Path::new(".")).join(&file.data);
        }
        Ok(file)
    }

    /// Writes the file, and the folder that it is to be in, for its owner's eyes only. It is there whole or not at all.
    pub fn write(&self, place: &Path) -> Result<(), ConfigError> {
        let wrong = |what: String| ConfigError { place: place.display().to_string(), what };
        let text = toml::to_string(self).map_err(|e| wrong(e.to_string()))?;
        let folder = place.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = folder.join(".dynode.toml.new");
        let write = || {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let mut out =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            out.write_all(HEADER.as_bytes())?;
            out.write_all(text.as_bytes())?;
            out.sync_all()?;
            std::fs::rename(&beside, place)?;
            std::fs::File::open(folder)?.sync_all()
        };
        write().map_err(|e: std::io::Error| wrong(format!("cannot be written: {e}")))
    }

    /// Every address that is listened on, with the name of its field.
    pub fn listeners(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let further = [("http", self.http.as_deref()), ("resp", self.resp.as_deref())];
        let further = further.into_iter().filter_map(|(field, addr)| addr.map(|addr| (field, addr)));
        [("listen", self.listen.as_str())].into_iter().chain(further)
    }

    /// Checks everything. `place` is named in errors.
    pub fn check(self, place: &str) -> Result<Settings, ConfigError> {
        let wrong = |what: String| ConfigError { place: place.into(), what };
        for (field, addr) in self.listeners() {
            let port =
                addr.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, p)| p.parse::<u16>().ok());
            if port.is_none() {
                return Err(wrong(format!("`{field}` is `{addr}`: write it as host:port")));
            }
            if !self.insecure && !is_loopback(addr) {
                return Err(wrong(format!("`{field}` is {addr}: {REACHABLE}")));
            }
        }
        let cluster = hex(&self.cluster.id)
            .and_then(|b| <[u8; 16]>::try_from(b).ok())
            .filter(|id| *id != [0; 16])
            .ok_or_else(|| wrong("`cluster.id` must be 32 hexadecimal digits, not all 0".into()))?;
        let secret = hex(&self.cluster.secret)
            .filter(|s| s.len() >= 16)
            .ok_or_else(|| wrong("`cluster.secret` must be at least 32 hexadecimal digits".into()))?;
        let durability = parse_durability(&self.durability).map_err(|e| wrong(format!("`durability`: {e}")))?;
        let node = node_id(&cluster, &self.name);
        let members: Vec<Member> = self
            .cluster
            .members
            .iter()
            .map(|m| Member {
                id: node_id(&cluster, &m.name),
                name: m.name.clone(),
                addr: m.addr.clone(),
                zone: m.zone.clone(),
                weight: m.weight,
            })
            .collect();
        let card = members.iter().find(|m| m.id == node).cloned().unwrap_or_else(|| Member {
            id: node,
            name: self.name.clone(),
            addr: self.listen.clone(),
            zone: self.zone.clone().unwrap_or_else(zone),
            weight: self.weight.unwrap_or_else(weight),
        });
        let is_guest = !self.join.is_empty();
        if !is_guest && !members.iter().any(|m| m.id == node) {
            let what = "is not among `cluster.members`: add it; or name nodes of a running cluster with `join`";
            return Err(wrong(format!("`{}` {what}", self.name)));
        }
        let is_layout_unknown = members.is_empty();
        let members = if is_layout_unknown { vec![card.clone()] } else { members };
        let layout = Layout::first(self.cluster.partitions, self.cluster.replicas, members)
            .map_err(|e| wrong(format!("`cluster`: {e}")))?;
        Ok(Settings {
            node,
            name: self.name,
            data: self.data,
            listen: self.listen,
            http: self.http,
            resp: self.resp,
            durability,
            cluster,
            secret,
            layout,
            is_layout_unknown,
            card,
            auto: self.auto,
            scrub: ScrubRate {
                every: Some(Micros::secs(u64::from(self.disk.scrub_every_hours) * 3600)).filter(|span| span.0 > 0),
                bytes_per_s: u64::from(self.disk.scrub_mib_per_s.max(1)) << 20,
            },
            free_min: self.disk.free_mib_min.map(|mib| u64::from(mib) << 20),
            pid_file: None,
        })
    }
}

/// Why listening elsewhere than on loopback is refused.
const REACHABLE: &str = "other machines can reach that. There is no encryption and no login yet: anybody there could \
    read and write all data, and listen in. If the network is yours alone, accept that with `--insecure` (in the file: \
    `insecure = true`); else listen on 127.0.0.1";

/// Whether only this machine can reach `host:port`. A name other than `localhost` may mean anything.
fn is_loopback(addr: &str) -> bool {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A node's id: from the cluster and its name, so that a configuration needs no table of ids.
pub fn node_id(cluster: &[u8; 16], name: &str) -> NodeId {
    let mut hasher = blake3::Hasher::new_derive_key("dynode 2026 node id v1");
    hasher.update(cluster);
    hasher.update(name.as_bytes());
    let mut id = [0; 8];
    hasher.finalize_xof().fill(&mut id);
    NodeId(u64::from_le_bytes(id))
}

/// Reads `group`, `os` or `interval:<duration>`.
pub fn parse_durability(text: &str) -> Result<Durability, String> {
    match text.split_once(':') {
        None if text == "group" => Ok(Durability::Group),
        None if text == "os" => Ok(Durability::Os),
        Some(("interval", span)) => {
            let span = parse_duration(span)?;
            Ok(Durability::Interval(Micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))))
        }
        _ => Err(format!("`{text}` is none of `group`, `os`, `interval:<duration>` (as in `interval:200ms`)")),
    }
}

/// Reads a duration with its unit: `200ms`, `2s`, `1.5s`, `3m`, `1h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{text}` needs a unit: us, ms, s, m or h")),
    };
    match number.parse::<f64>().ok().map(|n| n * scale).map(Duration::try_from_secs_f64) {
        Some(Ok(span)) if !span.is_zero() => Ok(span),
        _ => Err(format!("`{text}` is not a duration: write it as 200ms, 2s or 3m")),
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "n0"
        data = "here"
        listen = "127.0.0.1:7100"
        [cluster]
        id = "000102030405060708090a0b0c0d0e0f"
        secret = "00112233445566778899aabbccddeeff"
        members = [{ name = "n0", addr = "127.0.0.1:7100" }]
    "#;

    fn check(text: &str) -> Result<Settings, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        file.check("dynode.toml").map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let settings = check(GOOD).unwrap();
        assert_eq!(settings.durability, Durability::Group);
        assert_eq!(settings.layout.partitions(), PARTITIONS);
    }

    #[test]
    fn each_mistake_is_named_with_what_to_do() {
        for (from, to, says) in [
            ("name = \"n0\"\n", "name = \"n9\"\n", "not among `cluster.members`"),
            ("000102", "0001", "32 hexadecimal digits"),
            ("00112233445566778899aabbccddeeff", "xyz", "`cluster.secret`"),
            ("[cluster]", "durability = \"fast\"\n[cluster]", "none of `group`"),
            ("[cluster]", "[cluster]\npartitions = 100", "partitions"),
            ("[cluster]", "nmae = 1\n[cluster]", "unknown field"),
            ("listen = \"127.0.0.1:7100\"", "listen = \"7100\"", "host:port"),
            ("listen = \"127.0.0.1:7100\"", "listen = \"0.0.0.0:7100\"", "--insecure"),
            ("[cluster]", "http = \"example.org:80\"\n[cluster]", "`http` is example.org:80"),
        ] {
            let refused = check(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
    }

    #[test]
    fn only_loopback_needs_no_word() {
        for addr in ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9:1"] {
            assert!(is_loopback(addr), "{addr}");
        }
        for addr in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "localhost.example.org:1", "::1:1:x"] {
            assert!(!is_loopback(addr), "{addr}");
        }
        let open = GOOD.replacen("listen = \"127.0.0.1:7100\"", "insecure = true\nlisten = \"0.0.0.0:7100\"", 1);
        check(&open).unwrap();
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("200ms").unwrap(), Duration::from_millis(200));
        assert_eq!(parse_duration("1.5s").unwrap(), Duration::from_millis(1500));
        for bad in ["", "5", "s", "-1s", "0s", "1 parsec"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
