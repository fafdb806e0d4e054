//! What the server says of itself: enough for clients that look before they begin.

use std::sync::atomic::Ordering::Relaxed;

use super::connection::{REDIS_VERSION, unknown_subcommand};
use super::{Asked, COMMANDS, Command, Done, arity, find, is};
use crate::resp::app::App;
use crate::resp::codec::Reply;
use crate::resp::glob::Pattern;
use crate::resp::lanes::BUCKET;
use crate::resp::limits::{BULK_BYTES_MAX, CONNECTIONS_MAX};

/// What `CONFIG GET` knows, as Redis' own names have it. `redis-benchmark` asks for the first two.
fn settings() -> [(&'static str, String); 7] {
    [
        ("save", String::new()),
        ("appendonly", "yes".into()),
        ("databases", "1".into()),
        ("maxclients", CONNECTIONS_MAX.to_string()),
        ("maxmemory", "0".into()),
        ("proto-max-bulk-len", BULK_BYTES_MAX.to_string()),
        ("timeout", "0".into()),
    ]
}

pub(super) fn config(asked: &mut Asked<'_>) -> Done {
    let words = &asked.words[1..];
    if !is(&words[0], "get") {
        return Err(unknown_subcommand(&words[0], "CONFIG"));
    }
    if words.len() < 2 {
        return Err(arity("config|get"));
    }
    let patterns: Vec<Pattern> = words[1..].iter().map(|word| Pattern::new(&word.to_ascii_lowercase())).collect();
    let meant = |name: &str| patterns.iter().any(|pattern| pattern.fits(name.as_bytes()));
    let pairs = settings().into_iter().filter(|(name, _)| meant(name));
    Ok(Reply::Map(pairs.map(|(name, value)| (Reply::text(name), Reply::text(value))).collect()).into())
}

pub(super) fn info(asked: &mut Asked<'_>) -> Done {
    let wanted = &asked.words[1..];
    let everything = ["default", "all", "everything"];
    let all = wanted.is_empty() || wanted.iter().any(|word| everything.iter().any(|name| is(word, name)));
    let mut text = String::new();
    for (section, lines) in sections(asked.app) {
        if !all && !wanted.iter().any(|word| is(word, section)) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        text.push_str(&format!("# {section}\r\n"));
        for (name, value) in lines {
            text.push_str(&format!("{name}:{value}\r\n"));
        }
    }
    Ok(Reply::Text(text).into())
}

fn sections(app: &App) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let server = vec![
        ("redis_version", REDIS_VERSION.into()),
        ("redis_mode", "standalone".into()),
        ("dynode_version", env!("CARGO_PKG_VERSION").into()),
        ("dynode_bucket", BUCKET.into()),
        ("process_id", std::process::id().to_string()),
        ("tcp_port", app.port.to_string()),
        ("uptime_in_seconds", app.began.elapsed().as_secs().to_string()),
    ];
    let clients = vec![
        ("connected_clients", app.meter.connections.load(Relaxed).to_string()),
        ("maxclients", CONNECTIONS_MAX.to_string()),
    ];
    let stats = vec![
        ("total_connections_received", app.meter.connections_begun.load(Relaxed).to_string()),
        ("total_commands_processed", app.meter.commands_answered().to_string()),
        ("total_error_replies", app.meter.errors_said().to_string()),
    ];
    let replication = vec![("role", "master".into()), ("connected_slaves", "0".into())];
    vec![
        ("Server", server),
        ("Clients", clients),
        ("Stats", stats),
        ("Replication", replication),
        ("Cluster", vec![("cluster_enabled", "0".into())]),
    ]
}

pub(super) fn command(asked: &mut Asked<'_>) -> Done {
    let words = &asked.words[1..];
    let Some(first) = words.first() else { return Ok(Reply::Array(COMMANDS.iter().map(about).collect()).into()) };
    let named = || words[1..].iter().map(|name| find(name));
    if is(first, "count") {
        Ok(Reply::Integer(COMMANDS.len() as i64).into())
    } else if is(first, "list") && words.len() == 1 {
        Ok(Reply::Array(COMMANDS.iter().map(|command| Reply::text(command.name)).collect()).into())
    } else if is(first, "info") {
        let all = match words.len() {
            1 => COMMANDS.iter().map(about).collect(),
            _ => named().map(|command| command.map_or(Reply::Null, about)).collect(),
        };
        Ok(Reply::Array(all).into())
    } else if is(first, "docs") {
        let all: Vec<&Command> = match words.len() {
            1 => COMMANDS.iter().collect(),
            _ => named().flatten().collect(),
        };
        Ok(Reply::Map(all.into_iter().map(|command| (Reply::text(command.name), docs(command))).collect()).into())
    } else {
        Err(unknown_subcommand(first, "COMMAND"))
    }
}

/// Name, arity, flags, and where its keys are.
fn about(command: &Command) -> Reply {
    let (first, last, step) = command.keys;
    Reply::Array(vec![
        Reply::text(command.name),
        Reply::Integer(command.arity),
        Reply::Array(command.flags.iter().map(|flag| Reply::Simple(flag)).collect()),
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Integer(step),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

fn docs(command: &Command) -> Reply {
    let pair = |name: &str, value: &str| (Reply::text(name), Reply::text(value));
    Reply::Map(vec![pair("summary", command.summary), pair("group", command.group)])
}
