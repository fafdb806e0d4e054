//! A front end's listener: a thread with a runtime of its own, so that nothing done for it ever delays the node's loop.
//!
//! Connections are bounded in number; further ones wait in the system's queue until one ends.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::warn;

use super::limits::{ACCEPT_PAUSE, STOP_TIME};

/// A running server. It stops when it is told to, or dropped.
#[derive(Debug)]
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// Hears when the server is to stop.
#[derive(Debug, Clone)]
pub(crate) struct Stopped(watch::Receiver<bool>);

/// Listens on `addr`, `host:port`.
///
/// # Errors
///
/// What the system says: in use, not one of this machine's.
pub fn bind(addr: &str) -> io::Result<StdListener> {
    let listener = StdListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Server {
    /// Serves on `listener` from a thread `name`, up to so many connections at once, each with the future that `serve`
    /// makes for it. `serve` is made on that thread.
    ///
    /// # Errors
    ///
    /// The system refuses a thread, or what a runtime needs.
    pub(crate) fn start<H, F>(
        listener: StdListener,
        name: &'static str,
        connections_max: usize,
        serve: impl FnOnce() -> H + Send + 'static,
    ) -> io::Result<Server>
    where
        H: Fn(TcpStream, Stopped) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            let accepted = async { accept(TcpListener::from_std(listener)?, connections_max, serve(), stopped).await };
            if let Err(why) = runtime.block_on(accepted) {
                warn!("{name} is not served: {why}");
            }
            runtime.shutdown_background();
        })?;
        Ok(Server { stop, thread: Some(thread) })
    }

    /// Takes no more connections, lets answers under way go out for a moment, and ends.
    pub(crate) fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // had it panicked, the log has said so
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl Stopped {
    /// The server is asked to stop, or gone.
    pub(crate) async fn asked(&mut self) {
        while !*self.0.borrow() {
            if self.0.changed().await.is_err() {
                return;
            }
        }
    }
}

async fn accept<H, F>(
    listener: TcpListener,
    connections_max: usize,
    serve: H,
    stopped: watch::Receiver<bool>,
) -> io::Result<()>
where
    H: Fn(TcpStream, Stopped) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut stopped = Stopped(stopped);
    let room = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let room = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, room)
        };
        tokio::select! {
            (accepted, room) = accepted => match accepted {
                Ok((stream, _)) => {
                    let served = serve(stream, stopped.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(room);
                    });
                }
                Err(why) => {
                    warn!("a connection could not be accepted: {why}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stopped.asked() => break,
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(STOP_TIME, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}
