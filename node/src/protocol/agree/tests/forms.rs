//! Stored and sent forms, and what changes lead to.

use std::sync::Arc;

use bytes::Bytes;
use dynode_client::wire::{Ballot, ChangeId};
use dynode_ring::{Layout, Member, NodeId};

use super::super::codec::{decode_decision, decode_staged, decode_vote, encode_decision, encode_staged, encode_vote};
use super::super::{Base, Decision, Op, Staged, Vote, apply};

fn member(id: u64) -> Member {
    Member { id: NodeId(id), name: format!("n{id}"), addr: format!("h:{id}"), zone: "z".into(), weight: 1 }
}

pub(super) fn layout(members: u64) -> Layout {
    Layout::first(4, 2, (0..members).map(member).collect()).unwrap()
}

fn id(number: u64) -> ChangeId {
    ChangeId { epoch: 1, number }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn decision() -> Decision {
    let base = Base { by: NodeId(1), epoch: 300, hash: 7 };
    Decision::new(&layout(1), layout(2), vec![id(5)], Some(base))
}

fn staged() -> Staged {
    let mut staged = Staged::default();
    let set = Op::Set { node: NodeId(1), weight: Some(3), zone: Some("y".into()) };
    let ops = [
        Op::Join(member(9)),
        Op::Leave(NodeId(0)),
        Op::Replace { old: NodeId(1), new: member(8) },
        Op::Remove(NodeId(2)),
        set,
    ];
    for (number, op) in ops.into_iter().enumerate() {
        staged.stage(id(number as u64), op);
    }
    staged.commit(&id(1), 300);
    staged.cancel(&id(2));
    staged.merge(Staged::of(Vec::new(), vec![id(77)]));
    staged
}

#[test]
fn what_is_stored_and_sent_has_the_bytes_it_always_had() {
    let golden = [
        hex(&encode_decision(&decision())),
        hex(&encode_vote(9, &Vote { epoch: 3, promised: Ballot { round: 300, node: 2 }, accepted: None })),
        hex(&encode_staged(&staged())),
    ];
    let expected = include_str!("golden.txt");
    assert_eq!(golden.join("\n"), expected.trim_end(), "as they are now:\n{}\n", golden.join("\n"));
}

#[test]
fn what_is_written_is_read_back() {
    let decision = decision();
    let back = decode_decision(encode_decision(&decision)).unwrap();
    assert_eq!((&back.layout, &back.done, back.forced), (&decision.layout, &decision.done, decision.forced));
    assert_eq!(back.hash(), decision.hash());
    let accepted = Some((Ballot { round: 1, node: 1 }, Arc::new(back)));
    let vote = Vote { epoch: 1, promised: Ballot { round: 2, node: 1 }, accepted };
    let (votes_from, back) = decode_vote(encode_vote(9, &vote)).unwrap();
    assert_eq!((votes_from, back.epoch, back.promised), (9, vote.epoch, vote.promised));
    assert_eq!(back.accepted.map(|(b, d)| (b, d.hash())), vote.accepted.map(|(b, d)| (b, d.hash())));
    assert_eq!(decode_staged(encode_staged(&staged())).unwrap(), staged());
}

#[test]
fn no_bytes_make_it_panic() {
    let (chosen, changes) = (encode_decision(&decision()), encode_staged(&staged()));
    assert!((0..chosen.len()).all(|len| decode_decision(chosen.slice(..len)).is_err()));
    assert!((0..changes.len()).all(|len| decode_staged(changes.slice(..len)).is_err()));
    for whole in [chosen, changes] {
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] = value;
                let bytes = Bytes::from(bytes);
                let _ = (decode_decision(bytes.clone()), decode_vote(bytes.clone()), decode_staged(bytes));
            }
        }
    }
}

#[test]
fn the_largest_layout_there_can_be_fits_a_frame() {
    let long = |id: u64| Member {
        id: NodeId(id),
        name: format!("{id:0255}"),
        addr: "a".repeat(255),
        zone: "z".repeat(255),
        weight: u32::MAX,
    };
    let members: Vec<Member> = (0..4096).map(long).collect();
    let owners = (0..65_536_u32).map(|p| (0..8).map(|at| ((p + at * 500) % 4096) as u16).collect()).collect();
    let layout = Layout::from_parts(u64::MAX, 8, members, owners).unwrap();
    let bytes = Decision::new(&layout.clone(), layout, vec![id(1); 1024], None).bytes().len();
    assert!(bytes < 5 << 20, "{bytes}");
    assert!(bytes < dynode_client::wire::limits::BODY_BYTES_MAX);
}

#[test]
fn staged_changes_meet_in_any_order_to_the_same() {
    let (a, mut b) = (staged(), Staged::default());
    b.stage(id(1), Op::Leave(NodeId(0)));
    b.stage(id(50), Op::Join(member(7)));
    b.cancel(&id(1));
    b.commit(&id(50), 2);
    let merged = |mut x: Staged, y: &Staged| {
        x.merge(y.clone());
        x
    };
    let both = merged(a.clone(), &b);
    assert_eq!(both, merged(b.clone(), &a));
    assert_eq!(merged(both.clone(), &a), both);
    assert!(!both.wanted().any(|(found, _)| *found == id(1)), "cancelled holds");
    // What is over stays away, whoever brings it.
    let mut later = both;
    later.passed(&Decision::new(&layout(2), layout(3), vec![id(50)], None));
    assert!(!later.merge(b) && !later.entries().any(|(found, _)| *found == id(50) || *found == id(1)));
    assert!(later.wanted().any(|(found, _)| *found == id(0)), "the rest is not forgotten");
}

#[test]
fn changes_lead_to_members_and_what_cannot_be_done_is_left() {
    let three = layout(3);
    let ops = [
        (id(1), Op::Leave(NodeId(0))),
        (id(2), Op::Remove(NodeId(1))),
        (id(3), Op::Leave(NodeId(2))),
        (id(4), Op::Join(member(5))),
        (id(5), Op::Join(Member { name: "n1".into(), ..member(6) })),
        (id(6), Op::Leave(NodeId(77))),
    ];
    let outcome = apply(&three, ops.iter().map(|(id, op)| (id, op)));
    // Joins come first; then as many leave as leaves two, the copies of each partition.
    assert_eq!(outcome.members.iter().map(|m| m.id.0).collect::<Vec<_>>(), [2, 5]);
    assert_eq!(outcome.done, [id(4), id(1), id(2), id(6)]);
    let left: Vec<ChangeId> = outcome.left.iter().map(|(id, _)| *id).collect();
    assert_eq!(left, [id(5), id(3)]);
    assert!(outcome.left[0].1.contains("is called `n1`") && outcome.left[1].1.contains("another node join"));
    let replaced = apply(&three, [(&id(1), &Op::Replace { old: NodeId(1), new: member(9) })]);
    assert_eq!(replaced.members.iter().map(|m| m.id.0).collect::<Vec<_>>(), [0, 2, 9]);
}
