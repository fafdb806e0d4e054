//! What a copy is: the causality of versions, and copies of partitions over a storage engine.
//!
//! Nothing here does I/O of its own, reads a clock or draws random numbers. The protocol of versions and copies follows
//! the executable model that the project was designed with; each rule that the model can break by a switch has the same
//! switch here ([`rules`], only with the feature `mutations`), so that the checks can prove that they would notice.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`dot`] | the identity of one write |
//! | [`clock`] | sets of dots: what a copy contains, what a reader has seen |
//! | [`object`] | the values of a key and the context that orders them; merging |
//! | [`key`] | bucket and key as one ordered byte string |
//! | [`codec`] | every stored and sent form, each behind a format byte |
//! | [`seal`] | contexts that clients hold and cannot forge |
//! | [`engine`] | what a copy needs of a disk: batches, syncs, snapshots |
//! | [`memory`] | the engine in memory, which forgets on a crash what was not synced |
//! | `rocks` | the engine on RocksDB (feature `rocksdb`) |
//! | `logfile` | is a log file of RocksDB's whole to its last byte? |
//! | [`store`] | all copies of one node: the turn's batch, lives, commits |
//! | [`copy`] | one copy: apply, read |
//! | `load` | how a copy is opened: its checkpoint, and the index entries since |
//! | [`answer`] | what a copy says to one that is behind: deltas and scans |
//! | [`reading`] | reading the index for a delta, part by part |
//! | [`absorb`] | taking such an answer in |
//! | [`lives`] | lives that have ended: refusing them; copies that are too old |
//! | `scans` | scans that are not finished: what a copy has seen beyond its clock |
//! | `tidy` | what leaves: index entries, contexts, copies |
//! | `listing` | the keys of a bucket; the set hash computed anew |
//! | [`scrub`] | a copy read from end to end in slices, and checked |
//! | [`quarantine`] | copies that cannot be relied on: what is stored of that, and how it ends |
//! | `records` | the node's own records, beside its copies |
//! | [`salvage`] | what can be taken over from an engine that is damaged |
//! | `notes` | small records of the node's own beside the copies |
//! | `place` | where the records of a copy are stored |

pub mod absorb;
pub mod answer;
pub mod clock;
pub mod codec;
pub mod copy;
pub mod dot;
pub mod engine;
pub mod key;
mod listing;
pub mod lives;
mod load;
#[cfg(feature = "rocksdb")]
mod logfile;
pub mod memory;
mod notes;
pub mod object;
mod orphans;
mod place;
pub mod quarantine;
pub mod reading;
mod records;
#[cfg(feature = "rocksdb")]
pub mod rocks;
pub mod rules;
pub mod salvage;
mod scans;
pub mod scrub;
pub mod seal;
pub mod store;
mod tidy;

pub use clock::Clock;
pub use dot::{Actor, Dot};
pub use engine::{Engine, EngineError, Space, View};
pub use key::ObjectKey;
pub use object::{Object, Payload, Sibling};
#[cfg(feature = "rocksdb")]
pub use rocks::RocksEngine;
pub use store::{Past, Refused, Store};
