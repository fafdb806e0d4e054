//! A node's turn: take what has come, decide, commit, and only then let the effects out. A crash may come anywhere in it.

use dynode::protocol::{Durability, Effect, Effects, Event, Node, Observation};
use dynode_client::wire::{Causality, Message};
use dynode_ring::PartitionId;
use dynode_storage::{Clock, Dot, EngineError, ObjectKey};
use rand::RngExt;

use super::changes::OPERATORS;
use super::disk::Disk;
use super::host::End;
use super::journal::{OpId, Seen, writer_of_stored};
use super::network::Asked;
use super::{CLIENTS, Happening, Phase, Violation, World};
/// A batch of effects, each with the client's operation that it belongs to.
type Tagged = Vec<(Effect, Option<OpId>)>;

impl World {
    /// Hands an event to a process, for its next turn.
    pub(crate) fn tell(&mut self, at: usize, event: Event, op: Option<OpId>) {
        self.hosts[at].inbox.push_back((event, op));
        let soon = self.now + self.host_rng.random_range(0..20);
        self.plan_turn(at, soon);
    }

    pub(crate) fn plan_turn(&mut self, at: usize, when: u64) {
        let host = &mut self.hosts[at];
        let when = when.max(host.busy_until).max(host.paused_until).max(self.now);
        if when < host.turn_at && host.node.is_some() {
            host.turn_at = when;
            self.queue.push(when, Happening::Turn { host: at, process: host.process });
        }
    }

    /// A node's turn: take what has come, decide, commit, and only then let the effects out.
    pub(crate) fn turn(&mut self, at: usize, process: u32) -> Result<(), Violation> {
        let now = self.now;
        let host = &mut self.hosts[at];
        if host.process != process || host.turn_at != now {
            return Ok(());
        }
        host.turn_at = u64::MAX;
        if host.paused_until > now || host.busy_until > now {
            let again = host.paused_until.max(host.busy_until);
            self.plan_turn(at, again);
            return Ok(());
        }
        let local = host.local(now);
        let Some(mut node) = host.node.take() else { return Ok(()) };
        let count = host.inbox.len().min(self.plan.turn_max);
        let mut events: Vec<(Event, Option<OpId>)> = host.inbox.drain(..count).collect();
        if node.next_wake() <= local {
            events.push((Event::Tick, None));
        }
        let came: usize = events.iter().map(|(event, _)| bytes_of(event)).sum();
        let mut cost = self.plan.cost.0 * events.len() as u64;
        let worked = works(&node);
        let mut crash = self.draw_crash(events.len());
        let mut effects = Tagged::new();
        let (mut staged, mut discarded) = (Vec::new(), Vec::new());
        let sends_first = self.sends_first;
        for (i, (event, op)) in events.into_iter().enumerate() {
            if crash.is_some_and(|(when, _)| when == i) {
                break;
            }
            let mut out = Effects::new();
            let (op, write) = self.write_in(at, &event, op);
            let mut before = self.before(at, &mut node, write)?;
            let foreign = std::mem::take(&mut before.foreign);
            let handled = node.handle(local, event, &mut out);
            for (partition, was) in &before.rotten {
                // Clocks do not tell: that of the new copy may have closed the lives of the old one.
                let is_whole = self.hosts[at].trouble.is_rotten(*partition);
                if !is_whole {
                    discarded.push((*partition, was.clone()));
                }
            }
            self.after(&mut node, before, op, &mut staged)?;
            if let Err(why) = handled {
                return self.turn_fails(at, node, &why, &staged);
            }
            let first = effects.len();
            effects.extend(out.drain().map(|e| (e, op)));
            for (effect, _) in &effects[first..] {
                if let Effect::Observe(Observation::SetAside { partition, .. }) = effect {
                    self.hosts[at].set_aside.insert(*partition);
                }
            }
            self.check_leaving(at, &mut node, &foreign)?;
            let is_step = |e: &(Effect, _)| {
                matches!(&e.0, Effect::Observe(Observation::Adopted { .. } | Observation::Phase { .. }))
            };
            if effects[first..].iter().any(is_step) {
                crash = crash.or_else(|| self.draw_crash_at_step(i + 1));
            }
        }
        self.stats.turns += 1;
        let took = match self.hosts[at].disk_time {
            (least, most) if self.plan.durability == Durability::Group => self.host_rng.random_range(least..=most),
            _ => self.host_rng.random_range(1..20),
        };
        let goes: usize = effects.iter().map(|(effect, _)| bytes_said(effect)).sum();
        cost += self.plan.cost.1 * ((came + goes) / 1024) as u64;
        cost += self.plan.work * (works(&node) - worked);
        let took = self.slowed(took + cost, self.hosts[at].crawl);
        if sends_first {
            self.hosts[at].node = Some(node);
            self.perform(at, std::mem::take(&mut effects), now)?;
            let Some(back) = self.hosts[at].node.take() else { return Ok(()) };
            node = back;
        }
        let cut_short = crash.filter(|(when, _)| *when < usize::MAX - 1);
        if cut_short.is_none()
            && let Err(why) = node.end_turn()
            && !self.unfenced
        {
            return self.turn_fails(at, node, &why, &staged);
        }
        if cut_short.is_none() {
            self.look_at_layout(at, &node)?;
        }
        self.hosts[at].node = Some(node);
        if let Some((_, end)) = cut_short {
            self.stats.fault("crash inside a turn");
            self.crash(at, end)?;
            self.settle_staged(at, &staged);
            // A discard is written at once.
            self.found_rot(at, discarded)?;
            return Ok(());
        }
        self.found_rot(at, discarded)?;
        if let Some((_, end)) = crash {
            // The turn is committed; of what it said some got out, or nothing.
            let said = self.host_rng.random_range(0..=effects.len());
            effects.truncate(said);
            self.perform(at, effects, now)?;
            self.stats.fault("crash after a commit");
            return self.crash(at, end);
        }
        self.perform(at, effects, now + took)?;
        let host = &mut self.hosts[at];
        host.busy_until = now + took;
        let Some(node) = &host.node else { return Ok(()) };
        let wake = host.global(node.next_wake());
        let next = if host.inbox.is_empty() { wake } else { now + took };
        self.plan_turn(at, next);
        Ok(())
    }

