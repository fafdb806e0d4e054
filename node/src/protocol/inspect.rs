//! Reports about the node itself, as JSON: what the command line, checks and people read.

use bytes::Bytes;
use dynode_client::wire::{ErrorCode, Hlc, LayoutIs, MemberIs, Report, Topic};
use dynode_ring::{Layout, PartitionId};
use dynode_storage::{Clock, Engine, EngineError, ObjectKey, Space};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Durability, Effects, Node, ReplyTo, Time, failure};

/// What a node has counted since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Puts coordinated here.
    pub puts: u64,
    /// Gets coordinated here.
    pub gets: u64,
    /// Deletes coordinated here.
    pub deletes: u64,
    /// Puts that were repeated, and had been done before.
    pub repeated: u64,
    /// Values of `lww` buckets that were lost to a later one which had not seen them.
    pub lww_lost: u64,
    /// Values that were removed because they had expired.
    pub values_expired: u64,
    /// Requests handed to an owner.
    pub forwarded: u64,
    /// Requests refused before anything was done.
    pub refused: u64,
    /// Writes whose outcome was unknown in time.
    pub unknown: u64,
    /// Reads that did not get their quorum in time.
    pub unmet: u64,
    /// Reads that asked further owners because answers were late.
    pub hedged: u64,
    /// Requests dropped because they had waited longer than their time while this node stood still.
    pub expired: u64,
    /// Times that a peer's circuit breaker opened.
    pub breakers_opened: u64,
    /// Writes acknowledged with the help of stand-ins.
    pub sloppy: u64,
    /// Writes taken as a stand-in.
    pub hinted: u64,
    /// Hints that were declined, because too many are held and the writes had their quorum without.
    pub hints_declined: u64,
    /// Copies that left because every owner contains them.
    pub handed_off: u64,
    /// Writes taken as a replica.
    pub replicated: u64,
    /// Reads answered as a replica.
    pub fetched: u64,
    /// Reads that found a copy behind.
    pub repairs: u64,
    /// Pulls begun.
    pub pulls: u64,
    /// Scans begun, as the asker.
    pub scans: u64,
    /// Bytes of answers taken in by sync.
    pub sync_bytes_in: u64,
    /// Bytes of answers given to syncs.
    pub sync_bytes_out: u64,
    /// Keys taken in by sync.
    pub sync_entries_in: u64,
    /// Writes learnt by sync.
    pub sync_dots_in: u64,
    /// Pulls that went round in circles: should stay 0.
    pub no_progress: u64,
    /// Equal clocks with different content: should stay 0.
    pub content_differs: u64,
    /// Scans that have listed something else than their source's copy says of itself: should stay 0.
    pub scans_differ: u64,
    /// Closings of ended lives that this node has brought to an end.
    pub closed: u64,
    /// Messages dropped because they came from lives that had ended.
    pub stale: u64,
    /// Copies discarded because they were older than the closing of a life that they held.
    pub set_aside: u64,
    /// Copies that were found damaged, and taken out of use.
    pub copies_damaged: u64,
    /// Copies that were rebuilt, or found to lack nothing, after they could not be relied on.
    pub copies_rebuilt: u64,
    /// Bytes read and checked by scrubs.
    pub scrub_bytes: u64,
    /// Lives begun because peers knew more of a copy than it did itself.
    pub lives_begun: u64,
}

/// How much a node holds in memory now, for checks of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Operations under way.
    pub operations: usize,
    /// Times at which one of them is to be looked at: one each.
    pub alarms: usize,
    /// Scans that others take from here.
    pub scans_served: usize,
    /// Deltas of several parts that others take from here.
    pub deltas_served: usize,
    /// Partitions that are being pulled.
    pub pulling: usize,
    /// Pulls of one key under way.
    pub repairs: usize,
    /// What is remembered of other owners' copies, and of pulls to come.
    pub sync_entries: usize,
    /// Copies held for owners that were away.
    pub hints: usize,
    /// The writes in them, in bytes.
    pub hint_bytes: u64,
}

impl<E: Engine> Node<E> {
    /// How much is held in memory now, for checks of bounds.
    pub fn load(&self) -> Load {
        Load {
            operations: self.operations.len(),
            alarms: self.alarms.len(),
            scans_served: self.source.scans(),
            deltas_served: self.source.deltas(),
            pulling: self.sync.pulling(),
            repairs: self.sync.repairs,
            sync_entries: self.sync.entries()
                + self.recovery.len()
                + self.lives.entries()
                + self.differences.len()
                + self.scrub.len(),
            hints: self.hints.len(),
            hint_bytes: self.hints.bytes(),
        }
    }

