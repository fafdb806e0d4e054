//! `dev`: a local cluster, one process a node, until Ctrl-C.
//!
//! | file | what |
//! | --- | --- |
//! | `plan` | which nodes with which configurations: from the flags, or from what is in the folder; pure |
//! | `files` | configurations on disk: read, written once, private |
//! | `nodes` | the child processes |
//! | `screen` | what is told, as text or as lines of JSON |

mod files;
mod nodes;
mod plan;
mod screen;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) use self::files::{random_hex, write_config};
pub(super) use self::plan::{CONFIG_FILE, DATA_DIR, PID_FILE};

use self::nodes::Nodes;
use self::plan::{Plan, Wanted};
use self::screen::{Event, Screen};
use super::output::{Done, EXIT_FAILED, Failure};
use super::start::checked_durability;

/// Opening a large database and replaying its log may take this long.
const UP_WITHIN: Duration = Duration::from_secs(120);

/// A node that drains takes 10 s at most; syncing its memory to disk a little longer.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// How often nodes that are not children of this process are asked whether they answer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// `dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Node i, named n<i>, listens on 127.0.0.1, port BASE + 10 i; its dynode.toml, dynode.pid, dynode.log and data are in \
    DIR/n<i>. Run on the same DIR again, the cluster goes on: what flags are not given is taken from there. When a node dies \
    the others run on; start it again with `dynode start --config DIR/n<i>/dynode.toml`.")]
pub(super) struct DevArgs {
    /// How many nodes [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: Option<u16>,
    /// Where all is kept
    #[arg(long, value_name = "DIR", default_value = "./dynode-data")]
    data: PathBuf,
    /// The first node's port [default: 7100]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: Option<u16>,
    /// When a write counts as taken: group, os or interval:<duration> [default: group]
    #[arg(long, value_name = "WHEN", value_parser = checked_durability)]
    durability: Option<String>,
    /// Partitions of the ring, a power of two; fixed for the life of the cluster [default: 256]
    #[arg(long, value_name = "Q")]
    partitions: Option<u32>,
    /// Copies of each partition [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    replicas: Option<u8>,
}

/// How the wait for something ended.
enum Waited {
    Done,
    /// A signal came first.
    Interrupted,
}

pub(super) async fn run(args: DevArgs, json: bool) -> Done {
    let mut asked = Asked::new()?;
    let wanted = Wanted {
        nodes: args.nodes,
        base_port: args.base_port,
        durability: args.durability,
        partitions: args.partitions,
        replicas: args.replicas,
    };
    let plan = plan::plan(&args.data, &files::read_all(&args.data)?, &wanted, random_hex)?;
    for node in &plan.nodes {
        files::check_free(node)?;
    }
    for node in plan.nodes.iter().filter(|node| node.is_new) {
        write_config(&node.config(), &node.file)?;
    }
    let screen = Screen::new(json);
    let mut nodes = Nodes::start(&plan)?;
    let outcome = supervise(&plan, &mut nodes, &screen, &mut asked).await;
    screen.tell(&Event::Stopping)?;
    let stopped = stop(&mut nodes, &screen, &mut asked).await;
    outcome.and(stopped)
}

async fn supervise(plan: &Plan, nodes: &mut Nodes, screen: &Screen, asked: &mut Asked) -> Done {
    match wait_until_up(nodes, asked).await? {
        Waited::Interrupted => return Ok(()),
        Waited::Done => screen.tell(&Event::Ready { plan, pids: nodes.pids() })?,
    }
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = asked.next() => return Ok(()),
            (node, status) = nodes.ended() => {
                screen.tell(&Event::Died { node: nodes.plan(node), status })?;
            }
            _ = look.tick() => {
                for (node, pid) in nodes.look_for_others().await {
                    let node = nodes.plan(node);
                    screen.tell(&match pid {
                        Some(pid) => Event::Back { node, pid },
                        None => Event::Gone { node },
                    })?;
                }
            }
        }
    }
}

/// All nodes answer and see each other.
async fn wait_until_up(nodes: &mut Nodes, asked: &mut Asked) -> Result<Waited, Failure> {
    let late = tokio::time::sleep(UP_WITHIN);
    tokio::pin!(late);
    loop {
        let are_up = nodes.are_up();
        tokio::select! {
            () = asked.next() => return Ok(Waited::Interrupted),
            (node, status) = nodes.ended() => {
                let node = nodes.plan(node);
                let what = format!("{} did not start ({status})", node.name());
                return Err(Failure::new("start", what).advice(files::end_of_log(node)));
            }
            () = &mut late => {
                let what = format!("the nodes do not answer after {} s", UP_WITHIN.as_secs());
                return Err(Failure::new("start", what).advice("See dynode.log of each node for why."));
            }
            up = are_up => {
                if up {
                    return Ok(Waited::Done);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Has all nodes that are children of this process stop, and waits for it. A second signal kills them.
async fn stop(nodes: &mut Nodes, screen: &Screen, asked: &mut Asked) -> Done {
    nodes.ask_to_stop();
    let late = tokio::time::sleep(STOPPED_WITHIN);
    tokio::pin!(late);
    let (mut clean, mut killed) = (true, false);
    while nodes.any_left() {
        tokio::select! {
            (node, status) = nodes.ended() => {
                clean &= status.success();
                screen.tell(&Event::Stopped { node: nodes.plan(node), status })?;
            }
            () = asked.next() => nodes.kill(),
            () = &mut late, if !killed => {
                killed = true;
                nodes.kill();
            }
        }
    }
    for (node, pid) in nodes.others().await {
        screen.tell(&Event::RunsOn { node: nodes.plan(node), pid })?;
    }
    screen.tell(&Event::End { clean })?;
    if clean { Ok(()) } else { Err(Failure::said(EXIT_FAILED)) }
}

/// The signals that end it all.
struct Asked {
    signals: [Signal; 3],
}

impl Asked {
    fn new() -> Result<Asked, Failure> {
        let on = |kind| signal(kind).map_err(|e| Failure::new("system", format!("signals: {e}")));
        let signals = [on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?];
        Ok(Asked { signals })
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
