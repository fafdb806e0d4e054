//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dynode::config::parse_duration;
use dynode_bench::units::parse_rate;

use crate::faults::{self, Fault, Kind};

const AFTER: &str = "\
Examples:
  dynode-chaos                                       two minutes, five nodes, every kind of fault
  dynode-chaos --split '1,2|3,4,5' --duration 30s    the same split again and again; nodes count from 1
  dynode-chaos --faults pause,slow --interval 5s     only these
  dynode-chaos --network netns                       packets vanish without a word (needs root)
  dynode-chaos --attach 127.0.0.1:7100 --data ./dynode-data --faults kill,pause
                                                     a cluster that `dynode dev` runs
  dynode-chaos --attach 10.0.0.1:7100 10.0.0.2:7100  any cluster: load and checks; you bring the faults

It holds when no acknowledged write is lost, nothing replaced comes back, no error says a false word, the copies are whole
in time after each fault's end, and no second passes without a single answer while any partition has a quorum of owners
that see each other. Exit codes: 0 all of it held; 1 something did not; 2 it could not be run.";

/// Real faults on real dynode processes, while clients write and read and everything is checked.
#[derive(Debug, Parser)]
#[command(name = "dynode-chaos", version, max_term_width = 110, after_help = AFTER, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Further things to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure the tail latency of quorum reads and writes with one of three replicas stopped, killed or slow
    SlowReplica(SlowArgs),
    /// Grow a loaded cluster from five nodes to eight, replace one that died with its disk, and shrink to three
    ///
    /// By the operator's commands, while clients write and read with strict quorums. It holds when no acknowledged write is
    /// lost, no read misses one that was acknowledged before it began, no operation fails after the client's own retries, no
    /// more than 1.1 of the bytes move that must, and p99 during each change is at most twice that before.
    Grow(GrowArgs),
}

/// How nodes are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// Through a TCP proxy of ours before each node: cuts, delays, bandwidth, resets
    Proxy,
    /// A network namespace a node: packets vanish without a word. Needs root
    Netns,
    /// Directly, on loopback: no faults of the network
    Plain,
}

/// A run.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Run so long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "2m")]
    pub(crate) duration: Duration,
    /// Nodes to start
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(3..=9), default_value = "5")]
    pub(crate) nodes: u8,
    /// Where chance begins [default: drawn, and printed]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How the nodes are joined
    #[arg(long, value_enum, default_value = "proxy")]
    pub(crate) network: Network,
    /// When a write counts as taken: group, os or interval:<duration>
    #[arg(long, value_name = "WHEN", default_value = "group")]
    pub(crate) durability: String,
    /// Partitions of the cluster, a power of two
    #[arg(long, value_name = "N", default_value = "64")]
    pub(crate) partitions: u32,

    /// A fault begins so often
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s", help_heading = "Faults")]
    pub(crate) interval: Duration,
    /// A fault lasts so long [default: half of the interval]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Faults")]
    pub(crate) hold: Option<Duration>,
    /// Beside a fault of the network, each node is killed with this probability (one at most)
    #[arg(long, value_name = "P", value_parser = parse_probability, default_value = "0.1", help_heading = "Faults")]
    pub(crate) kill_probability: f64,
    /// Which kinds, in turn, shuffled [default: all that can be done here]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KINDS", help_heading = "Faults")]
    pub(crate) faults: Vec<Kind>,
    /// This split, as in '1,2|3,4,5': the sides do not hear each other
    #[arg(long, value_name = "SIDES", value_parser = faults::parse_split, help_heading = "Faults")]
    pub(crate) split: Vec<Fault>,
    /// This one-way cut, as in '1>2' or '1>2,1>3': what 1 sends to 2 does not arrive
    #[arg(long, value_name = "WAYS", value_parser = faults::parse_cut, help_heading = "Faults")]
    pub(crate) cut: Vec<Fault>,
    /// No other node hears this one, nor it them
    #[arg(long, value_name = "NODE", value_parser = faults::parse_isolate, help_heading = "Faults")]
    pub(crate) isolate: Vec<Fault>,

    /// Writers; each has one request under way
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), default_value = "128", help_heading = "Load")]
    pub(crate) writers: u32,
    /// Writes a second that the writers aim at, all together; three in five read first
    #[arg(long, value_name = "N/s", value_parser = parse_rate, default_value = "800", help_heading = "Load")]
    pub(crate) rate: f64,
    /// Keys; fewer mean more writers at the same key
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), default_value = "1000", help_heading = "Load")]
    pub(crate) keys: u32,
    /// Bytes of a value at least
    #[arg(long, value_name = "BYTES", default_value = "200", help_heading = "Load")]
    pub(crate) value_size: usize,
    /// Time for one request, the client's retries included
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "2s", help_heading = "Load")]
    pub(crate) timeout: Duration,
    /// Count owners only, no stand-ins
    #[arg(long, help_heading = "Load")]
    pub(crate) strict: bool,

    /// After each fault the copies must be whole within this
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s", help_heading = "What must hold")]
    pub(crate) whole_within: Duration,
    /// At the end keys that are not right are read again for so long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s", help_heading = "What must hold")]
    pub(crate) settle: Duration,

    /// Test a cluster that runs already, instead of starting one. What is written stays, in the bucket `chaos`
    #[arg(long, value_name = "HOST:PORT", num_args = 1.., help_heading = "Another cluster")]
    pub(crate) attach: Vec<String>,
    /// The folder of that cluster, if `dynode dev` on this machine made it: its processes can then be killed, stopped and
    /// paused. They are running again at the end. To see whether it is whole all copies are read: not for much data
    #[arg(long, value_name = "DIR", requires = "attach", help_heading = "Another cluster")]
    pub(crate) data: Option<PathBuf>,

    /// The report as JSON on stdout; what goes on then goes to stderr
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Draw throughput, p99 and faults over time
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) svg: Option<PathBuf>,
    /// Keep configurations, logs and data here instead of in a folder that is removed when all held
    #[arg(long, value_name = "DIR", conflicts_with = "attach", help_heading = "Output")]
    pub(crate) keep: Option<PathBuf>,
}

