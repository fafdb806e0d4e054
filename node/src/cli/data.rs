//! `get`, `put`, `delete`: one key.

use std::ffi::OsString;
use std::io::{IsTerminal, Read as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use clap::Args;
use dynode_client::wire::limits::VALUE_BYTES_MAX;
use dynode_client::{Acks, Context, Hlc, Meta, Read, Written};
use owo_colors::OwoColorize;
use serde_json::{Value, json};

use crate::config::parse_duration;

use super::output::{Done, EXIT_FAILED, EXIT_SIBLINGS, Failure, print_json, print_raw, remark};
use super::target::{PlaceArgs, ReadArgs, TargetArgs, TimeoutArgs, TraceArgs, WriteArgs};
use super::units;

/// How much of a sibling is shown in a listing.
const PREVIEW_BYTES: usize = 48;

/// `get`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Several siblings are values that were written without knowledge of each other. Without --siblings and --json they are \
    listed on stderr and the exit code is 3, unless all of them are equal. To settle them, write one value over the \
    context that --json prints: dynode put BUCKET KEY VALUE --context C")]
pub(super) struct GetArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    time: TimeoutArgs,
    #[command(flatten)]
    trace: TraceArgs,
    /// Write the value here instead of to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print all siblings: for each a line `--- sibling I of N: L bytes`, the L bytes, and a line end
    #[arg(long)]
    siblings: bool,
}

/// `put`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Without --context and --overwrite nothing is replaced: a value that is there already becomes a sibling, and no write \
    is lost.")]
pub(super) struct PutArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The value, `@FILE` for that of a file, `-` for stdin (as when it is left out)
    value: Option<OsString>,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    time: TimeoutArgs,
    #[command(flatten)]
    trace: TraceArgs,
    /// Replace what was seen, as the context that `get --json` printed says
    #[arg(long, value_name = "CONTEXT", value_parser = parse_context, conflicts_with = "overwrite")]
    context: Option<Context>,
    /// Replace whatever is there
    #[arg(long)]
    overwrite: bool,
    /// What kind of value it is, for readers to know
    #[arg(long = "type", value_name = "CONTENT-TYPE")]
    content_type: Option<String>,
    /// The value expires after so long: 500ms, 30s, 10m, 24h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// An id for this put: repeated with the same id and value, it never becomes a sibling of itself
    #[arg(long, value_name = "NUMBER")]
    request_id: Option<u64>,
}

/// `delete`.
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    time: TimeoutArgs,
    #[command(flatten)]
    trace: TraceArgs,
    /// Delete only what was seen, as the context that `get --json` printed says; else whatever is there
    #[arg(long, value_name = "CONTEXT", value_parser = parse_context)]
    context: Option<Context>,
}

pub(super) async fn get(target: &TargetArgs, args: GetArgs) -> Done {
    let (bucket, key) = args.place.into_bytes();
    let (ReadArgs { r, strict }, timeout) = (args.read, args.time.timeout);
    let read = target.connect().await?.bucket(&bucket)?.get(&key).r(r).strict(strict).timeout(timeout);
    let read = args.trace.name(read.into_future()).await?;
    let siblings = read.siblings();
    let values = siblings.as_slice();
    if target.json {
        print_json(&read_json(&bucket, &key, &read))?;
        return if values.is_empty() { Err(Failure::said(EXIT_FAILED)) } else { Ok(()) };
    }
    let Some(first) = values.first() else {
        return Err(Failure::new("not_found", format!("not found: {} in {}", units::key(&key), units::key(&bucket))));
    };
    let output = args.output.as_deref();
    if args.siblings {
        return deliver(&framed(values), output);
    }
    if values.iter().any(|value| value != first) {
        remark(&listing(values));
        let what = format!("{} has {} siblings where one value was wanted", units::key(&key), values.len());
        let advice = "Get them all with --siblings or --json, then write one value with `put --context`.";
        return Err(Failure::new("siblings", what).advice(advice).exit(EXIT_SIBLINGS));
    }
    deliver(first, output)
}

pub(super) async fn put(target: &TargetArgs, args: PutArgs) -> Done {
    let (bucket, key) = args.place.into_bytes();
    // The value first: what cannot be read needs no node.
    let value = value_of(args.value)?;
    let (WriteArgs { w, strict }, timeout) = (args.write, args.time.timeout);
    let put = target.connect().await?.bucket(&bucket)?.put(&key, value).w(w).strict(strict).timeout(timeout);
    let put = match &args.context {
        Some(context) => put.over(context),
        None if args.overwrite => put.over_current(),
        None => put,
    };
    let put = args.content_type.iter().fold(put, |put, content_type| put.content_type(content_type));
    let put = args.ttl.into_iter().fold(put, |put, ttl| put.ttl(ttl));
    let put = args.request_id.into_iter().fold(put, |put, id| put.request_id(id));
    report(target, &bucket, &key, &args.trace.name(put.into_future()).await?)
}

pub(super) async fn delete(target: &TargetArgs, args: DeleteArgs) -> Done {
    let (bucket, key) = args.place.into_bytes();
    let (WriteArgs { w, strict }, timeout) = (args.write, args.time.timeout);
    let delete = target.connect().await?.bucket(&bucket)?.delete(&key).w(w).strict(strict).timeout(timeout);
    let delete = match &args.context {
        Some(context) => delete.over(context),
        None => delete,
    };
    report(target, &bucket, &key, &args.trace.name(delete.into_future()).await?)
}