    /// Does this turn end with a crash, and where? `usize::MAX - 1`: after its commit.
    fn draw_crash(&mut self, events: usize) -> Option<(usize, End)> {
        let ppm = self.plan.crash_in_turn_ppm;
        if ppm == 0 || self.phase != Phase::Faults || self.host_rng.random_range(0..1_000_000) >= ppm {
            return None;
        }
        let end = if self.host_rng.random_bool(0.5) { End::Kill } else { End::LatePowerCut };
        match self.host_rng.random_range(0..=events) {
            0 => Some((usize::MAX - 1, end)),
            after => Some((after, end)),
        }
    }

    /// A change of ownership has come a step further: is this where the node crashes?
    fn draw_crash_at_step(&mut self, events: usize) -> Option<(usize, End)> {
        let sixteenths = self.plan.crash_at_step;
        if sixteenths == 0 || self.phase != Phase::Faults || self.layouts.rng.random_range(0..16) >= sixteenths {
            return None;
        }
        let end = if self.layouts.rng.random_bool(0.5) { End::Kill } else { End::LatePowerCut };
        let place = if self.layouts.rng.random_bool(0.5) { usize::MAX - 1 } else { events };
        Some((place, end))
    }

    /// A turn ends with an error of the disk: nothing of it is said.
    fn turn_fails(
        &mut self,
        at: usize,
        node: Box<Node<Disk>>,
        why: &EngineError,
        staged: &[OpId],
    ) -> Result<(), Violation> {
        self.hosts[at].node = Some(node);
        self.fence(at, why)?;
        self.settle_staged(at, staged);
        Ok(())
    }

    /// The client's write that the node may take upon an event: one that is asked of it, or one that it has passed on, and
    /// that comes back.
    fn write_in(
        &mut self,
        at: usize,
        event: &Event,
        op: Option<OpId>,
    ) -> (Option<OpId>, Option<(ObjectKey, Causality)>) {
        match event {
            Event::Request { message, .. } => (op, op.and_then(|_| write_place(message))),
            Event::Response { request, .. } | Event::Unsent { request, .. } => {
                // It stays: an answer may come twice, and what it brings about comes of the last.
                match self.hosts[at].passed_on.get(request).cloned() {
                    Some((op, place, causality)) => (Some(op), Some((place, causality))),
                    None => (op, None),
                }
            }
            _ => (op, None),
        }
    }

    /// What has to be known of a node before it takes an event.
    fn before(
        &self,
        at: usize,
        node: &mut Node<Disk>,
        write: Option<(ObjectKey, Causality)>,
    ) -> Result<Before, Violation> {
        let mut before = Before { foreign: self.foreign_clocks(node)?, ..Before::default() };
        for partition in &self.hosts[at].rotten {
            // A copy that cannot even be opened holds what it held when the process started.
            let mut clock = self.hosts[at].clock_at_start(*partition);
            if let Ok(Some(copy)) = node.store().find(*partition) {
                clock.merge(copy.clock());
            }
            before.rotten.push((*partition, clock));
        }
        let Some((place, causality)) = write else { return Ok(before) };
        let partition = self.layout.partition_of(place.bucket(), place.key());
        before.dot = last_dot(node, partition);
        // Where writes say what their clients did not ask for, what they replace unseen is lost.
        if causality == Causality::Current
            && self.says_instead.is_none()
            && matches!(node.store().find(partition), Ok(Some(_)))
            && let Ok(object) = node.store().read(partition, &place)
        {
            let values: Vec<OpId> =
                object.values.iter().filter_map(|s| s.value.bytes()).filter_map(writer_of_stored).collect();
            before.seen = Some(self.journal.seen_by(&values));
        }
        before.place = Some(place);
        Ok(before)
    }

