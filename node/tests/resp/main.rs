//! The front end for Redis' clients over real sockets, on a node in this process.
//!
//! `commands`: what is asked and answered, word for word. `order`: pipelines and many at once. `hostile`: clients that send
//! what is no protocol, too much, too slowly, or half.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "sockets, threads and clocks are real here")]

#[path = "../alone/mod.rs"]
mod alone;
mod commands;
mod hostile;
mod order;
mod served;
