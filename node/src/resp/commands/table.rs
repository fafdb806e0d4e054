//! All commands there are.

use super::{Asked, Done, connection, expiry, keys, node, strings};

/// A command, as `COMMAND` tells of it.
pub(in crate::resp) struct Command {
    /// In small letters.
    pub(super) name: &'static str,
    /// Words, the name included; below zero: so many at least.
    pub(super) arity: i64,
    pub(super) flags: &'static [&'static str],
    /// The places of the first key and of the last (from the end, below zero), and the step between.
    pub(super) keys: (i64, i64, i64),
    pub(super) group: &'static str,
    pub(super) summary: &'static str,
    pub(super) run: fn(&mut Asked<'_>) -> Done,
}

impl Command {
    /// In small letters.
    pub(in crate::resp) fn name(&self) -> &'static str {
        self.name
    }

    /// May it have so many words?
    pub(super) fn takes(&self, words: usize) -> bool {
        match usize::try_from(self.arity) {
            Ok(exactly) => words == exactly,
            Err(_) => words as u64 >= self.arity.unsigned_abs(),
        }
    }

    /// How many keys are among so many words?
    pub(super) fn keys_in(&self, words: usize) -> usize {
        match self.keys {
            (_, -1, step) => words.saturating_sub(1).div_ceil(usize::try_from(step).unwrap_or(1)),
            (_, last, _) => usize::try_from(last).unwrap_or(0),
        }
    }
}

const READ: &[&str] = &["readonly", "fast"];
const WRITE: &[&str] = &["write", "denyoom", "fast"];
const REMOVE: &[&str] = &["write", "fast"];
const SELF: &[&str] = &["loading", "stale", "fast"];
const ONE: (i64, i64, i64) = (1, 1, 1);
const ALL: (i64, i64, i64) = (1, -1, 1);
const NONE: (i64, i64, i64) = (0, 0, 0);

macro_rules! commands {
    ($($name:literal $arity:literal $flags:ident $keys:expr, $group:literal, $run:path, $summary:literal;)*) => {
        pub(in crate::resp) const COMMANDS: &[Command] = &[$(Command {
            name: $name,
            arity: $arity,
            flags: $flags,
            keys: $keys,
            group: $group,
            summary: $summary,
            run: $run,
        },)*];
    };
}

commands! {
    "append" 3 WRITE ONE, "string", strings::append, "Appends to a value, or sets it where there is none.";
    "auth" -2 SELF NONE, "connection", connection::auth, "Logs in; the user `default` needs no password.";
    "client" -2 SELF NONE, "connection", connection::client, "ID, GETNAME, SETNAME, SETINFO, INFO, NO-EVICT, NO-TOUCH.";
    "command" -1 SELF NONE, "server", node::command, "What commands there are: COUNT, DOCS, INFO, LIST.";
    "config" -2 SELF NONE, "server", node::config, "GET: some settings by their Redis names.";
    "dbsize" 1 READ NONE, "server", keys::dbsize, "Counts all keys, by listing them.";
    "decr" 2 WRITE ONE, "string", strings::decr, "Subtracts one from a number.";
    "decrby" 3 WRITE ONE, "string", strings::decrby, "Subtracts from a number.";
    "del" -2 REMOVE ALL, "generic", keys::del, "Deletes keys; says how many were there.";
    "echo" 2 SELF NONE, "connection", connection::echo, "Says it back.";
    "exists" -2 READ ALL, "generic", keys::exists, "How many of the keys are there.";
    "expire" -3 REMOVE ONE, "generic", expiry::expire, "Has a key expire after so many seconds.";
    "expireat" -3 REMOVE ONE, "generic", expiry::expireat, "Has a key expire at a second since 1970.";
    "get" 2 READ ONE, "string", strings::get, "The value of a key.";
    "getdel" 2 REMOVE ONE, "string", strings::getdel, "The value of a key, which is deleted.";
    "getset" 3 WRITE ONE, "string", strings::getset, "Sets a value and says the one before.";
    "hello" -1 SELF NONE, "connection", connection::hello, "Greets, and chooses the protocol's version.";
    "incr" 2 WRITE ONE, "string", strings::incr, "Adds one to a number.";
    "incrby" 3 WRITE ONE, "string", strings::incrby, "Adds to a number.";
    "info" -1 SELF NONE, "server", node::info, "What the server says of itself.";
    "mget" -2 READ ALL, "string", strings::mget, "The values of several keys.";
    "mset" -3 WRITE (1, -1, 2), "string", strings::mset, "Sets several keys, each for itself.";
    "persist" 2 REMOVE ONE, "generic", expiry::persist, "Has a key no longer expire.";
    "pexpire" -3 REMOVE ONE, "generic", expiry::pexpire, "Has a key expire after so many milliseconds.";
    "pexpireat" -3 REMOVE ONE, "generic", expiry::pexpireat, "Has a key expire at a millisecond since 1970.";
    "ping" -1 SELF NONE, "connection", connection::ping, "Is somebody there?";
    "psetex" 4 WRITE ONE, "string", strings::psetex, "Sets a value for so many milliseconds.";
    "pttl" 2 READ ONE, "generic", expiry::pttl, "Milliseconds until a key expires.";
    "quit" -1 SELF NONE, "connection", connection::quit, "Closes the connection.";
    "scan" -2 READ NONE, "generic", keys::scan, "Some keys, and where to go on.";
    "select" 2 SELF NONE, "connection", connection::select, "Chooses the database: there is 0.";
    "set" -3 WRITE ONE, "string", strings::set, "Sets a value.";
    "setex" 4 WRITE ONE, "string", strings::setex, "Sets a value for so many seconds.";
    "setnx" 3 WRITE ONE, "string", strings::setnx, "Sets a value where there is none.";
    "strlen" 2 READ ONE, "string", strings::strlen, "The length of a value.";
    "ttl" 2 READ ONE, "generic", expiry::ttl, "Seconds until a key expires.";
    "type" 2 READ ONE, "generic", keys::kind, "`string`, or `none`.";
    "unlink" -2 REMOVE ALL, "generic", keys::del, "Deletes keys; says how many were there.";
}

#[cfg(test)]
mod tests {
    use super::COMMANDS;

    #[test]
    fn names_are_small_sorted_and_once() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        assert!(COMMANDS.iter().all(|command| command.name.bytes().all(|byte| byte.is_ascii_lowercase())));
    }

    #[test]
    fn the_words_of_a_command_are_counted() {
        let takes = |name: &str, words| super::super::find(name.as_bytes()).unwrap().takes(words);
        assert!(takes("GET", 2) && !takes("get", 1) && !takes("get", 3));
        let keys = |name: &str, words| super::super::find(name.as_bytes()).unwrap().keys_in(words);
        assert_eq!((keys("ping", 2), keys("set", 5), keys("mget", 4), keys("mset", 5)), (0, 1, 3, 2));
        assert!(takes("del", 2) && takes("del", 9) && !takes("del", 1));
    }
}
