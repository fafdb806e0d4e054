//! What of a key's values a reader is shown. What is hidden is still there for the copies: it is let go of by ordinary
//! writes only, so that hiding depends on nothing but the values themselves and the time.
//!
//! Hidden are: what has expired; in an `lww` bucket all but the value that was written last by the hybrid logical clock (by
//! dot, where two have the same stamp), the same whoever reads; and of several attempts at one put, which came to different coordinators, all but the first
//! by dot. The context that a reader gets covers what is hidden, so whoever writes over it replaces that too.

use bytes::Bytes;
use dynode_client::wire::{BadEnvelope, Hlc, Meta};
use dynode_storage::{Dot, Object};

/// One value of a key, taken out of its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Valued {
    pub(super) dot: Dot,
    pub(super) meta: Meta,
    pub(super) value: Bytes,
}

/// All values that came along, ascending by dot.
pub(super) fn values(object: &Object) -> Result<Vec<Valued>, BadEnvelope> {
    let here = object.values.iter().filter_map(|s| Some((s.dot, s.value.bytes()?)));
    here.map(|(dot, stored)| Meta::unwrap(stored).map(|(meta, value)| Valued { dot, meta, value })).collect()
}

/// When the last of these was written.
pub(super) fn latest(values: &[Valued]) -> Hlc {
    values.iter().filter_map(|v| v.meta.written).max().unwrap_or_default()
}

/// The one that was written last.
pub(super) fn last(values: &[Valued]) -> Option<Dot> {
    values.iter().max_by_key(|v| (v.meta.written, v.dot)).map(|v| v.dot)
}

/// The attempt among these that this put repeats.
pub(super) fn attempt<'a>(values: &'a [Valued], request: Option<u64>, value: &[u8]) -> Option<&'a Valued> {
    values.iter().find(|v| request.is_some() && v.meta.request == request && v.value == value)
}

/// What of these is shown at this moment of the wall clock.
pub(super) fn shown(mut values: Vec<Valued>, wall_ms: u64, lww: bool) -> Vec<Valued> {
    if lww {
        // Before expiry: what a later value had replaced does not come back when that expires.
        let last = last(&values);
        values.retain(|v| Some(v.dot) == last);
    }
    let mut out: Vec<Valued> = Vec::with_capacity(values.len());
    for valued in values {
        if !valued.meta.has_expired(wall_ms) && attempt(&out, valued.meta.request, &valued.value).is_none() {
            out.push(valued);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynode_ring::NodeId;
    use dynode_storage::Actor;

    fn valued(counter: u64, request: Option<u64>, value: &'static str, expires_ms: Option<u64>) -> Valued {
        let dot = Dot { actor: Actor { node: NodeId(1), life: 1 }, counter };
        Valued { dot, meta: Meta { request, expires_ms, ..Meta::default() }, value: value.into() }
    }

    fn counters(shown: &[Valued]) -> Vec<u64> {
        shown.iter().map(|v| v.dot.counter).collect()
    }

    #[test]
    fn of_several_attempts_the_first_is_shown() {
        let values = vec![
            valued(1, Some(7), "a", None),
            valued(2, None, "a", None),
            valued(3, Some(7), "a", None),
            valued(4, Some(7), "b", None),
            valued(5, Some(8), "a", None),
            valued(6, None, "a", None),
        ];
        assert_eq!(counters(&shown(values, 0, false)), [1, 2, 4, 5, 6], "another value or no id is another put");
    }

    #[test]
    fn the_last_write_wins_in_whatever_order_they_stand_and_expired_or_not() {
        let at = |counter, ms| {
            let mut valued = valued(counter, None, "v", Some(ms));
            valued.meta.written = Some(Hlc::at_ms(ms));
            valued
        };
        assert_eq!(counters(&shown(vec![at(1, 30), at(2, 10), at(3, 20)], 0, true)), [1]);
        assert_eq!(counters(&shown(vec![at(1, 10), at(2, 30), at(3, 30)], 0, true)), [3], "a tie goes by dot");
        assert!(shown(vec![at(1, 10), at(2, 30)], 30, true).is_empty(), "the loser does not come back");
    }

    #[test]
    fn what_has_expired_is_hidden_to_the_millisecond() {
        let values = || vec![valued(1, None, "a", Some(1000)), valued(2, None, "b", None)];
        assert_eq!(counters(&shown(values(), 999, false)), [1, 2]);
        assert_eq!(counters(&shown(values(), 1000, false)), [2]);
    }
}
