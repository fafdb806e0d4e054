//! A store in memory for tests: exact contexts and siblings, with delays and faults put in where a test wants them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::target::{Changed, Connect, Failed, Over, Seen, Target, Written};

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes well.
    Well,
    /// It goes well after a while.
    After(Duration),
    /// No answer, and an error after a while.
    Silent(Duration),
    /// An error that says that nothing was changed, and nothing was.
    Refused,
    /// An error that says that the outcome is unknown; done or not.
    Unknown { done: bool },
    /// It goes well; a former attempt is still under way, until [`Fake::arrive`].
    Twice,
    /// Acknowledged, but not written: a lost write.
    Lost,
    /// An error that says that nothing was changed, but it was written: a false word.
    FalseWord,
    /// Acknowledged and written, but what it replaced stays: it comes back.
    ReplacesNothing,
}

type Fates = Box<dyn FnMut(u64, &Bytes) -> Fate>;

#[derive(Default)]
struct Object {
    values: BTreeMap<u64, Bytes>,
    context: BTreeSet<u64>,
}

struct State {
    objects: BTreeMap<Bytes, Object>,
    operations: u64,
    dots: u64,
    /// Attempts under way: key, value, what they replace.
    under_way: Vec<(Bytes, Bytes, Over<BTreeSet<u64>>)>,
    reads: Fates,
    writes: Fates,
}

/// The store. Clones share what is in it.
#[derive(Clone)]
pub(crate) struct Fake(Rc<RefCell<State>>);

impl Fake {
    /// A store that does all well.
    pub(crate) fn new() -> Fake {
        Fake(Rc::new(RefCell::new(State {
            objects: BTreeMap::new(),
            operations: 0,
            dots: 0,
            under_way: Vec::new(),
            reads: Box::new(|_, _| Fate::Well),
            writes: Box::new(|_, _| Fate::Well),
        })))
    }

    /// Decides over reads, by the number of the operation and the key.
    pub(crate) fn reads(&self, fates: impl FnMut(u64, &Bytes) -> Fate + 'static) {
        self.0.borrow_mut().reads = Box::new(fates);
    }

    /// Decides over writes, by the number of the operation and the key.
    pub(crate) fn writes(&self, fates: impl FnMut(u64, &Bytes) -> Fate + 'static) {
        self.0.borrow_mut().writes = Box::new(fates);
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// The attempts that were under way arrive.
    pub(crate) fn arrive(&self) {
        let under_way = std::mem::take(&mut self.0.borrow_mut().under_way);
        for (key, value, over) in under_way {
            self.apply(key, value, &over, true);
        }
    }

    /// Changes the values of a key behind everybody's back.
    pub(crate) fn tamper(&self, key: &Bytes, change: impl FnOnce(&mut Vec<Bytes>)) {
        let mut state = self.0.borrow_mut();
        let object = state.objects.entry(key.clone()).or_default();
        let mut values: Vec<Bytes> = object.values.values().cloned().collect();
        change(&mut values);
        object.values = values.into_iter().enumerate().map(|(n, v)| (1_000_000_000 + n as u64, v)).collect();
    }

    fn fate(&self, key: &Bytes, write: bool) -> Fate {
        let mut state = self.0.borrow_mut();
        state.operations += 1;
        let number = state.operations;
        if write { (state.writes)(number, key) } else { (state.reads)(number, key) }
    }

    fn apply(&self, key: Bytes, value: Bytes, over: &Over<BTreeSet<u64>>, replaces: bool) -> BTreeSet<u64> {
        let mut state = self.0.borrow_mut();
        state.dots += 1;
        let dot = state.dots;
        let object = state.objects.entry(key).or_default();
        let mut seen = match over {
            Over::Nothing => BTreeSet::new(),
            Over::Current => object.context.clone(),
            Over::Seen(context) => context.clone(),
        };
        if replaces {
            object.values.retain(|d, _| !seen.contains(d));
        }
        seen.insert(dot);
        object.values.insert(dot, value);
        object.context.extend(seen.iter());
        seen
    }
}

fn failed(kind: &'static str, changed: Changed) -> Failed {
    Failed { kind, changed, detail: "a test wanted it".into() }
}

impl Target for Fake {
    type Context = BTreeSet<u64>;

    async fn get(&self, key: Bytes) -> Result<Seen<BTreeSet<u64>>, Failed> {
        match self.fate(&key, false) {
            Fate::Well => tokio::task::yield_now().await,
            Fate::After(delay) => tokio::time::sleep(delay).await,
            Fate::Silent(timeout) => {
                tokio::time::sleep(timeout).await;
                return Err(failed("timed_out", Changed::Nothing));
            }
            _ => return Err(failed("overloaded", Changed::Nothing)),
        }
        let state = self.0.borrow();
        let object = state.objects.get(&key);
        Ok(Seen {
            values: object.map(|o| o.values.values().cloned().collect()).unwrap_or_default(),
            context: object.map(|o| o.context.clone()).unwrap_or_default(),
        })
    }

    async fn put(&self, key: Bytes, value: Bytes, over: Over<BTreeSet<u64>>) -> Result<Written<BTreeSet<u64>>, Failed> {
        match self.fate(&key, true) {
            Fate::Well => tokio::task::yield_now().await,
            Fate::After(delay) => tokio::time::sleep(delay).await,
            Fate::Refused => return Err(failed("overloaded", Changed::Nothing)),
            Fate::Silent(timeout) => {
                tokio::time::sleep(timeout).await;
                return Err(failed("outcome_unknown", Changed::Unknown { attempts: 1 }));
            }
            Fate::Unknown { done } => {
                if done {
                    self.apply(key, value, &over, true);
                }
                return Err(failed("outcome_unknown", Changed::Unknown { attempts: 1 }));
            }
            Fate::Lost => return Ok(Written { context: BTreeSet::new(), late: 0 }),
            Fate::FalseWord => {
                self.apply(key, value, &over, true);
                return Err(failed("quorum_not_met", Changed::Nothing));
            }
            Fate::ReplacesNothing => {
                return Ok(Written { context: self.apply(key, value, &over, false), late: 0 });
            }
            Fate::Twice => {
                self.0.borrow_mut().under_way.push((key.clone(), value.clone(), over.clone()));
                return Ok(Written { context: self.apply(key, value, &over, true), late: 1 });
            }
        }
        Ok(Written { context: self.apply(key, value, &over, true), late: 0 })
    }

    async fn scan(&self, start: Bytes, count: usize) -> Result<usize, Failed> {
        self.fate(&start, false);
        Ok(self.0.borrow().objects.range(start..).take(count).count())
    }
}

/// Makes a fresh store for each lane: a [`Fake`] cannot leave its thread.
pub(crate) struct Fresh(pub(crate) fn() -> Fake);

impl Connect for Fresh {
    type Target = Fake;

    async fn connect(&self) -> Result<Fake, Failed> {
        Ok((self.0)())
    }
}
