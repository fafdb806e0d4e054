//! The network: connections that come and go, messages under way on them, and what stands between two nodes.
//!
//! Each node opens a connection to each other node; its requests travel on it, and their answers travel back. On a
//! connection messages arrive once and in order, or not at all; while the network is cut they wait, as TCP would have
//! it, until the cut heals or the connection is given up. Some seeds are harsher: single messages are lost, arrive twice,
//! overtake each other, or outlive their connection. The protocol has to bear that too.

use bytes::{Bytes, BytesMut};
use dynode::protocol::{Event, Origin, ReplyTo};
use dynode_client::wire::{self, Message};
use dynode_ring::NodeId;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::journal::OpId;
use super::plan::{MS, SECOND};
use super::{Happening, Phase, World};

/// A message between two nodes.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// Its place in [`Network::connections`].
    pub(crate) connection: usize,
    pub(crate) is_answer: bool,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) request: u64,
    pub(crate) message: Message,
    pub(crate) body: Bytes,
    /// The client's operation that it passes on, if it does.
    pub(crate) op: Option<OpId>,
}

/// What a node asks of a peer.
pub(crate) struct Asked {
    pub(crate) request: u64,
    pub(crate) message: Message,
    pub(crate) body: Bytes,
    /// The client's operation that it passes on, if it does.
    pub(crate) op: Option<OpId>,
}

/// One connection, from its opening to its end.
pub(crate) struct Connection {
    asker: usize,
    answerer: usize,
    is_open: bool,
    /// When the last message of each direction arrives: requests, answers.
    last: [u64; 2],
    /// Messages that a cut holds up.
    held: [Vec<Letter>; 2],
}

/// What lies between the nodes.
pub(crate) struct Network {
    pub(crate) rng: Pcg64,
    /// What happens to messages of liveness is drawn from numbers of their own, so that they move nothing else.
    liveness_rng: Pcg64,
    nodes: usize,
    /// Nothing gets from the one to the other.
    cut: Vec<bool>,
    /// The connection that a node takes for standing.
    links: Vec<Option<usize>>,
    connections: Vec<Connection>,
    pub(crate) latency: (u64, u64),
    /// Of a million messages, so many are lost now, beside what the plan says.
    pub(crate) loss_ppm: u32,
}

impl Network {
    pub(crate) fn new(nodes: usize, latency: (u64, u64), rng: Pcg64) -> Network {
        Network {
            liveness_rng: Pcg64::seed_from_u64(rng.clone().next_u64()),
            rng,
            nodes,
            cut: vec![false; nodes * nodes],
            links: vec![None; nodes * nodes],
            connections: Vec::new(),
            latency,
            loss_ppm: 0,
        }
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        !self.cut[from * self.nodes + to]
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Option<usize> {
        &mut self.links[from * self.nodes + to]
    }

    pub(crate) fn delay(&mut self) -> u64 {
        let (least, most) = self.latency;
        match self.rng.random_range(0..64) {
            0 => self.rng.random_range(least..=most * 8), // now and then something is slow
            _ => self.rng.random_range(least..=most),
        }
    }
}

impl World {
    /// A node asks a peer. What cannot be handed to a connection comes back at once.
    pub(crate) fn send(&mut self, at: u64, from: usize, to: usize, asked: Asked) {
        let Asked { request, mut message, body, op } = asked;
        let Some(connection) = *self.network.link(from, to) else {
            if request != 0 {
                let to = self.hosts[to].id;
                self.tell(from, Event::Unsent { to, request }, None);
            }
            return;
        };
        if let (Message::Pull(m), bytes @ 1..) = (&mut message, self.plan.pull_bytes) {
            m.budget = m.budget.min(bytes);
        }
        self.post(at, Letter { connection, is_answer: false, from, to, request, message, body, op });
        if !self.network.connections[connection].is_open {
            // The peer's end is gone: what is sent there is answered by a reset, if anything gets through at all.
            let delay = self.network.delay();
            self.queue.push(at + 2 * delay, Happening::Notice { connection });
        }
    }

    /// A node answers a peer, on the connection that the request came on.
    pub(crate) fn answer(&mut self, at: u64, from: usize, to: ReplyTo, message: Message, body: Bytes) {
        let connection = to.connection as usize;
        let asker = self.network.connections[connection].asker;
        let letter =
            Letter { connection, is_answer: true, from, to: asker, request: to.request, message, body, op: None };
        self.post(at, letter);
    }

    fn post(&mut self, at: u64, letter: Letter) {
        use Message::{Ack, Members, Ping, PingFor, Standing};
        let is_liveness = matches!(letter.message, Ping(_) | PingFor(_) | Ack(_) | Members(_) | Standing(_));
        if !is_liveness {
            return self.put_on_its_way(at, letter);
        }
        let Network { rng, liveness_rng, .. } = &mut self.network;
        std::mem::swap(rng, liveness_rng);
        self.put_on_its_way(at, letter);
        let Network { rng, liveness_rng, .. } = &mut self.network;
        std::mem::swap(rng, liveness_rng);
    }

