//! Six nodes that hold copies of one partition and write letters to each other; three of them own it, and not all agree on
//! which. Letters get lost, come twice and in any order; nodes stop, lose power, lose disks, get old backups; owners change;
//! lives that have ended are closed; the oracle looks on.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::answer::Budget;
use dynode_storage::codec::{self, Entry, Part};
use dynode_storage::reading::Reading;
use dynode_storage::{Clock, Dot, Object, ObjectKey, Past, Payload, Store};

use super::node::{Asking, Node};
use super::oracle::{Op, Oracle, Truth};
use super::rng::Rng;

/// The owners are 0, 1, 2 at first; the other nodes are stand-ins.
pub const OWNERS: usize = 3;
pub const NODES: usize = 6;

/// What a client knows of a key: the context it was given, and the writes that it has truly seen.
pub type Session = BTreeMap<ObjectKey, (Clock, BTreeSet<Op>)>;

#[derive(Debug, Clone)]
pub struct Letter {
    pub to: usize,
    pub from: usize,
    /// Which layout its sender went by.
    pub epoch: usize,
    /// The sender's life, and what it refused then.
    pub life: u64,
    pub refused: BTreeMap<NodeId, u64>,
    pub body: Body,
}

#[derive(Debug, Clone)]
pub enum Body {
    /// A write on its way to a replica: an encoded entry.
    Write { op: Op, entry: Bytes },
    /// "Here is my clock; send what I lack." An answer is for the life that asked.
    Pull { clock: Clock, told: Clock, only: Option<ObjectKey>, scan: Option<(u64, Bytes)>, budget: Budget },
    /// Encoded parts from the index. `truth`: for the oracle, that of the source then.
    Delta { asked_in: u64, told: Clock, more: bool, parts: Bytes, truth: Rc<Truth> },
    /// Encoded parts of a scan. `truth`: for the oracle, that of the source when the scan began.
    Page {
        asked_in: u64,
        told: Clock,
        id: u64,
        before: Bytes,
        after: Bytes,
        done: bool,
        parts: Bytes,
        truth: Rc<Truth>,
    },
    /// There is no copy, or no such scan.
    Gone,
}

pub struct World {
    pub rng: Rng,
    pub trace: bool,
    pub nodes: Vec<Node>,
    pub queue: Vec<Letter>,
    pub oracle: Oracle,
    /// The owners under each layout; a node knows one of these.
    pub layouts: Vec<[usize; OWNERS]>,
    pub sessions: Vec<Session>,
    pub keys: Vec<ObjectKey>,
    /// Nodes reach each other within a group.
    pub group: [usize; NODES],
    /// Synced before anything is sent, or some time later.
    pub sync_always: bool,
    /// Turns take in several events before they are committed.
    pub long_turns: bool,
    pub twice: usize,
    pub lost: usize,
    pub counts: Counts,
    next_life: u64,
    next_scan: u64,
}

