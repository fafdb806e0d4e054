//! `start`: one node, from a configuration file or, for a cluster of its own, from flags.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{Done, Failure};
use super::{dev, guest, log};
use crate::config::{ClusterFile, DiskFile, File, MemberFile, PARTITIONS, REPLICAS, Settings, parse_durability};

const NAME_DEFAULT: &str = "n0";
const LISTEN_DEFAULT: &str = "127.0.0.1:7100";

/// `start`.
#[derive(Debug, Args)]
#[command(after_help = "\
    With --config the node runs as the file says; relative paths in it count from the file. With --data instead, a cluster \
    of one node is made there at the first start (its dynode.toml holds the cluster's id and secret), and goes on at later \
    ones. The node writes its log to stderr (filter: DYNODE_LOG, as in `debug` or `info,dynode::shell=debug`) and its \
    process id to dynode.pid beside its dynode.toml. SIGTERM and Ctrl-C stop it after what is under way is answered.")]
pub(super) struct StartArgs {
    /// The node's dynode.toml
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "data", "listen", "http", "resp", "join", "secret", "auto", "zone", "weight", "durability"])]
    config: Option<PathBuf>,
    /// Its name [default: n0]
    #[arg(long)]
    name: Option<String>,
    /// Where its dynode.toml and data are
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    data: Option<PathBuf>,
    /// Where clients and peers connect [default: 127.0.0.1:7100]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where HTTP is served
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Where the Redis protocol is to be served
    #[arg(long, value_name = "HOST:PORT")]
    resp: Option<String>,
    /// Come to the cluster of this node as a guest; `dynode join` makes it a member. Repeat it for further nodes
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<String>,
    /// The cluster's secret, of which the guest keeps a copy: the dynode.toml of one of its nodes, or a file with the
    /// secret's hexadecimal digits. On loopback the node that is joined tells it
    #[arg(long, value_name = "FILE", requires = "join")]
    secret: Option<PathBuf>,
    /// Make guests that this node hears of members, without an operator's word
    #[arg(long)]
    auto: bool,
    /// What the node fails together with, such as a rack [default: default]
    #[arg(long)]
    zone: Option<String>,
    /// Its capacity relative to other nodes' [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    weight: Option<u32>,
    /// When a write counts as taken: group, os or interval:<duration> [default: group]
    #[arg(long, value_name = "WHEN", value_parser = checked_durability)]
    durability: Option<String>,
    /// Listen beyond this machine although there is no encryption and no login
    #[arg(long)]
    insecure: bool,
    /// How each line of the log is written
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    log: log::Form,
    /// Stop when the process that started this one, with this id, is gone
    #[arg(long, value_name = "PID", hide = true)]
    stop_with_parent: Option<u32>,
}

/// As `--durability` takes it.
pub(super) fn checked_durability(text: &str) -> Result<String, String> {
    parse_durability(text).map(|_| text.to_string())
}

pub(super) fn run(args: StartArgs) -> Done {
    if let Some(parent) = args.stop_with_parent {
        stop_with(parent)?;
    }
    log::begin(args.log);
    run_node(settings(args)?)
}

#[cfg(feature = "rocksdb")]
fn run_node(settings: Settings) -> Done {
    crate::start::run(settings).map_err(|e| Failure::new("start", e.to_string()))
}

#[cfg(not(feature = "rocksdb"))]
fn run_node(_: Settings) -> Done {
    Err(Failure::new("start", "this build has no storage engine").advice("Build dynode with its default features."))
}

fn settings(args: StartArgs) -> Result<Settings, Failure> {
    let insecure = args.insecure;
    let place = match &args.config {
        Some(place) => place.clone(),
        None => own_cluster(args)?,
    };
    let mut file = File::read(&place).map_err(|e| wrong(&e))?;
    file.insecure |= insecure;
    let found = if file.join.is_empty() { None } else { guest::look(&mut file)? };
    let mut settings = file.check(&place.display().to_string()).map_err(|e| wrong(&e))?;
    if let Some(layout) = found {
        (settings.layout, settings.is_layout_unknown) = (layout, false);
    }
    settings.pid_file = Some(place.with_file_name(dev::PID_FILE));
    Ok(settings)
}

