//! Readable scenarios: commands, and what followed from each, in one text.
//!
//! A line that begins with `> ` is a command; the lines under it, up to the next empty one, are the trace that it left.
//! [`play`] runs the commands and writes the text anew, so that a test can compare the two. Times are left out, and so are
//! rounds of digests in which nobody lacked anything.
//!
//! | command | what it does |
//! | --- | --- |
//! | `nodes N [durability=os] [index=N] [pull=BYTES]` | a calm cluster, all connected; three owners of one partition |
//! | `put NODE KEY [over\|current] [w=Q] [strict]` | asks that node; the trace ends when the client has its answer |
//! | `delete NODE KEY [over\|current] [w=Q]` | the same; `over`: what the client has read or written last |
//! | `get NODE KEY [r=Q]` | reads |
//! | `run SECONDS` | lets time pass |
//! | `run-until WORDS` | lets time pass until a line of the trace has these words |
//! | `cut A B`, `isolate A`, `heal` | cuts the network both ways; makes it whole |
//! | `kill A`, `power-cut A`, `lose-disk A`, `start A` | ends and begins processes |
//! | `show KEY` | what each node's copy has of the key, and its clock |
//! | `settle` | repairs everything, and waits until all is in order |

use bytes::Bytes;
use dynode::protocol::Durability;
use dynode_client::wire::Quorum;
use dynode_storage::ObjectKey;

use crate::world::clients::Terms;
use crate::world::host::End;
use crate::world::journal::writer_of_stored;
use crate::world::plan::{Action, MS, Plan, SECOND};
use crate::world::{Outcome, Violation, World};

/// The keys that scripts use: `x` to `z` of one bucket.
const KEYS: [&str; 3] = ["x", "y", "z"];

/// How long a script waits for anything.
const PATIENCE: u64 = 30 * SECOND;

/// Why a script did not go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// An invariant did not hold.
    Violated(Violation),
    /// A line makes no sense.
    Nonsense(String),
}

/// Plays the commands of a script. Returns the text with the traces as they are now, and how it ended.
pub fn play(script: &str) -> (String, Result<(), Stopped>) {
    let mut world = None;
    let mut out = String::new();
    for line in script.lines() {
        if line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let Some(command) = line.strip_prefix("> ") else { continue };
        if !out.is_empty() && !out.ends_with("\n\n") && !out.ends_with("#\n") {
            out.push('\n');
        }
        out.push_str(line);
        out.push('\n');
        let ended = perform(&mut world, command);
        if let Some(world) = &mut world {
            out.push_str(&world.trace.take_text());
        }
        if let Err(why) = ended {
            return (out, Err(why));
        }
    }
    (out, Ok(()))
}

