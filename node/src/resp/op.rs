//! What commands do to one key: a plain function of the value that is there and the time.
//!
//! Several operations on a key are done one after the other on what one read has shown, and written back together
//! (`lanes`).

use bytes::{Bytes, BytesMut};

use super::codec::{Reply, integer};
use super::limits::BULK_BYTES_MAX;

/// A value as it is seen and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) bytes: Bytes,
    /// In milliseconds of the wall clock since 1970.
    pub(super) expires_ms: Option<u64>,
}

/// One operation on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Get,
    Exists,
    Length,
    Type,
    /// The time that is left, in seconds or milliseconds.
    Ttl {
        seconds: bool,
    },
    Set(Set),
    Delete,
    GetDelete,
    Append(Bytes),
    Add(i64),
    /// To the milliseconds since 1970.
    Expire {
        at_ms: u64,
        only: OnlyExpiry,
    },
    Persist,
}

/// The `SET` family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) bytes: Bytes,
    pub(super) expiry: Keep,
    pub(super) only: Only,
    pub(super) answer: SetAnswer,
}

/// What becomes of the moment at which a value expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Never,
    At(u64),
    AsItIs,
}

/// When a value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Only {
    Always,
    IfAbsent,
    IfPresent,
}

/// What `SET` and its relatives answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetAnswer {
    Ok,
    Old,
    /// Whether it was set, as a number.
    Done,
}

/// When an expiry is set, as `EXPIRE` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct OnlyExpiry {
    pub(super) if_none: bool,
    pub(super) if_any: bool,
    pub(super) if_later: bool,
    pub(super) if_sooner: bool,
}

/// What an operation does beside answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Written,
}

impl Op {
    /// Is the value that is there of no matter? Then nothing is read for it.
    pub(super) fn is_blind(&self) -> bool {
        match self {
            Op::Set(set) => set.only == Only::Always && set.answer == SetAnswer::Ok && set.expiry != Keep::AsItIs,
            _ => false,
        }
    }

    /// Does it only look?
    pub(super) fn is_read(&self) -> bool {
        matches!(self, Op::Get | Op::Exists | Op::Length | Op::Type | Op::Ttl { .. })
    }

    /// Does it, at this moment of the wall clock.
    pub(super) fn apply(self, value: &mut Option<Stored>, now_ms: u64) -> (Reply, Effect) {
        if value.as_ref().and_then(|value| value.expires_ms).is_some_and(|at| at <= now_ms) {
            *value = None;
        }
        let done = |done: bool| (Reply::Integer(done.into()), if done { Effect::Written } else { Effect::None });
        match self {
            Op::Get => (bulk(value.as_ref()), Effect::None),
            Op::Exists => (Reply::Integer(value.is_some().into()), Effect::None),
            Op::Length => (Reply::Integer(value.as_ref().map_or(0, |value| value.bytes.len() as i64)), Effect::None),
            Op::Type => (Reply::Simple(if value.is_some() { "string" } else { "none" }), Effect::None),
            Op::Ttl { seconds } => (Reply::Integer(ttl(value.as_ref(), now_ms, seconds)), Effect::None),
            Op::Set(set) => set.apply(value),
            Op::Delete => done(value.take().is_some()),
            Op::GetDelete => {
                let old = value.take();
                (bulk(old.as_ref()), if old.is_some() { Effect::Written } else { Effect::None })
            }
            Op::Append(more) => append(value, &more),
            Op::Add(by) => add(value, by),
            Op::Expire { at_ms, only } => done(expire(value, at_ms, only)),
            Op::Persist => done(value.as_mut().is_some_and(|value| value.expires_ms.take().is_some())),
        }
    }
}

impl Set {
    fn apply(self, value: &mut Option<Stored>) -> (Reply, Effect) {
        let sets = match self.only {
            Only::Always => true,
            Only::IfAbsent => value.is_none(),
            Only::IfPresent => value.is_some(),
        };
        let reply = match self.answer {
            SetAnswer::Old => bulk(value.as_ref()),
            SetAnswer::Done => Reply::Integer(sets.into()),
            SetAnswer::Ok if sets => Reply::OK,
            SetAnswer::Ok => Reply::Null,
        };
        if !sets {
            return (reply, Effect::None);
        }
        let expires_ms = match self.expiry {
            Keep::Never => None,
            Keep::At(ms) => Some(ms),
            Keep::AsItIs => value.as_ref().and_then(|value| value.expires_ms),
        };
        *value = Some(Stored { bytes: self.bytes, expires_ms });
        (reply, Effect::Written)
    }
}

