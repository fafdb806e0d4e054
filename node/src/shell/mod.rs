//! The shell: one loop on one thread that runs the decisions on sockets, timers and a disk.
//!
//! A *turn*: read what has come on all connections, let [`Node::handle`] decide all of it, commit one batch (one
//! fdatasync under `group`), and only then let answers and messages out, gathered to one write a connection. While a
//! commit is under way requests pile up in the sockets and make the next turn larger: group commit falls out of the loop.
//! There is no task, lock or channel a message; only front ends in the same process come through a channel (`inside`).

mod connection;
pub mod data;
pub mod fenced;
mod greet;
pub mod inside;
mod limits;
pub mod meter;
mod observe;
mod peers;
pub mod space;
pub mod step;
mod traced;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use bytes::Bytes;
use dynode_client::wire::{ErrorCode, Frame, Message, Report};
use dynode_ring::{Member, NodeId};
use dynode_storage::{Engine, EngineError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tracing::{debug, error, info, warn};

use self::connection::{Connection, Over, Role};
pub use self::greet::peer_token;
use self::greet::{Refusals, asks_for_secret, welcome};
use self::inside::Door;
use self::meter::{Meter, Started};
use self::observe::observe;
use self::peers::{Called, Link, Peer};
use self::space::Room;
use self::traced::Traced;
use crate::protocol::{Effect, Effects, Event, Node, Origin, ReplyTo, Time, failure};

/// What the shell needs beside the node.
pub struct Setup {
    /// The cluster's id.
    pub cluster: [u8; 16],
    /// The cluster's secret.
    pub secret: Vec<u8>,
    /// This node's name.
    pub name: String,
    /// Where clients and peers connect.
    pub listener: TcpListener,
    /// The disk that the data are on, where that is a real one.
    pub room: Option<Room>,
    /// What the loop measures of itself.
    pub meter: Arc<Meter>,
}

/// Runs a node until `shutdown` resolves, then lets it finish what is under way, and gives it back. What front ends ask
/// comes through `door`.
///
/// # Errors
///
/// The disk failed or is damaged: nothing of the last turn was said.
pub async fn run<E: Engine>(
    node: Node<E>,
    setup: &Setup,
    door: &mut Door,
    shutdown: impl Future<Output = ()>,
) -> Result<Node<E>, EngineError> {
    let mut shell = Shell::new(node, setup, door);
    // The loop reads every socket in every turn and yields by itself; tokio's own budget would only interrupt it.
    let ended = tokio::task::unconstrained(shell.run(shutdown)).await;
    shell.door.forget_all();
    ended.map(|()| shell.node)
}

/// Greets the node at `addr` as a peer, and says why it refuses, if it does.
///
/// # Errors
///
/// What it says, or that it cannot be reached.
pub async fn knock(at: Member, own: NodeId, cluster: [u8; 16], secret: &[u8]) -> Result<(), String> {
    let token = peer_token(secret, &cluster, own);
    peers::call(at, own, cluster, token).await.1.map(|_| ())
}

struct Shell<'a, E: Engine> {
    node: Node<E>,
    setup: &'a Setup,
    door: &'a mut Door,
    room: Option<Room>,
    room_asked: Instant,
    wall_asked: Instant,
    origin: Instant,
    connections: BTreeMap<u64, Connection>,
    strangers: BTreeMap<u64, Instant>,
    refusals: Refusals,
    next_connection: u64,
    peers: BTreeMap<NodeId, Peer>,
    /// The state of the node's neighbours that `peers` is of.
    neighbours: u64,
    calls: JoinSet<(NodeId, Result<Called, String>)>,
    timer: Pin<Box<Sleep>>,
    timer_at: Instant,
    events: Vec<Event>,
    effects: Effects,
    started: Started,
    traced: Traced,
    stopping: Option<Instant>,
}