    pub(super) fn layout_message(&self) -> LayoutIs {
        layout_message(&self.config.layout)
    }

    pub(super) fn inspect(
        &mut self,
        now: Time,
        reply_to: ReplyTo,
        topic: &Topic,
        out: &mut Effects,
    ) -> Result<(), EngineError> {
        let report = match topic {
            Topic::Status => self.status(now)?,
            Topic::LocalClocks => self.local_clocks()?,
            Topic::LocalKey { bucket, key } => self.local_key(bucket, key)?,
            Topic::Storage => self.storage_report()?,
            // Who may know it is the shell's to say: it knows where the asker is.
            Topic::Secret => {
                let detail = "a node tells its secret only from loopback to loopback: give --secret FILE";
                out.reply(reply_to, failure(ErrorCode::Refused, detail));
                return Ok(());
            }
        };
        out.reply_with(reply_to, Report {}, Bytes::from(report.to_string()));
        Ok(())
    }

    fn status(&mut self, now: Time) -> Result<Value, EngineError> {
        let layout = self.config.layout.clone();
        let others = layout.members().iter().filter(|m| m.id != self.config.node);
        let peers: Vec<Value> = others.map(|m| self.peer(now, m)).collect();
        let owned = layout.owned_by(self.config.node).count();
        let recovering = self.count_recovering()?;
        let transfers = self.transfers_report(now)?;
        let mut indexed = 0;
        for partition in layout.owned_by(self.config.node) {
            indexed += self.store.find(partition)?.map_or(0, |c| c.indexed());
        }
        let durability = match self.config.durability {
            Durability::Group => "group".to_string(),
            Durability::Interval(every) => format!("interval:{}ms", every.0 / 1000),
            Durability::Os => "os".to_string(),
        };
        Ok(json!({
            "name": self.config.name,
            "node": self.config.node.to_string(),
            "state": if self.draining { "stopping" } else { "up" },
            "starting": self.starting(now)?,
            "version": env!("CARGO_PKG_VERSION"),
            "cluster": hex(&self.config.cluster),
            "epoch": layout.epoch(),
            "changes": self.changes_report(),
            "durability": durability,
            "uptime_seconds": now.0 / 1_000_000,
            "wall_ms": self.wall.ms(now),
            "partitions_owned": owned,
            "partitions": layout.partitions(),
            "replicas": layout.replicas(),
            "peers": peers,
            "liveness": {
                "incarnation": self.swim.incarnation(),
                "slowness": self.swim.slowness(),
                "counters": self.swim.counters(),
            },
            "operations": self.operations.len(),
            "sync": {
                "lacking": self.sync.lacking(),
                "recovering": recovering,
                "closing": self.lives.under_way(),
                "pulling": self.sync.pulling(),
                "scans_served": self.source.scans(),
                "deltas_served": self.source.deltas(),
                "rounds": self.sync.rounds(),
                "index_entries": indexed,
            },
            "moving": self.moving_report(),
            "transfers": transfers,
            "hints": {
                "partitions": self.hints.len(),
                "bytes": self.hints.bytes(),
                "bytes_max": self.config.hint_bytes_max,
                "oldest_seconds": self.hints.oldest().map(|since| (now - since).0 / 1_000_000),
            },
            "bytes": self.sizes(),
            "engine": self.engine_figures(),
            "damage": self.damage_report(),
            "scrub": self.scrub_report(now),
            "counters": self.counters,
            "measured": self.measured,
        }))
    }

    /// What this node knows of another: whether its own connection stands, what it takes the member for, and how long it
    /// takes to answer.
    fn peer(&self, now: Time, member: &dynode_ring::Member) -> Value {
        let mut peer = json!({
            "name": member.name,
            "node": member.id.to_string(),
            "addr": member.addr,
            "breaker": self.breakers.state(member.id),
            "up": self.up.contains(&member.id),
            "state": self.liveness(member.id),
            "lacking": self.sync.lacking_of(member.id),
            "lacking_seconds": self.sync.lacking_since(member.id).map_or(0.0, |since| (now - since).0 as f64 / 1e6),
        });
        if let Some(view) = self.swim.view(member.id) {
            peer["since_seconds"] = json!((now - view.since).0 / 1_000_000);
            peer["incarnation"] = json!(view.incarnation);
        }
        if let Some(latency) = self.latencies().of(member.id) {
            peer["latency_us"] =
                json!({ "mean": latency.mean.0, "deviation": latency.deviation.0, "p95": latency.p95.0 });
        }
        peer
    }

