//! What can be taken over from an engine that is damaged.
//!
//! Partition by partition: a copy all of whose records can be read and fit each other (see [`scrub`](crate::scrub)) is
//! taken over as it is; of any other nothing is. Nobody knows what an engine lost that is known to have lost something, so
//! every copy that has other owners is *rebuilding* afterwards, a salvaged one too: it answers no read until it
//! has heard from them. And every copy begins a new life: the store is to be opened with
//! [`Past::MayLack`](crate::store::Past::MayLack).

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};

use crate::engine::{Engine, EngineError, Space, Step, View};
use crate::place::{clock_at, partition_end, partition_start};
use crate::quarantine::{self, Quarantine};
use crate::scrub::Check;

/// Records are taken over in batches of about so many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// Who owns a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// This node and others.
    Shared,
    /// This node alone: what is not salvaged is lost.
    Alone,
    /// Others: a copy here is a stand-in's, or was not handed over yet.
    Others,
}

/// What became of the copies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Taken over whole.
    pub whole: Vec<PartitionId>,
    /// Not taken over, and why; they are to be rebuilt from the other owners.
    pub lost: Vec<(PartitionId, String)>,
    /// Not taken over, and nobody else has to have it: partitions owned by this node alone, and others' partitions.
    pub only_here: Vec<(PartitionId, String)>,
    /// Bytes taken over.
    pub bytes: u64,
}

/// Takes over into an empty engine what of a damaged one can be relied on. `source`: `None` where it cannot be read at
/// all. `progress` hears how many of the partitions are done. The target is durable when this returns.
///
/// # Errors
///
/// The target failed. What is wrong with the source is part of the answer.
pub fn salvage<V: View, E: Engine>(
    source: Option<&V>,
    target: &mut E,
    node: NodeId,
    partitions: impl Iterator<Item = (PartitionId, Ownership)>,
    mut progress: impl FnMut(u32),
) -> Result<Salvaged, EngineError> {
    let mut done = Salvaged::default();
    // The node's own records. What is not readable of them is made anew: the identity comes from the configuration, and
    // lives from the wall clock.
    if let Some(source) = source
        && copy_range(source, target, Space::Meta, &[], &[0xff; 64])?.is_err()
    {
        target.write(&[Step::DeleteRange(Space::Meta, Bytes::new(), Bytes::from_static(&[0xff; 64]))], false)?;
    }
    for (count, (partition, ownership)) in partitions.enumerate() {
        progress(count as u32);
        let lost = match source {
            Some(source) => one(source, target, node, partition)?,
            None => Err("nothing of it can be read".into()),
        };
        match (lost, ownership) {
            (Ok(None), _) => {}
            (Ok(Some(bytes)), _) => {
                done.whole.push(partition);
                done.bytes += bytes;
            }
            (Err(why), Ownership::Shared) => done.lost.push((partition, why)),
            (Err(_), Ownership::Others) if source.is_none() => {} // nobody knows whether there was one
            (Err(why), Ownership::Alone | Ownership::Others) => done.only_here.push((partition, why)),
        }
        if ownership == Ownership::Shared {
            target.write(&[quarantine::step(partition, Some(Quarantine::Rebuilding))], false)?;
        }
    }
    target.sync()?;
    Ok(done)
}

/// Takes over one copy, or nothing of it: how many bytes it has, `None` where there is none, or what is wrong with it.
fn one<V: View, E: Engine>(
    source: &V,
    target: &mut E,
    node: NodeId,
    partition: PartitionId,
) -> Result<Result<Option<u64>, String>, EngineError> {
    match is_sound(source, node, partition) {
        Ok(true) => {}
        Ok(false) => return Ok(Ok(None)),
        Err(why) => return Ok(Err(why.to_string())),
    }
    let (from, to) = (partition_start(partition).to_vec(), partition_end(partition));
    let mut bytes = 0;
    for space in [Space::Objects, Space::Index, Space::Clocks] {
        match copy_range(source, target, space, &from, &to)? {
            Ok(copied) => bytes += copied,
            Err(why) => {
                let (from, to) = (Bytes::from(from), Bytes::from(to));
                let drop = |space| Step::DeleteRange(space, from.clone(), to.clone());
                target.write(
                    &[drop(Space::Objects), drop(Space::Index), Step::Delete(Space::Clocks, clock_at(partition))],
                    false,
                )?;
                return Ok(Err(why.to_string()));
            }
        }
    }
    Ok(Ok(Some(bytes)))
}

/// Reads all of a copy; false where there is none.
fn is_sound<V: View>(source: &V, node: NodeId, partition: PartitionId) -> Result<bool, EngineError> {
    let Some(mut check) = Check::of_view(source, node, partition)? else {
        // Objects or index entries without a clock are what is left of a copy.
        let (from, to) = (partition_start(partition), partition_end(partition));
        let mut any = false;
        for space in [Space::Objects, Space::Index] {
            source.scan(space, &from, &to, &mut |_, _| {
                any = true;
                false
            })?;
        }
        return match any {
            false => Ok(false),
            true => Err(EngineError::Damaged {
                place: Space::Clocks.name(),
                partition: Some(partition),
                detail: "the copy has lost its clock".into(),
            }),
        };
    };
    while !check.slice(u64::MAX, u64::MAX)? {}
    Ok(true)
}

/// Copies records in batches: how many bytes; inside, what is wrong with the source.
fn copy_range<V: View, E: Engine>(
    source: &V,
    target: &mut E,
    space: Space,
    from: &[u8],
    to: &[u8],
) -> Result<Result<u64, EngineError>, EngineError> {
    let (mut from, mut total) = (from.to_vec(), 0);
    loop {
        let (mut steps, mut size, mut next) = (Vec::new(), 0, None);
        let read = source.scan(space, &from, to, &mut |at, value| {
            if size >= BATCH_BYTES {
                next = Some(at.to_vec());
                return false;
            }
            size += at.len() + value.len();
            steps.push(Step::Put(space, Bytes::copy_from_slice(at), Bytes::copy_from_slice(value)));
            true
        });
        if let Err(why) = read {
            return Ok(Err(why));
        }
        target.write(&steps, false)?;
        total += size as u64;
        match next {
            Some(at) => from = at,
            None => return Ok(Ok(total)),
        }
    }
}
