//! `GET /metrics`: everything that is counted and measured, as Prometheus text (format 0.0.4).
//!
//! Names carry their units. What is counted starts at 0 with the process; a disk that was opened anew within it makes the
//! node's own counters start again, which Prometheus takes for a restart.

mod text;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::app::App;
use super::limits::REPORT_TIME;
use super::params::Query;
use super::refusal::Refusal;
use crate::resp;
use crate::shell::meter::{Kind, Meter, Outcome, SIBLINGS};
use text::{Text, seconds};

/// The node's counters: name in the report, name as a metric, what it counts.
const COUNTERS: &[(&str, &str, &str)] = &[
    ("puts", "puts_coordinated_total", "Puts coordinated by this node."),
    ("gets", "gets_coordinated_total", "Gets coordinated by this node."),
    ("deletes", "deletes_coordinated_total", "Deletes coordinated by this node."),
    ("repeated", "puts_repeated_total", "Puts that were repeated, and had been done before."),
    ("forwarded", "requests_forwarded_total", "Requests handed to an owner."),
    ("refused", "requests_refused_total", "Requests refused before anything was done."),
    ("unknown", "writes_unknown_total", "Writes whose outcome was unknown in time."),
    ("unmet", "reads_quorum_unmet_total", "Reads that did not get their quorum in time."),
    ("hedged", "reads_hedged_total", "Reads that asked further owners because answers were late."),
    ("expired", "requests_expired_total", "Requests dropped because this node stood still for longer than they had."),
    ("breakers_opened", "breakers_opened_total", "Times that a peer's circuit breaker opened."),
    ("sloppy", "writes_sloppy_total", "Writes acknowledged with the help of stand-ins."),
    ("hinted", "hints_taken_total", "Writes taken as a stand-in."),
    ("hints_declined", "hints_declined_total", "Hints declined because too many are held."),
    ("handed_off", "hint_copies_handed_off_total", "Copies that left because every owner contains them."),
    ("replicated", "replica_writes_total", "Writes taken as a replica."),
    ("fetched", "replica_reads_total", "Reads answered as a replica."),
    ("repairs", "read_repairs_total", "Reads that found a copy behind."),
    ("pulls", "sync_pulls_total", "Pulls begun."),
    ("scans", "sync_scans_total", "Scans of whole partitions begun, as the asker."),
    ("sync_bytes_in", "sync_received_bytes_total", "Bytes of answers taken in by sync."),
    ("sync_bytes_out", "sync_sent_bytes_total", "Bytes of answers given to syncs."),
    ("sync_entries_in", "sync_received_keys_total", "Keys taken in by sync."),
    ("sync_dots_in", "sync_received_writes_total", "Writes learnt by sync."),
    ("no_progress", "sync_no_progress_total", "Pulls that went round in circles. Above 0 is a bug."),
    ("content_differs", "content_differs_total", "Equal clocks with different content. Above 0: a copy is damaged."),
    (
        "scans_differ",
        "sync_scans_differ_total",
        "Scans that listed something else than their source says of itself. Above 0: a copy is damaged.",
    ),
    ("closed", "lives_closed_total", "Closings of ended lives brought to an end."),
    ("stale", "stale_messages_total", "Messages dropped because they came from lives that had ended."),
    ("set_aside", "copies_set_aside_total", "Copies discarded as older than the closing of a life they held."),
    ("copies_damaged", "copies_damaged_total", "Copies found damaged and taken out of use."),
    ("copies_rebuilt", "copies_rebuilt_total", "Copies that are whole again after they could not be relied on."),
    ("scrub_bytes", "scrubbed_bytes_total", "Bytes read and checked by scrubs."),
    ("lww_lost", "lww_values_lost_total", "Values of lww buckets lost to a later one which had not seen them."),
    ("values_expired", "values_expired_total", "Values removed because they had expired."),
    ("lives_begun", "lives_begun_total", "Lives begun because peers knew more of a copy than it did itself."),
];

