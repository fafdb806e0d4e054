//! Not a dynode: a stand-in for one, in memory, for the tests and examples of this library.
//!
//! It speaks the wire format over real connections on 127.0.0.1 and keeps exact siblings and contexts, but all its
//! "nodes" share one map: nothing is replicated, stored or forgotten, and quorums are always met. What it is good for
//! is misbehaving on demand: see [`Fault`].

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use dynode_ring::{Layout, PartitionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::routing::layout_of;
use crate::wire::handshake::accept;
use crate::wire::*;

/// The cluster that all fakes belong to.
pub const CLUSTER: [u8; 16] = [7; 16];

const PARTITIONS: usize = 8;

/// What to do with a request instead of answering it.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Close the connection.
    Close,
    /// Do what was asked, then close the connection instead of saying so.
    DoThenClose,
    /// Never answer.
    Silence,
    /// Answer later; other requests overtake this one.
    Delay(Duration),
    /// Answer when [`Server::release`] is called.
    Hold,
    /// Answer with this failure.
    Fail(ErrorCode),
    /// Answer with bytes that are no frame.
    Garbage,
    /// Answer with this message.
    Say(Box<Message>),
}

/// One fake node.
pub struct Server {
    node: Arc<Node>,
    addr: SocketAddr,
    task: Mutex<Option<AbortHandle>>,
}

struct Node {
    id: u64,
    world: Arc<World>,
    faults: Mutex<Faults>,
    released: watch::Sender<u64>,
    /// Every task of the node holds a clone.
    alive: Arc<()>,
}

#[derive(Default)]
struct Faults {
    /// For the next requests of that name.
    next: BTreeMap<&'static str, VecDeque<Fault>>,
    /// For all others of that name.
    always: BTreeMap<&'static str, Fault>,
    seen: BTreeMap<&'static str, usize>,
}

/// What the nodes share.
struct World {
    store: Mutex<Store>,
    layout: Mutex<LayoutIs>,
}

#[derive(Default)]
struct Store {
    last_dot: u64,
    values: BTreeMap<(Bytes, Bytes), Vec<(u64, Bytes)>>,
    metas: BTreeMap<u64, Meta>,
}

impl Server {
    /// One node that owns everything.
    ///
    /// # Panics
    ///
    /// When 127.0.0.1 has no port left.
    pub async fn start() -> Server {
        Server::start_many(1).await.remove(0)
    }

    /// Several nodes, ids from 1. Partition `p` is owned by nodes `p`, `p + 1` and `p + 2` (from 0, around the end).
    ///
    /// # Panics
    ///
    /// When 127.0.0.1 has no ports left.
    pub async fn start_many(nodes: usize) -> Vec<Server> {
        let mut listeners = Vec::new();
        for _ in 0..nodes {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
        }
        let addrs: Vec<SocketAddr> = listeners.iter().map(|l| l.local_addr().expect("a bound port")).collect();
        let replicas = nodes.min(3);
        let owner = |p: usize, i: usize| ((p + i) % nodes) as u16;
        let member = |(i, addr): (usize, &SocketAddr)| MemberIs {
            node: i as u64 + 1,
            name: format!("n{i}"),
            addr: addr.to_string(),
            zone: String::new(),
            weight: 1,
        };
        let layout = LayoutIs {
            epoch: 1,
            replicas: replicas as u8,
            members: addrs.iter().enumerate().map(member).collect(),
            owners: (0..PARTITIONS).map(|p| (0..replicas).map(|i| owner(p, i)).collect()).collect(),
        };
        let world = Arc::new(World { store: Mutex::default(), layout: Mutex::new(layout) });
        let server = |((listener, addr), id)| {
            let released = watch::channel(0).0;
            let node =
                Arc::new(Node { id, world: world.clone(), faults: Mutex::default(), released, alive: Arc::new(()) });
            let task = tokio::spawn(listen(node.clone(), listener)).abort_handle();
            Server { node, addr, task: Mutex::new(Some(task)) }
        };
        listeners.into_iter().zip(addrs).zip(1..).map(server).collect()
    }

    /// `host:port`.
    pub fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// The node's id.
    pub fn id(&self) -> u64 {
        self.node.id
    }

    /// Misbehaves at the next requests of that name ([`Message::name`]), in this order.
    pub fn next(&self, name: &'static str, faults: impl IntoIterator<Item = Fault>) {
        locked(&self.node.faults).next.entry(name).or_default().extend(faults);
    }

    /// Misbehaves at all requests of that name, from now on.
    pub fn always(&self, name: &'static str, fault: Fault) {
        locked(&self.node.faults).always.insert(name, fault);
    }

    /// No more misbehaviour.
    pub fn behave(&self) {
        let mut faults = locked(&self.node.faults);
        faults.next.clear();
        faults.always.clear();
    }

    /// How many requests of that name have come.
    pub fn seen(&self, name: &str) -> usize {
        locked(&self.node.faults).seen.get(name).copied().unwrap_or(0)
    }

