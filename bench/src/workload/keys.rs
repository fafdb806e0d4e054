//! Keys: how records are named, which one an operation is about, and which number an insertion takes.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rand::{Rng, RngExt};

use super::Distribution;
use super::zipfian::{ScrambledZipfian, Zipfian};

/// YCSB's hash of a number: FNV-1a over its eight bytes, lowest first, without the sign.
pub fn fnv64(number: u64) -> u64 {
    let hash = number
        .to_le_bytes()
        .iter()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(1_099_511_628_211));
    hash.cast_signed().wrapping_abs().cast_unsigned()
}

/// The key of record `number`, in hashed insert order.
pub fn record_key(number: u64) -> Bytes {
    named("user", fnv64(number))
}

/// `prefix` and a number, with one allocation.
pub fn named(prefix: &str, number: u64) -> Bytes {
    let mut text = [0_u8; 64];
    let mut left = &mut text[..];
    let _ = write!(left, "{prefix}{number}"); // a prefix of more than 44 bytes is cut: there is none
    let unused = left.len();
    Bytes::copy_from_slice(&text[..text.len() - unused])
}

/// The numbers of new records: handed out in order, and visible to readers once every number before is written.
#[derive(Debug)]
pub struct Insertions {
    next: AtomicU64,
    visible: AtomicU64,
    ahead: Mutex<BTreeSet<u64>>,
}

impl Insertions {
    /// Records 0 to `records` - 1 are there.
    pub fn after(records: u64) -> Insertions {
        let (next, visible) = (AtomicU64::new(records), AtomicU64::new(records));
        Insertions { next, visible, ahead: Mutex::default() }
    }

    /// A number that nobody else gets.
    pub fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The insertion of `number` has ended, well or not, as in YCSB.
    pub fn ended(&self, number: u64) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.insert(number);
        let mut visible = self.visible.load(Ordering::Relaxed);
        while ahead.remove(&visible) {
            visible += 1;
        }
        self.visible.store(visible, Ordering::Release);
    }

    /// How many records readers may ask for: 0 to this, exclusive.
    pub fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }
}

/// Chooses the record that an operation is about.
#[derive(Debug, Clone)]
pub struct Chooser {
    kind: Kind,
    insertions: Arc<Insertions>,
}

#[derive(Debug, Clone)]
enum Kind {
    Uniform { records: u64 },
    Zipfian(ScrambledZipfian),
    Latest(Zipfian),
}

impl Chooser {
    /// Over `records` loaded records, with `expected_inserts` to come.
    pub fn new(
        distribution: Distribution,
        records: u64,
        expected_inserts: u64,
        insertions: Arc<Insertions>,
    ) -> Chooser {
        let kind = match distribution {
            Distribution::Uniform => Kind::Uniform { records: records.max(1) },
            // Over what will be there, twice what is expected and one: what is not there yet is drawn again, so that
            // the popular records stay the same ones.
            Distribution::Zipfian => {
                let space = records.saturating_add(expected_inserts.saturating_mul(2)).saturating_add(1);
                Kind::Zipfian(ScrambledZipfian::new(space))
            }
            // Over the last number, not the count, as YCSB has it.
            Distribution::Latest => Kind::Latest(Zipfian::new(records.saturating_sub(1))),
        };
        Chooser { kind, insertions }
    }

    /// The next record's number.
    pub fn draw(&mut self, rng: &mut impl Rng) -> u64 {
        loop {
            let last = self.insertions.visible().saturating_sub(1);
            let drawn = match &mut self.kind {
                Kind::Uniform { records } => rng.random_range(0..*records),
                Kind::Zipfian(zipfian) => zipfian.draw(rng),
                Kind::Latest(zipfian) => last.saturating_sub(zipfian.draw_growing(last, rng)),
            };
            if drawn <= last {
                return drawn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn keys_are_ycsbs() {
        // YCSB's first records: `user6284781860667377211`, `user8517097267634966620`, `user1820151046732198393`.
        assert_eq!(record_key(0), "user6284781860667377211");
        assert_eq!(record_key(1), "user8517097267634966620");
        assert_eq!(record_key(2), "user1820151046732198393");
        assert_eq!(named("put-18c-", u64::MAX), format!("put-18c-{}", u64::MAX));
    }

    #[test]
    fn insertions_are_visible_in_order() {
        let insertions = Insertions::after(10);
        let (a, b, c) = (insertions.take(), insertions.take(), insertions.take());
        assert_eq!((a, b, c), (10, 11, 12));
        insertions.ended(b);
        assert_eq!(insertions.visible(), 10);
        insertions.ended(a);
        assert_eq!(insertions.visible(), 12);
        insertions.ended(c);
        assert_eq!(insertions.visible(), 13);
    }

    #[test]
    fn latest_favours_the_newest_and_follows_insertions() {
        let insertions = Arc::new(Insertions::after(1_000));
        let mut chooser = Chooser::new(Distribution::Latest, 1_000, 0, insertions.clone());
        let mut rng = Pcg64::seed_from_u64(2);
        let share = |chooser: &mut Chooser, newest: u64, rng: &mut Pcg64| {
            (0..20_000).filter(|_| chooser.draw(rng) == newest).count() as f64 / 20_000.0
        };
        let before = share(&mut chooser, 999, &mut rng);
        assert!((0.11..0.15).contains(&before), "{before}"); // 1 / zeta(999) is 13 %
        for _ in 0..50 {
            insertions.ended(insertions.take());
        }
        let after = share(&mut chooser, 1_049, &mut rng);
        assert!((0.11..0.15).contains(&after), "{after}");
    }

    #[test]
    fn nobody_reads_what_is_not_inserted() {
        let mut rng = Pcg64::seed_from_u64(9);
        for distribution in [Distribution::Uniform, Distribution::Zipfian, Distribution::Latest] {
            for records in [1, 2, 100] {
                let mut chooser = Chooser::new(distribution, records, 1_000, Arc::new(Insertions::after(records)));
                for _ in 0..2_000 {
                    assert!(chooser.draw(&mut rng) < records, "{distribution:?} over {records}");
                }
            }
        }
    }
}