macro_rules! counts {
    ($($name:ident),*) => {
        /// How often what is hard to come by came about.
        #[derive(Debug, Clone, Copy, Default)]
        pub struct Counts { $(pub $name: usize),* }

        impl std::ops::AddAssign for Counts {
            fn add_assign(&mut self, other: Counts) {
                $(self.$name += other.$name;)*
            }
        }

        impl Counts {
            pub fn each(&self) -> Vec<(&'static str, usize)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counts! {
    scans, scans_of_scanning, pages, refused_pages, claims, claims_of_many_pages, values_gone_by_scan, refused_entries,
    writes_while_scanning, reads_while_scanning, power_cuts_while_scanning, copies_let_go, owners_changed, backups_restored,
    backups_too_old, lives_closed, gaps_closed, stale_letters, turns_that_survived_unsynced
}

pub fn generous() -> Budget {
    Budget { bytes: 1 << 20, keys: 1000 }
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let partition = PartitionId(*rng.pick(&[0, 7, 255, 256, u16::MAX]));
        let keys =
            (0..2 + rng.below(11)).map(|i| ObjectKey::new(b"bk", &[b'k'; 3][..i % 3 + 1].repeat(1 + i / 3))).collect();
        World {
            trace: std::env::var_os("TRACE").is_some(),
            nodes: (0..NODES as u64).map(|n| Node::new(n + 1, partition, 1)).collect(),
            queue: Vec::new(),
            oracle: Oracle::default(),
            layouts: vec![[0, 1, 2]],
            sessions: vec![Session::new(); 4],
            keys,
            group: [0; NODES],
            sync_always: rng.chance(500),
            long_turns: rng.chance(500),
            twice: *rng.pick(&[0, 50]),
            lost: *rng.pick(&[0, 20, 100, 400]),
            counts: Counts::default(),
            next_life: 1,
            next_scan: 0,
            rng,
        }
    }

    pub fn log(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{}", what());
        }
    }

    pub fn partition(&self) -> PartitionId {
        self.nodes[0].partition
    }

    pub fn reach(&self, a: usize, b: usize) -> bool {
        self.group[a] == self.group[b]
    }

    /// A life greater than any that a node had before: a run goes on from at most two million beyond where it began.
    pub fn new_lives(&mut self) -> u64 {
        self.next_life += 1 << 22;
        self.next_life
    }

    /// The owners under the layout that the node goes by.
    pub fn owners(&self, at: usize) -> [usize; OWNERS] {
        self.layouts[self.nodes[at].epoch]
    }

    pub fn owns(&self, at: usize) -> bool {
        self.owners(at).contains(&at)
    }

    pub fn send(&mut self, to: usize, from: usize, body: Body) {
        let node = &mut self.nodes[from];
        let (epoch, life, refused) = (node.epoch, node.life(), node.refused.clone());
        node.outbox.push(Letter { to, from, epoch, life, refused, body });
    }

    /// Ends the node's turn: one batch, then the letters leave.
    pub fn end_turn(&mut self, at: usize) {
        if self.sync_always {
            self.sync(at);
        } else {
            self.nodes[at].end_unsynced_turn();
        }
        let letters = std::mem::take(&mut self.nodes[at].outbox);
        self.queue.extend(letters);
    }

    pub fn may_end_turn(&mut self, at: usize) {
        if !self.long_turns || self.rng.chance(600) {
            self.end_turn(at);
        }
    }

    pub fn sync(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.store.commit(true).unwrap();
        node.turns.clear();
        if node.synced != node.truth {
            node.synced.clone_from(&node.truth);
        }
        for op in &node.synced.dots {
            self.oracle.writes[*op].synced_at.insert(at);
        }
    }

    // ---- clients

    pub fn write_at(&mut self, at: usize, key: &ObjectKey, is_put: bool, session: &Session, peers: &[usize]) -> Op {
        let (context, observed) = session.get(key).cloned().unwrap_or_default();
        let partition = self.partition();
        let op = self.oracle.next();
        self.counts.writes_while_scanning += usize::from(self.nodes[at].is_scanning());
        let store = &mut self.nodes[at].store;
        store.hear(partition, &context).unwrap();
        let dot = store.next_dot(partition).unwrap();
        let object = if is_put { Object::put(dot, value_of(op), context) } else { Object::delete(context) };
        assert_eq!(store.apply(partition, key, object.clone(), &[dot]).unwrap(), Ok(1), "a write is applied");
        self.log(|| {
            format!("write {op} {} {key} at {at} as {dot} seen {observed:?}", if is_put { "put" } else { "delete" })
        });
        self.oracle.write(key.clone(), is_put, dot, observed);
        self.nodes[at].truth.dots.insert(op);
        self.nodes[at].truth.learn(key, self.oracle.past(op));
        let entry = Bytes::from(codec::encode_entry(key, &object, &[dot]));
        for peer in peers {
            self.send(*peer, at, Body::Write { op, entry: entry.clone() });
        }
        self.may_end_turn(at);
        op
    }

    /// Reads from these nodes, merges, and remembers for the session.
    pub fn read_at(&mut self, from: &[usize], key: &ObjectKey, session: &mut Session) {
        let (mut merged, mut seen) = (Object::default(), BTreeSet::new());
        for at in from {
            self.end_turn(*at);
            seen.extend(self.nodes[*at].truth.of(key));
            let node = &mut self.nodes[*at];
            self.counts.reads_while_scanning += usize::from(node.is_scanning());
            merged = merged.merge(node.store.read(node.partition, key).unwrap());
        }
        let values: BTreeSet<Op> = merged.values.iter().map(|s| op_of(&s.value)).collect();
        assert_eq!(
            values,
            self.oracle.values(&seen),
            "the values that are read of {key}, where {seen:?} are reflected"
        );
        self.log(|| format!("read {key} from {from:?}: {:?}, seen {seen:?}", merged.dots().collect::<Vec<_>>()));
        session.insert(key.clone(), (merged.client_context(), seen));
    }

    // ---- letters

    pub fn ask(&mut self, asker: usize, source: usize, only: Option<ObjectKey>, budget: Budget) {
        let partition = self.partition();
        let node = &mut self.nodes[asker];
        node.store.copy(partition).unwrap();
        let (clock, told) = (node.clock(), node.store.told(partition).unwrap());
        let scan = node.asking.clone().filter(|a| a.source == source && only.is_none()).map(|a| (a.id, a.after));
        self.send(source, asker, Body::Pull { clock, told, only, scan, budget });
        self.may_end_turn(asker);
    }

    pub fn deliver(&mut self, letter: Letter) {
        if !self.reach(letter.to, letter.from) {
            return;
        }
        if self.is_stale(&letter) {
            self.counts.stale_letters += 1;
            return;
        }
        let Letter { to, from, epoch, life: asked_in, body, .. } = letter;
        self.adopt(to, epoch);
        // An answer to a former life promises nothing to this one: a node drops it. Where it does not, the store must refuse
        // what it cannot take in; but the word that a delta is complete is for the node alone to believe.
        let asked_before = match &body {
            Body::Delta { asked_in, .. } | Body::Page { asked_in, .. } => *asked_in != self.nodes[to].life(),
            _ => false,
        };
        if asked_before && self.rng.chance(500) {
            return;
        }
        match body {
            Body::Write { op, entry } => {
                let entry = codec::decode_entry(entry).unwrap();
                self.log(|| format!("{to} takes write {op} from {from}"));
                let past = self.oracle.past(op);
                assert!(self.take_entry(to, entry, past), "a write is not refused");
                self.nodes[to].truth.dots.insert(op);
            }
            Body::Pull { clock, told, only, scan, budget } if self.nodes[to].has_copy() => {
                self.hear(to, from, epoch, told);
                self.answer(to, from, asked_in, &clock, only.as_ref(), scan, budget);
            }
            Body::Pull { .. } => self.send(from, to, Body::Gone),
            _ if !self.nodes[to].has_copy() => {}
            Body::Delta { told, more, parts, truth, .. } => {
                self.nodes[to].more = more;
                self.hear(to, from, epoch, told);
                let mut whole = !asked_before;
                for part in codec::decode_parts(parts).unwrap() {
                    match part {
                        Part::Entry(entry) => {
                            let reflected = truth.of(&entry.key);
                            whole &= self.take_entry(to, entry, reflected);
                        }
                        Part::Closed(closed) if whole => {
                            let partition = self.partition();
                            self.nodes[to].store.absorb_closed(partition, &closed).unwrap();
                        }
                        Part::Closed(_) => {}
                        Part::Claim(_) => panic!("a delta claims nothing"),
                    }
                }
            }
            Body::Page { told, id, before, after, done, parts, truth, .. } => {
                self.hear(to, from, epoch, told);
                self.take_page(to, from, id, &before, &after, done, parts, &truth);
            }
            Body::Gone => {
                let node = &mut self.nodes[to];
                node.asking.take_if(|a| a.source == from);
            }
        }
        self.may_end_turn(to);
    }

    #[allow(clippy::too_many_arguments)]
    fn answer(
        &mut self,
        at: usize,
        asker: usize,
        asked_in: u64,
        clock: &Clock,
        only: Option<&ObjectKey>,
        scan: Option<(u64, Bytes)>,
        budget: Budget,
    ) {
        let partition = self.partition();
        self.sync(at); // an answer never says more than what is synced
        let told = self.nodes[at].store.told(partition).unwrap();
        let (id, before) = match scan {
            Some((id, _)) if !self.nodes[at].scans.contains_key(&id) => return self.send(asker, at, Body::Gone),
            Some(scan) => scan,
            None => {
                let node = &mut self.nodes[at];
                let answer = match only {
                    Some(key) => node.store.delta_of(partition, clock, key).unwrap(),
                    None => {
                        // Room for so few dots that some keys need windows of their own.
                        let reading = node.readings.entry(asker).or_insert_with(|| Reading::with_room(1 + 3 * asker));
                        node.store.delta(partition, clock, reading, budget).unwrap()
                    }
                };
                if let Some(delta) = answer {
                    self.log(|| format!("{at} answers {asker} with {:?}, more: {}", delta.entries, delta.more));
                    let (more, parts) = (delta.more, encoded(delta.into_parts()));
                    let truth = Rc::new(self.nodes[at].truth.clone());
                    return self.send(asker, at, Body::Delta { asked_in, told, more, parts, truth });
                }
                if only.is_some() {
                    return;
                }
                self.next_scan += 1;
                self.counts.scans += 1;
                self.counts.scans_of_scanning += usize::from(self.nodes[at].is_scanning());
                let scan = self.nodes[at].store.scan(partition).unwrap();
                let truth = Rc::new(self.nodes[at].truth.clone());
                self.nodes[at].scans.insert(self.next_scan, (scan, truth));
                (self.next_scan, Bytes::new())
            }
        };
        let Some((scan, truth)) = self.nodes[at].scans.get_mut(&id) else { return };
        let page = scan.page(clock, &before, budget).unwrap();
        let (after, done, truth) = (page.after, page.done, Rc::clone(truth));
        self.log(|| {
            format!(
                "{at} answers {asker} with a page of scan {id}, {before:?} to {after:?}, done: {done}: {:?}",
                page.parts
            )
        });
        self.send(asker, at, Body::Page { asked_in, told, id, before, after, done, parts: encoded(page.parts), truth });
    }

    fn take_entry(&mut self, to: usize, entry: Entry, reflected: BTreeSet<Op>) -> bool {
        let partition = self.partition();
        let dots: Vec<Dot> = entry.dots.iter().copied().chain(entry.object.dots()).collect();
        let key = entry.key.clone();
        let taken = self.nodes[to].store.absorb_delta(partition, vec![entry]).unwrap();
        if taken.is_ok() {
            let ops: Vec<Op> = self.oracle.of_dots(dots).collect();
            self.nodes[to].truth.dots.extend(ops);
            self.nodes[to].truth.learn(&key, reflected);
        }
        self.counts.refused_entries += usize::from(taken.is_err());
        taken.is_ok()
    }

    #[allow(clippy::too_many_arguments)]
    fn take_page(
        &mut self,
        to: usize,
        from: usize,
        id: u64,
        before: &Bytes,
        after: &Bytes,
        done: bool,
        parts: Bytes,
        truth: &Truth,
    ) {
        let partition = self.partition();
        let parts = codec::decode_parts(parts).unwrap();
        let claims = matches!(parts.last(), Some(Part::Claim(_)));
        let mut taken = true;
        if claims {
            let before_it = self.nodes[to].store.recount(partition).unwrap();
            let answer = self.nodes[to].store.absorb_page(partition, before, after, done, parts).unwrap();
            let after_it = self.nodes[to].store.recount(partition).unwrap();
            self.counts.pages += 1;
            self.counts.refused_pages += usize::from(answer.is_err());
            self.counts.claims += usize::from(done && answer.is_ok());
            self.counts.claims_of_many_pages += usize::from(done && answer.is_ok() && !before.is_empty());
            self.counts.values_gone_by_scan += usize::from(after_it.1 < before_it.1);
            self.log(|| format!("{to} takes a page of scan {id} from {from}: {answer:?}"));
            taken = answer.is_ok();
            if taken {
                let speaks_of = |k: &&ObjectKey| k.as_bytes() > before && (done || k.as_bytes() <= after);
                for key in self.keys.iter().filter(speaks_of) {
                    self.nodes[to].truth.learn(key, truth.of(key));
                }
            }
            if done && taken {
                self.nodes[to].truth.dots.extend(&truth.dots);
            }
        } else {
            for part in parts {
                let Part::Entry(entry) = part else { panic!("a claim stands last") };
                let reflected = truth.of(&entry.key);
                taken &= self.take_entry(to, entry, reflected);
            }
        }
        let node = &mut self.nodes[to];
        match &mut node.asking {
            Some(a) if a.id == id && (!taken || done && claims) => node.asking = None,
            Some(a) if a.id == id && a.after == *before => a.after = after.clone(),
            // A scan that this node did not know of yet: it goes on with it.
            None if taken && !done && before.is_empty() => {
                node.asking = Some(Asking { source: from, id, after: after.clone() });
            }
            _ => {}
        }
    }

    // ---- faults

    /// True if every acknowledged write that is synced here is synced at another node too.
    pub fn spare(&self, at: usize) -> bool {
        let elsewhere =
            |op: &Op| self.nodes.iter().enumerate().any(|(n, node)| n != at && node.synced.dots.contains(op));
        self.nodes[at].synced.dots.iter().filter(|op| self.oracle.is_acknowledged(**op)).all(elsewhere)
    }

    /// Puts aside what is synced at a node.
    pub fn back_up(&mut self, at: usize) {
        self.end_turn(at);
        if self.nodes[at].has_copy() {
            let node = &mut self.nodes[at];
            let mut disk = node.store.engine().clone();
            disk.lose_unsynced();
            node.backup = Some((disk, node.synced.clone()));
        }
    }

    /// Puts a backup in place of the disk, where that takes nothing that was acknowledged. One that is older than the closing
    /// of a life that it holds is not a copy any more, only values to import.
    pub fn restore(&mut self, at: usize) {
        let Some((disk, truth)) = self.nodes[at].backup.clone() else { return };
        let elsewhere = |op: &Op| {
            truth.dots.contains(op)
                || self.nodes.iter().enumerate().any(|(n, node)| n != at && node.synced.dots.contains(op))
        };
        let node = &self.nodes[at];
        if !node.synced.dots.iter().filter(|op| self.oracle.is_acknowledged(**op)).all(elsewhere) {
            return;
        }
        let mut backup = Store::open(disk.clone(), node.id, 0, Past::Whole).unwrap();
        let clock = backup.find(self.partition()).unwrap().map_or_else(Clock::new, |c| c.clock().clone());
        if node.refused.iter().any(|(node, life)| !clock.of_lives_below(*node, *life).is_empty()) {
            self.counts.backups_too_old += 1;
            return;
        }
        self.log(|| format!("{at} gets an old backup"));
        self.counts.backups_restored += 1;
        let lives = self.new_lives();
        let node = &mut self.nodes[at];
        node.reopen(disk, lives, Past::MayLack);
        node.truth.clone_from(&truth);
        node.synced = truth;
    }

    pub fn lose_disk(&mut self, at: usize) {
        if self.nodes[at].has_copy() && self.spare(at) {
            self.log(|| format!("{at} loses its disk"));
            let lives = self.new_lives();
            let fresh = Node::new(at as u64 + 1, self.partition(), lives);
            let lost = std::mem::replace(&mut self.nodes[at], fresh);
            let node = &mut self.nodes[at];
            (node.epoch, node.refused, node.backup) = (lost.epoch, lost.refused, lost.backup);
        }
    }

    /// The power fails, and leaves any beginning of what was not synced.
    pub fn power_cut(&mut self, at: usize) {
        // Often all of it goes, which is hardest for the protocol.
        let survives = if self.rng.chance(700) { 0 } else { self.rng.below(self.nodes[at].turns.len() + 1) };
        self.power_cut_leaving(at, survives);
    }

    /// The power fails; so many turns of those that were not synced are on the disk all the same.
    pub fn power_cut_leaving(&mut self, at: usize, survives: usize) {
        self.log(|| format!("power cut at {at}"));
        self.counts.power_cuts_while_scanning += usize::from(self.nodes[at].is_scanning());
        let lives = self.new_lives();
        // Under group commit nothing has left that was not synced; else others may have seen what is gone now.
        let past = if self.sync_always { Past::Whole } else { Past::MayLack };
        let node = &mut self.nodes[at];
        let (batches, truth) = match survives.checked_sub(1) {
            Some(last) => node.turns.swap_remove(last),
            None => (0, node.synced.clone()),
        };
        let mut engine = node.take_engine();
        self.counts.turns_that_survived_unsynced += survives;
        engine.cut_power(batches);
        node.reopen(engine, lives, past);
        node.truth = truth;
        self.sync(at); // the store made all that is left on the disk durable before it opened
        let node = &mut self.nodes[at];
        let clock = node.clock();
        for op in &self.nodes[at].synced.dots {
            assert!(clock.has(self.oracle.writes[*op].dot), "write {op} was synced at {at}, and is gone");
        }
    }

    /// The process ends, cleanly or not, and before the letters of its turn have left; the machine goes on.
    pub fn restart(&mut self, at: usize, clean: bool) {
        self.log(|| format!("restart of {at}, clean: {clean}"));
        let lives = self.new_lives();
        if clean {
            self.nodes[at].store.close().unwrap();
        } else {
            self.nodes[at].store.commit(false).unwrap();
        }
        let node = &mut self.nodes[at];
        let engine = node.take_engine();
        node.reopen(engine, lives, Past::Whole);
        self.sync(at); // the store made all that is on the disk durable before it opened
    }
}

/// Values of many sizes that begin with the number of their write.
fn value_of(op: Op) -> Bytes {
    let mut value = (op as u32).to_le_bytes().to_vec();
    value.resize(4 + [0, 1, 30, 200][op % 4], op as u8);
    value.into()
}

pub fn op_of(value: &Payload) -> Op {
    let bytes = value.bytes().expect("a stored value is here");
    u32::from_le_bytes(bytes[..4].try_into().unwrap()) as Op
}

fn encoded(parts: impl IntoIterator<Item = Part>) -> Bytes {
    codec::encode_parts(&parts.into_iter().collect::<Vec<_>>()).into()
}
