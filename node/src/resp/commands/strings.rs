//! Values: read, set, appended to, counted with.

use bytes::Bytes;

use super::expiry::{Unit, moment};
use super::{Asked, Done, arity, is, number, syntax, unless_refused};
use crate::resp::codec::Reply;
use crate::resp::op::{Keep, Only, Op, Set, SetAnswer};

pub(super) fn get(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::Get)
}

pub(super) fn mget(asked: &mut Asked<'_>) -> Done {
    let ops = asked.words[1..].iter().map(|key| (key.clone(), Op::Get));
    // A value that cannot be read must not look like one that is not there.
    asked.on_keys(ops, |replies| unless_refused(replies, Reply::Array))
}

pub(super) fn set(asked: &mut Asked<'_>) -> Done {
    let mut set = plain(asked.words[2].clone(), SetAnswer::Ok);
    let mut options = asked.words[3..].iter();
    let mut has_expiry = false;
    while let Some(option) = options.next() {
        let unit = Unit::of_set(option);
        if is(option, "nx") && set.only == Only::Always {
            set.only = Only::IfAbsent;
        } else if is(option, "xx") && set.only == Only::Always {
            set.only = Only::IfPresent;
        } else if is(option, "get") {
            set.answer = SetAnswer::Old;
        } else if is(option, "keepttl") && !has_expiry {
            (set.expiry, has_expiry) = (Keep::AsItIs, true);
        } else if let (Some(unit), false) = (unit, has_expiry) {
            let amount = number(options.next().ok_or_else(syntax)?)?;
            (set.expiry, has_expiry) = (Keep::At(moment(amount, unit, "set")?), true);
        } else {
            return Err(syntax());
        }
    }
    asked.on_key(Op::Set(set))
}

pub(super) fn setnx(asked: &mut Asked<'_>) -> Done {
    let set = plain(asked.words[2].clone(), SetAnswer::Done);
    asked.on_key(Op::Set(Set { only: Only::IfAbsent, ..set }))
}

pub(super) fn setex(asked: &mut Asked<'_>) -> Done {
    set_for(asked, Unit::Seconds, "setex")
}

pub(super) fn psetex(asked: &mut Asked<'_>) -> Done {
    set_for(asked, Unit::Milliseconds, "psetex")
}

fn set_for(asked: &Asked<'_>, unit: Unit, name: &str) -> Done {
    let at = moment(number(&asked.words[2])?, unit, name)?;
    let set = plain(asked.words[3].clone(), SetAnswer::Ok);
    asked.on_key(Op::Set(Set { expiry: Keep::At(at), ..set }))
}

pub(super) fn getset(asked: &mut Asked<'_>) -> Done {
    let set = plain(asked.words[2].clone(), SetAnswer::Old);
    asked.on_key(Op::Set(set))
}

pub(super) fn getdel(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::GetDelete)
}

pub(super) fn mset(asked: &mut Asked<'_>) -> Done {
    if asked.words.len().is_multiple_of(2) {
        return Err(arity("mset"));
    }
    let pairs = asked.words[1..].chunks_exact(2);
    let ops = pairs.map(|pair| (pair[0].clone(), Op::Set(plain(pair[1].clone(), SetAnswer::Ok))));
    asked.on_keys(ops, |replies| unless_refused(replies, |_| Reply::OK))
}

pub(super) fn strlen(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::Length)
}

pub(super) fn append(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::Append(asked.words[2].clone()))
}

pub(super) fn incr(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::Add(1))
}

pub(super) fn decr(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::Add(-1))
}

pub(super) fn incrby(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::Add(number(&asked.words[2])?))
}

pub(super) fn decrby(asked: &mut Asked<'_>) -> Done {
    let by = number(&asked.words[2])?.checked_neg().ok_or_else(|| Reply::err("decrement would overflow"))?;
    asked.on_key(Op::Add(by))
}

/// Whatever is there, for ever.
fn plain(bytes: Bytes, answer: SetAnswer) -> Set {
    Set { bytes, expiry: Keep::Never, only: Only::Always, answer }
}