fn bulk(value: Option<&Stored>) -> Reply {
    value.map_or(Reply::Null, |value| Reply::Bulk(value.bytes.clone()))
}

fn ttl(value: Option<&Stored>, now_ms: u64, seconds: bool) -> i64 {
    match value.map(|value| value.expires_ms) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let left = at.saturating_sub(now_ms);
            i64::try_from(if seconds { left.saturating_add(500) / 1000 } else { left }).unwrap_or(i64::MAX)
        }
    }
}

fn append(value: &mut Option<Stored>, more: &Bytes) -> (Reply, Effect) {
    let (old, expires_ms) = value.as_ref().map_or((&[][..], None), |value| (&value.bytes[..], value.expires_ms));
    if old.len() + more.len() > BULK_BYTES_MAX {
        return (Reply::err("string exceeds maximum allowed size (proto-max-bulk-len)"), Effect::None);
    }
    let mut bytes = BytesMut::with_capacity(old.len() + more.len());
    bytes.extend_from_slice(old);
    bytes.extend_from_slice(more);
    let length = bytes.len() as i64;
    *value = Some(Stored { bytes: bytes.freeze(), expires_ms });
    (Reply::Integer(length), Effect::Written)
}

fn add(value: &mut Option<Stored>, by: i64) -> (Reply, Effect) {
    let (old, expires_ms) = match value {
        Some(value) => (integer(&value.bytes), value.expires_ms),
        None => (Some(0), None),
    };
    let Some(old) = old else { return (Reply::err("value is not an integer or out of range"), Effect::None) };
    let Some(sum) = old.checked_add(by) else {
        return (Reply::err("increment or decrement would overflow"), Effect::None);
    };
    *value = Some(Stored { bytes: sum.to_string().into(), expires_ms });
    (Reply::Integer(sum), Effect::Written)
}

