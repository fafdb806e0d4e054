//! A node with its front end on a free port, and a client that says just the bytes it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use dynode::resp::{App, Server, Times, bind};

use crate::alone::{Alone, CLUSTER};

/// Nothing here takes so long, however busy the machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    pub(crate) node: Alone,
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
    let node = Alone::start(Default::default());
    let app = App::new(node.inside.clone(), CLUSTER, node.addr.clone(), times);
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

    pub(crate) fn stop_server(&mut self) {
        self.server.take().unwrap().stop();
    }
}

pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// A command as clients send it.
pub(crate) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Conn {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Words between spaces; its answer as it came, without the last line's end.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.send(&command(&words));
        self.answer()
    }

    /// The next answer, with lines separated by spaces.
    pub(crate) fn answer(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes()).trim_end().replace("\r\n", " ")
    }

    /// The next answer, as it came.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let mut whole = self.line();
        let number = String::from_utf8_lossy(&whole[1..]).trim().parse::<i64>().unwrap_or(0);
        match whole[0] {
            b'$' | b'=' if number >= 0 => whole.extend(self.take(number as usize + 2)),
            b'*' => (0..number).for_each(|_| whole.extend(self.bytes())),
            b'%' => (0..2 * number).for_each(|_| whole.extend(self.bytes())),
            _ => {}
        }
        whole
    }

    fn line(&mut self) -> Vec<u8> {
        let end = loop {
            if let Some(at) = self.read.windows(2).position(|bytes| bytes == b"\r\n") {
                break at + 2;
            }
            assert!(self.more(), "closed before an answer");
        };
        self.take(end)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more(), "closed within an answer");
        }
        self.read.drain(..count).collect()
    }

    /// Waits until the other side closes, and gives back what came before.
    pub(crate) fn until_closed(&mut self) -> String {
        while self.more() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
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