/// `slow-replica`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SlowArgs {
    /// Measure each phase so long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    pub(crate) duration: Duration,
    /// The first part of each fault, measured apart: here the cluster notices
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "3s")]
    pub(crate) onset: Duration,
    /// Part of the peak load to run at
    #[arg(long, value_name = "PART", value_parser = parse_probability, default_value = "0.5")]
    pub(crate) load: f64,
    /// Requests under way when the peak is measured
    #[arg(long, value_name = "N", default_value = "64")]
    pub(crate) in_flight: u32,
    /// Records
    #[arg(long, value_name = "N", default_value = "20000")]
    pub(crate) records: u64,
    /// The slow link is so many times slower than the usual round trip between two nodes
    #[arg(long, value_name = "TIMES", default_value = "100")]
    pub(crate) slower: u32,
    /// Time for one request
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "2s")]
    pub(crate) timeout: Duration,
    /// When a write counts as taken: group, os or interval:<duration>
    #[arg(long, value_name = "WHEN", default_value = "group")]
    pub(crate) durability: String,
    /// Count owners only, no stand-ins
    #[arg(long)]
    pub(crate) strict: bool,
    /// The figures as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `grow`.
#[derive(Debug, Clone, Args)]
pub(crate) struct GrowArgs {
    /// Records that are there before: they are what moves
    #[arg(long, value_name = "N", default_value = "100000")]
    pub(crate) records: u64,
    /// Bytes of a record's value
    #[arg(long, value_name = "BYTES", default_value = "1000")]
    pub(crate) record_size: usize,
    /// Quiet before and after each change: what p99 is held against
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    pub(crate) calm: Duration,
    /// Kill one node after the other (-9) and start it again while ownership changes
    #[arg(long)]
    pub(crate) kill: bool,
    /// Partitions of the cluster, a power of two
    #[arg(long, value_name = "N", default_value = "256")]
    pub(crate) partitions: u32,
    /// Writers; each has one request under way
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), default_value = "64")]
    pub(crate) writers: u32,
    /// Writes a second, all writers together; three in five read first
    #[arg(long, value_name = "N/s", value_parser = parse_rate, default_value = "2000")]
    pub(crate) rate: f64,
    /// Keys that are written
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), default_value = "1000")]
    pub(crate) keys: u32,
    /// Bytes of a written value at least
    #[arg(long, value_name = "BYTES", default_value = "200")]
    pub(crate) value_size: usize,
    /// Time for one request, the client's retries included
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    pub(crate) timeout: Duration,
    /// When a write counts as taken: group, os or interval:<duration>
    #[arg(long, value_name = "WHEN", default_value = "group")]
    pub(crate) durability: String,
    /// Where chance begins [default: drawn, and printed]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Draw the ring before and after each change into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) rings: Option<PathBuf>,
    /// Keep configurations, logs and data here
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// The figures as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_probability(text: &str) -> Result<f64, String> {
    let value: Option<f64> = text.parse().ok();
    value.filter(|p| (0.0..=1.0).contains(p)).ok_or_else(|| format!("`{text}` is not between 0 and 1"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_people_write_is_understood() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        for line in [
            "dynode-chaos",
            "dynode-chaos --split 1,2|3,4,5 --cut 1>2 --isolate 3 --seed 7",
            "dynode-chaos --interval 10s --kill-probability 0.1 --faults kill,pause,split,one-way,slow,disk",
            "dynode-chaos --attach 127.0.0.1:7100 127.0.0.1:7110 --data d --duration 10s",
            "dynode-chaos --network netns --svg a.svg --json",
            "dynode-chaos slow-replica --duration 5s --slower 50",
            "dynode-chaos grow --records 1000 --calm 2s --kill --rings r",
        ] {
            if let Err(e) = parse(line) {
                panic!("{line}: {e}");
            }
        }
        for line in [
            "dynode-chaos --nodes 2",
            "dynode-chaos --kill-probability 2",
            "dynode-chaos --split 1,2",
            "dynode-chaos --split 1,2|2,3",
            "dynode-chaos --cut 1>1",
            "dynode-chaos --isolate 0",
            "dynode-chaos --data d",
            "dynode-chaos --faults flood",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
