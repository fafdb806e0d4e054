//! The stored and sent forms of decisions, votes and staged changes. Each begins with a format byte; what is read is
//! checked, whoever wrote it.

use std::sync::Arc;

use bytes::Bytes;
use dynode_client::wire::{Ballot, ChangeId};
use dynode_ring::{Layout, Member, NodeId, PARTITIONS_MAX, PartitionId, REPLICAS_MAX, TEXT_BYTES_MAX};
use dynode_storage::codec::{Corrupt, Reader, put_varint};

use super::change::Op;
use super::decision::{Base, Decision};
use super::paxos::Vote;
use super::staged::{Entry, Staged};

/// The form of all of them.
const FORMAT: u8 = 1;

const OP_JOIN: u8 = 1;
const OP_LEAVE: u8 = 2;
const OP_REPLACE: u8 = 3;
const OP_REMOVE: u8 = 4;
const OP_SET: u8 = 5;

const COMMITTED: u8 = 1;
const CANCELLED: u8 = 2;

// ---- decisions: at most 4.3 MiB, for 65,536 partitions and 4,096 members with the longest names; some 160 KiB for 16,384
// partitions and 1,000 members --------------------------------------------------------------------------------------

/// A decision in bytes.
pub(super) fn encode_decision(decision: &Decision) -> Bytes {
    let layout = &decision.layout;
    let mut out = vec![FORMAT];
    put_varint(&mut out, layout.epoch());
    out.push(layout.replicas() as u8);
    put_varint(&mut out, layout.members().len() as u64);
    layout.members().iter().for_each(|member| put_member(&mut out, member));
    put_varint(&mut out, u64::from(layout.partitions()));
    for index in layout.partition_ids().flat_map(|p| layout.owner_indexes(p)) {
        put_varint(&mut out, u64::from(index));
    }
    put_ids(&mut out, decision.done.iter());
    match &decision.forced {
        None => out.push(0),
        Some(base) => {
            out.push(1);
            out.extend(base.by.0.to_le_bytes());
            put_varint(&mut out, base.epoch);
            out.extend(base.hash.to_le_bytes());
        }
    }
    put_varint(&mut out, decision.before.len() as u64);
    for (partition, owners) in &decision.before {
        put_varint(&mut out, u64::from(partition.0));
        put_varint(&mut out, owners.len() as u64);
        owners.iter().for_each(|owner| out.extend(owner.0.to_le_bytes()));
    }
    out.into()
}

/// Reads a decision.
#[allow(clippy::needless_pass_by_value, reason = "as all decoders take what they read")]
pub(super) fn decode_decision(bytes: Bytes) -> Result<Decision, Corrupt> {
    let mut r = with_format(bytes.clone())?;
    let epoch = r.varint()?;
    let replicas = r.byte()?;
    let members = (0..r.count(12)?).map(|_| member(&mut r)).collect::<Result<Vec<_>, _>>()?;
    let partitions = r.count(1)?;
    if partitions > PARTITIONS_MAX as usize {
        return Err(Corrupt("more partitions than there can be"));
    }
    let width = members.len().min(usize::from(replicas));
    let mut owners = Vec::with_capacity(partitions);
    for _ in 0..partitions {
        let index = |_| u16::try_from(r.varint()?).map_err(|_| Corrupt("an owner that is no member"));
        owners.push((0..width).map(index).collect::<Result<Vec<u16>, _>>()?);
    }
    let layout =
        Layout::from_parts(epoch, replicas, members, owners).map_err(|_| Corrupt("a layout that cannot be"))?;
    let done = ids(&mut r)?;
    let forced = match r.byte()? {
        0 => None,
        1 => Some(Base { by: NodeId(r.word()?), epoch: r.varint()?, hash: r.word()? }),
        _ => return Err(Corrupt("neither chosen nor forced")),
    };
    let mut before: Vec<(PartitionId, Vec<NodeId>)> = Vec::new();
    for _ in 0..r.count(2)? {
        let partition = u16::try_from(r.varint()?).map_err(|_| Corrupt("a partition that cannot be"))?;
        let (partition, owners) = (PartitionId(partition), r.count(8)?);
        if u32::from(partition.0) >= layout.partitions() || before.last().is_some_and(|(last, _)| *last >= partition) {
            return Err(Corrupt("partitions out of order, or that there are not"));
        }
        if !(1..=usize::from(REPLICAS_MAX)).contains(&owners) {
            return Err(Corrupt("former owners that cannot be"));
        }
        before.push((partition, (0..owners).map(|_| Ok(NodeId(r.word()?))).collect::<Result<_, Corrupt>>()?));
    }
    r.finish()?;
    Ok(Decision::with_bytes(layout, done, forced, before, &bytes))
}

// ---- votes ----------------------------------------------------------------------------------------------------------

/// A vote, after the epoch from which on the node knows its votes.
pub(super) fn encode_vote(votes_from: u64, vote: &Vote) -> Bytes {
    let mut out = vec![FORMAT];
    put_varint(&mut out, votes_from);
    put_varint(&mut out, vote.epoch);
    put_ballot(&mut out, vote.promised);
    if let Some((ballot, decision)) = &vote.accepted {
        put_ballot(&mut out, *ballot);
        out.extend_from_slice(decision.bytes());
    }
    out.into()
}

pub(super) fn decode_vote(bytes: Bytes) -> Result<(u64, Vote), Corrupt> {
    let mut r = with_format(bytes)?;
    let votes_from = r.varint()?;
    let (epoch, promised) = (r.varint()?, ballot(&mut r)?);
    let accepted = match r.is_empty() {
        true => None,
        false => {
            let ballot = ballot(&mut r)?;
            Some((ballot, Arc::new(decode_decision(rest(&mut r)?)?)))
        }
    };
    Ok((votes_from, Vote { epoch, promised, accepted }))
}

