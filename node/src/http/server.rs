//! Sockets: a thread with a runtime of its own, so that nothing done for HTTP ever delays the node's loop.
//!
//! Connections are bounded in number and in the time for each of a request's parts; further ones wait in the system's
//! queue until one ends.

use std::io;
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use super::api;
use super::app::App;
use super::limits::{CONNECTIONS_MAX, HEAD_BYTES_MAX, HEADERS_MAX, STOP_TIME};
use super::stall::Stall;

/// A running server. It stops when it is told to, or dropped.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

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
    /// Serves on `listener` from a thread of its own.
    ///
    /// # Errors
    ///
    /// The system refuses a thread, or what a runtime needs.
    pub fn start(listener: StdListener, app: App) -> io::Result<Server> {
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            if let Err(why) = runtime.block_on(accept(listener, Arc::new(app), stopped)) {
                warn!("HTTP is not served: {why}");
            }
            runtime.shutdown_background();
        })?;
        Ok(Server { stop, thread: Some(thread) })
    }

    /// Takes no more connections, lets answers under way go out for a moment, and ends.
    pub fn stop(mut self) {
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

async fn accept(listener: StdListener, app: Arc<App>, mut stopped: watch::Receiver<bool>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let router = api::router(Arc::clone(&app));
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = async {
            let room = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, room)
        };
        tokio::select! {
            (accepted, room) = accepted => match accepted {
                Ok((stream, _)) => {
                    let (router, app, stopped) = (router.clone(), Arc::clone(&app), stopped.clone());
                    connections.spawn(async move {
                        app.connections.fetch_add(1, Relaxed);
                        serve(stream, router, &app, stopped).await;
                        app.connections.fetch_sub(1, Relaxed);
                        drop(room);
                    });
                }
                // Such as no descriptors left: not at once again.
                Err(why) => {
                    warn!("a connection could not be accepted: {why}");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = asked(&mut stopped) => break,
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(STOP_TIME, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

async fn serve(stream: TcpStream, router: Router, app: &App, mut stopped: watch::Receiver<bool>) {
    // Without it Nagle's algorithm and delayed acknowledgements meet: 40 ms a request.
    let _ = stream.set_nodelay(true);
    let mut how = http1::Builder::new();
    how.timer(TokioTimer::new())
        .header_read_timeout(app.times.head)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        // Who has sent all of a request may close that direction, and still wait for the answer.
        .half_close(true);
    let io = TokioIo::new(Stall::new(stream, app.times.stalled));
    let mut connection = pin!(how.serve_connection(io, TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = asked(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(why) = ended {
        debug!("connection over: {why}");
    }
}

/// The server is asked to stop, or gone.
async fn asked(stopped: &mut watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if stopped.changed().await.is_err() {
            return;
        }
    }
}
