//! `GET /metrics`: everything that is counted and measured, as Prometheus text (format 0.0.4).
//!
//! Names carry their units. What is counted starts at 0 with the process; a disk that was opened anew within it makes the
//! node's own counters start again, which Prometheus takes for a restart.

use std::fmt::Write as _;
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
use crate::shell::meter::{Histogram, Kind, Meter, Outcome, SIBLINGS};

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
    let text = text(&status, &app.meter, app.connections.load(Relaxed));
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// `status`: the node's report on its state, or null.
fn text(status: &Value, meter: &Meter, http_connections: u64) -> String {
    let mut out = Text(String::with_capacity(32 << 10));
    out.gauge("up", "1: the node takes requests.", u64::from(status["state"] == "up"));
    out.family("build_info", "gauge", "Always 1; the version is a label.");
    out.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    measured(&mut out, meter, http_connections);
    for (field, name, help) in COUNTERS {
        if let Some(value) = status["counters"][field].as_u64() {
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
    let help = "Requests of front ends (HTTP and the like) that the node has under way.";
    out.gauge("inside_requests", help, meter.inside.load(Relaxed));
    out.gauge("http_connections", "Connections of HTTP clients.", http_connections);
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

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// The text as it grows. Every name begins with `dynode_`.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP dynode_{name} {help}\n# TYPE dynode_{name} {kind}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.0, "dynode_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let counts = histogram.cumulated();
        let count = counts.last().copied().unwrap_or(0);
        for (at, below) in counts.iter().enumerate() {
            let is_last = at + 1 == counts.len();
            let bound = if is_last { "+Inf".to_string() } else { seconds(Histogram::bound_us(at)).to_string() };
            let with_bound: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &with_bound, *below);
        }
        self.sample(&format!("{name}_sum"), labels, seconds(histogram.sum_us()));
        self.sample(&format!("{name}_count"), labels, count);
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
            "bytes": { "objects": 7 }, "engine": { "files_per_level": [1, 2] }, "damage": { "shelved": [4] },
            "peers": [{ "name": "a\"b", "up": true, "breaker": "open", "state": "alive", "lacking": 5, "latency_us": { "mean": 250 } }],
        });
        let text = text(&status, &meter, 2);
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
