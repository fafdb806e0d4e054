//! The load generator of dynode: YCSB workloads, closed and open loop, latencies from the intended start, reports to
//! compare, and an audit of acknowledged writes.
//!
//! The store is behind [`target::Target`]; only [`dynode`] knows which it is, so that everything else is tested against
//! one in memory. Time is behind [`clock::Clock`], so that no test takes any.

pub mod audit;
pub mod cli;
pub mod clock;
pub mod command;
pub mod dynode;
#[cfg(test)]
mod fake;
pub mod measure;
pub mod plan;
pub mod report;
pub mod run;
pub mod target;
pub mod units;
pub mod workload;
