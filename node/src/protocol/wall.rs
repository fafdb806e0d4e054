//! The wall clock, as this node is told it now and then, and the hybrid logical clock that writes are stamped with.
//!
//! Nothing that keeps copies equal depends on either: they say when a value was written, which of an `lww` bucket's
//! concurrent values wins, and when a value is not shown any more.

use dynode_client::wire::Hlc;

use super::Time;

/// The wall clock and the last stamp.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wall {
    told_at: Time,
    told_ms: u64,
    last: Hlc,
}

impl Wall {
    pub(super) fn new(now: Time, ms: u64) -> Wall {
        Wall { told_at: now, told_ms: ms, last: Hlc::default() }
    }

    /// What the wall clock says, in milliseconds since 1970.
    pub(super) fn ms(&self, now: Time) -> u64 {
        self.told_ms.saturating_add((now - self.told_at).0 / 1000)
    }

    /// What it said just now. It may have been set.
    pub(super) fn is(&mut self, now: Time, ms: u64) {
        (self.told_at, self.told_ms) = (now, ms);
    }

    /// The stamp of a write: later than any before it here, and than `seen`.
    pub(super) fn stamp(&mut self, now: Time, seen: Hlc) -> Hlc {
        // What is stamped here does not run ahead with a key whose last writer's clock does.
        self.last = self.last.next(self.ms(now));
        match seen >= self.last {
            true => seen.next(0),
            false => self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_only_grow_whatever_the_clock_does() {
        let mut wall = Wall::new(Time(5_000), 1_000);
        let first = wall.stamp(Time(5_000), Hlc::default());
        assert_eq!(first, Hlc::at_ms(1_000));
        let second = wall.stamp(Time(6_500), Hlc::default());
        assert_eq!(second, Hlc::at_ms(1_001));
        wall.is(Time(7_000), 10);
        let third = wall.stamp(Time(7_000), Hlc::default());
        assert!(third > second && third.ms() == 1_001, "{third}");
        assert_eq!(wall.ms(Time(9_000)), 12);
    }

    #[test]
    fn a_write_is_later_than_what_it_saw_and_other_keys_are_not_drawn_along() {
        let mut wall = Wall::new(Time(0), 1_000);
        let ahead = Hlc::at_ms(900_000);
        assert!(wall.stamp(Time(0), ahead) > ahead);
        assert_eq!(wall.stamp(Time(0), Hlc::default()).ms(), 1_000);
    }
}
