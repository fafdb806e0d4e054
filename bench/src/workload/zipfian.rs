//! Which item is popular: the zipfian generators of YCSB's core package, number for number.
//!
//! The method is Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994.

use rand::{Rng, RngExt};

use super::keys::fnv64;

/// The exponent of all YCSB workloads.
pub const ZIPFIAN_CONSTANT: f64 = 0.99;

/// Items that the scrambled generator draws from, before it folds them onto the records.
pub const SCRAMBLED_ITEMS: u64 = 10_000_000_000;

/// `zeta(SCRAMBLED_ITEMS, ZIPFIAN_CONSTANT)`, which would take minutes to add up.
pub const SCRAMBLED_ZETA: f64 = 26.469_028_201_783_02;

/// Draws 0 most often, then 1, and so on.
#[derive(Debug, Clone)]
pub struct Zipfian {
    items: u64,
    counted: u64,
    zeta: f64,
    eta: f64,
}

impl Zipfian {
    /// Over `items` items (at least one). Adds up a term an item: a second for some 20 million.
    pub fn new(items: u64) -> Zipfian {
        let items = items.max(1);
        Zipfian::with_zeta(items, zeta(0, items, 0.0))
    }

    fn with_zeta(items: u64, zeta: f64) -> Zipfian {
        Zipfian { items, counted: items, zeta, eta: eta(items, zeta) }
    }

    /// The next item.
    pub fn draw(&self, rng: &mut impl Rng) -> u64 {
        self.draw_of(self.items, rng)
    }

    /// The next item when there are `items` by now: never fewer than before.
    pub fn draw_growing(&mut self, items: u64, rng: &mut impl Rng) -> u64 {
        if items > self.counted {
            self.zeta = zeta(self.counted, items, self.zeta);
            self.counted = items;
            // From the first number of items, as YCSB has it.
            self.eta = eta(self.items, self.zeta);
        }
        self.draw_of(items, rng)
    }

    fn draw_of(&self, items: u64, rng: &mut impl Rng) -> u64 {
        let u: f64 = rng.random();
        let uz = u * self.zeta;
        if uz < 1.0 {
            return 0;
        }
        if uz < 1.0 + 0.5_f64.powf(ZIPFIAN_CONSTANT) {
            return 1;
        }
        let alpha = 1.0 / (1.0 - ZIPFIAN_CONSTANT);
        let drawn = (items as f64 * (self.eta * u - self.eta + 1.0).powf(alpha)) as u64;
        drawn.min(items.saturating_sub(1))
    }
}

/// Draws as [`Zipfian`] does over ten thousand million items, and scatters them over the records by a hash.
#[derive(Debug, Clone)]
pub struct ScrambledZipfian {
    zipfian: Zipfian,
    records: u64,
}

impl ScrambledZipfian {
    /// Over records 0 to `records` - 1 (at least one).
    pub fn new(records: u64) -> ScrambledZipfian {
        // One more, as YCSB counts from 0 to ITEM_COUNT inclusive.
        let zipfian = Zipfian::with_zeta(SCRAMBLED_ITEMS + 1, SCRAMBLED_ZETA);
        ScrambledZipfian { zipfian, records: records.max(1) }
    }

    /// The next record.
    pub fn draw(&self, rng: &mut impl Rng) -> u64 {
        fnv64(self.zipfian.draw(rng)) % self.records
    }
}

/// `initial` and the terms `from + 1` to `to` of the sum of `1 / i ^ 0.99`.
pub fn zeta(from: u64, to: u64, initial: f64) -> f64 {
    (from..to).fold(initial, |sum, i| sum + 1.0 / ((i + 1) as f64).powf(ZIPFIAN_CONSTANT))
}

