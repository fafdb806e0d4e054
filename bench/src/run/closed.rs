//! The closed loop: so many workers, each starting its next operation when the last one has ended.
//!
//! It finds the highest throughput. Its latencies leave out what would have happened to operations that were not
//! started while the target stalled (Gil Tene's "coordinated omission"): for latencies, use the open loop.

use std::rc::Rc;

use super::lane::Lane;
use crate::clock::Clock;
use crate::target::Target;

/// An operation that fails faster than this is followed by a pause of this length, so that a target that refuses all
/// is not asked a million times a second.
const PAUSE_NS: u64 = 1_000_000;

/// One of the workers of a lane.
pub async fn worker<T: Target, C: Clock>(lane: Rc<Lane<T, C>>) {
    loop {
        let since = lane.clock.now();
        if !lane.limits.may_start(since) {
            return;
        }
        let well = lane.perform(since).await;
        if !well && lane.clock.now().saturating_sub(since) < PAUSE_NS {
            // Tokio's timer: the clock's own is for one sleeper.
            tokio::time::sleep(std::time::Duration::from_nanos(PAUSE_NS)).await;
        }
    }
}