    /// Each copy's clock, content and number of keys, counted by reading it.
    fn local_clocks(&mut self) -> Result<Value, EngineError> {
        let layout = self.config.layout.clone();
        let mut copies = Vec::new();
        for partition in layout.partition_ids() {
            if self.store.find(partition)?.is_none() {
                continue;
            }
            let (content, keys) = self.store.recount(partition)?;
            let copy = self.store.copy(partition)?;
            copies.push(json!({
                "partition": partition.0,
                "owner": layout.owns(self.config.node, partition),
                "clock": clock_json(copy.clock()),
                "clock_hash": format!("{:016x}", copy.clock().hash()),
                "content": format!("{content:016x}"),
                "content_kept": format!("{:016x}", copy.content()),
                "keys": keys,
                "index_entries": copy.indexed(),
                "scanning": copy.is_scanning(),
            }));
        }
        Ok(json!({ "node": self.config.name, "epoch": layout.epoch(), "copies": copies }))
    }

    fn local_key(&mut self, bucket: &[u8], key: &[u8]) -> Result<Value, EngineError> {
        let layout = &self.config.layout;
        let partition: PartitionId = layout.partition_of(bucket, key);
        let owners: Vec<&str> =
            layout.owners(partition).iter().filter_map(|n| layout.member(*n)).map(|m| m.name.as_str()).collect();
        let head = json!({
            "node": self.config.name,
            "partition": partition.0,
            "token": dynode_ring::Token::of(bucket, key).to_string(),
            "owners": owners,
        });
        let found = self.store.find(partition)?.is_some();
        let object = if found { self.store.read(partition, &ObjectKey::new(bucket, key))? } else { Default::default() };
        let values = self.values_of(partition, &object)?;
        let values: Vec<Value> = values
            .iter()
            .map(|v| {
                let crc = format!("{:08x}", crc(&v.value));
                let mut told = json!({ "dot": v.dot.to_string(), "bytes": v.value.len(), "crc32": crc });
                told["written_ms"] = json!(v.meta.written.map(Hlc::ms));
                told["expires_ms"] = json!(v.meta.expires_ms);
                told
            })
            .collect();
        let mut report = head;
        report["copy"] = json!(found);
        report["values"] = json!(values);
        report["context"] = clock_json(&object.context);
        Ok(report)
    }

    /// Bytes and records in each space, counted by reading them.
    fn storage_report(&mut self) -> Result<Value, EngineError> {
        self.store.commit(false)?;
        let mut spaces = serde_json::Map::new();
        for space in Space::ALL {
            let (mut records, mut bytes) = (0u64, 0u64);
            self.store.engine().scan(space, &[], &[0xff; 8], &mut |key, value| {
                records += 1;
                bytes += (key.len() + value.len()) as u64;
                true
            })?;
            spaces.insert(space.name().into(), json!({ "records": records, "bytes": bytes }));
        }
        Ok(json!({ "node": self.config.name, "spaces": spaces, "disk": self.sizes() }))
    }

    /// How the storage engine is doing: a number, or a list of them, by name.
    fn engine_figures(&self) -> Value {
        let json = |(name, figures): (&str, Vec<u64>)| match figures[..] {
            [figure] => (name.to_string(), json!(figure)),
            _ => (name.to_string(), json!(figures)),
        };
        self.store.engine().figures().into_iter().map(json).collect()
    }

    fn sizes(&self) -> Value {
        Space::ALL.iter().map(|s| (s.name().to_string(), json!(self.store.engine().size(*s)))).collect()
    }
}

/// Who owns what, as it is told.
pub(crate) fn layout_message(layout: &Layout) -> LayoutIs {
    let member = |m: &dynode_ring::Member| MemberIs {
        node: m.id.0,
        name: m.name.clone(),
        addr: m.addr.clone(),
        zone: m.zone.clone(),
        weight: m.weight,
    };
    LayoutIs {
        epoch: layout.epoch(),
        replicas: layout.replicas() as u8,
        members: layout.members().iter().map(member).collect(),
        owners: layout.partition_ids().map(|p| layout.owner_indexes(p).collect()).collect(),
    }
}

/// A clock as JSON: `{ "node.life": "1-17, 19" }`.
fn clock_json(clock: &Clock) -> Value {
    let mut actors: Vec<(String, String)> = Vec::new();
    for r in clock.ranges() {
        let run = if r.first == r.last { r.first.to_string() } else { format!("{}-{}", r.first, r.last) };
        match actors.last_mut() {
            Some((actor, runs)) if *actor == r.actor.to_string() => *runs = format!("{runs}, {run}"),
            _ => actors.push((r.actor.to_string(), run)),
        }
    }
    actors.into_iter().map(|(actor, runs)| (actor, json!(runs))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
