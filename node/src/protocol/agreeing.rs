//! The node's part in agreeing on layouts: it hands events to [`Agree`], stores what must be stored before anything is said,
//! and goes by what is decided.

use bytes::Bytes;
use dynode_client::wire::{Message, Operator, Report};
use dynode_ring::{Member, NodeId};
use dynode_storage::{Engine, EngineError};
use serde_json::{Value, json};

use super::agree::{Agree, Circumstances, Stored};
use super::{Config, Effects, Node, Origin, ReplyTo, Time};

impl<E: Engine> Node<E> {
    /// As what this node would join, when it is not a member; and whether guests that it hears of become members without an
    /// operator's word. To be called before the first event.
    pub fn introduce_as(&mut self, card: Member, auto_join: bool) {
        self.agree.introduce_as(card, auto_join);
    }

    /// The nodes that this one keeps a connection to: the members, and guests that it has heard of.
    pub fn neighbours(&self) -> impl Iterator<Item = &Member> {
        let guests = self.agree.guests().map(|guest| &guest.member);
        self.config.layout.members().iter().chain(guests).filter(|m| m.id != self.config.node)
    }

    /// Does the layout name this node?
    pub fn is_member(&self) -> bool {
        self.agree.is_member()
    }

    /// What this node knows of how the layout came about, and of changes to come.
    pub fn agree(&self) -> &Agree {
        &self.agree
    }

    pub(super) fn agree_on_request(
        &mut self,
        now: Time,
        from: Origin,
        reply_to: ReplyTo,
        message: &Message,
        body: Bytes,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        match (message, from) {
            (Message::Operate(m), _) => self.operate(now, reply_to, &m.what, out)?,
            (_, Origin::Peer(peer)) => self.agree.request(now, peer, reply_to, message, body, out),
            (_, Origin::Client) => {}
        }
        self.after_agree(now, out)
    }

    fn operate(&mut self, now: Time, reply_to: ReplyTo, what: &Operator, out: &mut Effects) -> Result<(), EngineError> {
        let (swim, settled) = (&self.swim, self.is_settled());
        let liveness = |node: NodeId| swim.liveness(node);
        let done = self.agree.operate(now, what, &Circumstances { settled, liveness: &liveness }, out);
        match done {
            Ok(()) => {
                self.after_agree(now, out)?;
                let report = Bytes::from(self.changes_report().to_string());
                out.reply_with(reply_to, Report {}, report);
            }
            Err(refusal) => out.reply(reply_to, refusal),
        }
        Ok(())
    }

    /// How things stand with changes of ownership.
    pub(super) fn changes_report(&self) -> Value {
        let liveness = |node: NodeId| self.swim.liveness(node);
        let mut report = self.agree.report(&Circumstances { settled: self.is_settled(), liveness: &liveness });
        report["name"] = json!(self.config.name);
        report["node"] = json!(self.config.node.to_string());
        report
    }

    /// A peer's message names another epoch than this node's.
    pub(super) fn saw_epoch(&mut self, peer: NodeId, theirs: u64, out: &mut Effects) {
        let now = self.last_event;
        self.agree.saw_epoch(now, peer, theirs, out);
    }

    /// Stores what must be stored, and goes by what is decided. To be called whenever something was said to [`Agree`].
    pub(super) fn after_agree(&mut self, now: Time, out: &mut Effects) -> Result<(), EngineError> {
        for (name, record) in self.agree.take_records() {
            self.store.set_record(name, record);
        }
        for decision in self.agree.take_decided() {
            self.adopt(now, &decision, out)?;
        }
        Ok(())
    }
}

/// What is stored goes before what is configured: the configuration only makes the first layout of a cluster.
pub(super) fn agree_of<E: Engine>(
    config: &Config,
    store: &dynode_storage::Store<E>,
    seed: u64,
    now: Time,
) -> Result<Agree, EngineError> {
    let stored = Stored::read(|name| store.record(name))?.map_err(|why| EngineError::Damaged {
        place: "meta",
        partition: None,
        detail: why.to_string(),
    })?;
    // Random numbers of its own, so that drawing more of them changes nothing else.
    let seed = seed ^ 0x4147_5245;
    Ok(Agree::new(config.node, config.layout.clone(), stored, store.knows_its_lives(), seed, now))
}
