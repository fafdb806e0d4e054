//! Real processes on this machine: clusters of nodes, the ways between them, and what is done to both.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`cluster`], [`node`] | nodes with their configurations: started, killed, stopped, paused, and the end of all of them whatever happens |
//! | [`equal`] | whether the owners' copies are equal, or contain what others had at some moment |
//! | [`proxy`] | a TCP proxy before each node: cut, delay, throttle and reset what passes, one way or both |
//! | [`spaces`] | a network namespace a node, where the system allows it: packets vanish without a word |
//! | [`disk`] | a small disk that can be filled, where the system allows it |
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "files, processes and clocks are real here")]

pub mod cluster;
pub mod disk;
pub mod equal;
pub mod node;
pub mod proxy;
pub mod spaces;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use rand::RngExt;

pub use cluster::{Cluster, Place};
pub use equal::{differences, wait_until_equal};
pub use node::Node;

/// Below the ports that systems give to outgoing connections.
const PORTS: std::ops::Range<u16> = 12_000..30_000;

/// Where `dynode` is: `DYNODE_BIN`, or where Cargo puts it.
///
/// # Errors
///
/// What to do, when it is nowhere.
pub fn binary() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("DYNODE_BIN") {
        let named = PathBuf::from(named);
        return if named.is_file() { Ok(named) } else { Err(format!("DYNODE_BIN: {} is no file", named.display())) };
    }
    // Programs are beside it; tests one folder further down.
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let beside = own.ancestors().skip(1).take(2).map(|dir| dir.join("dynode")).find(|path| path.is_file());
    beside.ok_or_else(|| "the program `dynode` is missing: run `make build` first, or name it in DYNODE_BIN".into())
}

/// Random bytes in hexadecimal.
pub fn random_hex(bytes: usize) -> String {
    let mut random = rand::rng();
    (0..bytes).map(|_| format!("{:02x}", random.random::<u8>())).collect()
}

/// Ports of 127.0.0.1 that nobody listens on.
///
/// # Errors
///
/// There are none.
pub fn free_ports(count: usize) -> Result<Vec<u16>, String> {
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

/// Runs a command of the system to its end.
fn system(command: &str) -> Result<String, String> {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let done = Command::new(program).args(words).output().map_err(|e| format!("{program}: {e}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!("`{command}`: {}", String::from_utf8_lossy(&done.stderr).trim())),
    }
}
