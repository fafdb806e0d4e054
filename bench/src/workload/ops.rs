//! Operations: drawing the next one, with its key and value.

use std::fmt;

use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::keys::{Chooser, named, record_key};
use super::{SCAN_LENGTH_MAX, Workload};

/// Random bytes that values are cut from, without a copy.
const POOL_BYTES: usize = 1 << 20;

/// A kind of operation, in the order of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Read a record, all of it.
    Read,
    /// Write a record over what is there.
    Update,
    /// Write a new record.
    Insert,
    /// Read several records in key order.
    Scan,
    /// Read a record and write it back; its read and its write are counted as such, too.
    ReadModifyWrite,
    /// Read a key.
    Get,
    /// Write a fresh key.
    Put,
}

impl Op {
    /// All kinds.
    pub const ALL: [Op; 7] = [Op::Read, Op::Update, Op::Insert, Op::Scan, Op::ReadModifyWrite, Op::Get, Op::Put];

    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Read => "read",
            Op::Update => "update",
            Op::Insert => "insert",
            Op::Scan => "scan",
            Op::ReadModifyWrite => "read-modify-write",
            Op::Get => "get",
            Op::Put => "put",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An operation to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// See [`Op::Read`].
    Read {
        /// The record.
        key: Bytes,
    },
    /// See [`Op::Update`].
    Update {
        /// The record.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// See [`Op::Insert`].
    Insert {
        /// The record's number, to be given back to [`super::Insertions::ended`].
        number: u64,
        /// The record.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
    /// See [`Op::Scan`].
    Scan {
        /// The first record.
        key: Bytes,
        /// How many.
        count: usize,
    },
    /// See [`Op::ReadModifyWrite`].
    ReadModifyWrite {
        /// The record.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// See [`Op::Get`].
    Get {
        /// The key.
        key: Bytes,
    },
    /// See [`Op::Put`].
    Put {
        /// The key.
        key: Bytes,
        /// Its value.
        value: Bytes,
    },
}

impl Request {
    /// Its kind.
    pub fn op(&self) -> Op {
        match self {
            Request::Read { .. } => Op::Read,
            Request::Update { .. } => Op::Update,
            Request::Insert { .. } => Op::Insert,
            Request::Scan { .. } => Op::Scan,
            Request::ReadModifyWrite { .. } => Op::ReadModifyWrite,
            Request::Get { .. } => Op::Get,
            Request::Put { .. } => Op::Put,
        }
    }
}

/// One thread's chance: draws operations.
#[derive(Debug)]
pub struct Draw {
    rng: Pcg64,
    chooser: Chooser,
    pool: Bytes,
}

impl Draw {
    /// For thread number `thread` of a run with this seed.
    pub fn new(workload: &Workload, seed: u64, thread: usize) -> Draw {
        // Neighbouring seeds and threads far apart: seed_from_u64 scatters what it is given.
        let mut rng = Pcg64::seed_from_u64(seed ^ (thread as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut pool = vec![0; POOL_BYTES + workload.value_size];
        rng.fill_bytes(&mut pool);
        let chooser = Chooser::new(
            workload.distribution,
            workload.records,
            workload.expected_inserts,
            workload.insertions.clone(),
        );
        Draw { rng, chooser, pool: Bytes::from(pool) }
    }

    /// The next operation.
    pub fn request(&mut self, workload: &Workload) -> Request {
        match self.op(workload) {
            Op::Read => Request::Read { key: self.key() },
            Op::Update => Request::Update { key: self.key(), value: self.value(workload.value_size) },
            Op::Insert => {
                let number = workload.insertions.take();
                Request::Insert { number, key: record_key(number), value: self.value(workload.value_size) }
            }
            Op::Scan => Request::Scan { key: self.key(), count: self.rng.random_range(1..=SCAN_LENGTH_MAX) },
            Op::ReadModifyWrite => Request::ReadModifyWrite { key: self.key(), value: self.value(workload.value_size) },
            Op::Get => Request::Get { key: self.key() },
            Op::Put => {
                let key = named(&workload.fresh_prefix, workload.insertions.take());
                Request::Put { key, value: self.value(workload.value_size) }
            }
        }
    }

    /// A number from 0 to 1, exclusive.
    pub fn fraction(&mut self) -> f64 {
        self.rng.random()
    }

    fn op(&mut self, workload: &Workload) -> Op {
        let proportions = workload.mix.proportions();
        let mut left = if proportions.len() > 1 { self.fraction() } else { 0.0 };
        for (op, share) in proportions {
            if left < *share {
                return *op;
            }
            left -= share;
        }
        proportions[0].0 // the shares add up to 1, but for rounding
    }

    fn key(&mut self) -> Bytes {
        record_key(self.chooser.draw(&mut self.rng))
    }

    fn value(&mut self, size: usize) -> Bytes {
        let at = self.rng.random_range(0..POOL_BYTES);
        self.pool.slice(at..at + size)
    }
}
