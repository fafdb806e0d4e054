//! A request to a cluster of three is one trace: the spans of front end, coordinator and replicas follow from each other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dynode::http::{App, Server, Times};
use dynode::protocol::{Config, Durability, Node, Time};
use dynode::shell::inside::Door;
use dynode::shell::{self, Setup};
use dynode_ring::{Layout, Member, NodeId};
use dynode_storage::memory::MemoryEngine;
use dynode_storage::seal::SealKey;
use dynode_storage::{Past, Store};
use opentelemetry::{Value, global};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};

const CLUSTER: [u8; 16] = [7; 16];

/// Nothing here takes so long, however busy the machine.
const LONG: Duration = Duration::from_secs(60);

/// Keeps what was sent.
#[derive(Debug, Clone, Default)]
struct Collected(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collected {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Collected {
    /// The spans of a request, once there are so many.
    fn of(&self, request: &str, count: usize) -> Vec<SpanData> {
        let until = Instant::now() + LONG;
        loop {
            let all = self.0.lock().unwrap().clone();
            let of: Vec<SpanData> = all.into_iter().filter(|s| attribute(s, "dynode.request") == request).collect();
            if of.len() >= count || Instant::now() > until {
                return of;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn attribute(span: &SpanData, name: &str) -> String {
    let found = span.attributes.iter().find(|a| a.key.as_str() == name);
    found.map_or(String::new(), |a| if let Value::String(text) = &a.value { text.to_string() } else { String::new() })
}

/// Three nodes that own everything, in memory; the HTTP front end of the first.
fn cluster() -> (SocketAddr, Server) {
    let listen = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let natives: Vec<std::net::TcpListener> = (0..3).map(listen).collect();
    let member = |(at, listener): (usize, &std::net::TcpListener)| Member {
        id: NodeId(at as u64 + 1),
        name: format!("n{}", at + 1),
        addr: listener.local_addr().unwrap().to_string(),
        zone: "z".into(),
        weight: 1,
    };
    let members: Vec<Member> = natives.iter().enumerate().map(member).collect();
    let layout = Layout::first(4, 3, members.clone()).unwrap();
    let mut front = None;
    for (member, native) in members.into_iter().zip(natives) {
        let (inside, mut door) = Door::pair();
        front.get_or_insert((inside, member.addr.clone()));
        native.set_nonblocking(true).unwrap();
        let config = Config {
            node: member.id,
            name: member.name.clone(),
            cluster: CLUSTER,
            layout: layout.clone(),
            durability: Durability::Group,
            seal: SealKey::derive(&[1; 16]),
            index_entries_max: 1 << 16,
            operations_max: 1024,
            hint_bytes_max: 1 << 20,
            incarnation: std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64,
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(native).unwrap();
                let (secret, name) = (vec![1; 16], config.name.clone());
                let setup = Setup { cluster: CLUSTER, secret, name, listener, room: None, meter: Arc::default() };
                let id = config.node;
                let store = Store::open(MemoryEngine::new(), id, id.0, Past::Whole).unwrap();
                let node = Node::new(config, store, id.0, Time(0)).unwrap();
                shell::run(node, &setup, &mut door, std::future::pending()).await.unwrap();
            });
        });
    }
    let (inside, addr) = front.unwrap();
    let listener = dynode::http::bind("127.0.0.1:0").unwrap();
    let http = listener.local_addr().unwrap();
    let app = App::new(inside, Arc::default(), CLUSTER, addr, Times::default());
    (http, Server::start(listener, app).unwrap())
}

/// The status of the answer.
fn ask(addr: SocketAddr, head: &str) -> u16 {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let length = if head.starts_with("PUT") { "Content-Length: 1\r\n\r\nv" } else { "\r\n" };
    let (first, rest) = head.split_once('\n').unwrap_or((head, "Accept: */*"));
    let rest = rest.replace('\n', "\r\n");
    write!(stream, "{first} HTTP/1.1\r\n{rest}\r\nHost: h\r\nConnection: close\r\n{length}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn spans_of_coordinator_and_replicas_are_one_trace() {
    let collected = Collected::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(collected.clone()).build();
    global::set_tracer_provider(provider);
    let (addr, _server) = cluster();
    let until = Instant::now() + LONG;
    loop {
        match ask(addr, "PUT /kv/b/first?w=all&strict=true&timeout=1s") {
            204 => break,
            status => assert!(Instant::now() < until, "the cluster does not come up: {status}"),
        }
    }

    // A put that came with a trace.
    let (id, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let head = format!("PUT /kv/b/k?w=all&strict=true\nX-Request-Id: put-1\ntraceparent: 00-{id}-{parent}-01");
    assert_eq!(ask(addr, &head), 204);
    let spans = collected.of("put-1", 4);
    assert_eq!(spans.len(), 4, "{spans:?}");
    assert!(spans.iter().all(|span| span.span_context.trace_id().to_string() == id), "{spans:?}");
    let one =
        |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}: {spans:?}"));
    let (front, coordinator) = (one("PUT /kv"), one("Put"));
    assert_eq!(front.parent_span_id.to_string(), parent);
    assert_eq!(coordinator.parent_span_id, front.span_context.span_id());
    assert_eq!(attribute(coordinator, "dynode.node"), "n1");
    assert_eq!(attribute(coordinator, "dynode.outcome"), "done");
    let replicas: Vec<&SpanData> = spans.iter().filter(|span| span.name == "Replicate").collect();
    let mut nodes: Vec<String> = replicas.iter().map(|span| attribute(span, "dynode.node")).collect();
    nodes.sort();
    assert_eq!(nodes, ["n2", "n3"]);
    assert!(replicas.iter().all(|span| span.parent_span_id == coordinator.span_context.span_id()));

    // A get that begins one.
    assert_eq!(ask(addr, "GET /kv/b/k?r=all\nX-Request-Id: get-1"), 200);
    let spans = collected.of("get-1", 4);
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names.iter().filter(|name| **name == "Fetch").count(), 2, "{names:?}");
    let ids: std::collections::BTreeSet<String> =
        spans.iter().map(|span| span.span_context.trace_id().to_string()).collect();
    assert!(ids.len() == 1 && !ids.contains(id), "{ids:?}");

    // One whose beginner records nothing.
    let head = format!("PUT /kv/b/k?w=all\nX-Request-Id: put-2\ntraceparent: 00-{id}-{parent}-00");
    assert_eq!(ask(addr, &head), 204);
    assert_eq!(ask(addr, "GET /kv/b/k\nX-Request-Id: get-2"), 300, "the puts knew nothing of each other");
    assert!(!collected.of("get-2", 1).is_empty());
    assert!(collected.of("put-2", 0).is_empty());
}
