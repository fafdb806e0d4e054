//! The simulated world that drives the protocol, and the checkers that watch it.
//!
//! A run is made from one seed: a cluster of one to seven nodes, each the very code that the daemon runs, over an engine
//! in memory that can forget what was not synced; a network that delays, loses, repeats and cuts; clients that know much,
//! little or nothing; and a mix of faults. While it lasts, and once all is repaired, the checkers look for what must
//! never be.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`world`] | machines, network, clients, faults, and the queue of what happens |
//! | [`check`] | one file an invariant |
//! | [`runner`] | many seeds on many threads |
//! | [`scene`] | scenarios by hand: a world that a test drives step by step |
//! | [`script`] | readable scenarios: commands and message trace in one text |
//! | [`processes`] | no simulation: real nodes on this machine, and what is done to them |
//! | [`cost`] | what sync costs, counted byte by byte |
//! | [`scale`] | clusters of a thousand nodes, and what it costs to change them |
//!
//! What is absent in a run: no real clock, no real network, no thread, no hash map.

pub mod check;
pub mod cost;
pub mod processes;
pub mod runner;
pub mod scale;
pub mod scene;
pub mod script;
pub mod world;

use dynode::limits;
use dynode::protocol::{Config, Durability};
use dynode_ring::{Layout, NodeId};
use dynode_storage::seal::SealKey;

/// What the n-th node of a cluster without faults is told.
fn config(n: usize, node: NodeId, layout: &Layout) -> Config {
    Config {
        node,
        name: format!("n{n}"),
        cluster: [7; 16],
        layout: layout.clone(),
        durability: Durability::Group,
        seal: SealKey::derive(b"a cluster's secret"),
        index_entries_max: limits::INDEX_ENTRIES_MAX,
        incarnation: 1,
        operations_max: limits::OPERATIONS_MAX,
        hint_bytes_max: limits::HINT_BYTES_MAX,
    }
}