fn perform(world: &mut Option<World>, command: &str) -> Result<(), Stopped> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let nonsense = || Stopped::Nonsense(format!("`{command}` is not a command"));
    if let ["nodes", count, options @ ..] = words.as_slice() {
        let mut plan = Plan::calm(count.parse().map_err(|_| nonsense())?);
        for option in options {
            match option.split_once('=') {
                Some(("durability", "os")) => plan.durability = Durability::Os,
                Some(("index", n)) => plan.index_entries_max = n.parse().map_err(|_| nonsense())?,
                Some(("pull", n)) => plan.pull_bytes = n.parse().map_err(|_| nonsense())?,
                _ => return Err(nonsense()),
            }
        }
        let mut new = World::new(1, plan, true, false);
        new.use_keys(KEYS.iter().map(|k| ObjectKey::new(b"b", k.as_bytes())).collect());
        new.begin().map_err(Stopped::Violated)?;
        new.run_until(2 * SECOND).map_err(Stopped::Violated)?;
        new.trace.be_brief();
        new.trace.take_text();
        *world = Some(new);
        return Ok(());
    }
    let Some(world) = world else { return Err(nonsense()) };
    let done = match words.as_slice() {
        ["run", seconds] => {
            let seconds: f64 = seconds.parse().map_err(|_| nonsense())?;
            world.run_until(world.now + (seconds * SECOND as f64) as u64)
        }
        ["run-until", wanted @ ..] => world.run_until_says(&wanted.join(" ")),
        ["cut", a, b] => {
            let (a, b) = node(a).zip(node(b)).ok_or_else(nonsense)?;
            world.cut(a, b);
            world.cut(b, a);
            Ok(())
        }
        ["isolate", a] => {
            let a = node(a).ok_or_else(nonsense)?;
            for peer in 0..world.plan.nodes {
                world.cut(a, peer);
                world.cut(peer, a);
            }
            Ok(())
        }
        ["heal"] => {
            world.mend();
            Ok(())
        }
        ["kill", a] => world.crash(node(a).ok_or_else(nonsense)?, End::Kill),
        ["power-cut", a] => world.crash(node(a).ok_or_else(nonsense)?, End::PowerCut),
        ["lose-disk", a] => world.lose_disk(node(a).ok_or_else(nonsense)?),
        ["start", a] => world.start(node(a).ok_or_else(nonsense)?),
        ["settle"] => world.repair_everything().and_then(|()| world.settle("in a script")),
        ["show", key] => world.show(KEYS.iter().position(|k| k == key).ok_or_else(nonsense)?),
        [what @ ("put" | "delete" | "get"), at, key, options @ ..] => {
            let (at, key) = node(at).zip(KEYS.iter().position(|k| k == key)).ok_or_else(nonsense)?;
            let (mut quorum, mut strict, mut mode) = (Quorum::Majority, false, "blind");
            for option in options {
                match option.split_once('=') {
                    None if *option == "strict" => strict = true,
                    Some(("r" | "w", q)) => quorum = q.parse().map_err(|_| nonsense())?,
                    _ => mode = option,
                }
            }
            let action = match (*what, mode) {
                ("get", _) => Action::Get,
                ("put", "over") => Action::PutOver,
                ("put", "current") => Action::PutCurrent,
                ("put", "blind") => Action::PutBlind,
                ("delete", "over") => Action::DeleteOver,
                ("delete", "current") => Action::DeleteCurrent,
                _ => return Err(nonsense()),
            };
            world.ask_and_wait(at, key, action, Terms { quorum, strict, timeout_ms: 5_000 })
        }
        _ => return Err(nonsense()),
    };
    done.map_err(Stopped::Violated)
}

/// A node's name, as `n0`.
fn node(name: &str) -> Option<usize> {
    name.strip_prefix('n')?.parse().ok()
}

impl World {
    fn ask_and_wait(&mut self, at: usize, key: usize, action: Action, terms: Terms) -> Result<(), Violation> {
        let op = self.ask(0, at, key, action, terms);
        let end = self.now + PATIENCE;
        while self.now < end && self.journal.op(op).outcome == Outcome::Pending {
            self.run_until(self.now + MS / 10)?;
        }
        Ok(())
    }

    fn run_until_says(&mut self, words: &str) -> Result<(), Violation> {
        let end = self.now + PATIENCE;
        while self.now < end && !self.trace.says(words) {
            self.run_until(self.now + MS / 10)?;
        }
        match self.trace.says(words) {
            true => Ok(()),
            false => Err(Violation::new("script", format!("nobody said `{words}` within {} s", PATIENCE / SECOND))),
        }
    }

    /// Writes down what every copy has of a key.
    fn show(&mut self, key: usize) -> Result<(), Violation> {
        let place = self.journal.keys[key].clone();
        let partition = place.partition(self.layout.partitions());
        for at in 0..self.hosts.len() {
            let Some(node) = &mut self.hosts[at].node else {
                self.trace.line(self.now, |_| format!("n{at} is down"));
                continue;
            };
            let Some(copy) = Violation::unless_found(node.store().find(partition))? else {
                self.trace.line(self.now, |_| format!("n{at} has no copy"));
                continue;
            };
            let (clock, indexed) = (copy.clock().clone(), copy.indexed());
            let object = node.store().read(partition, &place).map_err(Violation::storage)?;
            let writer = |v: &Bytes| writer_of_stored(v).map_or("?".into(), |op| format!("#{op}"));
            let values: Vec<String> = object.values.iter().filter_map(|s| s.value.bytes()).map(writer).collect();
            self.trace.line(self.now, |t| {
                format!("n{at} has [{}] at {}, index entries: {indexed}", values.join(", "), t.clock(&clock))
            });
        }
        Ok(())
    }
}
