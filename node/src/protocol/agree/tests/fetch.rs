//! Whom a node that is behind asks for the layout.

use dynode_client::wire::Message;
use dynode_ring::NodeId;

use super::forms::layout;
use crate::protocol::agree::{Agree, Stored};
use crate::protocol::{Effect, Effects, Time};

/// Who is asked for a layout among these effects.
fn asked(out: &mut Effects) -> Vec<NodeId> {
    let of = |effect| match effect {
        Effect::Send { to, message: Message::GetChange(_), .. } => Some(to),
        _ => None,
    };
    out.drain().filter_map(of).collect()
}

/// Two seconds would pass until somebody else is asked, with every write that needs this node.
#[test]
fn a_peer_that_cannot_be_asked_yet_keeps_nobody_else_from_being_asked() {
    let mut agree = Agree::new(NodeId(1), layout(3), Stored::default(), true, 1, Time(0));
    let mut out = Effects::new();
    agree.up(Time(0), NodeId(3), &mut out);
    agree.saw_epoch(Time(1), NodeId(2), 5, &mut out);
    assert_eq!(asked(&mut out), [], "there is no connection to it");
    agree.saw_epoch(Time(2), NodeId(3), 5, &mut out);
    agree.saw_epoch(Time(3), NodeId(3), 5, &mut out);
    assert_eq!(asked(&mut out), [NodeId(3)], "once");
}
