//! Scenarios that stores of this kind are judged by, each a test that says what must hold, and each played again with its
//! mechanism switched off, when it must fail.
//!
//! | file | scenarios |
//! | --- | --- |
//! | `copies` | 1, 5, 6, 7, 17: copies that are lost, behind or wiped, and how they come back |
//! | `quorums` | 2, 12, 19: what an acknowledgement means |
//! | `siblings` | 3, 9, 10, 11: writers that do not know of each other |
//! | `deletes` | 15, 16: nothing comes back |
//! | `stand_ins` | 4, 13, 14: writes for owners that are away |
//! | `damage` | 18: bits that flip on a disk |
//! | `members` | 20: who is there, through a bad network |
//! | `owners` | strict quorums while partitions get other owners |
//! | `sessions` | read-your-writes at `r = w = 1` |
//! | `overload` | 8, 23: more than a node can do |
//!
//! `SCENE_TRACE=1 cargo test -p tests --release --test scenarios scenario_01 -- --nocapture` prints every event.

mod copies;
mod damage;
mod deletes;
mod members;
mod overload;
mod owners;
mod quorums;
mod sessions;
mod siblings;
mod stand_ins;
