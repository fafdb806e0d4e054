//! A node in this process, a cluster of its own, in memory: what front ends are tested on.

use std::sync::Arc;
use std::thread::JoinHandle;

use dynode::protocol::{Config, Durability, Node, Time};
use dynode::shell::inside::{Door, Inside};
use dynode::shell::meter::Meter;
use dynode::shell::{self, Setup};
use dynode_ring::{Layout, Member, NodeId};
use dynode_storage::memory::MemoryEngine;
use dynode_storage::seal::SealKey;
use dynode_storage::{Past, Store};
use tokio::sync::oneshot;

pub(crate) const CLUSTER: [u8; 16] = [7; 16];

pub(crate) struct Alone {
    pub(crate) inside: Inside,
    /// Its native listener.
    pub(crate) addr: String,
    stop: Option<oneshot::Sender<()>>,
    node: Option<JoinHandle<()>>,
}

impl Alone {
    /// `meter` measures its loop.
    pub(crate) fn start(meter: Arc<Meter>) -> Alone {
        let (inside, mut door) = Door::pair();
        let native = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        native.set_nonblocking(true).unwrap();
        let addr = native.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let at = addr.clone();
        let run = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(native).unwrap();
                let (secret, name) = (vec![1; 16], "n1".to_string());
                let setup = Setup { cluster: CLUSTER, secret, name, listener, room: None, meter };
                let stopped = async { stopped.await.unwrap_or(()) };
                shell::run(node(&at), &setup, &mut door, stopped).await.unwrap();
            });
        });
        Alone { inside, addr, stop: Some(stop), node: Some(run) }
    }

    /// The node stops; what asks it goes on.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        self.node.take().map(JoinHandle::join).unwrap().unwrap();
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(node) = self.node.take() {
            let _ = node.join();
        }
    }
}

fn node(addr: &str) -> Node<MemoryEngine> {
    let member = Member { id: NodeId(1), name: "n1".into(), addr: addr.into(), zone: "z".into(), weight: 1 };
    let config = Config {
        node: NodeId(1),
        name: "n1".into(),
        cluster: CLUSTER,
        layout: Layout::first(16, 1, vec![member]).unwrap(),
        durability: Durability::Group,
        seal: SealKey::derive(&[1; 16]),
        index_entries_max: 1 << 16,
        operations_max: 1024,
        hint_bytes_max: 1 << 20,
        incarnation: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64,
    };
    let store = Store::open(MemoryEngine::new(), NodeId(1), 1, Past::Whole).unwrap();
    Node::new(config, store, 1, Time(0)).unwrap()
}