impl<'a, E: Engine> Shell<'a, E> {
    fn new(node: Node<E>, setup: &'a Setup, door: &'a mut Door) -> Shell<'a, E> {
        let origin = Instant::now();
        let peers = node.neighbours().map(|m| (m.id, Peer::new(m.clone()))).collect();
        Shell {
            neighbours: node.agree().neighbours_version(),
            node,
            room: setup.room.clone(),
            room_asked: origin,
            wall_asked: origin,
            setup,
            door,
            origin,
            connections: BTreeMap::new(),
            strangers: BTreeMap::new(),
            refusals: Refusals::new(origin),
            next_connection: 1,
            peers,
            calls: JoinSet::new(),
            timer: Box::pin(tokio::time::sleep_until(origin)),
            timer_at: origin,
            events: Vec::new(),
            effects: Effects::new(),
            started: Started::new(Arc::clone(&setup.meter)),
            traced: Traced::new(&setup.name),
            stopping: None,
        }
    }

    async fn run(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), EngineError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut turns = 0;
        loop {
            if self.stopping.is_none() {
                let asked = poll_fn(|cx| Poll::Ready(shutdown.as_mut().poll(cx).is_ready())).await;
                if asked {
                    self.stop();
                }
            } else if self.is_finished() {
                return Ok(());
            }
            let gather = poll_fn(|cx| match (self.gather(cx), self.stopping) {
                (Poll::Pending, None) if shutdown.as_mut().poll(cx).is_ready() => {
                    self.stop();
                    Poll::Ready(())
                }
                (poll, _) => poll,
            });
            gather.await;
            self.turn()?;
            turns += 1;
            if turns % limits::TURNS_WITHOUT_PAUSE == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn stop(&mut self) {
        info!("stopping: answering what is under way");
        self.stopping = Some(Instant::now());
        self.node.drain();
    }

    fn is_finished(&self) -> bool {
        let over = self.stopping.is_some_and(|since| since.elapsed() > limits::DRAIN_TIME);
        over || (self.node.is_idle() && self.connections.values().all(|c| c.waiting() == 0))
    }

    /// Decides on all that was gathered, commits, and lets the effects out; in several goes where there is much to answer.
    fn turn(&mut self) -> Result<(), EngineError> {
        self.look_for_room();
        self.look_at_the_wall_clock();
        let (began, now) = (Instant::now(), self.now());
        self.setup.meter.events.fetch_add(self.events.len() as u64, Relaxed);
        // What cannot be sent becomes an event of the next turn.
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.started.take(&event, began, self.node.layout().partitions());
            let (followed, before) = (self.traced.of(&event), self.effects.len());
            self.node.handle(now, event, &mut self.effects)?;
            if let Some(to) = followed {
                self.traced.led_to(to, self.effects.since(before));
            }
            if self.effects.answers_bytes() >= limits::ANSWERS_BYTES_A_GO {
                self.commit()?;
            }
        }
        self.commit()?;
        if self.events.is_empty() {
            self.events = events;
        }
        self.measure(began);
        Ok(())
    }

    /// Makes durable what was decided, and lets the effects out.
    fn commit(&mut self) -> Result<(), EngineError> {
        let decided = Instant::now();
        self.node.end_turn()?;
        let committed = Instant::now();
        self.setup.meter.commits.add(committed - decided);
        if self.neighbours != self.node.agree().neighbours_version() {
            self.follow_neighbours();
        }
        let mut effects = std::mem::take(&mut self.effects);
        for mut effect in effects.drain() {
            if let Effect::Reply { to, message, body } = &mut effect {
                self.bound(*to, message, body);
                self.started.end(*to, message, committed);
                self.traced.answered(*to, message);
            }
            self.perform(effect);
        }
        self.effects = effects;
        Ok(())
    }

    /// The wall clock may be set while the node runs; what else is looked at once a second.
    fn look_at_the_wall_clock(&mut self) {
        if self.wall_asked.elapsed() < limits::WALL_EVERY {
            return;
        }
        self.wall_asked = Instant::now();
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.node.wall_clock_is(self.now(), since_1970.as_millis() as u64);
        let now = Instant::now();
        let stuck =
            self.connections.iter_mut().filter_map(|(number, connection)| connection.is_stuck(now).then_some(*number));
        let stuck: Vec<u64> = stuck.collect();
        stuck.into_iter().for_each(|number| self.close(number, &Over::Stuck));
        let hot = self.started.hot();
        self.node.measured_is(self.setup.meter.report(&hot));
    }

    fn measure(&self, began: Instant) {
        let meter = &self.setup.meter;
        meter.turns.add(began.elapsed());
        meter.connections.store(self.connections.len() as u64, Relaxed);
        let waiting: usize = self.connections.values().map(Connection::waiting).sum();
        meter.out_bytes.store(waiting as u64, Relaxed);
        let unfinished: usize = self.connections.values().map(Connection::unfinished).sum();
        meter.unfinished_bytes.store(unfinished as u64, Relaxed);
        meter.inside.store(self.door.under_way() as u64, Relaxed);
    }

    /// Members have come, gone, or moved: connections to them follow.
    fn follow_neighbours(&mut self) {
        self.neighbours = self.node.agree().neighbours_version();
        let wanted: BTreeMap<NodeId, Member> = self.node.neighbours().map(|m| (m.id, m.clone())).collect();
        let is_other = |id: &NodeId, peer: &Peer| wanted.get(id).is_none_or(|member| member.addr != peer.member.addr);
        let over: Vec<NodeId> = self.peers.iter().filter(|(id, peer)| is_other(id, peer)).map(|(id, _)| *id).collect();
        for id in over {
            let Some(peer) = self.peers.remove(&id) else { continue };
            info!(peer = %peer.member.name, addr = %peer.member.addr, "let go");
            if let Link::Up(number) = peer.state {
                self.close(number, &Over::Done);
            }
        }
        for (id, member) in wanted {
            match self.peers.get_mut(&id) {
                Some(peer) => peer.member = member,
                None => {
                    self.peers.insert(id, Peer::new(member));
                }
            }
        }
    }

    /// Before the disk is entirely full, no new values are taken.
    fn look_for_room(&mut self) {
        let Some(room) = &mut self.room else { return };
        if self.room_asked.elapsed() < limits::ROOM_EVERY && self.room_asked != self.origin {
            return;
        }
        self.room_asked = Instant::now();
        let (lack, refused) = (room.lack(), self.node.refuses_writes());
        match (&lack, refused) {
            (Some(why), false) => error!("{why}"),
            (None, true) => info!("the disk has room again: new values are taken"),
            _ => {}
        }
        self.node.refuse_writes(lack);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { to, message, body } if to.connection == inside::CONNECTION => {
                self.door.answer(to.request, message, body);
            }
            Effect::Reply { to, message, body } => {
                let Some(connection) = self.connections.get_mut(&to.connection) else {
                    return; // the asker has gone
                };
                if let Err(e) = connection.push(to.request, &message, &body) {
                    let refusal = failure(ErrorCode::Internal, format!("the answer does not fit a frame: {e}"));
                    let _ = connection.push(to.request, &refusal.into(), &Bytes::new());
                }
            }
            Effect::Send { to, request, message, body } => {
                let number = match self.peers.get(&to).map(|p| &p.state) {
                    Some(Link::Up(number)) => Some(*number),
                    _ => None,
                };
                let trace = self.traced.trace_of(request);
                let sent = number.and_then(|n| self.connections.get_mut(&n)).is_some_and(|connection| {
                    connection.waiting() < out_bytes_max(&message)
                        && connection.ask(request, trace, &message, &body).is_ok()
                });
                if !sent {
                    self.events.push(Event::Unsent { to, request });
                }
            }
            Effect::Observe(what) => observe(&what),
        }
    }

    /// Of what was read there may be more than others take off: then that is the answer. What a write came to is small, and
    /// always told.
    fn bound(&self, to: ReplyTo, message: &mut Message, body: &mut Bytes) {
        let bytes = bytes_read(message, body);
        if bytes <= limits::READ_BYTES {
            return;
        }
        let Some(asker) = self.connections.get(&to.connection) else { return };
        if self.untaken(asker.role) + bytes > limits::ANSWERS_BYTES_MAX {
            self.setup.meter.answers_refused.fetch_add(1, Relaxed);
            let detail = "what waits to be taken by others has all the memory there is for it: try again later";
            (*message, *body) = (failure(ErrorCode::Overloaded, detail).into(), Bytes::new());
        }
    }

    /// The answers that clients have not taken yet, in bytes; or, where a peer asks, those that peers have not.
    fn untaken(&self, role: Role) -> usize {
        let is_alike = |connection: &&Connection| matches!(connection.role, Role::Client) == (role == Role::Client);
        self.connections.values().filter(is_alike).map(Connection::untaken).sum()
    }

    /// Reads and writes all connections; ready when there is something to decide.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.accept(cx);
        self.call_peers(cx);
        self.poll_connections(cx);
        let more_inside = self.door.poll_requests(cx, &mut self.events, &mut self.traced);
        self.drop_silent_strangers();
        if self.poll_timer(cx).is_ready() {
            self.events.push(Event::Tick);
        }
        let more = more_inside
            || self.stopping.is_some_and(|_| self.is_finished())
            || self.connections.values().any(Connection::has_more);
        if self.events.is_empty() && !more { Poll::Pending } else { Poll::Ready(()) }
    }

    fn poll_connections(&mut self, cx: &mut Context<'_>) {
        let mut over = Vec::new();
        let events = &mut self.events;
        let (setup, node, strangers) = (self.setup, &self.node, &mut self.strangers);
        let (traced, peers, refusals) = (&mut self.traced, &self.peers, &mut self.refusals);
        let mut unfinished: usize = self.connections.values().map(Connection::unfinished).sum();
        for (number, connection) in &mut self.connections {
            let number = *number;
            unfinished -= connection.unfinished();
            let room = limits::UNFINISHED_BYTES_MAX.saturating_sub(unfinished);
            let refused = connection.refused;
            let done = connection.poll_flush(cx).and_then(|()| {
                connection.poll_frames(cx, limits::FRAMES_A_TURN, room, |connection, frame| {
                    if connection.role == Role::Stranger {
                        strangers.remove(&number);
                        welcome(setup, node, refusals, connection, frame);
                    } else if asks_for_secret(setup, connection, &frame) {
                        let secret: String = setup.secret.iter().map(|byte| format!("{byte:02x}")).collect();
                        let body = Bytes::from(serde_json::json!({ "secret": secret }).to_string());
                        let _ = connection.push(frame.request, &Report {}.into(), &body);
                    } else {
                        if let Frame { request, trace: Some(trace), message, .. } = &frame {
                            let from = asker(connection.role, peers);
                            traced.begin(
                                ReplyTo { connection: number, request: *request },
                                *trace.clone(),
                                message,
                                from,
                            );
                        }
                        events.push(event(number, connection.role, frame));
                    }
                })
            });
            unfinished += connection.unfinished();
            setup.meter.unfinished_refused.fetch_add(connection.refused - refused, Relaxed);
            // What the greeting queued should not wait for the next wake-up.
            let done = done.and_then(|()| if connection.waiting() > 0 { connection.poll_flush(cx) } else { Ok(()) });
            match done {
                Ok(()) => {}
                // Nobody knows where the next frame would begin. The other side is told why, and that is the end.
                Err(Over::Wire(why)) => {
                    let what = format!("what came cannot be read, the connection is closed: {why}");
                    refusals.tell(connection.addr, &what);
                    let _ = connection.push(0, &failure(ErrorCode::Refused, why.to_string()).into(), &Bytes::new());
                    connection.close_after_writing();
                    if let Err(why) = connection.poll_flush(cx) {
                        over.push((number, why));
                    }
                }
                Err(why) => over.push((number, why)),
            }
        }
        for (number, why) in over {
            self.close(number, &why);
        }
    }

    fn close(&mut self, number: u64, why: &Over) {
        let Some(connection) = self.connections.remove(&number) else { return };
        self.strangers.remove(&number);
        debug!(peer = %connection.addr, "connection over: {why}");
        if let Role::PeerOut(node) = connection.role {
            if let Some(peer) = self.peers.get_mut(&node) {
                info!(peer = %peer.member.name, "connection lost: {why}");
                peer.call_later();
            }
            self.events.push(Event::Down(node));
        }
    }

    fn accept(&mut self, cx: &mut Context<'_>) {
        while self.stopping.is_none() && self.connections.len() < limits::CONNECTIONS_MAX {
            match self.setup.listener.poll_accept(cx) {
                Poll::Ready(Ok((stream, addr))) => {
                    let number = self.add(Connection::of_stranger(stream, addr));
                    self.strangers.insert(number, Instant::now() + limits::GREETING_TIME);
                }
                Poll::Ready(Err(e)) => {
                    warn!("a connection could not be accepted: {e}");
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    fn add(&mut self, connection: Connection) -> u64 {
        let number = self.next_connection;
        self.next_connection += 1;
        self.connections.insert(number, connection);
        number
    }

    fn call_peers(&mut self, cx: &mut Context<'_>) {
        let now = Instant::now();
        let (cluster, own) = (self.setup.cluster, self.node.id());
        for peer in self.peers.values_mut() {
            if matches!(peer.state, Link::Waiting(at) if at <= now) && self.stopping.is_none() {
                peer.state = Link::Calling;
                let token = peer_token(&self.setup.secret, &cluster, own);
                self.calls.spawn(peers::call(peer.member.clone(), own, cluster, token));
            }
        }
        while let Poll::Ready(Some(Ok((node, result)))) = self.calls.poll_join_next(cx) {
            let called = result.and_then(|c| c.stream.peer_addr().map(|addr| (c, addr)).map_err(|e| e.to_string()));
            match called {
                // Nobody who was let go meanwhile.
                Ok(_) if !self.peers.get(&node).is_some_and(|peer| matches!(peer.state, Link::Calling)) => {}
                Ok((Called { stream, version, rest }, addr)) => {
                    let number = self.add(Connection::new(stream, addr, Role::PeerOut(node), version, rest));
                    if let Some(peer) = self.peers.get_mut(&node) {
                        info!(peer = %peer.member.name, %addr, "connected");
                        peer.stands(number);
                    }
                    self.events.push(Event::Up(node));
                }
                Err(why) => {
                    if let Some(peer) = self.peers.get_mut(&node) {
                        debug!(peer = %peer.member.name, addr = %peer.member.addr, "not reached: {why}");
                        peer.call_later();
                    }
                }
            }
        }
    }

    fn drop_silent_strangers(&mut self) {
        let now = Instant::now();
        let silent: Vec<u64> = self.strangers.iter().filter(|(_, until)| **until < now).map(|(n, _)| *n).collect();
        for number in silent {
            self.close(number, &Over::Closed);
        }
    }

    /// One timer for all: the node's next alarm, the next call, a stranger's last moment, the end of draining.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let node_wakes = self.origin + std::time::Duration::from_micros(self.node.next_wake().0);
        let mut next = node_wakes;
        for peer in self.peers.values() {
            if let Link::Waiting(at) = peer.state {
                next = next.min(at);
            }
        }
        next = self.strangers.values().fold(next, |next, until| next.min(*until));
        if let Some(since) = self.stopping {
            next = next.min(since + limits::DRAIN_TIME);
        }
        let now = Instant::now();
        if node_wakes <= now {
            return Poll::Ready(());
        }
        // Never for a moment that has passed: what it meant was looked at above.
        next = next.max(now + std::time::Duration::from_millis(1));
        if next != self.timer_at {
            self.timer_at = next;
            self.timer.as_mut().reset(next);
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            self.timer_at = self.origin;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn now(&self) -> Time {
        Time(self.origin.elapsed().as_micros() as u64)
    }
}

/// How much may wait for a peer before this message is given back as not sent: gossip, clients' work and sync each have
/// their own bound, so that none of them starves the one before it.
fn out_bytes_max(message: &Message) -> usize {
    match message {
        Message::Ping(_) | Message::PingFor(_) | Message::Members(_) | Message::Standing(_) => {
            limits::PEER_OUT_BYTES_GOSSIP
        }
        Message::Digests(_)
        | Message::Pull(_)
        | Message::Behind(_)
        | Message::Handoff(_)
        | Message::AskLife(_)
        | Message::Refuse(_) => limits::PEER_OUT_BYTES_SYNC,
        _ => limits::PEER_OUT_BYTES_MAX,
    }
}

/// The size of what was read, in bytes.
fn bytes_read(message: &Message, body: &Bytes) -> usize {
    match message {
        Message::Found(_) | Message::Fetched(_) => body.len(),
        Message::Keys(page) => page.keys.iter().map(Bytes::len).sum(),
        _ => 0,
    }
}

/// The peer that asks, by its name.
fn asker(role: Role, peers: &BTreeMap<NodeId, Peer>) -> Option<String> {
    let Role::PeerIn(node) = role else { return None };
    Some(peers.get(&node).map_or_else(|| node.to_string(), |peer| peer.member.name.clone()))
}

fn event(connection: u64, role: Role, frame: Frame) -> Event {
    let Frame { request, message, body, .. } = frame;
    let reply_to = ReplyTo { connection, request };
    match role {
        Role::PeerOut(from) => Event::Response { from, request, message, body },
        Role::PeerIn(node) => Event::Request { from: Origin::Peer(node), reply_to, message, body },
        Role::Client | Role::Stranger => Event::Request { from: Origin::Client, reply_to, message, body },
    }
}