/// What the storage engine has counted since the data were opened: name in the report, name as a metric, what it counts.
const ENGINE_COUNTERS: &[(&str, &str, &str)] = &[
    ("cache_hits", "rocksdb_cache_hits_total", "Blocks that were found in the block cache."),
    ("cache_misses", "rocksdb_cache_misses_total", "Blocks that were not, and were read from the disk or its cache."),
    ("filter_useful", "rocksdb_filter_spared_reads_total", "Reads of a table that its filter has spared."),
];

/// What there is now: pointer into the report, name as a metric, what it is.
const GAUGES: &[(&str, &str, &str)] = &[
    ("/uptime_seconds", "uptime_seconds", "Time since the node opened its data."),
    ("/epoch", "layout_epoch", "The version of the layout that the node goes by."),
    ("/partitions", "partitions", "Partitions of the ring."),
    ("/partitions_owned", "partitions_owned", "Partitions that the node owns."),
    ("/operations", "operations_under_way", "Operations that wait for answers, of clients and of sync."),
    ("/sync/lacking", "sync_lacking_partitions", "Partitions of which another owner is known to have more."),
    ("/sync/recovering", "copies_recovering", "Copies that may lack what they had acknowledged."),
    ("/sync/closing", "lives_closing", "Closings of ended lives under way."),
    ("/sync/pulling", "sync_pulling_partitions", "Partitions being pulled."),
    ("/sync/scans_served", "sync_scans_served", "Scans that others take from here."),
    ("/sync/deltas_served", "sync_deltas_served", "Deltas of several parts that others take from here."),
    ("/sync/index_entries", "index_entries", "Entries kept in the index of the partitions owned."),
    ("/hints/partitions", "hint_copies", "Copies held for owners that are away."),
    ("/hints/bytes", "hint_bytes", "Writes held for owners that are away, in bytes."),
    ("/hints/bytes_max", "hint_bytes_max", "The most of them that are held."),
    ("/hints/oldest_seconds", "hint_oldest_seconds", "For how long the oldest of them has been held."),
    ("/liveness/slowness", "liveness_slowness", "How slow the node takes itself to be: 0 is well, 8 the most."),
    ("/engine/memtable_bytes", "rocksdb_memtable_bytes", "Bytes in memtables, those being flushed included."),
    ("/engine/memtables_waiting", "rocksdb_memtables_waiting", "Memtables that wait for a flush."),
    ("/engine/table_bytes", "rocksdb_table_bytes", "Bytes of table files in use."),
    ("/engine/compaction_pending_bytes", "rocksdb_compaction_pending_bytes", "Bytes that compactions have to rewrite."),
    ("/engine/background_running", "rocksdb_background_running", "Compactions and flushes under way."),
    ("/engine/write_stopped", "rocksdb_write_stopped", "1: writes wait until compactions catch up."),
    (
        "/engine/write_delayed_bytes_per_s",
        "rocksdb_write_delayed_bytes_per_second",
        "The rate that writes are slowed down to; 0: they are not.",
    ),
    (
        "/engine/background_errors",
        "rocksdb_background_errors",
        "Errors of flushes and compactions since the data were opened.",
    ),
    ("/engine/cache_bytes", "rocksdb_cache_bytes", "Bytes in the block cache."),
    ("/engine/cache_bytes_max", "rocksdb_cache_bytes_max", "The most of them that are kept."),
    ("/engine/cache_pinned_bytes", "rocksdb_cache_pinned_bytes", "Of these, bytes in use that cannot be evicted."),
    ("/engine/snapshots", "rocksdb_snapshots", "Snapshots that scans hold."),
];

