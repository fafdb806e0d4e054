//! A short run of `dynode-chaos` on real processes. What it measures in seconds is for `make chaos`: here only what no load
//! on the machine can break.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "files, processes and clocks are real here")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(180);

const NODES: usize = 5;

/// The harness; killed when dropped, and its nodes then end by themselves.
struct Chaos(Option<Child>);

impl Chaos {
    fn start(args: &[&str]) -> Chaos {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dynode-chaos"));
        let child = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Chaos(Some(child.unwrap()))
    }

    fn signal(&self, signal: Signal) {
        let id = self.0.as_ref().unwrap().id();
        kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal).unwrap();
    }

    /// Its output, once it has ended.
    fn ended(&mut self) -> Output {
        let began = Instant::now();
        while self.0.as_mut().unwrap().try_wait().unwrap().is_none() {
            assert!(began.elapsed() < WITHIN, "it does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The processes that nodes have said to be, and that are still there.
fn running(folder: &Path) -> Vec<u32> {
    let pid = |i| std::fs::read_to_string(folder.join(format!("n{i}/dynode.pid"))).ok()?.trim().parse().ok();
    let is_dynode =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "dynode");
    (1..=NODES).filter_map(pid).filter(is_dynode).collect()
}

/// Invariants 1, 2, 3 and 8 on real processes.
#[test]
fn kills_pauses_splits_and_one_way_cuts_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("run.svg");
    let line = "--duration 16s --interval 4s --hold 2s --faults kill,pause,split,one-way --kill-probability 0.1 --seed 5 \
        --writers 32 --rate 300 --keys 100 --whole-within 60s --json --svg";
    let mut args: Vec<&str> = line.split_whitespace().collect();
    args.push(svg.to_str().unwrap());
    let output = Chaos::start(&args).ended();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    let criteria = report["criteria"].as_array().unwrap();
    // A machine that is busy enough can be silent for a second.
    let broken = criteria.iter().filter(|c| c["held"] == false && !c["what"].as_str().unwrap().starts_with("seconds"));
    assert_eq!(broken.collect::<Vec<_>>(), Vec::<&Value>::new(), "{said}");
    assert!(criteria.len() >= 9, "{criteria:?}");
    assert!(!report["faults"].as_array().unwrap().is_empty(), "{said}");
    assert!(report["audit"]["acknowledged"].as_u64().unwrap() > 100, "{}", report["audit"]);
    assert!(std::fs::read_to_string(svg).unwrap().contains("</svg>"));
}

/// Runs `grow` with these arguments as well: what did not hold, and the report.
fn grow(more: &str) -> (Vec<String>, Value) {
    let line = format!(
        "grow --records 1500 --record-size 4000 --calm 1s --rate 150 --writers 16 --keys 100 --partitions 64 --json {more}"
    );
    let output = Chaos::start(&line.split_whitespace().collect::<Vec<_>>()).ended();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    // How long requests take is for `make grow`: here it depends on what else the machine does.
    let broken = report["criteria"].as_array().unwrap().iter().filter(|c| c["held"] == false);
    let broken = broken.map(|c| c.to_string()).filter(|text| !text.contains("p99"));
    let broken: Vec<String> = broken.chain(report["errors"].as_array().unwrap().iter().map(Value::to_string)).collect();
    assert!(report["audit"]["strict_reads"].as_u64().unwrap() > 50, "{}", report["audit"]);
    (broken, report)
}

/// Scenarios 5 and 22, invariants 1, 4 and 7 on real processes.
#[test]
fn nodes_join_are_replaced_and_leave_under_load() {
    let (broken, report) = grow("--seed 3");
    assert_eq!(broken, Vec::<String>::new(), "{report}");
    let changes = report["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 3, "{report}");
    for change in changes {
        assert_eq!(change["copies"], change["least_copies"], "{change}");
        assert!(change["bytes_moved"].as_u64() >= change["bytes_least"].as_u64(), "{change}");
    }
}

/// Scenario 22: the process is killed at any step.
#[test]
fn nodes_join_are_replaced_and_leave_while_nodes_are_killed() {
    let (mut broken, report) = grow("--kill --seed 4");
    // While a copy is not whole yet, one node less may be one too many for a moment.
    broken.retain(|why| !why.contains("quorum_not_met"));
    assert_eq!(broken, Vec::<String>::new(), "{report}");
    assert_eq!(report["changes"].as_array().unwrap().len(), 3, "{report}");
}

#[test]
fn being_stopped_ends_the_run_in_order_and_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let mut chaos = Chaos::start(&["--duration", "1h", "--rate", "100", "--faults", "pause", "--keep", place]);
    let began = Instant::now();
    while running(folder.path()).len() < NODES {
        assert!(began.elapsed() < WITHIN, "the nodes do not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Into the first pause, if the machine is quick enough: it must be undone, too.
    std::thread::sleep(Duration::from_millis(3500));
    chaos.signal(Signal::TERM);
    let output = chaos.ended();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("acknowledged writes lost"), "{said}");
    assert_eq!(running(folder.path()), Vec::<u32>::new());
}
