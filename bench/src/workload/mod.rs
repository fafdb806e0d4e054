//! Workloads: which operations, in what proportion, about which records. A to F are those of YCSB's core package.
//!
//! YCSB's records have ten fields of 100 bytes, and an update writes one of them (`writeallfields=false`). A value here
//! is one piece, so an update writes all of it, over whatever the coordinator holds: the last one wins, without
//! siblings, and without the read that a document store would need. Insertions are blind. The write of a
//! read-modify-write goes over what its read saw, so two at a time on one key leave siblings, until the next one
//! replaces both.

pub mod keys;
pub mod ops;
pub mod zipfian;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use keys::{Chooser, Insertions};
pub use ops::{Draw, Op, Request};

/// Scans read 1 to this many records, evenly.
pub const SCAN_LENGTH_MAX: usize = 100;

/// YCSB's record: ten fields of 100 bytes.
pub const YCSB_VALUE_SIZE: usize = 1_000;

/// What the operations of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mix {
    /// Half reads, half updates: a session store.
    A,
    /// 95 % reads, 5 % updates: tags of photos.
    B,
    /// Reads only: a cache of profiles.
    C,
    /// 95 % reads of the latest, 5 % insertions: status updates.
    D,
    /// 95 % short scans, 5 % insertions: threads of messages.
    E,
    /// Half reads, half read-modify-writes: a user database.
    F,
    /// Insertions of records 0 to n - 1.
    #[value(skip)]
    Load,
    /// Blind puts of keys that never were.
    #[value(skip)]
    Put,
    /// Reads.
    #[value(skip)]
    Get,
}

impl Mix {
    /// The operations and their proportions, which add up to 1.
    pub fn proportions(self) -> &'static [(Op, f64)] {
        match self {
            Mix::A => &[(Op::Read, 0.5), (Op::Update, 0.5)],
            Mix::B => &[(Op::Read, 0.95), (Op::Update, 0.05)],
            Mix::C => &[(Op::Read, 1.0)],
            Mix::D => &[(Op::Read, 0.95), (Op::Insert, 0.05)],
            Mix::E => &[(Op::Scan, 0.95), (Op::Insert, 0.05)],
            Mix::F => &[(Op::Read, 0.5), (Op::ReadModifyWrite, 0.5)],
            Mix::Load => &[(Op::Insert, 1.0)],
            Mix::Put => &[(Op::Put, 1.0)],
            Mix::Get => &[(Op::Get, 1.0)],
        }
    }

    /// The distribution that goes with it.
    pub fn distribution(self) -> Distribution {
        match self {
            Mix::A | Mix::B | Mix::C | Mix::E | Mix::F => Distribution::Zipfian,
            Mix::D => Distribution::Latest,
            Mix::Load | Mix::Put | Mix::Get => Distribution::Uniform,
        }
    }

    /// The share of insertions among its operations.
    pub fn insertions(self) -> f64 {
        self.proportions().iter().filter(|(op, _)| *op == Op::Insert).map(|(_, share)| share).sum()
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mix::A => "YCSB A (50 % read, 50 % update)",
            Mix::B => "YCSB B (95 % read, 5 % update)",
            Mix::C => "YCSB C (read)",
            Mix::D => "YCSB D (95 % read of the latest, 5 % insert)",
            Mix::E => "YCSB E (95 % scan, 5 % insert)",
            Mix::F => "YCSB F (50 % read, 50 % read-modify-write)",
            Mix::Load => "load",
            Mix::Put => "put of fresh keys",
            Mix::Get => "get",
        })
    }
}

/// How often each record is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// A few are popular, scattered over all records.
    Zipfian,
    /// All alike.
    Uniform,
    /// The newest are popular.
    Latest,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Distribution::Zipfian => "zipfian",
            Distribution::Uniform => "uniform",
            Distribution::Latest => "latest",
        })
    }
}

