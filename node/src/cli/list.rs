//! `list`: the keys of a bucket, in order.

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStringExt;

use clap::Args;
use dynode_client::Keys;

use super::data::text_json;
use super::output::{Done, Failure, written};
use super::target::TargetArgs;
use super::units;

/// `list`.
#[derive(Debug, Args)]
#[command(after_help = "\
    One key a line. A key that is not plain text is written as a shell reads it, as in $'a\\nb\\xff'; with --json it is \
    an object with its base64. A key that was written in the last moment may be missing.")]
pub(super) struct ListArgs {
    /// The bucket
    bucket: OsString,
    /// Only keys that start with this
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: OsString,
    /// Stop after so many keys
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(super) async fn run(target: &TargetArgs, args: ListArgs) -> Done {
    let bucket = args.bucket.into_vec();
    let keys = target.connect().await?.bucket(&bucket)?.keys().prefix(args.prefix.into_vec());
    let mut out = BufWriter::new(std::io::stdout().lock());
    let limit = args.limit.unwrap_or(u64::MAX);
    let done = match target.json {
        true => as_json(keys, &bucket, limit, &mut out).await,
        false => as_lines(keys, limit, &mut out).await,
    };
    // What was found before something failed is worth having.
    written(out.flush()).and(done)
}

async fn as_lines(mut keys: Keys, limit: u64, out: &mut impl Write) -> Done {
    let mut count = 0;
    while count < limit
        && let Some(key) = keys.next().await?
    {
        written(writeln!(out, "{}", units::key(&key)))?;
        count += 1;
    }
    Ok(())
}

/// Written as it comes: a bucket may have more keys than fit into memory.
async fn as_json(mut keys: Keys, bucket: &[u8], limit: u64, out: &mut impl Write) -> Done {
    written(write!(out, "{{\n  \"bucket\": {},\n  \"keys\": [", text_json(bucket)))?;
    let mut count = 0;
    while count < limit
        && let Some(key) = keys.next().await?
    {
        written(write!(out, "{}\n    {}", if count == 0 { "" } else { "," }, text_json(&key)))?;
        count += 1;
    }
    let more = count == limit && keys.next().await.map_err(Failure::from)?.is_some();
    let end = if count == 0 { "" } else { "\n  " };
    written(writeln!(out, "{end}],\n  \"count\": {count},\n  \"more\": {more}\n}}"))
}
