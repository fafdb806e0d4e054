//! Sockets: HTTP/1.1 on each connection, bounded in the time for each of a request's parts.

use std::io;
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tracing::debug;

use super::api;
use super::app::App;
use super::limits::{CONNECTIONS_MAX, HEAD_BYTES_MAX, HEADERS_MAX};
use crate::front::server::{self, Stopped};
use crate::front::stall::Stall;

/// A running server. It stops when it is told to, or dropped.
#[derive(Debug)]
pub struct Server(server::Server);

impl Server {
    /// Serves on `listener` from a thread of its own.
    ///
    /// # Errors
    ///
    /// The system refuses a thread, or what a runtime needs.
    pub fn start(listener: StdListener, app: App) -> io::Result<Server> {
        let serve = move || {
            let app = Arc::new(app);
            let router = api::router(Arc::clone(&app));
            move |stream, stopped| {
                let (router, app) = (router.clone(), Arc::clone(&app));
                async move {
                    app.connections.fetch_add(1, Relaxed);
                    serve(stream, router, &app, stopped).await;
                    app.connections.fetch_sub(1, Relaxed);
                }
            }
        };
        server::Server::start(listener, "http", CONNECTIONS_MAX, serve).map(Server)
    }

    /// Takes no more connections, lets answers under way go out for a moment, and ends.
    pub fn stop(self) {
        self.0.stop();
    }
}

async fn serve(stream: TcpStream, router: Router, app: &App, mut stopped: Stopped) {
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
        () = stopped.asked() => {
            app.feed.stop(); // or consoles would keep their connections
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(why) = ended {
        debug!("connection over: {why}");
    }
}