/// A workload, shared by the threads of a run.
#[derive(Debug)]
pub struct Workload {
    /// The operations.
    pub mix: Mix,
    /// Which records.
    pub distribution: Distribution,
    /// Records that were loaded before.
    pub records: u64,
    /// Insertions that are to be expected (see [`Chooser::new`]).
    pub expected_inserts: u64,
    /// Bytes of a value.
    pub value_size: usize,
    /// Load over what is there instead of beside it.
    pub replace: bool,
    /// What the keys of fresh puts start with: another word each run.
    pub fresh_prefix: String,
    /// The numbers of new records.
    pub insertions: Arc<Insertions>,
}

impl Workload {
    /// The first record that an insertion makes.
    pub fn insertions_from(mix: Mix, records: u64) -> Arc<Insertions> {
        let first = match mix {
            Mix::Load | Mix::Put => 0,
            _ => records,
        };
        Arc::new(Insertions::after(first))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(crate) fn workload(mix: Mix, records: u64) -> Workload {
        Workload {
            mix,
            distribution: mix.distribution(),
            records,
            expected_inserts: 0,
            value_size: YCSB_VALUE_SIZE,
            replace: false,
            fresh_prefix: "put-test-".into(),
            insertions: Workload::insertions_from(mix, records),
        }
    }

    #[test]
    fn proportions_add_up() {
        for mix in [Mix::A, Mix::B, Mix::C, Mix::D, Mix::E, Mix::F, Mix::Load, Mix::Put, Mix::Get] {
            let sum: f64 = mix.proportions().iter().map(|(_, share)| share).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{mix}");
        }
    }

    #[test]
    fn operations_come_in_the_proportions_of_the_workload() {
        let draws = 100_000;
        for mix in [Mix::A, Mix::B, Mix::C, Mix::D, Mix::E, Mix::F] {
            let workload = workload(mix, 1_000);
            let mut draw = Draw::new(&workload, 42, 0);
            let mut counts: BTreeMap<Op, u32> = BTreeMap::new();
            for _ in 0..draws {
                let request = draw.request(&workload);
                if let Request::Insert { number, .. } = &request {
                    workload.insertions.ended(*number);
                }
                *counts.entry(request.op()).or_default() += 1;
            }
            assert_eq!(counts.len(), mix.proportions().len(), "{mix}");
            for (op, share) in mix.proportions() {
                let expected = f64::from(draws) * share;
                let deviation = (expected * (1.0 - share)).sqrt().max(1.0);
                let got = f64::from(counts[op]);
                assert!((got - expected).abs() < 5.0 * deviation, "{mix}: {op} {got} of {expected}");
            }
        }
    }

    #[test]
    fn one_seed_is_one_sequence() {
        let sequence = |seed: u64, thread: usize| -> Vec<Request> {
            let workload = workload(Mix::F, 500);
            let mut draw = Draw::new(&workload, seed, thread);
            (0..200).map(|_| draw.request(&workload)).collect()
        };
        assert_eq!(sequence(1, 0), sequence(1, 0));
        assert_ne!(sequence(1, 0), sequence(1, 1));
        assert_ne!(sequence(1, 0), sequence(2, 0));
    }

    #[test]
    fn scans_are_one_to_a_hundred_records_evenly() {
        let workload = workload(Mix::E, 1_000);
        let mut draw = Draw::new(&workload, 1, 0);
        let mut seen = vec![0_u32; SCAN_LENGTH_MAX + 1];
        for _ in 0..50_000 {
            if let Request::Scan { count, .. } = draw.request(&workload) {
                seen[count] += 1;
            }
        }
        assert_eq!(seen[0], 0);
        assert!(seen[1..].iter().all(|n| (350..600).contains(n)), "{seen:?}");
    }

    #[test]
    fn values_have_the_size_asked_for_and_differ() {
        for size in [0, 1, 128, YCSB_VALUE_SIZE, 3_000_000] {
            let workload = Workload { value_size: size, ..workload(Mix::Put, 0) };
            let mut draw = Draw::new(&workload, 1, 0);
            let mut value = || match draw.request(&workload) {
                Request::Put { value, .. } => value,
                other => panic!("{other:?}"),
            };
            let (one, two) = (value(), value());
            assert_eq!((one.len(), two.len()), (size, size));
            assert!(size < 100 || one != two);
        }
    }
}
