//! The values of one key, and the context that orders them.

use bytes::Bytes;

use crate::clock::{Clock, DotRange};
use crate::dot::Dot;
use crate::rules::{Rule, broken};

/// A sibling's value, or a word that the receiver needs no copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// The value.
    Here(Bytes),
    /// Not sent: the receiver has it, or had it and let it go.
    Known,
}

/// One of the values of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// The write that made it.
    pub dot: Dot,
    /// The value.
    pub value: Payload,
}

/// `values: dot -> value` and the context: all that these values, or an absence, have seen of the key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    /// Ascending by dot.
    pub values: Vec<Sibling>,
    /// What has been seen. In stored form only what the copy's clock does not already say; in travelling form filled
    /// with the past that the copy's clock vouches for, dots of the values included.
    pub context: Clock,
}

impl Payload {
    /// The bytes, where they are here.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Payload::Here(bytes) => Some(bytes),
            Payload::Known => None,
        }
    }
}

impl Object {
    /// A write: one new value that replaces what `context` has seen.
    pub fn put(dot: Dot, value: Bytes, context: Clock) -> Object {
        Object { values: vec![Sibling { dot, value: Payload::Here(value) }], context }
    }

    /// A delete of what `context` has seen.
    pub fn delete(context: Clock) -> Object {
        Object { values: Vec::new(), context }
    }

    /// The sibling with this dot.
    pub fn value(&self, dot: Dot) -> Option<&Sibling> {
        self.values.binary_search_by_key(&dot, |s| s.dot).ok().map(|i| &self.values[i])
    }

    /// The dots of its values, ascending.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.values.iter().map(|s| s.dot)
    }

    /// Has it the same values, by dot?
    pub fn same_values(&self, other: &Object) -> bool {
        self.dots().eq(other.dots())
    }

    /// What a client may be given of the context, to be sealed: exactly what was seen, never rounded.
    pub fn client_context(&self) -> Clock {
        let mut context = self.context.clone();
        if broken(Rule::Round) {
            // A version vector, as other stores give: the greatest counter of each actor stands for all before it.
            for DotRange { actor, last, .. } in self.context.ranges() {
                context.add_range(DotRange { actor, first: 1, last });
            }
        }
        context
    }

    /// Merges two travelling forms: a value survives if both have it, or if the side without it has not seen it.
    /// Commutative, associative, idempotent. Where a value is here on one side and known on the other, it stays here.
    #[must_use]
    pub fn merge(self, other: Object) -> Object {
        let context = self.context.union(&other.context);
        let (ours, theirs) = (self.context, other.context);
        Object { values: merge_values(self.values, other.values, |d| !theirs.has(d), |d| !ours.has(d)), context }
    }
}

/// Merges two ascending lists of values. What only one side has survives where its predicate says that the other side
/// has not seen it.
pub(crate) fn merge_values(
    ours: Vec<Sibling>,
    theirs: Vec<Sibling>,
    unseen_by_them: impl Fn(Dot) -> bool,
    unseen_by_us: impl Fn(Dot) -> bool,
) -> Vec<Sibling> {
    let mut out = Vec::with_capacity(ours.len().max(theirs.len()));
    let (mut a, mut b) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x.dot == y.dot => {
                let (x, y) = (a.next(), b.next());
                out.extend(if x.as_ref().is_some_and(|s| s.value == Payload::Known) { y } else { x });
            }
            (Some(x), y) if y.is_none_or(|y| x.dot < y.dot) => out.extend(a.next().filter(|s| unseen_by_them(s.dot))),
            (_, Some(_)) => out.extend(b.next().filter(|s| unseen_by_us(s.dot))),
            (_, None) => return out,
        }
    }
}
