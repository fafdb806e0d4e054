use bytes::Bytes;
use dynode_client::wire::{Clocks, Quorum};
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::codec::encode_clock;
use dynode_storage::{Actor, Clock, Dot};

use super::{DigestRound, Heard};
use crate::protocol::Effects;
use crate::protocol::trio::Trio;

const P: PartitionId = PartitionId(0);

/// In how many partitions a node lacks something, when `peer` answers a round with a clock that has more.
fn lacking_after_a_word_of(peer: NodeId) -> usize {
    let mut trio = Trio::new();
    trio.put(0, b"v", |put| put.w = Quorum::All);
    let now = trio.now;
    let node = &mut trio.nodes[0];
    let told = node.store().copy(P).unwrap().told().clone();
    let mut theirs = Clock::new();
    theirs.add(Dot { actor: Actor { node: NodeId(3), life: 9_000_000 }, counter: 1 });
    let body = Bytes::from(encode_clock(&theirs));
    let answer = Clocks {
        epoch: node.layout().epoch(),
        sum_differs: false,
        differing: vec![(P.0, body.len() as u32)],
        absent: Vec::new(),
        last_life: 0,
        whole: true,
        recovering: Vec::new(),
        unlike: Vec::new(),
    };
    let mut round = DigestRound { peer, told: vec![(P, told)], greeting: false, summed: 0 };
    let heard = Heard::Answer(peer, answer.into(), body);
    node.digests_heard(now, &mut round, heard, &mut Effects::new()).unwrap();
    node.sync.lacking()
}

#[test]
fn what_a_former_owner_says_too_late_is_not_lacked_for_ever() {
    assert_eq!(lacking_after_a_word_of(NodeId(2)), 1, "an owner has more");
    assert_eq!(lacking_after_a_word_of(NodeId(9)), 0, "who is no owner will not be asked again");
}
