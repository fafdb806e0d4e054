//! Probes: a ping, then pings by others, then a verdict; and the pings that others ask for.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynode_client::wire::{Ack, PingFor};
use dynode_ring::NodeId;

use super::{Liveness, Swim};
use crate::limits;
use crate::protocol::{Effects, Micros, ReplyTo, Time};

/// A probe under way.
#[derive(Debug)]
pub(super) struct Probe {
    began: Time,
    /// When it goes on: from the ping to the helpers, from the helpers to the verdict.
    until: Time,
    /// When the member itself is asked again.
    again: Time,
    /// Those who were asked to ping too, and whether they have said that they heard nothing; `None`: nobody was asked yet.
    helpers: Option<BTreeMap<NodeId, bool>>,
}

/// A ping on behalf of another.
#[derive(Debug)]
pub(super) struct Relay {
    asker: NodeId,
    reply_to: ReplyTo,
    pub(super) until: Time,
}

/// What an answer will mean.
#[derive(Debug, Clone, Copy)]
pub(super) enum Awaited {
    /// A ping of a probe, a knock, or on behalf of another.
    Ping { target: NodeId, sent: Time },
    /// What a helper will say.
    Helper { target: NodeId },
    /// Another member's states.
    Exchange,
}

impl Probe {
    pub(super) fn due(&self) -> Time {
        self.until.min(self.again)
    }
}

impl Swim {
    pub(super) fn probe(&mut self, now: Time, node: NodeId, out: &mut Effects) {
        if self.liveness(node) == Liveness::Down || self.probes.contains_key(&node) {
            return;
        }
        self.counters.probes += 1;
        let until = now + self.patience(node);
        self.probes.insert(node, Probe { began: now, until, again: until, helpers: None });
        self.ping(now, node, out);
    }

    /// How long a direct answer is waited for: the mean and four times its deviation, within bounds.
    fn patience(&self, node: NodeId) -> Micros {
        let usual = self.latencies.of(node).map_or(limits::PROBE_TIMEOUT_MAX, |l| Micros(l.mean.0 + 4 * l.deviation.0));
        let usual = usual.clamp(limits::PROBE_TIMEOUT_MIN, limits::PROBE_TIMEOUT_MAX);
        self.stretched(Micros(usual.0.min(self.period().0 / 2)))
    }

    /// An answer has come.
    pub(super) fn acked(
        &mut self,
        now: Time,
        from: NodeId,
        request: u64,
        awaited: Option<Awaited>,
        heard: bool,
        out: &mut Effects,
    ) {
        match awaited {
            Some(Awaited::Ping { target, sent }) if target == from => {
                self.latencies.sample(from, (now - sent).0);
                if let Some(relay) = self.relays.remove(&request) {
                    let ack = self.ack(relay.asker, true);
                    out.reply(relay.reply_to, ack);
                }
                // It is heard, and in time enough to be understood: whatever slowed this node is passing.
                self.slowness = self.slowness.saturating_sub(1);
                self.probes.remove(&target);
            }
            Some(Awaited::Helper { target }) if heard => {
                self.probes.remove(&target);
            }
            Some(Awaited::Helper { target }) => self.helper_heard_nothing(now, target, from),
            _ => {} // late, or from somebody else
        }
    }

    fn helper_heard_nothing(&mut self, now: Time, target: NodeId, helper: NodeId) {
        let quick = self.patience(target);
        let Some(probe) = self.probes.get_mut(&target) else { return };
        let Some(helpers) = &mut probe.helpers else { return };
        if let Some(said) = helpers.get_mut(&helper) {
            *said = true;
        }
        if helpers.values().all(|said| *said) {
            // All have spoken: a process that is gone is known at once. But one whose connection was reset gets the time
            // to be called again.
            probe.until = now.max(probe.began + quick);
        }
    }

