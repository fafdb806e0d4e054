//! Where keys live: the consistent-hash ring of dynode, as pure functions of their inputs.
//!
//! A key's *token* says which of Q *partitions* it belongs to; a *layout* says which nodes own each partition, under a
//! version that is called its *epoch*; a *preference list* says, for given liveness, whom to ask and in which order.
//! The scheme is Dynamo's third strategy ("Q/S tokens per node, equal-sized partitions", *Dynamo: Amazon's Highly
//! Available Key-value Store*, SOSP 2007, section 6.2): Q is fixed, and membership changes only move partitions.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`token`] | [`Token`]: the hash of a bucket and a key; [`PartitionId`] |
//! | [`member`] | [`NodeId`], [`Member`] |
//! | [`layout`] | [`Layout`]: the table partition -> owners; how it is made, checked and asked; [`Share`] |
//! | [`error`] | [`LayoutError`]: why members or a table are not a layout |
//! | [`preference`] | [`PreferenceList`]: owners, then stand-ins, for given liveness |
//! | [`plan`] | [`Move`], [`Plan`]: the difference of two layouts, and the least that any could move |
//! | `assign` | how a table is made: shares, a first guess, minimum-cost repair, the order of owners |
//!
//! What is absent: no I/O, no clock, no randomness, no hash map that is iterated, no floating point that decides. Equal
//! inputs give equal layouts on every machine, and so an epoch's layout can be compared byte for byte.
//!
//! ```
//! use dynode_ring::{Layout, Member, NodeId};
//!
//! let member = |n: u64| Member {
//!     id: NodeId(n),
//!     name: format!("n{n}"),
//!     addr: format!("127.0.0.1:{}", 7100 + 10 * n),
//!     zone: "a".into(),
//!     weight: 1,
//! };
//! let layout = Layout::first(64, 3, (0..4).map(member).collect())?;
//! let partition = layout.partition_of(b"users", b"ada");
//! let list = layout.preference_list(partition, |node| node != layout.owners(partition)[0]);
//! assert_eq!(list.owners().len(), 3);
//! assert_eq!(list.stand_ins().len(), 1); // the fourth node takes the write for the owner that is down
//!
//! let next = layout.next((0..5).map(member).collect())?;
//! assert_eq!(layout.diff(&next).len(), 38); // the fifth node's share is 64 * 3 / 5 = 38.4
//! # Ok::<(), dynode_ring::LayoutError>(())
//! ```

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod assign;
pub mod error;
pub mod layout;
pub mod member;
mod mix;
pub mod plan;
pub mod preference;
pub mod token;

pub use error::LayoutError;
pub use layout::{Layout, Share};
pub use member::{Member, NodeId, ParseNodeIdError};
pub use plan::{Move, Plan};
pub use preference::PreferenceList;
pub use token::{PartitionId, Token};

/// The most partitions that a layout may have: a partition's id has 16 bits.
pub const PARTITIONS_MAX: u32 = 1 << 16;

/// The most owners that a partition may have. Every owner takes part in every write, so that more copies than this
/// cost more than they protect; it keeps a [`PreferenceList`] at little more than two cache lines.
pub const REPLICAS_MAX: u8 = 8;

/// The most members that a layout may have. Planning looks at every pair of a partition and a member, so this bounds
/// its time (seconds) and the size of a layout on the wire.
pub const MEMBERS_MAX: usize = 4096;

/// The most bytes that a member's name, address or zone may have: a host name has at most 253.
pub const TEXT_BYTES_MAX: usize = 255;
