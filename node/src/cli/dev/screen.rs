//! What `dev` tells: for people in sentences, for programs as one line of JSON an event.

use std::process::ExitStatus;

use owo_colors::OwoColorize;
use serde_json::{Value, json};

use super::plan::{NodePlan, Plan};
use crate::cli::output::{Done, print};
use crate::cli::table::Side::{Left, Right};
use crate::cli::table::{Cell, Table};

/// What happens.
pub(super) enum Event<'a> {
    /// All nodes answer.
    Ready { plan: &'a Plan, pids: Vec<Option<u32>> },
    /// A child ended by itself.
    Died { node: &'a NodePlan, status: ExitStatus },
    /// A node that was started elsewhere answers.
    Back { node: &'a NodePlan, pid: u32 },
    /// It no longer does.
    Gone { node: &'a NodePlan },
    /// The children are asked to stop.
    Stopping,
    /// One has.
    Stopped { node: &'a NodePlan, status: ExitStatus },
    /// A node that was started elsewhere is left alone.
    RunsOn { node: &'a NodePlan, pid: u32 },
    /// All children are gone.
    End { clean: bool },
}

/// Where it is told.
pub(super) struct Screen {
    json: bool,
}

impl Screen {
    pub(super) fn new(json: bool) -> Screen {
        Screen { json }
    }

    pub(super) fn tell(&self, event: &Event<'_>) -> Done {
        match self.json {
            true => print(&format!("{}\n", as_json(event))),
            false => print(&as_text(event)),
        }
    }
}

fn as_text(event: &Event<'_>) -> String {
    match event {
        Event::Ready { plan, pids } => ready(plan, pids),
        Event::Died { node, status } => format!(
            "{} {} ended ({status}); the others run on. Start it again:\n    dynode start --config {}\n",
            "!".red().bold(),
            node.name().bold(),
            node.config().display(),
        ),
        Event::Back { node, pid } => {
            format!(
                "{} {} answers again (process {pid}, not started by this command)\n",
                "✓".green(),
                node.name().bold()
            )
        }
        Event::Gone { node } => format!("{} {} answers no more\n", "!".red().bold(), node.name().bold()),
        Event::Stopping => "\nstopping\n".into(),
        Event::Stopped { node, status } if status.success() => {
            format!("{} {} stopped\n", "✓".green(), node.name().bold())
        }
        Event::Stopped { node, status } => {
            format!("{} {} ended ({status}); see {}\n", "!".red().bold(), node.name().bold(), node.log().display())
        }
        Event::RunsOn { node, pid } => format!(
            "{} {} was not started by this command and runs on. Stop it with: kill {pid}\n",
            "!".yellow().bold(),
            node.name().bold()
        ),
        Event::End { clean: true } => "done; the same command goes on with the same data\n".into(),
        Event::End { clean: false } => {
            "not all stopped cleanly; what was acknowledged is on disk all the same\n".into()
        }
    }
}

fn ready(plan: &Plan, pids: &[Option<u32>]) -> String {
    let columns = [("node", Left), ("address", Left), ("HTTP", Left), ("process", Right), ("folder", Left)];
    let mut table = Table::new(columns).indented(2);
    for (node, pid) in plan.nodes.iter().zip(pids) {
        table.row([
            Cell::styled(node.name(), owo_colors::Style::new().bold()),
            node.file.listen.as_str().into(),
            node.file.http.as_ref().map(|addr| format!("http://{addr}")).unwrap_or_default().into(),
            pid.map_or_else(|| "?".into(), |pid| pid.to_string()).into(),
            Cell::faint(node.dir.display().to_string()),
        ]);
    }
    let cluster = plan.cluster();
    let count = plan.nodes.len();
    let nodes = if count == 1 { "1 node".to_string() } else { format!("{count} nodes") };
    let how = if plan.is_new() { "new" } else { "continued" };
    let copies = usize::from(cluster.replicas).min(count);
    let copies = if copies == 1 { "1 copy".to_string() } else { format!("{copies} copies") };
    let last = &plan.nodes[count - 1];
    // Commands go to port 7100 by themselves.
    let first = &plan.nodes[0].file.listen;
    let node = if first == "127.0.0.1:7100" { String::new() } else { format!(" --node {first}") };
    let mut text = format!(
        "\n  {}  {nodes} are up ({how}), {} partitions × {copies}, durability {}\n\n{}\n",
        "dynode".bold(),
        cluster.partitions,
        plan.nodes[0].file.durability,
        table.render()
    );
    if count == 1 {
        text = text.replacen("1 node are up", "1 node is up", 1);
    }
    text.push_str(&format!("  {}\n", "Try, in another terminal:".bold()));
    let mut tries = Table::pairs().indented(2);
    for (command, what) in [
        (format!("dynode put fruit apple green{node}"), "write a key"),
        (format!("dynode get fruit apple{node}"), "read it"),
        (format!("dynode import DIR{node}"), "write a folder; then: verify DIR, list files"),
        (format!("dynode status{node}"), "all nodes; also: ring, members"),
        (format!("kill -9 $(cat {})", last.pid_file().display()), "lose a node, go on, and then"),
        (format!("dynode start --config {}", last.config().display()), "bring it back"),
    ] {
        tries.row([command.into(), Cell::faint(what)]);
    }
    text.push_str(&tries.render());
    text.push_str(&format!("\n  Logs: {}/n*/dynode.log. Ctrl-C stops all.\n\n", plan.data.display()));
    text
}

fn as_json(event: &Event<'_>) -> Value {
    let about = |name: &str, node: &NodePlan| json!({ "event": name, "node": node.name() });
    let with = |mut value: Value, key: &str, more: Value| {
        value[key] = more;
        value
    };
    match event {
        Event::Ready { plan, pids } => {
            let node = |(node, pid): (&NodePlan, &Option<u32>)| {
                json!({
                    "name": node.name(),
                    "addr": node.file.listen,
                    "http": node.file.http,
                    "resp": node.file.resp,
                    "pid": pid,
                    "config": node.config(),
                    "pid_file": node.pid_file(),
                    "log": node.log(),
                    "data": node.dir,
                })
            };
            let nodes: Vec<Value> = plan.nodes.iter().zip(pids).map(node).collect();
            json!({ "event": "ready", "new": plan.is_new(), "cluster": plan.cluster().id, "nodes": nodes })
        }
        Event::Died { node, status } => with(about("died", node), "status", json!(status.to_string())),
        Event::Back { node, pid } => with(about("back", node), "pid", json!(pid)),
        Event::Gone { node } => about("gone", node),
        Event::Stopping => json!({ "event": "stopping" }),
        Event::Stopped { node, status } => with(about("stopped", node), "status", json!(status.to_string())),
        Event::RunsOn { node, pid } => with(about("runs_on", node), "pid", json!(pid)),
        Event::End { clean } => json!({ "event": "end", "clean": clean }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::plan::{Wanted, plan};
    use super::*;

    #[test]
    fn the_start_screen_says_how_to_go_on() {
        let wanted = Wanted { base_port: Some(9000), ..Wanted::default() };
        let plan = plan(Path::new("d"), &[], &wanted, |n| "5a".repeat(n)).unwrap();
        let event = Event::Ready { plan: &plan, pids: vec![Some(1), None, Some(3)] };
        let text = anstream::adapter::strip_str(&as_text(&event)).to_string();
        for words in [
            "3 nodes are up (new)",
            "127.0.0.1:9020",
            "http://127.0.0.1:9021",
            "--node 127.0.0.1:9000",
            "d/n2/dynode.toml",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
        let line = as_json(&event);
        assert_eq!((&line["event"], &line["nodes"][1]["name"]), (&json!("ready"), &json!("n1")));
        assert!(!line.to_string().contains('\n'));
    }
}
