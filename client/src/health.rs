//! How well a node answers, as a client sees it: its usual latency, and whether it has fallen silent. Decisions are pure
//! functions of [`Estimate`] and times; [`Health`] keeps them in atomics, since every request reads them.
//!
//! The estimate is that of TCP's retransmission timer (RFC 6298): a mean and a mean deviation, each moved by a part of
//! every sample. Samples far below the mean move it further: a node that is well again should be found so by few probes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rand::RngExt;

use crate::limits::{
    HEDGE_AFTER_MAX, HEDGE_AFTER_MIN, HEDGE_AFTER_UNKNOWN, LATENCY_MAX, PROBE_EVERY, PROBE_PAUSE, PROBE_SHARE,
    SILENT_AFTER_MAX, SILENT_AFTER_MIN, SLOW_MIN, SLOW_TIMES,
};

/// The usual latency. All zero: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Estimate {
    pub(crate) mean_us: u32,
    pub(crate) deviation_us: u32,
}

impl Estimate {
    /// With one more sample.
    pub(crate) fn with(self, sample: Duration) -> Estimate {
        let sample_us = (sample.min(LATENCY_MAX).as_micros() as u32).max(1);
        if self.mean_us == 0 {
            return Estimate { mean_us: sample_us, deviation_us: sample_us / 2 };
        }
        if sample_us < self.mean_us / 4 {
            let mean_us = sample_us + (self.mean_us - sample_us) / 4;
            return Estimate { mean_us, deviation_us: self.deviation_us / 4 };
        }
        let moved = |from: u32, to: u32, part: u32| from - from / part + to / part;
        Estimate {
            mean_us: moved(self.mean_us, sample_us, 8).max(1),
            deviation_us: moved(self.deviation_us, sample_us.abs_diff(self.mean_us), 4),
        }
    }

    /// After how long a read is also sent elsewhere: one in fifty or fewer takes as long.
    pub(crate) fn hedge_after(self) -> Duration {
        match self.mean_us {
            0 => HEDGE_AFTER_UNKNOWN,
            mean_us => {
                let after_us = u64::from(mean_us) + 4 * u64::from(self.deviation_us);
                Duration::from_micros(after_us).clamp(HEDGE_AFTER_MIN, HEDGE_AFTER_MAX)
            }
        }
    }

    /// A node that owes answers and says nothing at all for so long is silent.
    pub(crate) fn silent_after(self) -> Duration {
        let after_us = 4 * (u64::from(self.mean_us) + 2 * u64::from(self.deviation_us));
        Duration::from_micros(after_us).clamp(SILENT_AFTER_MIN, SILENT_AFTER_MAX)
    }

    /// Whether it may be clearly slower than another at all: spares looking at the others.
    pub(crate) fn may_be_slow(self) -> bool {
        self.mean_us > SLOW_MIN.as_micros() as u32
    }

    /// Whether it is clearly slower than `best_us`, the mean of the fastest other one; 0: there is none known.
    pub(crate) fn is_slow_beside(self, best_us: u32) -> bool {
        best_us > 0
            && self.mean_us > best_us.saturating_mul(SLOW_TIMES)
            && self.mean_us - best_us > SLOW_MIN.as_micros() as u32
    }
}

/// What a link and its connections know of their node.
#[derive(Default)]
pub(crate) struct Health {
    /// Mean and deviation, in microseconds, 32 bits each. A sample lost to another thread does no harm.
    estimate: AtomicU64,
    /// Requests sent that were neither answered nor given up for lost.
    owed: AtomicU32,
    /// Since when nothing has come although something is owed; see [`micros`].
    quiet_since: AtomicU64,
    /// Connections that are up.
    up: AtomicU32,
    /// Requests that went elsewhere since the last probe.
    avoided: AtomicU32,
    /// When the next probe is due if there are few requests.
    probe_at: AtomicU64,
    /// When the last one was.
    probed: AtomicU64,
}

impl Health {
    pub(crate) fn estimate(&self) -> Estimate {
        let packed = self.estimate.load(Relaxed);
        Estimate { mean_us: (packed >> 32) as u32, deviation_us: packed as u32 }
    }

    /// A request took so long.
    pub(crate) fn took(&self, latency: Duration) {
        self.set(self.estimate().with(latency));
    }

    /// A request has not been answered for so long, and is not waited for any more.
    pub(crate) fn took_more_than(&self, waited: Duration) {
        let estimate = self.estimate();
        if waited.as_micros() > u128::from(estimate.mean_us) {
            self.set(estimate.with(waited));
        }
    }

    fn set(&self, estimate: Estimate) {
        let packed = u64::from(estimate.mean_us) << 32 | u64::from(estimate.deviation_us);
        self.estimate.store(packed, Relaxed);
    }

    /// A request goes there.
    pub(crate) fn owes(&self, now: Instant) {
        if self.owed.fetch_add(1, Relaxed) == 0 {
            self.quiet_since.store(micros(now), Relaxed);
        }
    }

    /// So many requests are answered or lost.
    pub(crate) fn settled(&self, requests: u32) {
        self.owed.fetch_sub(requests, Relaxed);
    }

    /// Something came.
    pub(crate) fn heard(&self, now: Instant) {
        self.quiet_since.store(micros(now), Relaxed);
    }

