//! Tests of the wire format, through its public face.

mod golden;
mod handshake;
mod hostile;
mod meta;
mod queue;
mod roundtrip;
mod samples;