    /// A question could not be handed to a connection.
    pub(super) fn not_asked(&mut self, now: Time, to: NodeId, request: u64, awaited: Awaited, out: &mut Effects) {
        match awaited {
            Awaited::Ping { target, .. } => {
                if let Some(relay) = self.relays.remove(&request) {
                    let ack = self.ack(relay.asker, false);
                    out.reply(relay.reply_to, ack);
                } else if self.probes.get(&target).is_some_and(|probe| probe.helpers.is_none()) {
                    self.ask_helpers(now, target, out);
                }
            }
            // It cannot be asked; that says nothing about the target, and something about this node.
            Awaited::Helper { target } => {
                if let Some(helpers) = self.probes.get_mut(&target).and_then(|probe| probe.helpers.as_mut()) {
                    helpers.remove(&to);
                }
            }
            Awaited::Exchange => self.last_exchange = None,
        }
    }

    fn ask_helpers(&mut self, now: Time, target: NodeId, out: &mut Effects) {
        let helpers = self.pick(limits::PROBE_HELPERS, Some(target), |m| m.liveness == Liveness::Alive);
        let window = self.stretched(self.period());
        let Some(probe) = self.probes.get_mut(&target) else { return };
        probe.until = (probe.began + window).max(now);
        probe.again = now + limits::PROBE_AGAIN;
        probe.helpers = Some(helpers.iter().map(|helper| (*helper, false)).collect());
        for helper in helpers {
            let id = self.new_question(Awaited::Helper { target });
            let ask = PingFor { incarnation: self.incarnation, target: target.0, rumours: self.news(helper) };
            out.send(helper, id, ask, Bytes::new());
        }
    }

    /// Takes probes on whose time has come.
    pub(super) fn end_probes(&mut self, now: Time, out: &mut Effects) {
        let due: Vec<NodeId> = self.probes.iter().filter(|(_, p)| p.due() <= now).map(|(node, _)| *node).collect();
        for node in due {
            match self.probes.get_mut(&node) {
                Some(Probe { helpers: None, .. }) => self.ask_helpers(now, node, out),
                Some(probe) if probe.until > now => {
                    probe.again = now + limits::PROBE_AGAIN;
                    self.ping(now, node, out);
                }
                _ => self.verdict(now, node, out),
            }
        }
    }

    fn verdict(&mut self, now: Time, node: NodeId, out: &mut Effects) {
        let Some(Probe { helpers: Some(helpers), .. }) = self.probes.remove(&node) else { return };
        self.counters.probes_failed += 1;
        // Helpers who do not even say that they heard nothing: perhaps it is this node that hears nothing.
        let silent = helpers.values().filter(|said| !**said).count();
        self.be_slower(if helpers.is_empty() { 1 } else { silent as u32 });
        self.accuse(now, node, out);
    }

    /// Another member asks this one to ping a third.
    pub(super) fn probe_for(&mut self, now: Time, asker: NodeId, reply_to: ReplyTo, target: NodeId, out: &mut Effects) {
        if self.relays.len() >= limits::RELAYS_MAX || !self.members.contains_key(&target) {
            let ack = self.ack(asker, target == self.own);
            out.reply(reply_to, ack);
            return;
        }
        let until = now + self.patience(target);
        let id = self.ping(now, target, out);
        self.relays.insert(id, Relay { asker, reply_to, until });
    }

    /// Says of pings for others that nothing was heard in time.
    pub(super) fn end_relays(&mut self, now: Time, out: &mut Effects) {
        let over: Vec<u64> = self.relays.iter().filter(|(_, r)| r.until <= now).map(|(id, _)| *id).collect();
        for id in over {
            let Some(relay) = self.relays.remove(&id) else { continue };
            let ack = self.ack(relay.asker, false);
            out.reply(relay.reply_to, ack);
        }
    }

    pub(super) fn ack(&mut self, to: NodeId, heard: bool) -> Ack {
        Ack { incarnation: self.incarnation, heard, rumours: self.news(to) }
    }
}