/// Counters and measurements for Prometheus
///
/// Text format 0.0.4.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "The metrics", content_type = "text/plain", body = String),
    (status = 400, description = "There are no parameters", body = Refusal),
))]
pub(super) async fn metrics(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, Refusal> {
    Query::of(uri.query())?.done()?;
    // A node that does not answer is worth a measurement, too, and what the loop has measured is there all the same.
    let status = app.status(REPORT_TIME).await.unwrap_or(Value::Null);
    let text = text(&status, &app.meter, app.connections.load(Relaxed), app.resp.as_deref());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// `status`: the node's report on its state, or null.
fn text(status: &Value, meter: &Meter, http_connections: u64, resp: Option<&resp::Meter>) -> String {
    let mut out = Text(String::with_capacity(32 << 10));
    out.gauge("up", "1: the node takes requests.", u64::from(status["state"] == "up"));
    out.family("build_info", "gauge", "Always 1; the version is a label.");
    out.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    measured(&mut out, meter, http_connections);
    if let Some(meter) = resp {
        redis(&mut out, meter);
    }
    for (field, name, help) in COUNTERS {
        if let Some(value) = status["counters"][field].as_u64() {
            out.family(name, "counter", help);
            out.sample(name, &[], value);
        }
    }
    for (field, name, help) in ENGINE_COUNTERS {
        if let Some(value) = status["engine"][field].as_u64() {
            out.family(name, "counter", help);
            out.sample(name, &[], value);
        }
    }
    for (place, name, help) in GAUGES {
        match status.pointer(place) {
            Some(Value::Number(value)) => out.gauge(name, help, value.as_u64().unwrap_or(0)),
            Some(Value::Null) => out.gauge(name, help, 0),
            _ => {}
        }
    }
    spaces(&mut out, status);
    fsyncs(&mut out, &status["engine"]);
    damage(&mut out, status);
    peers(&mut out, status);
    out.0
}

fn measured(out: &mut Text, meter: &Meter, http_connections: u64) {
    let name = "operation_duration_seconds";
    out.family(name, "histogram", "Clients' operations: from the moment that the node took one to that of its answer.");
    for kind in Kind::ALL {
        for outcome in Outcome::ALL {
            out.histogram(name, &[("kind", kind.name()), ("outcome", outcome.name())], meter.operations(kind, outcome));
        }
    }
    let name = "read_values";
    out.family(name, "histogram", "Reads by how many values they found; more than one are siblings.");
    let counts = meter.siblings();
    for (bound, below) in SIBLINGS.iter().zip(counts) {
        out.sample(&format!("{name}_bucket"), &[("le", &bound.to_string())], below);
    }
    let reads = counts.last().copied().unwrap_or(0);
    out.sample(&format!("{name}_bucket"), &[("le", "+Inf")], reads);
    out.sample(&format!("{name}_sum"), &[], meter.values_read.load(Relaxed));
    out.sample(&format!("{name}_count"), &[], reads);
    out.family("turn_duration_seconds", "histogram", "Turns of the node's loop.");
    out.histogram("turn_duration_seconds", &[], &meter.turns);
    let name = "turn_commit_duration_seconds";
    out.family(name, "histogram", "The part of a turn that its commit takes: the batch and its fsync.");
    out.histogram(name, &[], &meter.commits);
    out.family("events_total", "counter", "Events decided on.");
    out.sample("events_total", &[], meter.events.load(Relaxed));
    out.gauge("connections", "Connections of clients and peers, but for HTTP.", meter.connections.load(Relaxed));
    out.gauge("out_queue_bytes", "Answers and messages that wait to be written.", meter.out_bytes.load(Relaxed));
    let help = "Requests of native clients of which only a part has come, in bytes, but for the first 64 KiB of each.";
    out.gauge("unfinished_requests_bytes", help, meter.unfinished_bytes.load(Relaxed));
    let help = "Requests of native clients refused because there was no memory for the rest of them.";
    out.family("unfinished_requests_refused_total", "counter", help);
    out.sample("unfinished_requests_refused_total", &[], meter.unfinished_refused.load(Relaxed));
    let help = "Large answers not given because others take off too little.";
    out.family("answers_refused_total", "counter", help);
    out.sample("answers_refused_total", &[], meter.answers_refused.load(Relaxed));
    let help = "Requests of front ends (HTTP and the like) that the node has under way.";
    out.gauge("inside_requests", help, meter.inside.load(Relaxed));
    out.gauge("http_connections", "Connections of HTTP clients.", http_connections);
}

/// Redis' clients.
fn redis(out: &mut Text, meter: &resp::Meter) {
    out.gauge("resp_connections", "Connections of Redis' clients.", meter.connections.load(Relaxed));
    out.family("resp_connections_total", "counter", "Connections of Redis' clients so far.");
    out.sample("resp_connections_total", &[], meter.connections_begun.load(Relaxed));
    let help = "Commands of Redis' clients that were answered, by name; those that there are not as `unknown`.";
    out.family("resp_commands_total", "counter", help);
    for (command, done, failed) in meter.commands() {
        out.sample("resp_commands_total", &[("command", command), ("outcome", "done")], done);
        out.sample("resp_commands_total", &[("command", command), ("outcome", "error")], failed);
    }
    let help = "Errors said to Redis' clients, by their first word; those that answer no command, too.";
    out.family("resp_errors_total", "counter", help);
    for (error, said) in meter.errors() {
        out.sample("resp_errors_total", &[("error", error)], said);
    }
}

/// The disk's part of commits.
fn fsyncs(out: &mut Text, engine: &Value) {
    let numbers = |name: &str| -> Option<Vec<u64>> { engine[name].as_array()?.iter().map(Value::as_u64).collect() };
    let (Some(bounds), Some(counts)) = (numbers("fsync_bounds_us"), numbers("fsyncs")) else { return };
    let name = "fsync_duration_seconds";
    out.family(name, "histogram", "How long the disk takes to sync the write-ahead log.");
    out.buckets(name, &[], &bounds, &counts, engine["fsync_sum_us"].as_u64().unwrap_or(0));
}

/// What is stored, and RocksDB's levels.
fn spaces(out: &mut Text, status: &Value) {
    if let Some(bytes) = status["bytes"].as_object() {
        out.family("stored_bytes", "gauge", "About how many bytes are stored, by kind.");
        for (space, bytes) in bytes {
            out.sample("stored_bytes", &[("space", space)], bytes.as_u64().unwrap_or(0));
        }
    }
    if let Some(levels) = status["engine"]["files_per_level"].as_array() {
        out.family("rocksdb_files", "gauge", "Table files on each level.");
        for (level, files) in levels.iter().enumerate() {
            out.sample("rocksdb_files", &[("level", &level.to_string())], files.as_u64().unwrap_or(0));
        }
    }
}

fn damage(out: &mut Text, status: &Value) {
    let Some(damage) = status["damage"].as_object() else { return };
    out.family("copies_in_doubt", "gauge", "Copies that are damaged, by what is done about it.");
    for state in ["rebuilding", "shelved", "divergent"] {
        let copies = damage.get(state).and_then(Value::as_array).map_or(0, Vec::len);
        out.sample("copies_in_doubt", &[("state", state)], copies as u64);
    }
    let refused = damage.get("writes_refused").is_some_and(|why| !why.is_null());
    out.gauge("writes_refused", "1: no new values are taken, since the disk is full.", u64::from(refused));
}

/// What the node knows of the others.
fn peers(out: &mut Text, status: &Value) {
    let peers = status["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |peer: &Value| peer["name"].as_str().unwrap_or_default().to_string();
    if peers.is_empty() {
        return;
    }
    out.family("peer_connected", "gauge", "1: the connection to the peer stands.");
    for peer in peers {
        out.sample("peer_connected", &[("peer", &name(peer))], u64::from(peer["up"] == true));
    }
    out.family(
        "peer_sync_lacking_partitions",
        "gauge",
        "Partitions of which the peer is known to have more than this node.",
    );
    for peer in peers {
        out.sample("peer_sync_lacking_partitions", &[("peer", &name(peer))], peer["lacking"].as_u64().unwrap_or(0));
    }
    out.family(
        "peer_sync_lag_seconds",
        "gauge",
        "For how long this node has lacked something that the peer has, at every comparison; 0: it lacks nothing.",
    );
    for peer in peers {
        let seconds = peer["lacking_seconds"].as_f64().unwrap_or(0.0);
        out.sample("peer_sync_lag_seconds", &[("peer", &name(peer))], seconds);
    }
    out.family("peer_liveness", "gauge", "1 for what the peer is taken to be.");
    for peer in peers {
        for state in ["alive", "suspect", "down"] {
            let is = u64::from(peer["state"] == state);
            out.sample("peer_liveness", &[("peer", &name(peer)), ("state", state)], is);
        }
    }
    out.family("peer_breaker", "gauge", "1 for the state of the circuit breaker to the peer.");
    for peer in peers {
        for state in ["closed", "half-open", "open"] {
            let is = u64::from(peer["breaker"] == state);
            out.sample("peer_breaker", &[("peer", &name(peer)), ("state", state)], is);
        }
    }
    out.family(
        "peer_latency_seconds",
        "gauge",
        "How long the peer takes to answer: the mean, and all but one in twenty.",
    );
    for peer in peers {
        for kind in ["mean", "p95"] {
            if let Some(us) = peer["latency_us"][kind].as_u64() {
                out.sample("peer_latency_seconds", &[("peer", &name(peer)), ("kind", kind)], seconds(us));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::protocol::Counters;

    #[test]
    fn every_counter_of_the_node_is_a_metric() {
        let counters = serde_json::to_value(Counters::default()).unwrap();
        let counted: BTreeSet<&str> = counters.as_object().unwrap().keys().map(String::as_str).collect();
        let told: BTreeSet<&str> = COUNTERS.iter().map(|(field, ..)| *field).collect();
        assert_eq!(counted, told);
    }

    #[test]
    fn a_family_is_said_once_and_its_samples_follow_it() {
        let meter = Meter::default();
        meter.operations(Kind::Put, Outcome::Done).add(Duration::from_micros(150));
        let status = serde_json::json!({
            "state": "up", "counters": Counters::default(), "epoch": 3, "hints": { "oldest_seconds": null },
            "bytes": { "objects": 7 },
            "engine": { "files_per_level": [1, 2], "cache_misses": 5, "fsync_bounds_us": [100, 200], "fsyncs": [1, 3, 4],
                "fsync_sum_us": 1000 }, "damage": { "shelved": [4] },
            "peers": [{ "name": "a\"b", "up": true, "breaker": "open", "state": "alive", "lacking": 5, "lacking_seconds": 1.5, "latency_us": { "mean": 250 } }],
        });
        let redis = resp::Meter::default();
        redis.connections_begun.store(3, Relaxed);
        let text = text(&status, &meter, 2, Some(&redis));
        for line in [
            "dynode_up 1",
            "dynode_operation_duration_seconds_bucket{kind=\"put\",outcome=\"done\",le=\"0.0001\"} 0",
            "dynode_operation_duration_seconds_bucket{kind=\"put\",outcome=\"done\",le=\"0.0002\"} 1",
            "dynode_operation_duration_seconds_bucket{kind=\"put\",outcome=\"done\",le=\"+Inf\"} 1",
            "dynode_operation_duration_seconds_sum{kind=\"put\",outcome=\"done\"} 0.00015",
            "dynode_layout_epoch 3",
            "dynode_hint_oldest_seconds 0",
            "dynode_stored_bytes{space=\"objects\"} 7",
            "dynode_rocksdb_files{level=\"1\"} 2",
            "dynode_copies_in_doubt{state=\"shelved\"} 1",
            "dynode_peer_breaker{peer=\"a\\\"b\",state=\"open\"} 1",
            "dynode_peer_latency_seconds{peer=\"a\\\"b\",kind=\"mean\"} 0.00025",
            "dynode_peer_sync_lacking_partitions{peer=\"a\\\"b\"} 5",
            "dynode_read_values_bucket{le=\"+Inf\"} 0",
            "dynode_http_connections 2",
            "dynode_peer_sync_lag_seconds{peer=\"a\\\"b\"} 1.5",
            "dynode_rocksdb_cache_misses_total 5",
            "dynode_fsync_duration_seconds_bucket{le=\"0.0002\"} 3",
            "dynode_fsync_duration_seconds_bucket{le=\"+Inf\"} 4",
            "dynode_fsync_duration_seconds_sum 0.001",
            "dynode_fsync_duration_seconds_count 4",
            "dynode_resp_connections_total 3",
            "dynode_resp_commands_total{command=\"incrby\",outcome=\"error\"} 0",
            "dynode_resp_errors_total{error=\"TRYAGAIN\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        let mut families = BTreeSet::new();
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap();
                assert!(families.insert(family), "{family} twice");
                assert!(rest.len() > family.len() + 1, "{family} without help");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} after {family}");
            }
        }
    }
}
