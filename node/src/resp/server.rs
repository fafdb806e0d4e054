//! Accepting connections.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::app::App;
use super::connection;
use super::limits::CONNECTIONS_MAX;
use crate::front::server;

/// A running server. It stops when it is told to, or dropped.
#[derive(Debug)]
pub struct Server(server::Server);

impl Server {
    /// Serves on `listener` from a thread of its own.
    ///
    /// # Errors
    ///
    /// The system refuses a thread, or what a runtime needs.
    pub fn start(listener: StdListener, mut app: App) -> io::Result<Server> {
        app.port = listener.local_addr()?.port();
        let serve = move || {
            let app = Arc::new(app);
            move |stream, stopped| {
                let app = Arc::clone(&app);
                async move {
                    app.meter.connections_begun.fetch_add(1, Relaxed);
                    app.meter.connections.fetch_add(1, Relaxed);
                    connection::serve(stream, &app, stopped).await;
                    app.meter.connections.fetch_sub(1, Relaxed);
                }
            }
        };
        server::Server::start(listener, "resp", CONNECTIONS_MAX, serve).map(Server)
    }

    /// Takes no more connections, lets answers under way go out for a moment, and ends.
    pub fn stop(self) {
        self.0.stop();
    }
}
