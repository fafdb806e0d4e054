//! A node in this process with its HTTP front end on a free port, and a client that says just the bytes it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use dynode::http::{App, Server, Times, bind};
use dynode::shell::meter::Meter;

use crate::alone::{Alone, CLUSTER};

/// Nothing here takes so long, however busy the machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    node: Alone,
    server: Option<Server>,
}

/// A cluster of one node.
pub(crate) fn alone() -> Served {
    serve(Times::default())
}

/// The same, with a patience of its own.
pub(crate) fn serve(times: Times) -> Served {
    let listener = bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let meter = Arc::new(Meter::default());
    let node = Alone::start(Arc::clone(&meter));
    let app = App::new(node.inside.clone(), meter, CLUSTER, node.addr.clone(), times).with_resp(Arc::default());
    let server = Server::start(listener, app).unwrap();
    Served { addr, node, server: Some(server) }
}

impl Served {
    /// A new connection.
    pub(crate) fn connect(&self) -> Conn {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Conn { stream, read: Vec::new() }
    }

    /// One request on a connection of its own. `head`: request line and header lines, without the last empty one.
    pub(crate) fn ask(&self, head: &str, body: &[u8]) -> Answer {
        self.connect().ask(head, body)
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.ask("GET /metrics", b"").text();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// The node stops; its HTTP server goes on.
    pub(crate) fn stop_node(&mut self) {
        self.node.stop();
    }

    pub(crate) fn stop_server(&mut self) {
        self.server.take().unwrap().stop();
    }
}

pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Conn {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn ask(&mut self, head: &str, body: &[u8]) -> Answer {
        let (first, rest) = head.split_once('\n').unwrap_or((head, ""));
        let mut text = format!("{first} HTTP/1.1\r\nHost: x\r\n");
        for line in rest.lines().filter(|line| !line.is_empty()) {
            text.push_str(&format!("{}\r\n", line.trim()));
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.send(&[text.as_bytes(), b"\r\n", body].concat());
        self.answer(first.starts_with("HEAD"))
    }

    /// The next answer.
    pub(crate) fn answer(&mut self, is_head: bool) -> Answer {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at;
            }
            assert!(self.more(), "closed before an answer: {}", String::from_utf8_lossy(&self.read));
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let split = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_string()));
        let headers: Vec<(String, String)> = lines.filter_map(split).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = match answer.header("content-length") {
            Some(length) if !is_head && status != 304 => length.parse().unwrap(),
            _ => 0,
        };
        while self.read.len() < length {
            assert!(self.more(), "closed within a body");
        }
        answer.body = self.read.drain(..length).collect();
        answer
    }

    /// Waits until what was not yet taken has this in it.
    pub(crate) fn until(&mut self, text: &str) {
        while !self.read.windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
            assert!(self.more(), "closed before `{text}`");
        }
    }

    /// Waits until the other side closes, and gives back what came before.
    pub(crate) fn until_closed(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.read)
    }

    /// False: the other side has closed.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(n) => {
                self.read.extend_from_slice(&bytes[..n]);
                true
            }
            Err(e) if matches!(e.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe) => false,
            Err(e) => panic!("{e}"),
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Each value of a header that may have been said several times.
    pub(crate) fn every(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn context(&self) -> &str {
        self.header("x-dynode-context").unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// Its status, and the name of the error.
    pub(crate) fn error(&self) -> (u16, String) {
        let json = self.json();
        assert!(json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{json}");
        (self.status, json["error"].as_str().unwrap().to_string())
    }
}
