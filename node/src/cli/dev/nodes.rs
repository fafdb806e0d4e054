//! The nodes as processes: children of this one, and those that the user has started again.

use std::fs::OpenOptions;
use std::future::pending;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use dynode_client::{Client, Topic};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::files::running;
use super::plan::{NodePlan, Plan};
use crate::cli::output::Failure;

/// A local node answers in milliseconds; one that is busy for longer is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// All nodes of a cluster.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    cluster: [u8; 16],
    ended: mpsc::Receiver<(usize, ExitStatus)>,
}

struct Node {
    plan: NodePlan,
    state: State,
}

enum State {
    /// A child of this process.
    Own { pid: Option<u32>, orders: mpsc::Sender<Signal> },
    /// A child that has ended.
    Ended,
    /// Started by somebody else since.
    Other,
}

impl Nodes {
    /// Starts one process a node. When one cannot be started, those before it are killed.
    pub(super) fn start(plan: &Plan) -> Result<Nodes, Failure> {
        let program = std::env::current_exe().map_err(|e| Failure::new("system", format!("this program: {e}")))?;
        // A node ends once, and is told about once.
        let (sender, ended) = mpsc::channel(plan.nodes.len());
        let mut nodes = Vec::new();
        for (i, node) in plan.nodes.iter().enumerate() {
            let open = |place| OpenOptions::new().create(true).append(true).open(place);
            let log = open(node.log()).map_err(|e| Failure::file(&node.log(), &e))?;
            let child = Command::new(&program)
                .args(["start", "--stop-with-parent", &std::process::id().to_string(), "--config"])
                .arg(node.config())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                // Ctrl-C in the terminal is for this process, which then stops its children in order.
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
                .map_err(|e| Failure::new("system", format!("{}: {e}", program.display())))?;
            let (orders, taken) = mpsc::channel(4);
            nodes.push(Node { plan: node.clone(), state: State::Own { pid: child.id(), orders } });
            tokio::spawn(watch(i, child, taken, sender.clone()));
        }
        let file = &plan.nodes[0].file;
        let settings = file.clone().check("").map_err(|e| Failure::new("config", e.to_string()))?;
        Ok(Nodes { nodes, cluster: settings.cluster, ended })
    }

    pub(super) fn plan(&self, node: usize) -> &NodePlan {
        &self.nodes[node].plan
    }

    /// The process ids of this process's own children, by node.
    pub(super) fn pids(&self) -> Vec<Option<u32>> {
        let pid = |node: &Node| match node.state {
            State::Own { pid, .. } => pid,
            State::Ended | State::Other => None,
        };
        self.nodes.iter().map(pid).collect()
    }

    /// The next child that ends.
    pub(super) async fn ended(&mut self) -> (usize, ExitStatus) {
        match self.ended.recv().await {
            Some((node, status)) => {
                self.nodes[node].state = State::Ended;
                (node, status)
            }
            None => pending().await,
        }
    }

    /// Whether any child is left.
    pub(super) fn any_left(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.state, State::Own { .. }))
    }

    /// Whether every node answers and sees all others.
    pub(super) fn are_up(&self) -> impl Future<Output = bool> + use<> {
        let (plans, cluster) = (self.nodes.iter().map(|node| node.plan.clone()).collect::<Vec<_>>(), self.cluster);
        async move {
            for plan in &plans {
                let Some(status) = ask(plan, cluster).await else { return false };
                let peers = status["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
                if !peers.iter().all(|peer| peer["up"] == true) {
                    return false;
                }
            }
            true
        }
    }

    /// Looks which nodes that were children answer again, and which of those do no more: each change once, with the
    /// process id where there is one.
    pub(super) async fn look_for_others(&mut self) -> Vec<(usize, Option<u32>)> {
        let mut changes = Vec::new();
        for (i, node) in self.nodes.iter_mut().enumerate() {
            let was_up = match node.state {
                State::Own { .. } => continue,
                State::Ended => false,
                State::Other => true,
            };
            let up = ask(&node.plan, self.cluster).await.is_some();
            if up != was_up {
                node.state = if up { State::Other } else { State::Ended };
                changes.push((i, up.then(|| running(&node.plan).unwrap_or(0))));
            }
        }
        changes
    }

    /// The nodes that somebody else has started and that answer now.
    pub(super) async fn others(&mut self) -> Vec<(usize, u32)> {
        self.look_for_others().await;
        let others = self.nodes.iter().enumerate().filter(|(_, node)| matches!(node.state, State::Other));
        others.map(|(i, node)| (i, running(&node.plan).unwrap_or(0))).collect()
    }

    /// SIGTERM to all children.
    pub(super) fn ask_to_stop(&self) {
        self.order(Signal::TERM);
    }

    /// SIGKILL to all children.
    pub(super) fn kill(&self) {
        self.order(Signal::KILL);
    }

    fn order(&self, signal: Signal) {
        for node in &self.nodes {
            if let State::Own { orders, .. } = &node.state {
                // Full only when several were given and none was carried out: one is enough.
                let _ = orders.try_send(signal);
            }
        }
    }
}

/// Waits for a child, and passes signals on to it for as long as its id is its own.
async fn watch(
    node: usize,
    mut child: Child,
    mut orders: mpsc::Receiver<Signal>,
    ended: mpsc::Sender<(usize, ExitStatus)>,
) {
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            Some(signal) = orders.recv() => {
                // An id is there until the child was waited for: it cannot be anybody else's.
                let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
                if let Some(pid) = pid {
                    let _ = kill_process(pid, signal);
                }
            }
        }
    };
    let _ = ended.send((node, status.unwrap_or_default())).await;
}

/// A node's status, if it answers at its address and is that node of this cluster.
async fn ask(node: &NodePlan, cluster: [u8; 16]) -> Option<Value> {
    let client = Client::builder().timeout(ANSWER_WITHIN).cluster(cluster).connect([&node.file.listen]).await.ok()?;
    let status = client.inspect(None, Topic::Status).await.ok()?;
    let status: Value = serde_json::from_slice(&status).ok()?;
    (status["name"] == node.name() && status["state"] == "up").then_some(status)
}