fn wrong(e: &crate::config::ConfigError) -> Failure {
    Failure::new("config", e.to_string())
}

/// The dynode.toml of a cluster of one node: made now, or there already and not contradicted.
fn own_cluster(args: StartArgs) -> Result<PathBuf, Failure> {
    // Clap has seen to it that there is one.
    let dir = args.data.clone().unwrap_or_default();
    let place = dir.join(dev::CONFIG_FILE);
    if place.exists() {
        let file = File::read(&place).map_err(|e| wrong(&e))?;
        agree(&file, &args, &place)?;
        return Ok(place);
    }
    let name = args.name.unwrap_or_else(|| NAME_DEFAULT.into());
    let listen = args.listen.unwrap_or_else(|| LISTEN_DEFAULT.into());
    let zone = args.zone.unwrap_or_else(|| "default".into());
    let member = MemberFile { name: name.clone(), addr: listen.clone(), zone, weight: args.weight.unwrap_or(1) };
    let cluster = ClusterFile {
        id: dev::random_hex(16),
        secret: dev::random_hex(32),
        partitions: PARTITIONS,
        replicas: REPLICAS,
        members: vec![member.clone()],
    };
    let cluster = match &args.secret {
        None if args.join.is_empty() => cluster,
        secret => {
            let secret = match secret {
                Some(place) => guest::secret_in(place)?,
                None => guest::secret_of(&args.join)?,
            };
            ClusterFile { id: String::new(), secret, members: Vec::new(), ..cluster }
        }
    };
    let mut file = File {
        name,
        data: dev::DATA_DIR.into(),
        listen,
        http: args.http,
        resp: args.resp,
        durability: args.durability.unwrap_or_else(|| "group".into()),
        zone: Some(member.zone).filter(|_| !args.join.is_empty()),
        weight: Some(member.weight).filter(|_| !args.join.is_empty()),
        join: args.join,
        auto: args.auto,
        insecure: args.insecure,
        disk: DiskFile::default(),
        cluster,
    };
    // What could not start must not be left behind.
    if !file.join.is_empty() && guest::look(&mut file)?.is_none() {
        return Err(guest::nobody(&file));
    }
    file.clone().check(&place.display().to_string()).map_err(|e| wrong(&e))?;
    dev::write_config(&place, &file)?;
    Ok(place)
}

/// Flags that say something else than the file that is there.
fn agree(file: &File, args: &StartArgs, place: &Path) -> Result<(), Failure> {
    let member = file.cluster.members.iter().find(|member| member.name == file.name);
    let weight = member.map(|member| member.weight).or(file.weight).map(|weight| weight.to_string());
    let zone = member.map(|member| member.zone.as_str()).or(file.zone.as_deref());
    let said = [
        ("--name", args.name.as_deref(), Some(file.name.as_str())),
        ("--listen", args.listen.as_deref(), Some(file.listen.as_str())),
        ("--http", args.http.as_deref(), file.http.as_deref()),
        ("--resp", args.resp.as_deref(), file.resp.as_deref()),
        ("--zone", args.zone.as_deref(), zone),
        ("--weight", args.weight.map(|w| w.to_string()).as_deref(), weight.as_deref()),
        ("--durability", args.durability.as_deref(), Some(file.durability.as_str())),
    ]
    .into_iter()
    .find_map(|(flag, said, found)| match said {
        Some(said) if Some(said) != found => Some((flag, said.to_string(), found.unwrap_or("nothing").to_string())),
        _ => None,
    });
    match said {
        None => Ok(()),
        Some((flag, said, found)) => {
            let what = format!("{flag} says {said}, and {} says {found}", place.display());
            Err(Failure::new("config", what).advice("Leave the flag out, or change the file."))
        }
    }
}

