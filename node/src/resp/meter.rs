//! What is counted of Redis' clients: connections, commands by name and outcome, errors by their first word. For `INFO`
//! and `/metrics`; plain atomic numbers, and nothing that grows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::codec::Reply;
use super::commands::{COMMANDS, place};

/// The first words of errors that are counted by themselves: those of [`super::failures`] and of the commands.
const ERRORS: [&str; 7] = ["ERR", "LOADING", "NOREPLICAS", "OUTCOMEUNKNOWN", "TRYAGAIN", "NOPROTO", "WRONGPASS"];

/// The counts of one front end since it was started.
#[derive(Debug)]
pub struct Meter {
    /// Connections now.
    pub connections: AtomicU64,
    /// Connections so far.
    pub connections_begun: AtomicU64,
    /// By the command's place in the table, and whether it was answered with an error; after them all unknown ones.
    commands: Vec<[AtomicU64; 2]>,
    /// By the error's place in [`ERRORS`]; after them all others.
    errors: [AtomicU64; ERRORS.len() + 1],
}

impl Default for Meter {
    fn default() -> Meter {
        Meter {
            connections: AtomicU64::new(0),
            connections_begun: AtomicU64::new(0),
            commands: (0..=COMMANDS.len()).map(|_| Default::default()).collect(),
            errors: Default::default(),
        }
    }
}

/// Which command it was, for the meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named(u16);

impl Named {
    /// By the first word of a command.
    pub(super) fn of(word: &[u8]) -> Named {
        Named(place(word).unwrap_or(COMMANDS.len()) as u16)
    }
}

impl Meter {
    /// A command was answered.
    pub(super) fn answered(&self, named: Named, reply: &Reply) {
        let error = if let Reply::Error(text) = reply { Some(text) } else { None };
        self.commands[usize::from(named.0)][usize::from(error.is_some())].fetch_add(1, Relaxed);
        if let Some(text) = error {
            self.failed(text);
        }
    }

    /// An error was said that answers no command: what came is none.
    pub(super) fn failed(&self, text: &str) {
        let word = text.split(' ').next().unwrap_or_default();
        let at = ERRORS.iter().position(|error| *error == word).unwrap_or(ERRORS.len());
        self.errors[at].fetch_add(1, Relaxed);
    }

    /// Commands answered so far.
    pub(super) fn commands_answered(&self) -> u64 {
        self.commands.iter().flatten().map(|n| n.load(Relaxed)).sum()
    }

    /// Errors said so far.
    pub(super) fn errors_said(&self) -> u64 {
        self.errors.iter().map(|n| n.load(Relaxed)).sum()
    }

    /// Every command with how often it was done, and how often it was answered with an error; unknown ones together.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, u64, u64)> + '_ {
        let names = COMMANDS.iter().map(|command| command.name()).chain(["unknown"]);
        names.zip(&self.commands).map(|(name, [done, failed])| (name, done.load(Relaxed), failed.load(Relaxed)))
    }

    /// Errors by their first word, with how often each was said.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        ERRORS.iter().copied().chain(["other"]).zip(self.errors.iter().map(|n| n.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_and_error_is_counted_in_its_own_place() {
        let meter = Meter::default();
        meter.answered(Named::of(b"SeT"), &Reply::OK);
        meter.answered(Named::of(b"set"), &Reply::err("no"));
        meter.answered(Named::of(b"lpush"), &Reply::err("unknown command"));
        meter.answered(Named::of(b"unlink"), &Reply::Integer(1));
        meter.answered(Named::of(b"get"), &Reply::Error("STRANGE thing".into()));
        meter.failed("ERR Protocol error");
        let commands: Vec<_> = meter.commands().filter(|(_, done, failed)| done + failed > 0).collect();
        assert_eq!(commands, [("get", 0, 1), ("set", 1, 1), ("unlink", 1, 0), ("unknown", 0, 1)]);
        let errors: Vec<_> = meter.errors().filter(|(_, n)| *n > 0).collect();
        assert_eq!(errors, [("ERR", 3), ("other", 1)]);
        assert_eq!((meter.commands_answered(), meter.errors_said()), (5, 4));
    }
}
