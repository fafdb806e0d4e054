//! The commands, by family, and what `COMMAND` says of them.

mod connection;
mod expiry;
mod keys;
mod node;
mod strings;
mod table;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::app::App;
use super::codec::{Reply, integer};
use super::failures;
use super::lanes::Answer;
use super::limits::OPERATION_BYTES;
use super::op::Op;
use super::session::Session;

pub(super) use table::{COMMANDS, Command};

/// What answers a command, once it is polled to its end; what a key's commands do is under way before.
pub(super) type Answering = Pin<Box<dyn Future<Output = Answers> + Send>>;

/// An answer, and the shares of the memory that its values have until it has left.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) reply: Reply,
    _held: Vec<Arc<OwnedSemaphorePermit>>,
}

/// A command's outcome: at once or later; an error is an answer as any other.
pub(super) enum Outcome {
    Now(Reply),
    Later(Answering),
}

type Done = Result<Outcome, Reply>;

/// One command.
pub(super) struct Asked<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) session: &'a mut Session,
    /// Its name first.
    pub(super) words: Vec<Bytes>,
}

impl From<Reply> for Answers {
    fn from(reply: Reply) -> Answers {
        Answers { reply, _held: Vec::new() }
    }
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Outcome {
        Outcome::Now(reply)
    }
}

/// Begins a command.
pub(super) fn begin(app: &Arc<App>, session: &mut Session, words: Vec<Bytes>) -> Outcome {
    let Some(command) = find(&words[0]) else { return unknown(&words).into() };
    if !command.takes(words.len()) {
        return arity(command.name).into();
    }
    let done = (command.run)(&mut Asked { app, session, words });
    done.unwrap_or_else(Outcome::Now)
}

/// What a command holds while it is under way, in bytes: its words, and what is done to its keys.
pub(super) fn bytes(words: &[Bytes]) -> usize {
    let keys = find(&words[0]).map_or(0, |command| command.keys_in(words.len()));
    words.iter().map(|word| word.len() + size_of::<Bytes>()).sum::<usize>() + keys * OPERATION_BYTES
}

/// A command by its name, in whatever case.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    place(name).map(|at| &COMMANDS[at])
}

/// A command's place in the table, by its name in whatever case.
pub(super) fn place(name: &[u8]) -> Option<usize> {
    COMMANDS.iter().position(|command| name.eq_ignore_ascii_case(command.name.as_bytes()))
}

/// As Redis says it.
fn unknown(words: &[Bytes]) -> Reply {
    let shown = |word: &[u8]| word[..word.len().min(128)].escape_ascii().to_string();
    let mut text = format!("unknown command '{}', with args beginning with: ", shown(&words[0]));
    for word in &words[1..] {
        if text.len() > 128 {
            break;
        }
        text.push_str(&format!("'{}' ", shown(word)));
    }
    Reply::err(text)
}

fn arity(name: &str) -> Reply {
    Reply::err(format!("wrong number of arguments for '{name}' command"))
}

fn syntax() -> Reply {
    Reply::err("syntax error")
}

fn no_integer() -> Reply {
    Reply::err("value is not an integer or out of range")
}

fn number(word: &[u8]) -> Result<i64, Reply> {
    integer(word).ok_or_else(no_integer)
}

/// Is it this word, in whatever case?
fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

impl Asked<'_> {
    /// One operation on the key that is the first argument.
    fn on_key(&self, op: Op) -> Done {
        let answered = self.app.lanes.push(self.words[1].clone(), op);
        Ok(Outcome::Later(Box::pin(async move {
            let Answer { reply, held } = heard(answered.await);
            Answers { reply, _held: held.into_iter().collect() }
        })))
    }

    /// An operation on each key; the answers are put together by `sum`.
    fn on_keys<S>(&self, ops: impl Iterator<Item = (Bytes, Op)>, sum: S) -> Done
    where
        S: FnOnce(Vec<Reply>) -> Reply + Send + 'static,
    {
        let waiting: Vec<_> = ops.map(|(key, op)| self.app.lanes.push(key, op)).collect();
        Ok(Outcome::Later(Box::pin(async move {
            let mut replies = Vec::with_capacity(waiting.len());
            let mut shares = Vec::new();
            for answered in waiting {
                let Answer { reply, held } = heard(answered.await);
                replies.push(reply);
                shares.extend(held);
            }
            Answers { reply: sum(replies), _held: shares }
        })))
    }
}

fn heard(answered: Result<Answer, oneshot::error::RecvError>) -> Answer {
    answered.unwrap_or_else(|_| failures::gone().into())
}

/// The first error, or what `otherwise` makes of all.
fn unless_refused(replies: Vec<Reply>, otherwise: impl FnOnce(Vec<Reply>) -> Reply) -> Reply {
    match replies.iter().find(|reply| matches!(reply, Reply::Error(_))) {
        Some(error) => error.clone(),
        None => otherwise(replies),
    }
}

/// How many of the keys it was done to.
fn sum(replies: Vec<Reply>) -> Reply {
    unless_refused(replies, |replies| {
        Reply::Integer(replies.iter().map(|reply| if let Reply::Integer(n) = reply { *n } else { 0 }).sum())
    })
}