    fn put_on_its_way(&mut self, at: u64, mut letter: Letter) {
        if self.gossips_behind_backs {
            forget_rumours_of(self.hosts[letter.to].id, &mut letter.message);
        }
        if self.plan.wire {
            (letter.message, letter.body) = through_bytes(letter.request, &letter.message, &letter.body);
        }
        self.check_size(&letter);
        let hangs = |only: usize| match letter.message {
            Message::Pull(_) => letter.to != only,
            Message::Handoff(_) => letter.from != only,
            _ => false,
        };
        if self.muted.contains(&letter.message.name()) || self.aimed.only_source.is_some_and(hangs) {
            return;
        }
        let is_harsh = self.phase == Phase::Faults;
        let (loss, twice) = (self.plan.loss_ppm.max(self.network.loss_ppm), self.plan.twice_ppm);
        let mut happens = |ppm: u32| is_harsh && ppm > 0 && self.network.rng.random_range(0..1_000_000) < ppm;
        if happens(loss) {
            return;
        }
        // A client's request that is passed on is not repeated: nothing in it would say that it is the same.
        let repeated = letter.op.is_none() && happens(twice);
        let crawl = self.hosts[letter.from].crawl.max(self.hosts[letter.to].crawl);
        let delay = self.network.delay();
        let mut arrival = at + self.slowed(delay, crawl);
        if self.plan.disorder && is_harsh {
            if self.network.rng.random_range(0..16) == 0 {
                arrival += self.network.rng.random_range(0..3 * SECOND);
            }
        } else {
            let last = &mut self.network.connections[letter.connection].last[usize::from(letter.is_answer)];
            arrival = arrival.max(*last);
            *last = arrival;
        }
        if repeated {
            let later = arrival + self.network.rng.random_range(0..2 * SECOND);
            self.queue.push(later, Happening::Arrive(Box::new(letter.clone())));
        }
        self.queue.push(arrival, Happening::Arrive(Box::new(letter)));
    }

    pub(crate) fn arrive(&mut self, letter: Letter) {
        let outlives = self.plan.disorder && self.phase == Phase::Faults;
        let reaches = self.network.reaches(letter.from, letter.to);
        let connection = &mut self.network.connections[letter.connection];
        if !connection.is_open && !outlives {
            return;
        }
        let held = &mut connection.held[usize::from(letter.is_answer)];
        if !reaches || !held.is_empty() {
            if !outlives {
                held.push(letter);
            }
            return;
        }
        let Letter { connection, is_answer, from, to, request, message, body, op } = letter;
        if !self.hosts[to].is_up() {
            return;
        }
        self.stats.messages += 1;
        self.trace.record(self.now, (from << 8 | to) as u64 ^ u64::from(message.kind()) << 16 ^ request << 24, &body);
        self.trace.line(self.now, |t| {
            let what = t.message(&message, &body);
            format!("n{from} -> n{to} {what}")
        });
        let from = self.hosts[from].id;
        let event = match is_answer {
            true => Event::Response { from, request, message, body },
            false => {
                let reply_to = ReplyTo { connection: connection as u64, request };
                Event::Request { from: Origin::Peer(from), reply_to, message, body }
            }
        };
        self.tell(to, event, op);
    }

    /// A node tries to open its connection to another.
    pub(crate) fn connect(&mut self, from: usize, to: usize) {
        if !self.hosts[from].is_up() || self.network.link(from, to).is_some() {
            return;
        }
        let answers = self.hosts[to].is_up() && self.hosts[to].paused_until <= self.now;
        if !answers || !self.network.reaches(from, to) || !self.network.reaches(to, from) {
            let again = self.now + self.network.rng.random_range(100 * MS..600 * MS);
            self.queue.push(again, Happening::Connect { from, to });
            return;
        }
        let number = self.network.connections.len();
        self.network.connections.push(Connection {
            asker: from,
            answerer: to,
            is_open: true,
            last: [0; 2],
            held: [Vec::new(), Vec::new()],
        });
        *self.network.link(from, to) = Some(number);
        self.trace.line(self.now, |_| format!("n{from} has a connection to n{to}"));
        let peer = self.hosts[to].id;
        self.tell(from, Event::Up(peer), None);
    }

    /// The asker of a connection may notice that it is of no use any more.
    pub(crate) fn notice(&mut self, number: usize) {
        let Connection { asker, answerer, is_open, .. } = self.network.connections[number];
        let reaches = self.network.reaches(asker, answerer) && self.network.reaches(answerer, asker);
        if *self.network.link(asker, answerer) != Some(number) || (is_open && reaches) {
            return;
        }
        self.give_up(number);
    }

    /// The asker lets go of a connection, and will open another.
    pub(crate) fn give_up(&mut self, number: usize) {
        let (asker, answerer) = self.close_connection(number);
        if *self.network.link(asker, answerer) != Some(number) {
            return;
        }
        *self.network.link(asker, answerer) = None;
        self.trace.line(self.now, |_| format!("n{asker} has lost its connection to n{answerer}"));
        let peer = self.hosts[answerer].id;
        self.tell(asker, Event::Down(peer), None);
        let again = self.now + self.network.rng.random_range(MS..300 * MS);
        self.queue.push(again, Happening::Connect { from: asker, to: answerer });
    }