    /// After a write: has it got a dot?
    fn after(
        &mut self,
        node: &mut Node<Disk>,
        before: Before,
        op: Option<OpId>,
        staged: &mut Vec<OpId>,
    ) -> Result<(), Violation> {
        let (Some(place), Some(op)) = (before.place, op) else { return Ok(()) };
        let partition = self.layout.partition_of(place.bucket(), place.key());
        let Some(dot) = last_dot(node, partition).filter(|d| d.counter > 0 && Some(*d) != before.dot) else {
            return Ok(());
        };
        before.seen.into_iter().for_each(|seen| self.journal.observes(op, seen));
        staged.push(op);
        self.trace.line(self.now, |t| format!("   #{op} is {} {}", place, t.dot(dot)));
        self.check_new_dot(op, dot)?;
        self.journal.by_dot.insert(dot, op);
        self.journal.op_mut(op).dot = Some(dot);
        Ok(())
    }

    /// A turn was cut short: what of its writes is on the disk has happened; the rest never did.
    fn settle_staged(&mut self, at: usize, staged: &[OpId]) {
        for op in staged {
            let Some(dot) = self.journal.op(*op).dot else { continue };
            let partition = self.journal.keys[self.journal.op(*op).key].partition(self.layout.partitions());
            if !self.hosts[at].clock(partition, false).has(dot) {
                let op = self.journal.op_mut(*op);
                (op.dot, op.void) = (None, true);
                self.journal.by_dot.remove(&dot);
            }
        }
    }

    fn perform(&mut self, at: usize, effects: Tagged, when: u64) -> Result<(), Violation> {
        for (effect, op) in effects {
            match effect {
                Effect::Send { to, request, message, body } => {
                    let Some(to) = self.hosts.iter().position(|h| h.id == to) else {
                        return Err(Violation::new("9 bounded", format!("n{at} sends to a stranger")));
                    };
                    let write = op.and_then(|op| write_place(&message).map(|(place, over)| (op, place, over)));
                    let passes_on = write.is_some() || matches!(message, Message::Get(_));
                    write.into_iter().for_each(|write| drop(self.hosts[at].passed_on.insert(request, write)));
                    self.send(when, at, to, Asked { request, message, body, op: op.filter(|_| passes_on) });
                }
                Effect::Reply { to, message, body } if to.connection == OPERATORS => {
                    self.operator_hears(to.request, &message, &body);
                }
                Effect::Reply { to, message, body } if to.connection >= CLIENTS => {
                    self.check_reply(at, to.request as OpId, &message)?;
                    let arrival = when + self.network.delay();
                    let op = to.request as OpId;
                    self.queue.push(arrival, Happening::ClientHears { op, message: Box::new(message), body });
                }
                Effect::Reply { to, message, body } => self.answer(when, at, to, message, body),
                Effect::Observe(what) => {
                    self.aim_at(at, &what);
                    self.observe(at, what)?;
                }
            }
        }
        Ok(())
    }
}

/// What is known of a node before it takes an event.
#[derive(Default)]
struct Before {
    /// The clocks of its copies of partitions that it does not own.
    foreign: Vec<(PartitionId, Clock)>,
    /// The clocks of its copies of which something cannot be read.
    rotten: Vec<(PartitionId, Clock)>,
    /// Where the event is a write that it may coordinate: the key,
    place: Option<ObjectKey>,
    /// the last dot that its copy has given out,
    dot: Option<Dot>,
    /// and, for a write over whatever it has, what that is.
    seen: Option<Seen>,
}

/// The key of a write's request, and what it replaces.
fn write_place(message: &Message) -> Option<(ObjectKey, Causality)> {
    match message {
        Message::Put(m) => Some((ObjectKey::new(&m.bucket, &m.key), m.causality.clone())),
        Message::Delete(m) => Some((ObjectKey::new(&m.bucket, &m.key), m.causality.clone())),
        _ => None,
    }
}

/// The values and entries that an event brings, in bytes.
fn bytes_of(event: &Event) -> usize {
    match event {
        Event::Request { body, .. } | Event::Response { body, .. } => body.len(),
        _ => 0,
    }
}

/// The values and entries that an effect sends, in bytes.
fn bytes_said(effect: &Effect) -> usize {
    match effect {
        Effect::Send { body, .. } | Effect::Reply { body, .. } => body.len(),
        Effect::Observe(_) => 0,
    }
}

/// How often a node has read or written a copy of a key, on behalf of clients.
fn works(node: &Node<Disk>) -> u64 {
    let c = node.counters();
    c.puts + c.gets + c.deletes + c.replicated + c.fetched
}

fn last_dot(node: &mut Node<Disk>, partition: PartitionId) -> Option<Dot> {
    let copy = node.store().find(partition).ok().flatten()?;
    let actor = copy.actor();
    Some(Dot { actor, counter: copy.clock().greatest(actor) })
}
