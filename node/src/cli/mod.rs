//! The command line: what can be said, and which file does it.
//!
//! | file | what |
//! | --- | --- |
//! | `start`, `guest`, `log` | `dynode start`: one node, until it is told to stop; what a guest must learn first; its log |
//! | `dev/` | `dynode dev`: a local cluster, one process a node |
//! | `status`, `ring`, `svg`, `local` | what the nodes say of themselves, tables and drawings of it |
//! | `change/` | `join`, `leave`, `replace`, `remove`, `set`, `plan`, `commit`, `cancel` |
//! | `doctor/`, `watch`, `look` | what is wrong, in words; a live table; the look at all members that both need |
//! | `shells` | completion and man page |
//! | `scrub` | has nodes check all that they have stored |
//! | `sync` | who lacks what of whom |
//! | `data`, `list` | `get`, `put`, `delete`; `list` |
//! | [`transfer`] | many files or keys at once: walking, bounds, retries, progress, the summary |
//! | `import`, `export`, `verify` | the three that use it |
//! | `target` | the nodes to talk to |
//! | `reports` | the same JSON for front ends that say the same |
//! | `output`, [`table`], [`units`] | what is printed, and how |
//!
//! Absent: nothing here decides anything about copies or quorums. All but `start` talk to nodes through `dynode_client`
//! and nothing else.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "people, files, processes and clocks are here")]

mod bucket;
mod change;
mod data;
mod dev;
mod doctor;
pub mod export;
mod guest;
pub mod import;
mod list;
mod local;
mod log;
mod look;
mod output;
pub(crate) mod reports;
mod ring;
mod scrub;
mod shells;
mod start;
mod status;
pub mod svg;
mod sync;
pub mod table;
mod target;
pub mod transfer;
mod transfers;
pub mod units;
pub mod verify;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::output::{Done, Failure};
use self::target::TargetArgs;

const EXIT_CODES: &str = "\
Exit codes:
  0  all went well
  1  something failed or is not there; stderr says what, as one line of JSON with --json
  2  the command line makes no sense
  3  `get` and `export` only: a key has several siblings where one value was wanted

A first try: `dynode dev` in one terminal; in another `dynode status`, `dynode put fruit apple green`, \
`dynode get fruit apple`, `dynode import DIR`, `dynode ring`.";

/// A leaderless, always-writable key-value store.
#[derive(Debug, Parser)]
#[command(name = "dynode", version, max_term_width = 100, after_help = EXIT_CODES)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    target: TargetArgs,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Start a local cluster from nothing, one process a node, until Ctrl-C
    Dev(dev::DevArgs),
    /// Run one node
    Start(start::StartArgs),
    /// Show the state of all nodes
    Status,
    /// Show the members of the cluster
    Members,
    /// Show how far a change of ownership has come, on every node
    Transfers(transfers::TransfersArgs),
    /// Show who owns what, or where a key lives
    Ring(ring::RingArgs),
    /// Stage that a guest becomes a member
    Join(change::JoinArgs),
    /// Stage that a member leaves, and hands over what it has
    Leave(change::NameArgs),
    /// Stage that a guest takes the place of a member, which may be dead
    Replace(change::ReplaceArgs),
    /// Stage that a dead member is no longer one
    Remove(change::NameArgs),
    /// Stage another weight or zone of a member
    Set(change::SetArgs),
    /// Show what the staged changes would move
    Plan,
    /// Make the staged changes the next layout
    Commit(change::CommitArgs),
    /// Forget the staged changes
    Cancel,
    /// Compare what all nodes say, and tell what is wrong and what to do
    Doctor(doctor::DoctorArgs),
    /// Watch all nodes: a live table
    Watch(watch::WatchArgs),
    /// Show what the node asked holds itself, for checking and debugging
    Local(local::LocalArgs),
    /// Show who lacks what of whom, and what is being brought up to date
    Sync(sync::SyncArgs),
    /// Have nodes read and check all that they have stored
    Scrub(scrub::ScrubArgs),
    /// Read a key: its value goes to stdout
    Get(data::GetArgs),
    /// Write a key
    Put(data::PutArgs),
    /// Delete a key
    Delete(data::DeleteArgs),
    /// List the keys of a bucket in order
    List(list::ListArgs),
    /// Show what a bucket is like, or change it
    Bucket(bucket::BucketArgs),
    /// Write every file of a folder into a bucket
    Import(import::ImportArgs),
    /// Write every key of a bucket into a folder
    Export(export::ExportArgs),
    /// Read every file of a folder back from a bucket, and compare the bytes
    Verify(verify::VerifyArgs),
    /// Print a shell's completion script
    Completion(shells::CompletionArgs),
    /// Print the manual page
    Man(shells::ManArgs),
}

