//! `bucket`: what a bucket is like, and changing it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dynode_client::{BucketIs, BucketKind, Quorum};
use serde_json::json;

use super::output::{Done, print, print_json};
use super::reports::BucketReport;
use super::table::Table;
use super::target::TargetArgs;
use super::units;
use crate::config::parse_duration;

/// `bucket`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Without an option nothing is changed. A change is taken by one node, which tells the others; one that is away hears of \
    it when it is back. With lww a value that was written without knowledge of a later one is lost, and counted (lww_lost \
    in `status --json`).")]
pub(super) struct BucketArgs {
    /// The bucket
    bucket: OsString,
    /// What becomes of values that were written without knowledge of each other
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    /// How many copies: the cluster's number, for now
    #[arg(long)]
    n: Option<u8>,
    /// Copies that a read asks where it leaves it to the bucket: one, quorum, all or a number
    #[arg(long, value_name = "QUORUM")]
    r: Option<Quorum>,
    /// Copies that must acknowledge a write which leaves it to the bucket
    #[arg(long, value_name = "QUORUM")]
    w: Option<Quorum>,
    /// New values expire after so long (30s, 10m, 24h), or `none`
    #[arg(long, value_name = "DURATION", value_parser = parse_ttl)]
    ttl: Option<Ttl>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindArg {
    /// All are kept, and shown as siblings
    Siblings,
    /// The last one is kept
    Lww,
}

/// `None`: values do not expire.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ttl(Option<Duration>);

fn parse_ttl(text: &str) -> Result<Ttl, String> {
    match text {
        "none" => Ok(Ttl(None)),
        text => parse_duration(text).map(|span| Ttl(Some(span))),
    }
}

pub(super) async fn run(target: &TargetArgs, args: BucketArgs) -> Done {
    let bucket = target.connect().await?.bucket(args.bucket.into_vec())?;
    let BucketArgs { kind, n, r, w, ttl, .. } = args;
    let changes = kind.is_some() || n.is_some() || r.is_some() || w.is_some() || ttl.is_some();
    let is = match changes {
        false => bucket.properties().await?,
        true => {
            bucket
                .change(|change| {
                    change.kind = kind.map(|kind| match kind {
                        KindArg::Siblings => BucketKind::Siblings,
                        KindArg::Lww => BucketKind::Lww,
                    });
                    (change.n, change.r, change.w) = (n, r, w);
                    change.ttl_ms = ttl.map(|Ttl(span)| span.map(|s| u64::try_from(s.as_millis()).unwrap_or(u64::MAX)));
                })
                .await?
        }
    };
    show(target, is)
}

fn show(target: &TargetArgs, is: BucketIs) -> Done {
    let is = BucketReport::from(is);
    if target.json {
        return print_json(&json!(is));
    }
    let mut table = Table::pairs();
    table.pair("kind", is.kind);
    table.pair("copies", is.n.to_string());
    table.pair("r", is.r);
    table.pair("w", is.w);
    table.pair("ttl", is.ttl_ms.map_or_else(|| "none".into(), |ms| units::time(Duration::from_millis(ms))));
    print(&table.render())
}