fn report(target: &TargetArgs, bucket: &[u8], key: &[u8], written: &Written) -> Done {
    if !target.json {
        let acks = written.acks();
        if acks.stand_ins > 0 {
            let (owners, stand_ins) = (u64::from(acks.owners), u64::from(acks.stand_ins));
            let by = format!("{} and {}", units::counted(owners, "owner"), units::counted(stand_ins, "stand-in"));
            remark(&format!("acknowledged by {by}: the owners that are away get it when they are back"));
        }
        return Ok(());
    }
    let mut document = place_json(bucket, key);
    document["context"] = json!(context_text(written.context()));
    document["acks"] = acks_json(written.acks());
    print_json(&document)
}

fn read_json(bucket: &[u8], key: &[u8], read: &Read) -> Value {
    let siblings = read.siblings();
    let told = |(value, meta): (&Bytes, &Meta)| {
        let mut told = json!({ "bytes": value.len(), "base64": STANDARD.encode(value) });
        if !meta.content_type.is_empty() {
            told["content_type"] = text_json(&meta.content_type);
        }
        let times = [("written_ms", meta.written.map(Hlc::ms)), ("expires_ms", meta.expires_ms)];
        times.iter().for_each(|(name, ms)| ms.iter().for_each(|ms| told[*name] = json!(ms)));
        told
    };
    let values: Vec<Value> = siblings.iter().zip(read.metas()).map(told).collect();
    let mut document = place_json(bucket, key);
    document["found"] = json!(!values.is_empty());
    document["siblings"] = json!(values);
    document["context"] = json!(context_text(read.context()));
    document["acks"] = acks_json(read.acks());
    document
}

fn place_json(bucket: &[u8], key: &[u8]) -> Value {
    json!({ "bucket": text_json(bucket), "key": text_json(key) })
}

/// Bytes in JSON: a string where they are text, else an object with their base64.
pub(super) fn text_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

fn acks_json(acks: Acks) -> Value {
    json!({ "owners": acks.owners, "stand_ins": acks.stand_ins })
}

/// A context as it is printed and read again.
fn context_text(context: &Context) -> String {
    URL_SAFE_NO_PAD.encode(context.as_bytes())
}

fn parse_context(text: &str) -> Result<Context, String> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    bytes.map(Context::from).map_err(|_| "not a context: give what `get --json` or `put --json` printed".into())
}

fn framed(values: &[Bytes]) -> Vec<u8> {
    let mut text = Vec::new();
    for (at, value) in values.iter().enumerate() {
        text.extend(format!("--- sibling {} of {}: {} bytes\n", at + 1, values.len(), value.len()).into_bytes());
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    text
}

fn listing(values: &[Bytes]) -> String {
    let mut lines: Vec<String> = vec![format!("{} siblings:", values.len())];
    for (at, value) in values.iter().enumerate() {
        let start = units::key(&value[..value.len().min(PREVIEW_BYTES)]);
        let more = if value.len() > PREVIEW_BYTES { " …" } else { "" };
        let size = format!("{:>9}", units::bytes(value.len() as u64));
        lines.push(format!("  {}  {}  {start}{more}", at + 1, size.dimmed()));
    }
    lines.join("\n")
}

fn deliver(bytes: &[u8], output: Option<&Path>) -> Done {
    match output {
        Some(place) if place != Path::new("-") => std::fs::write(place, bytes).map_err(|e| Failure::file(place, &e)),
        _ => print_raw(bytes),
    }
}

/// The value that is meant on the command line.
fn value_of(given: Option<OsString>) -> Result<Bytes, Failure> {
    let wrong = |e: &std::io::Error| Failure::new("input", format!("stdin: {e}"));
    match given {
        None => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                remark("reading the value from the terminal; Ctrl-D ends it");
            }
            bounded(stdin.lock()).map_err(|e| wrong(&e))
        }
        Some(value) if value == "-" => bounded(std::io::stdin().lock()).map_err(|e| wrong(&e)),
        Some(value) => match value.as_bytes().strip_prefix(b"@") {
            Some(place) => {
                let place = Path::new(std::ffi::OsStr::from_bytes(place));
                std::fs::File::open(place).and_then(bounded).map_err(|e| Failure::file(place, &e))
            }
            None => Ok(value.into_vec().into()),
        },
    }
}

/// All bytes, up to one more than a value may have: the client then says that it is too large.
fn bounded(from: impl std::io::Read) -> std::io::Result<Bytes> {
    let mut value = Vec::new();
    from.take(VALUE_BYTES_MAX as u64 + 1).read_to_end(&mut value)?;
    Ok(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_survive_printing() {
        let context = Context::from(vec![0, 255, 7, 62, 63]);
        let text = context_text(&context);
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        assert_eq!(parse_context(&text), Ok(context));
        assert!(parse_context("no context!").is_err());
    }

    #[test]
    fn siblings_are_framed_by_their_lengths() {
        let values = [Bytes::from("a\n"), Bytes::from("")];
        let expected = "--- sibling 1 of 2: 2 bytes\na\n\n--- sibling 2 of 2: 0 bytes\n\n";
        assert_eq!(framed(&values), expected.as_bytes());
        assert!(listing(&values).starts_with("2 siblings:"));
    }

    #[test]
    fn values_come_from_the_line_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("v");
        std::fs::write(&file, b"from a file").unwrap();
        assert_eq!(value_of(Some("v".into())).unwrap(), "v");
        assert_eq!(value_of(Some(format!("@{}", file.display()).into())).unwrap(), "from a file");
        let missing = value_of(Some("@/no/such/file".into())).unwrap_err();
        assert!(missing.to_string().contains("/no/such/file"));
    }

    #[test]
    fn bytes_that_are_no_text_are_base64_in_json() {
        assert_eq!(text_json(b"a"), json!("a"));
        assert_eq!(text_json(b"\xff"), json!({ "base64": "/w==" }));
    }
}