/// Does what the arguments of this process say.
pub fn main() -> ExitCode {
    let Cli { target, command } = Cli::parse();
    let json = target.json;
    match execute(&target, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(json),
    }
}

fn execute(target: &TargetArgs, command: Command) -> Done {
    if matches!(command, Command::Dev(_) | Command::Start(_)) && target.is_given() {
        let what = "`dev` and `start` run nodes of their own";
        return Err(Failure::new("usage", what).advice("Leave out --node.").exit(2));
    }
    // A node makes a runtime of its own.
    if let Command::Start(args) = command {
        return start::run(args);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new("system", format!("the system refuses a runtime: {e}")))?;
    let done = runtime.block_on(async {
        match command {
            Command::Start(args) => start::run(args),
            Command::Dev(args) => dev::run(args, target.json).await,
            Command::Status => status::status(target).await,
            Command::Members => status::members(target).await,
            Command::Transfers(args) => transfers::run(target, args).await,
            Command::Ring(args) => ring::run(target, args).await,
            Command::Join(args) => change::join(target, args).await,
            Command::Leave(args) => change::leave(target, args).await,
            Command::Replace(args) => change::replace(target, args).await,
            Command::Remove(args) => change::remove(target, args).await,
            Command::Set(args) => change::set(target, args).await,
            Command::Plan => change::plan(target).await,
            Command::Commit(args) => change::commit(target, args).await,
            Command::Cancel => change::cancel(target).await,
            Command::Doctor(args) => doctor::run(target, args).await,
            Command::Watch(args) => watch::run(target, args).await,
            Command::Completion(args) => shells::completion(&args),
            Command::Man(args) => shells::man(args),
            Command::Local(args) => local::run(target, args).await,
            Command::Sync(args) => sync::run(target, args).await,
            Command::Scrub(args) => scrub::run(target, args).await,
            Command::Get(args) => data::get(target, args).await,
            Command::Put(args) => data::put(target, args).await,
            Command::Delete(args) => data::delete(target, args).await,
            Command::List(args) => list::run(target, args).await,
            Command::Bucket(args) => bucket::run(target, args).await,
            Command::Import(args) => import::run(target, args).await,
            Command::Export(args) => export::run(target, args).await,
            Command::Verify(args) => verify::run(target, args).await,
        }
    });
    // A file that is still being read in the background must not hold up the end.
    runtime.shutdown_background();
    done
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
            "dynode dev",
            "dynode dev --nodes 5 --data d --base-port 7200 --durability os --partitions 64 --replicas 2",
            "dynode start --config d/n0/dynode.toml",
            "dynode start --name a --data d --listen 127.0.0.1:1 --http 127.0.0.1:2 --resp 127.0.0.1:3",
            "dynode start --data d --join 127.0.0.1:7100 --join 127.0.0.1:7110 --secret f --zone z --weight 2 --durability os",
            "dynode join 127.0.0.1:7150 --weight 2 --zone z",
            "dynode replace n1 n5",
            "dynode set n1 --weight 3",
            "dynode commit --yes --wait --force",
            "dynode plan --json",
            "dynode status --json",
            "dynode --json --node a:1 status --node b:2",
            "dynode ring --key b/k --svg ring.svg --partitions",
            "dynode get b k --r one --strict --timeout 2s -o file --siblings",
            "dynode put b k v --w all --overwrite",
            "dynode put b k - --context abc",
            "dynode put b k",
            "dynode put b k v --trace 7c4e",
            "dynode delete b k --context abc",
            "dynode list b --prefix p --limit 10",
            "dynode bucket b",
            "dynode bucket b --kind lww --ttl 1h --r one --w 2 --n 3",
            "dynode bucket b --ttl none",
            "dynode put b k v --type text/plain --ttl 30s --request-id 7",
            "dynode get b k --r bucket",
            "dynode import d --bucket files --jobs 8 --w all --skip-large",
            "dynode export d --bucket files",
            "dynode verify d --bucket files --r all",
            "dynode local --key b/k",
            "dynode sync",
            "dynode sync --now --partitions --json",
            "dynode scrub",
            "dynode doctor --json --timeout 1s",
            "dynode watch --interval 500ms --count 3",
            "dynode completion zsh",
            "dynode man --dir pages",
            "dynode start --config d/n0/dynode.toml --log json",
            "dynode scrub n0 n1 --wait --json",
        ] {
            if let Err(e) = parse(line) {
                panic!("{line}: {e}");
            }
        }
        for line in [
            "dynode",
            "dynode start --config f --name a",
            "dynode put b k v --context c --overwrite",
            "dynode get b k --r none",
            "dynode status --node somewhere",
            "dynode get b k --trace ",
            "dynode bucket b --ttl soon",
            "dynode bucket b --kind first",
            "dynode import d --jobs 0",
            "dynode ring --key nobucket",
            "dynode dev --nodes 0",
            "dynode start --data d --durability fast",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