    /// Lets all held answers go.
    pub fn release(&self) {
        self.node.released.send_modify(|times| *times += 1);
    }

    /// Changes the layout that all nodes of this world tell, under the next epoch.
    pub fn change_layout(&self, change: impl FnOnce(&mut LayoutIs)) {
        let mut layout = locked(&self.node.world.layout);
        layout.epoch += 1;
        change(&mut layout);
    }

    /// Closes the port and all connections. When this is done, no request is answered any more.
    pub async fn stop(&self) {
        self.abort();
        while Arc::strong_count(&self.node.alive) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn abort(&self) {
        if let Some(task) = locked(&self.task).take() {
            task.abort();
        }
    }

    /// Opens the same port again after [`Server::stop`].
    ///
    /// # Panics
    ///
    /// When somebody else has taken the port.
    pub async fn restart(&self) {
        self.stop().await;
        let listener = TcpListener::bind(self.addr).await.expect("the port is still free");
        *locked(&self.task) = Some(tokio::spawn(listen(self.node.clone(), listener)).abort_handle());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.abort();
    }
}

async fn listen(node: Arc<Node>, listener: TcpListener) {
    let _alive = node.alive.clone();
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        connections.spawn(serve(node.clone(), stream));
    }
}

/// One connection. Any error ends it.
async fn serve(node: Arc<Node>, stream: TcpStream) -> Option<()> {
    let _alive = node.alive.clone();
    stream.set_nodelay(true).ok()?;
    let (mut from, to) = stream.into_split();
    let to = Arc::new(tokio::sync::Mutex::new(to));
    let mut read = BytesMut::new();
    let mut late = JoinSet::new();
    loop {
        let mut out = OutQueue::new();
        while let Some(frame) = decode(&mut read).ok()? {
            match node.fault(frame.message.name()) {
                None => out.push(&node.answer(frame)).ok()?,
                Some(Fault::Close) => return None,
                Some(Fault::DoThenClose) => {
                    node.answer(frame);
                    return None;
                }
                Some(Fault::Silence) => {}
                Some(Fault::Fail(code)) => out.push(&failed(frame.request, code, "as the test asks for")).ok()?,
                Some(Fault::Say(message)) => {
                    out.push(&Frame { request: frame.request, trace: None, message: *message, body: Bytes::new() })
                        .ok()?;
                }
                Some(Fault::Garbage) => {
                    to.lock().await.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok()?;
                }
                Some(Fault::Delay(time)) => {
                    late.spawn(answer_late(
                        node.clone(),
                        frame,
                        to.clone(),
                        async move { tokio::time::sleep(time).await },
                    ));
                }
                Some(Fault::Hold) => {
                    let mut released = node.released.subscribe();
                    let wait = async move { drop(released.changed().await) };
                    late.spawn(answer_late(node.clone(), frame, to.clone(), wait));
                }
            }
        }
        to.lock().await.write_all_buf(&mut out).await.ok()?;
        if from.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer_late(
    node: Arc<Node>,
    frame: Frame,
    to: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    wait: impl Future<Output = ()>,
) {
    let _alive = node.alive.clone();
    wait.await;
    let mut out = OutQueue::new();
    if out.push(&node.answer(frame)).is_ok() {
        // An error shows on the reading side too.
        let _ = to.lock().await.write_all_buf(&mut out).await;
    }
}

impl Node {
    fn fault(&self, name: &'static str) -> Option<Fault> {
        let mut faults = locked(&self.faults);
        *faults.seen.entry(name).or_default() += 1;
        let next = faults.next.get_mut(name).and_then(VecDeque::pop_front);
        next.or_else(|| faults.always.get(name).cloned())
    }

    fn answer(&self, frame: Frame) -> Frame {
        let request = frame.request;
        match self.done(frame.message, frame.body) {
            Ok((message, body)) => Frame { request, trace: None, message, body },
            Err(failure) => Frame { request, trace: None, message: failure.into(), body: Bytes::new() },
        }
    }

    fn done(&self, message: Message, body: Bytes) -> Result<(Message, Bytes), Failure> {
        let world = &self.world;
        let acks = Acks { owners: 1, stand_ins: 0 };
        let empty = Bytes::new();
        match message {
            Message::Hello(hello) => {
                let version = accept(&hello, CLUSTER)?;
                let name = format!("n{}", self.id - 1);
                Ok((Welcome { version, cluster: CLUSTER, node: self.id, name }.into(), empty))
            }
            Message::Put(put) => {
                let meta = Meta {
                    content_type: put.content_type,
                    expires_ms: put.expiry.at_ms(0, None),
                    written: None,
                    request: put.request,
                };
                let context = locked(&world.store).write(put.bucket, put.key, &put.causality, Some((meta, body)))?;
                Ok((PutDone { context, acks }.into(), empty))
            }
            Message::Delete(delete) => {
                let context = locked(&world.store).write(delete.bucket, delete.key, &delete.causality, None)?;
                Ok((PutDone { context, acks }.into(), empty))
            }
            Message::Get(get) => {
                let (siblings, context, values) = locked(&world.store).read(get.bucket, get.key);
                Ok((Found { siblings, context, acks }.into(), values))
            }
            Message::ListKeys(list) => Ok((locked(&world.store).list(&world.layout()?, &list).into(), empty)),
            Message::GetLayout(_) => Ok((locked(&world.layout).clone().into(), empty)),
            Message::Inspect(_) => Ok((Report {}.into(), Bytes::from(format!("{{\"node\":{}}}", self.id)))),
            other => Err(failure(ErrorCode::BadRequest, &format!("a fake knows no {}", other.name()))),
        }
    }
}

impl World {
    fn layout(&self) -> Result<Layout, Failure> {
        layout_of(locked(&self.layout).clone()).map_err(|e| failure(ErrorCode::Internal, &e.to_string()))
    }
}

impl Store {
    fn write(
        &mut self,
        bucket: Bytes,
        key: Bytes,
        causality: &Causality,
        value: Option<(Meta, Bytes)>,
    ) -> Result<Bytes, Failure> {
        let mark = crc32fast::hash(&[&bucket[..], b"/", &key[..]].concat());
        let siblings = self.values.entry((bucket, key)).or_default();
        let mut seen: Vec<u64> = match causality {
            Causality::Blind => Vec::new(),
            Causality::Current => siblings.iter().map(|&(dot, _)| dot).collect(),
            Causality::Seen(context) => {
                let mut context = context.clone();
                if context.len() % 8 != 4 || context.get_u32() != mark {
                    return Err(failure(ErrorCode::ForeignContext, "not of this key"));
                }
                std::iter::from_fn(|| context.has_remaining().then(|| context.get_u64())).collect()
            }
        };
        siblings.retain(|(dot, _)| !seen.contains(dot));
        if let Some((meta, value)) = value {
            let twin = |(dot, old): &&(u64, Bytes)| {
                meta.request.is_some()
                    && self.metas.get(dot).is_some_and(|m| m.request == meta.request)
                    && *old == value
            };
            if let Some((dot, _)) = siblings.iter().find(twin) {
                seen.push(*dot);
                return Ok(sealed(mark, &seen));
            }
            if siblings.len() >= limits::SIBLINGS_MAX {
                return Err(failure(ErrorCode::TooManySiblings, "read first"));
            }
            self.last_dot += 1;
            seen.push(self.last_dot);
            // A copy: the request's bytes share the read buffer.
            siblings.push((self.last_dot, Bytes::copy_from_slice(&value)));
            self.metas.insert(self.last_dot, meta);
        }
        Ok(sealed(mark, &seen))
    }

    fn read(&self, bucket: Bytes, key: Bytes) -> (Vec<SiblingIs>, Bytes, Bytes) {
        let mark = crc32fast::hash(&[&bucket[..], b"/", &key[..]].concat());
        let siblings = self.values.get(&(bucket, key)).map(Vec::as_slice).unwrap_or_default();
        let meta = |dot| self.metas.get(dot).cloned().unwrap_or_default();
        let told = siblings.iter().map(|(dot, v)| SiblingIs { length: v.len() as u32, meta: meta(dot) }).collect();
        let dots: Vec<u64> = siblings.iter().map(|&(dot, _)| dot).collect();
        let values: Vec<u8> = siblings.iter().flat_map(|(_, value)| value.iter().copied()).collect();
        (told, sealed(mark, &dots), values.into())
    }

    fn list(&self, layout: &Layout, list: &ListKeys) -> Keys {
        let fits = |bucket: &Bytes, key: &Bytes| {
            *bucket == list.bucket
                && key > &list.after
                && key.starts_with(&list.prefix)
                && layout.partition_of(bucket, key) == PartitionId(list.partition)
        };
        let present = self.values.iter().filter(|((bucket, key), values)| !values.is_empty() && fits(bucket, key));
        let mut keys: Vec<Bytes> = present.map(|((_, key), _)| key.clone()).take(list.limit as usize + 1).collect();
        let more = keys.len() > list.limit as usize;
        keys.truncate(list.limit as usize);
        Keys { keys, more, recovering: false }
    }
}

fn sealed(mark: u32, dots: &[u64]) -> Bytes {
    let mut context = BytesMut::new();
    context.put_u32(mark);
    dots.iter().for_each(|&dot| context.put_u64(dot));
    context.freeze()
}

fn failed(request: u64, code: ErrorCode, detail: &str) -> Frame {
    Frame { request, trace: None, message: failure(code, detail).into(), body: Bytes::new() }
}

fn failure(code: ErrorCode, detail: &str) -> Failure {
    let (needed, received) = if code == ErrorCode::QuorumNotMet { (2, 1) } else { (0, 0) };
    Failure { code, needed, received, detail: detail.into() }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