// ---- staged changes ---------------------------------------------------------------------------------------------------

pub(super) fn encode_staged(staged: &Staged) -> Bytes {
    let mut out = vec![FORMAT];
    put_varint(&mut out, staged.entries().count() as u64);
    for (id, entry) in staged.entries() {
        put_id(&mut out, id);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(flag(entry.committed.is_some(), COMMITTED) | flag(entry.cancelled, CANCELLED));
        if let Some(epoch) = entry.committed {
            put_varint(&mut out, epoch);
        }
        put_op(&mut out, &entry.op);
    }
    put_ids(&mut out, staged.over());
    out.into()
}

pub(super) fn decode_staged(bytes: Bytes) -> Result<Staged, Corrupt> {
    let mut r = with_format(bytes)?;
    let mut entries = Vec::new();
    for _ in 0..r.count(11)? {
        let id = id(&mut r)?;
        let flags = r.byte()?;
        if flags & !(COMMITTED | CANCELLED) != 0 {
            return Err(Corrupt("a mark that there is not"));
        }
        let committed = (flags & COMMITTED != 0).then(|| r.varint()).transpose()?;
        entries.push((id, Entry { op: op(&mut r)?, committed, cancelled: flags & CANCELLED != 0 }));
    }
    let over = ids(&mut r)?;
    r.finish()?;
    Ok(Staged::of(entries, over))
}

// ---- parts ------------------------------------------------------------------------------------------------------------

fn put_op(out: &mut Vec<u8>, op: &Op) {
    let put_node = |out: &mut Vec<u8>, node: &NodeId| out.extend(node.0.to_le_bytes());
    match op {
        Op::Join(member) => {
            out.push(OP_JOIN);
            put_member(out, member);
        }
        Op::Leave(node) => {
            out.push(OP_LEAVE);
            put_node(out, node);
        }
        Op::Replace { old, new } => {
            out.push(OP_REPLACE);
            put_node(out, old);
            put_member(out, new);
        }
        Op::Remove(node) => {
            out.push(OP_REMOVE);
            put_node(out, node);
        }
        Op::Set { node, weight, zone } => {
            out.push(OP_SET);
            put_node(out, node);
            put_varint(out, u64::from(weight.unwrap_or(0)));
            out.push(u8::from(zone.is_some()));
            if let Some(zone) = zone {
                put_text(out, zone);
            }
        }
    }
}

fn op(r: &mut Reader) -> Result<Op, Corrupt> {
    Ok(match r.byte()? {
        OP_JOIN => Op::Join(member(r)?),
        OP_LEAVE => Op::Leave(NodeId(r.word()?)),
        OP_REPLACE => Op::Replace { old: NodeId(r.word()?), new: member(r)? },
        OP_REMOVE => Op::Remove(NodeId(r.word()?)),
        OP_SET => {
            let node = NodeId(r.word()?);
            let weight = Some(weight(r)?).filter(|weight| *weight > 0);
            let zone = match r.byte()? {
                0 => None,
                1 => Some(text(r)?),
                _ => return Err(Corrupt("neither a zone nor none")),
            };
            Op::Set { node, weight, zone }
        }
        _ => return Err(Corrupt("a change of unknown kind: staged by a newer version?")),
    })
}

fn put_member(out: &mut Vec<u8>, member: &Member) {
    out.extend(member.id.0.to_le_bytes());
    put_text(out, &member.name);
    put_text(out, &member.addr);
    put_text(out, &member.zone);
    put_varint(out, u64::from(member.weight));
}

fn member(r: &mut Reader) -> Result<Member, Corrupt> {
    let id = NodeId(r.word()?);
    Ok(Member { id, name: text(r)?, addr: text(r)?, zone: text(r)?, weight: weight(r)? })
}

fn weight(r: &mut Reader) -> Result<u32, Corrupt> {
    u32::try_from(r.varint()?).map_err(|_| Corrupt("a weight over 32 bits"))
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn text(r: &mut Reader) -> Result<String, Corrupt> {
    let len = r.varint()?;
    if len > TEXT_BYTES_MAX as u64 {
        return Err(Corrupt("a name that is too long"));
    }
    String::from_utf8(r.take(len)?.to_vec()).map_err(|_| Corrupt("a name that is no text"))
}

fn put_ballot(out: &mut Vec<u8>, ballot: Ballot) {
    put_varint(out, ballot.round);
    out.extend(ballot.node.to_le_bytes());
}

fn ballot(r: &mut Reader) -> Result<Ballot, Corrupt> {
    Ok(Ballot { round: r.varint()?, node: r.word()? })
}

fn put_id(out: &mut Vec<u8>, id: &ChangeId) {
    put_varint(out, id.epoch);
    out.extend(id.number.to_le_bytes());
}

fn id(r: &mut Reader) -> Result<ChangeId, Corrupt> {
    Ok(ChangeId { epoch: r.varint()?, number: r.word()? })
}

fn put_ids<'a>(out: &mut Vec<u8>, ids: impl ExactSizeIterator<Item = &'a ChangeId>) {
    put_varint(out, ids.len() as u64);
    ids.for_each(|id| put_id(out, id));
}

fn ids(r: &mut Reader) -> Result<Vec<ChangeId>, Corrupt> {
    (0..r.count(9)?).map(|_| id(r)).collect()
}

fn rest(r: &mut Reader) -> Result<Bytes, Corrupt> {
    let left = r.left();
    r.take(left)
}

fn with_format(bytes: Bytes) -> Result<Reader, Corrupt> {
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        FORMAT => Ok(reader),
        _ => Err(Corrupt("unknown format byte: written by a newer version?")),
    }
}
