//! Configurations on disk, and whether a node of them can run.

use std::net::TcpListener;
use std::path::Path;

use rand::RngExt;

use super::plan::{CONFIG_FILE, NodePlan, folder};
use crate::cli::output::Failure;
use crate::config::File;

/// As many nodes as `dev` can have.
const NODES_MAX: usize = 64;

/// So much of a node's log explains why it did not start.
const LOG_LINES: usize = 6;

/// Random bytes from the operating system, in hexadecimal.
pub(crate) fn random_hex(bytes: usize) -> String {
    let mut random = rand::rng();
    (0..bytes).map(|_| format!("{:02x}", random.random::<u8>())).collect()
}

/// Writes a new configuration.
pub(crate) fn write_config(place: &Path, file: &File) -> Result<(), Failure> {
    file.write(place).map_err(|e| Failure::new("config", e.to_string()))
}

/// The configurations in a folder, by node number.
pub(super) fn read_all(data: &Path) -> Result<Vec<(usize, File)>, Failure> {
    let mut found = Vec::new();
    for i in 0..NODES_MAX {
        let place = folder(data, i).join(CONFIG_FILE);
        if place.exists() {
            found.push((i, File::read(&place).map_err(|e| Failure::new("config", e.to_string()))?));
        }
    }
    Ok(found)
}

/// Refuses a node that runs already, or whose ports are taken.
pub(super) fn check_free(node: &NodePlan) -> Result<(), Failure> {
    for (field, addr) in node.file.listeners() {
        let Err(e) = TcpListener::bind(addr) else { continue };
        if let Some(pid) = running(node) {
            let what = format!("{} runs already, as process {pid}", node.name());
            return Err(Failure::new("running", what).advice(format!(
                "Stop it with `kill {pid}`, or leave the cluster as it is: it goes on without this command."
            )));
        }
        let name = if field == "listen" { String::new() } else { format!(", {field}") };
        let what = format!("{addr} ({}{name}) cannot be listened on: {e}", node.name());
        return Err(Failure::new("port", what).advice(
            "Does another program, or another cluster, listen there? Stop it, or make a cluster elsewhere with --data and \
             --base-port.",
        ));
    }
    Ok(())
}

/// The process that a node's pid file names, if it is alive.
pub(super) fn running(node: &NodePlan) -> Option<u32> {
    let text = std::fs::read_to_string(node.pid_file()).ok()?;
    let pid = text.trim().parse::<i32>().ok().and_then(rustix::process::Pid::from_raw)?;
    rustix::process::test_kill_process(pid).ok()?;
    Some(pid.as_raw_pid().unsigned_abs())
}

/// The last lines of a node's log.
pub(super) fn end_of_log(node: &NodePlan) -> String {
    let place = node.log();
    let text = std::fs::read(&place).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    format!("Its log, {}, ends with:\n{}", place.display(), last.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::plan::{Wanted, plan};
    use super::*;

    #[test]
    fn configurations_are_private_and_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("cluster");
        let planned = plan(&data, &[], &Wanted::default(), random_hex).unwrap();
        for node in &planned.nodes {
            write_config(&node.config(), &node.file).unwrap();
        }
        let mode = std::fs::metadata(data.join("n0/dynode.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = plan(&data, &read_all(&data).unwrap(), &Wanted::default(), random_hex).unwrap();
        assert!(!again.nodes.iter().any(|node| node.is_new));
        assert_eq!(again.cluster(), planned.cluster());
        assert_eq!(again.nodes[1].file.data, data.join("n1/data"));
        assert_eq!(planned.cluster().secret.len(), 64);
        assert_ne!(random_hex(16), random_hex(16));
    }

    #[test]
    fn a_taken_port_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut planned = plan(dir.path(), &[], &Wanted::default(), random_hex).unwrap();
        planned.nodes[0].file.listen = taken.local_addr().unwrap().to_string();
        let refused = check_free(&planned.nodes[0]).unwrap_err().to_string();
        assert!(refused.contains("n0") && refused.contains("--base-port"), "{refused}");
        std::fs::create_dir_all(&planned.nodes[0].dir).unwrap();
        std::fs::write(planned.nodes[0].pid_file(), format!("{}\n", std::process::id())).unwrap();
        assert!(check_free(&planned.nodes[0]).unwrap_err().to_string().contains("runs already"));
        std::fs::write(planned.nodes[0].pid_file(), "999999999\n").unwrap();
        assert_eq!(running(&planned.nodes[0]), None);
    }
}
