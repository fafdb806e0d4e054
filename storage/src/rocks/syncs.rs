//! How long the disk takes to sync the log: for metrics, and nothing else.

use std::time::{Duration, Instant};

/// The times of syncs are counted in so many buckets: up to 50 µs, doubling, to 3.3 s; one more has what took longer.
const SYNC_BUCKETS: usize = 17;

/// How often syncs of the log took how long.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    buckets: [u64; SYNC_BUCKETS + 1],
    sum_us: u64,
}

impl Syncs {
    /// Does it, and notes how long it took.
    #[allow(clippy::disallowed_methods, reason = "nothing is decided by it: it is shown to people")]
    pub(super) fn time<T>(&mut self, sync: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = sync();
        self.add(began.elapsed());
        done
    }

    /// The upper bounds of the buckets, in microseconds.
    pub(super) fn bounds_us() -> Vec<u64> {
        (0..SYNC_BUCKETS).map(Syncs::bound_us).collect()
    }

    /// All that they took together, in microseconds.
    pub(super) fn sum_us(&self) -> u64 {
        self.sum_us
    }

    fn bound_us(bucket: usize) -> u64 {
        50 << bucket
    }

    fn add(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (0..SYNC_BUCKETS).find(|at| us <= Syncs::bound_us(*at)).unwrap_or(SYNC_BUCKETS);
        self.buckets[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many took no longer than each bound, and after them how many there are.
    pub(super) fn cumulated(&self) -> Vec<u64> {
        let sums = self.buckets.iter().scan(0, |sum, n| {
            *sum += n;
            Some(*sum)
        });
        sums.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_under_every_bound_that_it_fits() {
        let mut syncs = Syncs::default();
        for us in [0, 50, 51, 3_276_800, 3_276_801] {
            syncs.add(Duration::from_micros(us));
        }
        let counts = syncs.cumulated();
        assert_eq!((counts[0], counts[1], counts[SYNC_BUCKETS - 1], counts[SYNC_BUCKETS]), (2, 3, 4, 5));
        assert_eq!((Syncs::bounds_us().len(), counts.len()), (SYNC_BUCKETS, SYNC_BUCKETS + 1));
        assert_eq!(syncs.sum_us(), 50 + 51 + 3_276_800 + 3_276_801);
    }
}
