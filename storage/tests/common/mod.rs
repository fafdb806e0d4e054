//! What the tests of whole copies share: a small world of nodes that hold copies of one partition, and an oracle.
#![allow(dead_code, unreachable_pub)] // each test takes the part it needs

pub mod acts;
pub mod hand;
pub mod heal;
pub mod lives;
pub mod node;
pub mod oracle;
pub mod rng;
pub mod run;
pub mod scripts;
pub mod world;