fn eta(items: u64, zeta_items: f64) -> f64 {
    (1.0 - (2.0 / items as f64).powf(1.0 - ZIPFIAN_CONSTANT)) / (1.0 - zeta(0, 2, 0.0) / zeta_items)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn zeta_is_ycsbs() {
        // What ZipfianGenerator.zetastatic gives, and its constant for 10^10 items by Euler and Maclaurin's formula.
        assert!((zeta(0, 1, 0.0) - 1.0).abs() < 1e-12);
        assert!((zeta(0, 2, 0.0) - 1.503_477_775_028_360_7).abs() < 1e-9);
        let (counted, all) = (1_000_000_f64, SCRAMBLED_ITEMS as f64);
        let s = ZIPFIAN_CONSTANT;
        let integral = (all.powf(1.0 - s) - counted.powf(1.0 - s)) / (1.0 - s);
        let ends = (all.powf(-s) - counted.powf(-s)) / 2.0;
        let whole = zeta(0, 1_000_000, 0.0) + integral + ends;
        assert!((whole - SCRAMBLED_ZETA).abs() < 1e-6, "{whole}");
    }

    #[test]
    fn the_first_items_come_as_often_as_theory_says() {
        let (items, draws) = (1_000_u64, 1_000_000_u64);
        let zipfian = Zipfian::new(items);
        let mut rng = Pcg64::seed_from_u64(7);
        let mut counts = vec![0_u64; items as usize];
        for _ in 0..draws {
            counts[zipfian.draw(&mut rng) as usize] += 1;
        }
        let all = zeta(0, items, 0.0);
        let expected = |i: usize| draws as f64 / ((i + 1) as f64).powf(ZIPFIAN_CONSTANT) / all;
        // Items 0 and 1 are drawn exactly: chi-square of two cells and the rest, 2 degrees of freedom, p = 0.0005.
        let rest = draws as f64 - expected(0) - expected(1);
        let got_rest = draws - counts[0] - counts[1];
        let chi = [(counts[0], expected(0)), (counts[1], expected(1)), (got_rest, rest)]
            .iter()
            .map(|(got, want)| (*got as f64 - want).powi(2) / want)
            .sum::<f64>();
        assert!(chi < 15.2, "chi-square {chi}");
        // The method is an approximation beyond them: best at the far end, worst at the third item (some 15 %).
        for first in [2, 10, 100, 500] {
            let got: u64 = counts[first..].iter().sum();
            let want: f64 = (first..items as usize).map(expected).sum();
            assert!((got as f64 / want - 1.0).abs() < 0.06, "from {first}: {got} of {want}");
        }
    }

    #[test]
    fn scrambled_items_are_spread_and_the_hottest_is_the_hash_of_zero() {
        let records = 1_000;
        let scrambled = ScrambledZipfian::new(records);
        let mut rng = Pcg64::seed_from_u64(11);
        let draws = 400_000;
        let mut counts = vec![0_u64; records as usize];
        for _ in 0..draws {
            counts[scrambled.draw(&mut rng) as usize] += 1;
        }
        let hottest = (fnv64(0) % records) as usize;
        let second = (fnv64(1) % records) as usize;
        // Item 0 has 1 / zeta of the draws: 3.78 %, and each record a share of the long tail as well.
        let share = counts[hottest] as f64 / f64::from(draws);
        assert!((0.0375..0.0400).contains(&share), "{share}");
        assert_eq!(counts.iter().max(), Some(&counts[hottest]));
        assert!((0.018..0.022).contains(&(counts[second] as f64 / f64::from(draws))));
        assert!(counts.iter().all(|c| *c > 0), "the tail covers every record");
    }

    #[test]
    fn growing_is_as_if_counted_at_once() {
        let mut rng = Pcg64::seed_from_u64(3);
        let mut grown = Zipfian::new(100);
        for items in 100..2_000 {
            assert!(grown.draw_growing(items, &mut rng) < items);
        }
        assert!((grown.zeta - zeta(0, 1_999, 0.0)).abs() < 1e-9);
    }

    #[test]
    fn tiny_sets_stay_within_bounds() {
        let mut rng = Pcg64::seed_from_u64(5);
        for items in 1..5 {
            let zipfian = Zipfian::new(items);
            let scrambled = ScrambledZipfian::new(items);
            for _ in 0..1_000 {
                // YCSB's method may name item 1 of a set of one; the caller draws again.
                assert!(zipfian.draw(&mut rng) < items.max(2));
                assert!(scrambled.draw(&mut rng) < items);
            }
        }
    }
}
