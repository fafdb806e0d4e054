//! Why members or a table are not a layout. Nothing has changed when one of these is returned.

use crate::{MEMBERS_MAX, NodeId, PARTITIONS_MAX, PartitionId, REPLICAS_MAX, TEXT_BYTES_MAX};

/// What is wrong with the parts of a layout.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The number of partitions is not a power of two from 1 to [`PARTITIONS_MAX`].
    #[error("{0} partitions: it must be a power of two from 1 to {PARTITIONS_MAX}")]
    Partitions(usize),
    /// The number of owners asked for is not from 1 to [`REPLICAS_MAX`].
    #[error("{0} replicas: it must be from 1 to {REPLICAS_MAX}")]
    Replicas(u8),
    /// Epochs count from 1, and there is none after 2^64 - 1.
    #[error("epoch out of range")]
    Epoch,
    /// A layout needs a member.
    #[error("no members")]
    NoMembers,
    /// More than [`MEMBERS_MAX`] members.
    #[error("{0} members: at most {MEMBERS_MAX} are possible")]
    TooManyMembers(usize),
    /// Two members have this id.
    #[error("two members have the id {0}")]
    DuplicateId(NodeId),
    /// Two members have this name.
    #[error("two members are called {0:?}")]
    DuplicateName(String),
    /// A member without a name.
    #[error("member {0} has no name")]
    EmptyName(NodeId),
    /// A name, address or zone has more than [`TEXT_BYTES_MAX`] bytes.
    #[error("member {0} has a name, address or zone of more than {TEXT_BYTES_MAX} bytes")]
    TextTooLong(NodeId),
    /// A member without weight could own nothing.
    #[error("member {0:?} has weight 0: it must be at least 1")]
    ZeroWeight(String),
    /// A partition has not as many owners as there should be: the replicas, or all members where there are fewer.
    #[error("partition {partition} has {found} owners instead of {expected}")]
    OwnerCount {
        /// Which partition.
        partition: PartitionId,
        /// How many owners it should have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// An owner's index is not that of a member.
    #[error("partition {partition} names member {index} as an owner, which does not exist")]
    OwnerIndex {
        /// Which partition.
        partition: PartitionId,
        /// The index.
        index: u16,
    },
    /// A partition names a member twice.
    #[error("partition {partition} names member {index} twice")]
    OwnerTwice {
        /// Which partition.
        partition: PartitionId,
        /// The member's index.
        index: u16,
    },
}