fn expire(value: &mut Option<Stored>, at_ms: u64, only: OnlyExpiry) -> bool {
    let Some(value) = value else { return false };
    // No expiry is later than any.
    let old = value.expires_ms.unwrap_or(u64::MAX);
    let is_against = (only.if_none && value.expires_ms.is_some())
        || (only.if_any && value.expires_ms.is_none())
        || (only.if_later && at_ms <= old)
        || (only.if_sooner && at_ms >= old);
    if !is_against {
        value.expires_ms = Some(at_ms);
    }
    !is_against
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn stored(text: &str, expires_ms: Option<u64>) -> Option<Stored> {
        Some(Stored { bytes: Bytes::copy_from_slice(text.as_bytes()), expires_ms })
    }

    fn set(text: &'static str, expiry: Keep, only: Only, answer: SetAnswer) -> Op {
        Op::Set(Set { bytes: text.into(), expiry, only, answer })
    }

    /// The answer, and what is there afterwards if it is written.
    fn after(op: Op, mut value: Option<Stored>) -> (Reply, Option<Option<Stored>>) {
        let (reply, effect) = op.apply(&mut value, NOW);
        (reply, (effect == Effect::Written).then_some(value))
    }

    #[test]
    fn set_looks_at_what_is_there_only_where_it_must() {
        use {Keep::*, Only::*};
        let there = || stored("a", Some(NOW + 5));
        assert_eq!(after(set("b", Never, Always, SetAnswer::Ok), there()), (Reply::OK, Some(stored("b", None))));
        assert_eq!(
            after(set("b", AsItIs, Always, SetAnswer::Ok), there()),
            (Reply::OK, Some(stored("b", Some(NOW + 5))))
        );
        assert_eq!(after(set("b", Never, IfAbsent, SetAnswer::Ok), there()), (Reply::Null, None));
        assert_eq!(after(set("b", Never, IfPresent, SetAnswer::Ok), None), (Reply::Null, None));
        assert_eq!(after(set("b", Never, IfAbsent, SetAnswer::Old), there()), (Reply::text("a"), None));
        assert_eq!(after(set("b", At(9), Always, SetAnswer::Old), None), (Reply::Null, Some(stored("b", Some(9)))));
        assert_eq!(
            after(set("b", Never, IfAbsent, SetAnswer::Done), None),
            (Reply::Integer(1), Some(stored("b", None)))
        );
        assert!(set("b", At(9), Always, SetAnswer::Ok).is_blind());
        for op in [
            set("b", AsItIs, Always, SetAnswer::Ok),
            set("b", Never, IfAbsent, SetAnswer::Ok),
            set("b", Never, Always, SetAnswer::Old),
            Op::Get,
            Op::Delete,
        ] {
            assert!(!op.is_blind(), "{op:?}");
        }
    }

    #[test]
    fn what_has_expired_is_not_there() {
        for op in [Op::Get, Op::GetDelete] {
            assert_eq!(after(op, stored("a", Some(NOW))), (Reply::Null, None));
        }
        assert_eq!(after(Op::Delete, stored("a", Some(NOW))), (Reply::Integer(0), None));
        assert_eq!(after(Op::Append("b".into()), stored("a", Some(NOW))).1, Some(stored("b", None)));
        assert_eq!(after(Op::Ttl { seconds: false }, stored("a", Some(NOW))).0, Reply::Integer(-2));
        assert_eq!(after(Op::Ttl { seconds: false }, stored("a", Some(NOW + 1499))).0, Reply::Integer(1499));
        assert_eq!(after(Op::Ttl { seconds: true }, stored("a", Some(NOW + 1499))).0, Reply::Integer(1));
        assert_eq!(after(Op::Ttl { seconds: true }, stored("a", Some(NOW + 1500))).0, Reply::Integer(2));
        assert_eq!(after(Op::Ttl { seconds: true }, stored("a", None)).0, Reply::Integer(-1));
    }

    #[test]
    fn numbers_are_added_to_and_keep_their_expiry() {
        assert_eq!(after(Op::Add(5), None), (Reply::Integer(5), Some(stored("5", None))));
        assert_eq!(
            after(Op::Add(-7), stored("5", Some(NOW + 1))),
            (Reply::Integer(-2), Some(stored("-2", Some(NOW + 1))))
        );
        for (text, by) in [("x", 1), ("", 1), ("1.0", 1), ("9223372036854775807", 1), ("-9223372036854775808", -1)] {
            let (reply, written) = after(Op::Add(by), stored(text, None));
            assert!(matches!(reply, Reply::Error(_)) && written.is_none(), "{text}");
        }
    }

    #[test]
    fn a_value_grows_up_to_its_limit() {
        let large = Some(Stored { bytes: vec![0; BULK_BYTES_MAX].into(), expires_ms: None });
        assert_eq!(after(Op::Append("".into()), large.clone()).0, Reply::Integer(BULK_BYTES_MAX as i64));
        let (reply, written) = after(Op::Append("x".into()), large);
        assert!(matches!(reply, Reply::Error(_)) && written.is_none());
    }

    #[test]
    fn expiries_are_set_as_they_may_be() {
        let only = |which: &str| OnlyExpiry {
            if_none: which == "nx",
            if_any: which == "xx",
            if_later: which == "gt",
            if_sooner: which == "lt",
        };
        for (which, old, done) in [
            ("", None, true),
            ("nx", None, true),
            ("nx", Some(NOW + 9), false),
            ("xx", None, false),
            ("xx", Some(NOW + 9), true),
            ("gt", None, false),
            ("gt", Some(NOW + 9), true),
            ("gt", Some(NOW + 10), false),
            ("lt", None, true),
            ("lt", Some(NOW + 10), false),
            ("lt", Some(NOW + 11), true),
        ] {
            let op = Op::Expire { at_ms: NOW + 10, only: only(which) };
            let expected = (Reply::Integer(done.into()), done.then(|| stored("a", Some(NOW + 10))));
            assert_eq!(after(op, stored("a", old)), expected, "{which} {old:?}");
        }
        assert_eq!(after(Op::Expire { at_ms: NOW + 10, only: only("") }, None), (Reply::Integer(0), None));
        assert_eq!(after(Op::Persist, stored("a", Some(NOW + 1))), (Reply::Integer(1), Some(stored("a", None))));
        assert_eq!(after(Op::Persist, stored("a", None)), (Reply::Integer(0), None));
    }
}
