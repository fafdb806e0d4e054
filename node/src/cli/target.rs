//! The nodes to talk to, and the arguments that several commands share.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use clap::Args;
use dynode_client::wire::Trace;
use dynode_client::wire::limits::REQUEST_NAME_BYTES_MAX;
use dynode_client::{Client, Quorum, followed};

use super::output::Failure;
use crate::config::parse_duration;

/// Over the options that every command takes.
const COMMON: &str = "Every command";

const NODE_DEFAULT: &str = "127.0.0.1:7100";

/// For all commands that talk to nodes.
#[derive(Debug, Clone, Args)]
pub(super) struct TargetArgs {
    /// A node to ask; repeat it for further ones to turn to when the first is down [default: 127.0.0.1:7100]
    #[arg(id = "node", long = "node", value_name = "HOST:PORT", value_parser = parse_node, global = true, help_heading = COMMON, display_order = 900)]
    nodes: Vec<String>,
    /// Print JSON, for programs
    #[arg(long, global = true, help_heading = COMMON, display_order = 901)]
    pub(super) json: bool,
}

impl TargetArgs {
    /// Whether nodes were named.
    pub(super) fn is_given(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Connects to the first node that answers.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let nodes: Vec<&str> = match self.nodes.is_empty() {
            true => vec![NODE_DEFAULT],
            false => self.nodes.iter().map(String::as_str).collect(),
        };
        Ok(Client::connect(nodes).await?)
    }
}

/// Under what name the request is known.
#[derive(Debug, Clone, Args)]
pub(super) struct TraceArgs {
    /// Name the request: nodes that run with DYNODE_LOG=info,dynode::request=debug log what they do for it
    #[arg(long, value_name = "NAME", value_parser = parse_trace)]
    trace: Option<Trace>,
}

impl TraceArgs {
    /// Makes the requests of `work` under that name.
    pub(super) async fn name<F: Future>(self, work: F) -> F::Output {
        match self.trace {
            Some(trace) => followed(trace, work).await,
            None => work.await,
        }
    }
}

fn parse_node(text: &str) -> Result<String, String> {
    let is_place = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if is_place {
        Ok(text.into())
    } else {
        Err("write it as HOST:PORT, the port being the native one, such as 7100".into())
    }
}

fn parse_trace(text: &str) -> Result<Trace, String> {
    let max = REQUEST_NAME_BYTES_MAX;
    Trace::named(text).ok_or_else(|| format!("a name has 1 to {max} printable ASCII characters"))
}

/// How a read is made.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ReadArgs {
    /// Copies to ask: one, quorum, all, a number, or as the bucket says
    #[arg(long, value_name = "QUORUM", default_value = "bucket")]
    pub(super) r: Quorum,
    /// Count owners only, no stand-ins
    #[arg(long)]
    pub(super) strict: bool,
}

/// How a write is made.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct WriteArgs {
    /// Copies that must acknowledge: one, quorum, all, a number, or as the bucket says
    #[arg(long, value_name = "QUORUM", default_value = "bucket")]
    pub(super) w: Quorum,
    /// Count owners only, no stand-ins
    #[arg(long)]
    pub(super) strict: bool,
}

/// How long one request may take.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct TimeoutArgs {
    /// Time for the request, retries included
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    pub(super) timeout: Duration,
}

/// A bucket and a key on the command line, any bytes.
#[derive(Debug, Clone, Args)]
pub(super) struct PlaceArgs {
    /// The bucket
    bucket: OsString,
    /// The key
    key: OsString,
}

impl PlaceArgs {
    /// Both as bytes.
    pub(super) fn into_bytes(self) -> (Vec<u8>, Vec<u8>) {
        (self.bucket.into_vec(), self.key.into_vec())
    }
}

/// Reads `bucket/key`: the bucket ends at the first `/`.
pub(crate) fn parse_place(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok((bucket.into(), key.into())),
        _ => Err("write it as bucket/key; the bucket ends at the first `/`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_a_key_that_may_have_slashes() {
        assert_eq!(parse_place("files/a/b.txt"), Ok(("files".into(), "a/b.txt".into())));
        for bad in ["files", "/a", "files/", ""] {
            assert!(parse_place(bad).is_err(), "{bad}");
        }
    }
}
