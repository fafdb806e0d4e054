//! One node as a process: what it says of itself, signals, and its end.

use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use dynode::config::{File, node_id as id_of};
use dynode_client::{NodeId, Topic};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// A node that is told to stop answers what is under way and syncs; see the daemon's own limit of 10 s.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// A node on this machine answers about itself in milliseconds; one that hangs is not waited for.
const REPORT_WITHIN: Duration = Duration::from_secs(5);

/// A node of a cluster.
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// Where members and clients find it.
    pub addr: String,
    /// Where it listens itself: elsewhere when something stands before it.
    pub listen: String,
    /// Its folder: `dynode.toml`, `dynode.log`, `data`.
    pub dir: PathBuf,
    /// What runs the program: nothing, or a command that runs it elsewhere, such as `ip netns exec NAME`.
    pub(super) prefix: Vec<String>,
    pub(super) life: Life,
    /// It is somebody else's: left running, and running again, whatever happens.
    pub(super) kept: bool,
    pub(super) paused: bool,
}

/// Whether there is a process, and whose.
pub(super) enum Life {
    None,
    Own(Child),
    Other(Pid),
}

impl Node {
    pub(super) fn new(file: &File, addr: String, dir: PathBuf, prefix: Vec<String>) -> Result<Node, String> {
        let settings = file.clone().check(&dir.display().to_string()).map_err(|e| e.to_string())?;
        Ok(Node {
            name: file.name.clone(),
            id: id_of(&settings.cluster, &file.name),
            addr,
            listen: file.listen.clone(),
            dir,
            prefix,
            life: Life::None,
            kept: false,
            paused: false,
        })
    }

    /// Its `dynode.toml`.
    pub fn config(&self) -> PathBuf {
        self.dir.join("dynode.toml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("dynode.log")
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process().map(|pid| pid.as_raw_pid().unsigned_abs())
    }

    /// Whether it was started and has not ended, as far as is known.
    pub fn runs(&self) -> bool {
        !matches!(self.life, Life::None)
    }

    /// Looks whether its process has ended without having been killed or stopped here. Said once.
    pub fn has_ended(&mut self) -> Option<String> {
        let how = match &mut self.life {
            Life::None => None,
            Life::Own(child) => child.try_wait().ok().flatten().map(|status| status.to_string()),
            Life::Other(pid) => test_kill_process(*pid).is_err().then(|| "nobody here saw how".to_string()),
        };
        if how.is_some() {
            self.life = Life::None;
        }
        how
    }

    /// The last lines of its log.
    pub fn end_of_log(&self) -> String {
        let text = self.whole_log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// All of its log so far.
    pub fn whole_log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    /// What it says of itself, asked at its own address.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn status(&self) -> Result<Value, String> {
        self.report(Topic::Status).await
    }

    /// A report of its own.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn report(&self, topic: Topic) -> Result<Value, String> {
        let report = dynode_client::inspect(&self.addr, topic, REPORT_WITHIN).await.map_err(|e| e.to_string())?;
        serde_json::from_slice(&report).map_err(|e| e.to_string())
    }

    fn process(&self) -> Option<Pid> {
        match &self.life {
            Life::None => None,
            // The id is its own until it was waited for.
            Life::Own(child) => i32::try_from(child.id()).ok().and_then(Pid::from_raw),
            Life::Other(pid) => Some(*pid),
        }
    }

    /// The process that its pid file names, if that is a `dynode`: the number may be somebody else's by now.
    pub(super) fn found_life(&self) -> Life {
        let pid = std::fs::read_to_string(self.dir.join("dynode.pid")).ok();
        let pid = pid.and_then(|text| text.trim().parse().ok()).and_then(Pid::from_raw);
        let is_dynode = |pid: &Pid| {
            let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_pid())).unwrap_or_default();
            name.trim() == "dynode"
        };
        pid.filter(is_dynode).map_or(Life::None, Life::Other)
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), String> {
        let pid = self.process().ok_or_else(|| format!("{} does not run", self.name))?;
        kill_process(pid, signal).map_err(|e| format!("{}: {e}", self.name))
    }

    pub(super) fn kill(&mut self) {
        match std::mem::replace(&mut self.life, Life::None) {
            Life::None => {}
            Life::Own(mut child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Life::Other(pid) => {
                let _ = kill_process(pid, Signal::KILL);
                // Its parent waits for it; until then its address is taken.
                let until = Instant::now() + STOPPED_WITHIN;
                while test_kill_process(pid).is_ok() && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        self.paused = false;
    }

    /// Waits until it has ended, and kills it when that takes too long.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus, String> {
        let until = Instant::now() + STOPPED_WITHIN;
        loop {
            let ended = match &mut self.life {
                Life::None => return Err(format!("{} does not run", self.name)),
                Life::Own(child) => child.try_wait().map_err(|e| e.to_string())?,
                // How it ended only its parent knows.
                Life::Other(pid) => test_kill_process(*pid).is_err().then(ExitStatus::default),
            };
            match ended {
                Some(status) => {
                    self.life = Life::None;
                    return Ok(status);
                }
                None if Instant::now() < until => tokio::time::sleep(Duration::from_millis(20)).await,
                None => {
                    self.kill();
                    return Err(format!("{} did not stop in time: {}", self.name, self.end_of_log()));
                }
            }
        }
    }
}
