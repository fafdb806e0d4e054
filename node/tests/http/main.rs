//! The HTTP front end over real sockets, on a node in this process.
//!
//! `keys`: what is written is read. `words`: what cannot be understood, and the description. `hostile`: clients that send too
//! much, too slowly, or half. `buckets`: their properties. `console`: the page. `observability`: dashboards, alerts, ids.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "sockets, threads and clocks are real here")]

#[path = "../alone/mod.rs"]
mod alone;
mod buckets;
mod console;
mod hostile;
mod keys;
mod observability;
mod served;
mod words;
