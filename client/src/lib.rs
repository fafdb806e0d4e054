//! How to talk to dynode: an asynchronous client with tunable consistency, and the wire format below it.
//!
//! A [`Client`] fetches the cluster's layout and sends each request straight to an owner of its key. Values that were
//! written at the same time are all kept: a read gives [`Siblings`] and a [`Context`], and a write over that context
//! replaces just what was seen.
//!
//! ```
//! use dynode_client::{Client, Quorum, Siblings};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), dynode_client::Error> {
//! # let server = dynode_client::fake::Server::start().await;
//! # let seed = server.addr();
//! // let seed = "127.0.0.1:7100";
//! let client = Client::connect([seed]).await?;
//! let files = client.bucket("files")?;
//!
//! // Two writers who know nothing of each other, and nothing is lost.
//! files.put("a.txt", "from here").await?;
//! files.put("a.txt", "from there").await?;
//!
//! let read = files.get("a.txt").r(Quorum::All).await?;
//! let merged = match read.siblings() {
//!     Siblings::None => "nothing".into(),
//!     Siblings::One(value) => value,
//!     Siblings::Many(values) => values.join(&b" and "[..]).into(),
//! };
//! let written = files.put("a.txt", merged).over(read.context()).await?;
//! assert_eq!(files.get("a.txt").await?.single()?.as_deref(), Some(&b"from here and from there"[..]));
//!
//! // Whoever has just written need not read to go on.
//! files.put("a.txt", "next").over(written.context()).await?;
//!
//! // Read, merge and write back in one.
//! files.update("tags", |seen| Some(seen.into_vec().concat().into())).await?;
//!
//! // Many keys at once: an answer for each, in its place.
//! for written in files.put_many([("b.txt", "one"), ("c.txt", "two")]).await {
//!     written?;
//! }
//! for read in files.get_many(["b.txt", "c.txt"]).each(|get| get.r(Quorum::One)).await {
//!     println!("{:?}", read?.single()?);
//! }
//!
//! let mut keys = files.keys().prefix("a");
//! while let Some(key) = keys.next().await? {
//!     println!("{}", key.escape_ascii());
//! }
//! files.delete("a.txt").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a failure means
//!
//! Each [`Error`] says what remains true: [`Error::changed`] is [`Changed::Nothing`] or [`Changed::Unknown`]. Requests are
//! repeated for as long as that is safe and there is time (5 s by default), at other nodes and after growing pauses, and
//! within a budget of a tenth of all requests:
//!
//! - *Reads* after a lost connection, silence (a first attempt gets half of the time), an overloaded, stopping or failing
//!   node, an unmet quorum.
//! - *Puts*, and deletes of what was seen, likewise: each put carries an id, and one that is repeated with the same id and
//!   value never becomes a sibling of itself. If no attempt succeeds, and one of them may have arrived, the error is
//!   [`Error::OutcomeUnknown`]; who repeats it then should do so with [`Put::request_id`].
//! - *Deletes of whatever is there* only when nothing can have changed: not sent yet, or the node says so (overloaded,
//!   stopping, another layout, an unmet quorum). One that may have arrived and was not answered is
//!   [`Error::OutcomeUnknown`], at once.
//!
//! # Slow nodes
//!
//! A request goes to the first owner of its key unless that one is down, has fallen silent, or takes far longer than
//! another owner; then to the next. One read in a hundred that would have gone there, and about one a second at least,
//! is sent there too, for its time only, so a node that is well again is found so soon. A *read* whose answer is late is
//! sent to a second owner, and the first answer counts; at most one in twenty, and a small burst. Writes are sent
//! to one at a time. A connection on which a write waits is closed only when nothing at all has come for half a minute.
//!
//! # Modules
//!
//! | file | what |
//! | --- | --- |
//! | `wire/` | the format on the wire: [`wire::Frame`], [`wire::Message`], [`wire::OutQueue`], [`wire::Decoder`] |
//! | `client.rs`, `bucket.rs`, `request.rs` | what users hold: client, bucket, requests as builders |
//! | `siblings.rs`, `update.rs`, `keys.rs`, `many.rs` | values and contexts; read-merge-write; listings; batches |
//! | `session.rs` | reads that see what was read and written before |
//! | `call.rs`, `retry.rs`, `routing.rs` | one call's attempts; which are safe; where they go |
//! | `health.rs`, `hedge.rs` | how well a node answers, and probes of those that are avoided; late reads sent to a second owner |
//! | `link.rs`, `driver.rs`, `connection.rs`, `slots.rs` | a node's connections; one connection's task; its requests in flight |
//! | `followed.rs` | requests that all nodes know by one name |
//! | `error.rs`, `limits.rs` | what can go wrong; the bounds, with reasons |
//!
//! Absent: this crate knows nothing of clocks, dots and copies, and never looks into a context or an object.

pub mod limits;
pub mod wire;

#[doc(hidden)]
pub mod fake;

mod bucket;
mod call;
mod client;
mod connection;
mod driver;
mod error;
mod followed;
mod health;
mod hedge;
mod keys;
mod link;
mod many;
mod operate;
mod request;
mod retry;
mod routing;
mod session;
mod siblings;
mod slots;
mod update;

pub use bucket::Bucket;
pub use client::{Client, Options, inspect};
pub use dynode_ring::{Layout, NodeId};
pub use error::{Changed, Error};
pub use followed::followed;
pub use keys::Keys;
pub use many::{Many, Request};
pub use request::{Delete, Get, Put, Read, Written};
pub use session::Session;
pub use siblings::{Context, Siblings};
pub use update::Update;
pub use wire::{Acks, BucketIs, BucketKind, Expiry, Hlc, Meta, Properties, Quorum, SetBucket, Topic};
