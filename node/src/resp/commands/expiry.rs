//! When values expire: set, told, taken back.

use super::{Asked, Done, is, number};
use crate::resp::codec::Reply;
use crate::resp::lanes::now_ms;
use crate::resp::limits::EXPIRES_MS_MAX;
use crate::resp::op::{OnlyExpiry, Op};

/// How a moment is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    /// Since 1970.
    AtSeconds,
    AtMilliseconds,
}

impl Unit {
    /// As an option of `SET`.
    pub(super) fn of_set(word: &[u8]) -> Option<Unit> {
        let all = [
            ("ex", Unit::Seconds),
            ("px", Unit::Milliseconds),
            ("exat", Unit::AtSeconds),
            ("pxat", Unit::AtMilliseconds),
        ];
        all.into_iter().find(|(name, _)| is(word, name)).map(|(_, unit)| unit)
    }

    /// The moment, in milliseconds since 1970; before that it is 1970.
    fn at_ms(self, amount: i64, now_ms: u64) -> Option<u64> {
        let ms = match self {
            Unit::Seconds | Unit::AtSeconds => amount.checked_mul(1000)?,
            Unit::Milliseconds | Unit::AtMilliseconds => amount,
        };
        let ms = match self {
            Unit::Seconds | Unit::Milliseconds => ms.checked_add_unsigned(now_ms)?,
            Unit::AtSeconds | Unit::AtMilliseconds => ms,
        };
        (ms <= EXPIRES_MS_MAX).then(|| u64::try_from(ms).unwrap_or(0))
    }
}

/// The moment that a value is to expire at, for commands that take none in the past.
pub(super) fn moment(amount: i64, unit: Unit, command: &str) -> Result<u64, Reply> {
    match unit.at_ms(amount, now_ms()) {
        Some(at) if amount > 0 => Ok(at),
        _ => Err(invalid(command)),
    }
}

fn invalid(command: &str) -> Reply {
    Reply::err(format!("invalid expire time in '{command}' command"))
}

pub(super) fn expire(asked: &mut Asked<'_>) -> Done {
    set(asked, Unit::Seconds, "expire")
}

pub(super) fn pexpire(asked: &mut Asked<'_>) -> Done {
    set(asked, Unit::Milliseconds, "pexpire")
}

pub(super) fn expireat(asked: &mut Asked<'_>) -> Done {
    set(asked, Unit::AtSeconds, "expireat")
}

pub(super) fn pexpireat(asked: &mut Asked<'_>) -> Done {
    set(asked, Unit::AtMilliseconds, "pexpireat")
}

/// A moment in the past deletes.
fn set(asked: &Asked<'_>, unit: Unit, name: &str) -> Done {
    let at_ms = unit.at_ms(number(&asked.words[2])?, now_ms()).ok_or_else(|| invalid(name))?;
    let mut only = OnlyExpiry::default();
    for option in &asked.words[3..] {
        let flags = [
            ("nx", &mut only.if_none),
            ("xx", &mut only.if_any),
            ("gt", &mut only.if_later),
            ("lt", &mut only.if_sooner),
        ];
        match flags.into_iter().find(|(name, _)| is(option, name)) {
            Some((_, flag)) => *flag = true,
            None => return Err(Reply::err(format!("Unsupported option {}", option.escape_ascii()))),
        }
    }
    if only.if_none && (only.if_any || only.if_later || only.if_sooner) {
        return Err(Reply::err("NX and XX, GT or LT options at the same time are not compatible"));
    }
    if only.if_later && only.if_sooner {
        return Err(Reply::err("GT and LT options at the same time are not compatible"));
    }
    asked.on_key(Op::Expire { at_ms, only })
}

pub(super) fn ttl(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::Ttl { seconds: true })
}

pub(super) fn pttl(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::Ttl { seconds: false })
}

pub(super) fn persist(asked: &mut Asked<'_>) -> Done {
    asked.on_key(Op::Persist)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_do_not_overflow() {
        for (unit, amount, at) in [
            (Unit::Seconds, 2, Some(7000)),
            (Unit::Milliseconds, -6000, Some(0)),
            (Unit::AtSeconds, 3, Some(3000)),
            (Unit::AtMilliseconds, EXPIRES_MS_MAX, Some(EXPIRES_MS_MAX as u64)),
            (Unit::AtMilliseconds, EXPIRES_MS_MAX + 1, None),
            (Unit::Seconds, i64::MAX, None),
            (Unit::Seconds, i64::MIN, None),
            (Unit::Milliseconds, i64::MAX, None),
        ] {
            assert_eq!(unit.at_ms(amount, 5000), at, "{unit:?} {amount}");
        }
        assert!(moment(0, Unit::Seconds, "set").is_err() && moment(-1, Unit::Seconds, "set").is_err());
    }
}