    fn close_connection(&mut self, number: usize) -> (usize, usize) {
        let connection = &mut self.network.connections[number];
        connection.is_open = false;
        connection.held = [Vec::new(), Vec::new()];
        (connection.asker, connection.answerer)
    }

    /// A process is gone, and with it its end of every connection. Its peers learn of it where they can be reached.
    pub(crate) fn hang_up(&mut self, host: usize) {
        for peer in (0..self.plan.nodes).filter(|p| *p != host) {
            if let Some(own) = self.network.link(host, peer).take() {
                self.close_connection(own);
            }
            if let Some(theirs) = *self.network.link(peer, host) {
                self.close_connection(theirs);
                if self.network.reaches(host, peer) {
                    let at = self.now + self.network.delay();
                    self.queue.push(at, Happening::Notice { connection: theirs });
                } else {
                    self.notice_sometime(theirs);
                }
            }
        }
    }

    /// A process has started: it and its peers look for each other.
    pub(crate) fn call_peers(&mut self, host: usize) {
        for peer in (0..self.plan.nodes).filter(|p| *p != host) {
            let at = self.now + self.network.delay();
            self.queue.push(at, Happening::Connect { from: host, to: peer });
        }
    }

    /// Resets what stands between two nodes.
    pub(crate) fn reset(&mut self, a: usize, b: usize) {
        for (asker, answerer) in [(a, b), (b, a)] {
            if let Some(number) = *self.network.link(asker, answerer) {
                self.give_up(number);
            }
        }
    }

    /// A keepalive finds every connection whose other end is gone, even where nothing else is ever sent.
    pub(crate) fn find_dead_ends(&mut self) {
        for number in self.network.links.clone().into_iter().flatten() {
            if !self.network.connections[number].is_open {
                self.give_up(number);
            }
        }
    }

    /// Two nodes of which the first has no connection to the second that works.
    pub(crate) fn missing_link(&self) -> Option<(usize, usize)> {
        let nodes = self.plan.nodes;
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        pairs.into_iter().filter(|(from, to)| from != to).find(|(from, to)| {
            let link = self.network.links[from * nodes + to];
            link.is_none_or(|number| !self.network.connections[number].is_open)
        })
    }

    fn notice_sometime(&mut self, connection: usize) {
        let (most, never) = self.plan.notice;
        if self.network.rng.random_range(0..100) >= never {
            let at = self.now + self.network.rng.random_range(most / 10..=most);
            self.queue.push(at, Happening::Notice { connection });
        }
    }

    /// Cuts the way from one node to another, silently.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        if from == to || !self.network.reaches(from, to) {
            return;
        }
        self.network.cut[from * self.plan.nodes + to] = true;
        for (asker, answerer) in [(from, to), (to, from)] {
            if let Some(connection) = *self.network.link(asker, answerer) {
                self.notice_sometime(connection);
            }
        }
    }

    /// Opens the way from one node to another again. What was held up goes on its way.
    pub(crate) fn uncut(&mut self, from: usize, to: usize) {
        self.network.cut[from * self.plan.nodes + to] = false;
        for (asker, answerer) in [(from, to), (to, from)] {
            if let Some(connection) = *self.network.link(asker, answerer) {
                let at = self.now + self.network.delay();
                self.queue.push(at, Happening::Flush { connection });
            }
        }
    }

    /// Opens every way again. What was held up goes on its way.
    pub(crate) fn mend(&mut self) {
        self.network.cut.fill(false);
        for connection in 0..self.network.connections.len() {
            if self.network.connections[connection].held.iter().any(|held| !held.is_empty()) {
                let at = self.now + self.network.delay();
                self.queue.push(at, Happening::Flush { connection });
            }
        }
    }

    /// Delivers what a cut has held up, in order.
    pub(crate) fn flush(&mut self, connection: usize) {
        for way in 0..2 {
            let held = std::mem::take(&mut self.network.connections[connection].held[way]);
            held.into_iter().for_each(|letter| self.arrive(letter));
        }
    }
}

/// Takes from a message what it says of this node.
fn forget_rumours_of(node: NodeId, message: &mut Message) {
    let rumours = match message {
        Message::Ping(m) => &mut m.rumours,
        Message::PingFor(m) => &mut m.rumours,
        Message::Ack(m) => &mut m.rumours,
        Message::Members(m) => &mut m.rumours,
        _ => return,
    };
    rumours.retain(|rumour| rumour.node != node.0);
}

/// Encodes a message, decodes it again, and checks that it is the same.
fn through_bytes(request: u64, message: &Message, body: &Bytes) -> (Message, Bytes) {
    let mut out = BytesMut::new();
    let encoded = wire::encode(request, message, body, &mut out);
    assert!(encoded.is_ok(), "{} cannot be encoded: {encoded:?}", message.name());
    match wire::decode(&mut out) {
        Ok(Some(frame)) if out.is_empty() && frame.request == request && frame.message == *message => {
            (frame.message, frame.body)
        }
        other => panic!("{} came back from the wire as {other:?}", message.name()),
    }
}