/// Has the system stop this process when its parent is gone.
#[cfg(target_os = "linux")]
fn stop_with(parent: u32) -> Done {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|e| Failure::new("system", format!("cannot be stopped with its parent: {e}")))?;
    // It may have gone before it was asked for.
    match getppid().map(|pid| pid.as_raw_pid().unsigned_abs()) {
        Some(pid) if pid == parent => Ok(()),
        _ => Err(Failure::new("system", "the process that started this one is gone")),
    }
}

#[cfg(not(target_os = "linux"))]
fn stop_with(_: u32) -> Done {
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parse(line: &str) -> StartArgs {
        match crate::cli::Cli::try_parse_from(line.split(' ')).unwrap().command {
            crate::cli::Command::Start(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_cluster_of_one_node_is_made_once_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let start = |flags: &str| settings(parse(&format!("dynode start --data {}/x{flags}", dir.path().display())));
        let first = start(" --name solo --zone z --weight 2").unwrap();
        assert_eq!((first.name.as_str(), first.data.as_path()), ("solo", dir.path().join("x/data").as_path()));
        assert_eq!(first.pid_file, Some(dir.path().join("x/dynode.pid")));
        let again = start("").unwrap();
        assert_eq!((again.cluster, again.secret), (first.cluster, first.secret));
        let refused = start(" --name other").unwrap_err().to_string();
        assert!(refused.contains("--name says other") && refused.contains("says solo"), "{refused}");
    }

    #[test]
    fn a_guest_whose_cluster_cannot_be_reached_is_told_so_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "00112233445566778899aabbccddeeff\n").unwrap();
        let data = dir.path().join("x");
        let line = format!("dynode start --data {} --join 127.0.0.1:1 --secret {}", data.display(), secret.display());
        let refused = settings(parse(&line)).unwrap_err().to_string();
        assert!(refused.contains("127.0.0.1:1") && refused.contains("can be reached"), "{refused}");
        assert!(!data.exists());
        std::fs::write(&secret, "no secret").unwrap();
        let refused = settings(parse(&line)).unwrap_err().to_string();
        assert!(refused.contains("hexadecimal"), "{refused}");
    }

    #[test]
    fn listening_beyond_this_machine_needs_a_word_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let line = format!("dynode start --data {}/x --listen 0.0.0.0:7100", dir.path().display());
        let refused = settings(parse(&line)).unwrap_err().to_string();
        assert!(refused.contains("--insecure"), "{refused}");
        assert!(!dir.path().join("x").exists());
        assert!(settings(parse(&format!("{line} --insecure"))).is_ok());
    }

    #[test]
    fn the_example_for_three_machines_can_be_read() {
        let text = include_str!("../../../deploy/dynode.toml")
            .replace("CLUSTER_ID", &"0a".repeat(16))
            .replace("CLUSTER_SECRET", &"0b".repeat(32))
            .replace("NAME", "b");
        let machines =
            [("ADDRESS_A", "10.0.0.1"), ("ADDRESS_B", "10.0.0.2"), ("ADDRESS_C", "10.0.0.3"), ("ADDRESS", "10.0.0.2")];
        let text = machines.iter().fold(text, |text, (word, address)| text.replace(word, address));
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join(dev::CONFIG_FILE);
        std::fs::write(&place, text).unwrap();
        let settings = settings(parse(&format!("dynode start --config {}", place.display()))).unwrap();
        assert_eq!((settings.name.as_str(), settings.listen.as_str()), ("b", "10.0.0.2:7100"));
        assert_eq!(settings.layout.members().len(), 3);
        let unit = include_str!("../../../deploy/dynode.service");
        let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).unwrap();
        parse(command);
    }
}