    /// Whether the node owes answers, and has said nothing for far longer than it usually takes.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        self.owed.load(Relaxed) > 0 && {
            let quiet_us = micros(now).saturating_sub(self.quiet_since.load(Relaxed));
            quiet_us > self.estimate().silent_after().as_micros() as u64
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Relaxed) > 0
    }

    /// A connection was made.
    pub(crate) fn came_up(&self) {
        self.up.fetch_add(1, Relaxed);
    }

    /// A connection ended.
    pub(crate) fn went_down(&self) {
        self.up.fetch_sub(1, Relaxed);
    }

    /// A request goes elsewhere although this node would be the first choice. Whether it is to be probed now: one request
    /// in [`PROBE_SHARE`] of those that avoid it, or about one in [`PROBE_EVERY`] where they are few. One that is silent
    /// gets no more than the latter: when it wakes, the answers that it owes say so.
    pub(crate) fn avoid(&self, now: Instant) -> bool {
        let avoided = self.avoided.fetch_add(1, Relaxed) + 1;
        let now_us = micros(now);
        let due = now_us >= self.probe_at.load(Relaxed);
        if !due {
            let paused = now_us.saturating_sub(self.probed.load(Relaxed)) >= PROBE_PAUSE.as_micros() as u64;
            if avoided < PROBE_SHARE || !paused || self.is_silent(now) {
                return false;
            }
        }
        self.avoided.store(0, Relaxed);
        self.probed.store(now_us, Relaxed);
        // Clients that saw a node fail together must not come back together.
        let pause_us = PROBE_EVERY.mul_f64(rand::rng().random_range(0.5..1.0)).as_micros() as u64;
        self.probe_at.store(now_us + pause_us, Relaxed);
        true
    }
}

/// Microseconds since the first call in this process, and one more: never 0.
fn micros(now: Instant) -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*ORIGIN.get_or_init(|| now)).as_micros() as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn usually(latency: Duration) -> Estimate {
        (0..200).fold(Estimate::default(), |estimate, _| estimate.with(latency))
    }

    #[test]
    fn an_estimate_follows_what_is_measured() {
        assert_eq!(Estimate::default().with(8 * MS), Estimate { mean_us: 8000, deviation_us: 4000 });
        let steady = usually(2 * MS);
        assert!(steady.mean_us.abs_diff(2000) < 20 && steady.deviation_us < 20, "{steady:?}");
        let mut slower = steady;
        let samples = (0..)
            .take_while(|_| {
                slower = slower.with(600 * MS);
                !slower.is_slow_beside(2000)
            })
            .count();
        assert!(samples < 3, "{samples}");
        // One that is well again is found so by a handful of samples, however bad it was.
        let mut better = usually(3600 * 1000 * MS);
        let samples = (0..)
            .take_while(|_| {
                better = better.with(2 * MS);
                better.is_slow_beside(2000)
            })
            .count();
        assert!(samples < 6, "{samples}");
    }

    #[test]
    fn slow_is_what_is_far_above_the_best() {
        let slow = |mine: Duration, best: Duration| usually(mine).is_slow_beside(best.as_micros() as u32);
        assert!(slow(600 * MS, 2 * MS) && slow(20 * MS, 4 * MS));
        assert!(!slow(3 * MS, MS / 10), "thirty times, and yet nothing to speak of");
        assert!(!slow(500 * MS, 300 * MS), "all are slow");
        assert!(!slow(600 * MS, Duration::ZERO), "nothing to compare with");
        assert!(usually(6 * MS).may_be_slow() && !usually(4 * MS).may_be_slow());
    }

    #[test]
    fn delays_have_bounds() {
        assert_eq!(Estimate::default().hedge_after(), HEDGE_AFTER_UNKNOWN);
        assert_eq!(usually(MS / 10).hedge_after(), HEDGE_AFTER_MIN);
        assert_eq!(usually(600 * MS).hedge_after(), HEDGE_AFTER_MAX);
        let usual = usually(20 * MS).hedge_after();
        assert!(usual > 19 * MS && usual < 25 * MS, "{usual:?}");
        assert_eq!(usually(MS).silent_after(), SILENT_AFTER_MIN);
        assert_eq!(usually(900 * MS).silent_after(), SILENT_AFTER_MAX);
    }

    #[test]
    fn silence_is_owing_an_answer_for_long() {
        let (health, start) = (Health::default(), Instant::now());
        let later = start + SILENT_AFTER_MAX;
        assert!(!health.is_silent(later), "nothing was asked");
        health.owes(start);
        health.owes(later);
        assert!(!health.is_silent(start + SILENT_AFTER_MIN) && health.is_silent(later));
        health.heard(later);
        health.settled(1);
        assert!(!health.is_silent(later), "one of two was answered");
        assert!(health.is_silent(later + SILENT_AFTER_MAX));
        health.settled(1);
        assert!(!health.is_silent(later + SILENT_AFTER_MAX), "nothing is owed");
    }

    #[test]
    fn probes_are_few_and_never_none() {
        let start = Instant::now();
        micros(start);
        let start = start + PROBE_EVERY;
        // A hundred thousand requests in ten seconds, then ten in ten seconds.
        let health = Health::default();
        let probes = (0..100_000).filter(|i| health.avoid(start + Duration::from_micros(100) * *i)).count();
        assert!((400..=1000 + 20).contains(&probes), "{probes}");
        let start = start + 10 * PROBE_EVERY;
        let probes = (1..=10).filter(|i| health.avoid(start + PROBE_EVERY * *i)).count();
        assert_eq!(probes, 10);
        // To one that is silent just about one in its time.
        health.owes(start);
        let start = start + 11 * PROBE_EVERY;
        let probes = (0..100_000).filter(|i| health.avoid(start + Duration::from_micros(100) * *i)).count();
        assert!((10..=21).contains(&probes), "{probes}");
    }

    #[test]
    fn what_was_given_up_counts_as_long_as_it_was_waited_for() {
        let health = Health::default();
        health.took(2 * MS);
        health.took_more_than(MS);
        assert_eq!(health.estimate().mean_us, 2000, "no reason to think it faster");
        health.took_more_than(100 * MS);
        assert!(health.estimate().mean_us > 10_000);
    }
}
