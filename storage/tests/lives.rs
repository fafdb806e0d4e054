//! Lives: what is refused stays refused, copies that are too old are known, a copy in a new life is recovering; and what a
//! thousand unclean restarts leave behind once ended lives are closed: little.

mod common;

use common::hand::*;
use dynode_ring::NodeId;
use dynode_storage::codec::encode_clock;
use dynode_storage::{Clock, ObjectKey, Past, Space, Store, View};

const RESTARTS: u64 = 1_000;
const KEYS: u8 = 20;

/// What is held of one copy, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    clock: usize,
    client_context: usize,
    checkpoint: usize,
    object_stored: usize,
    index: usize,
}

/// Three copies; before each write the copy that takes it loses power, and begins a new life. `closing`: with the closing
/// of the lives that have ended, ten restarts at a time.
fn live(closing: bool) -> Sizes {
    let mut stores: Vec<Mem> = (1..=3).map(store).collect();
    for n in 0..RESTARTS {
        let at = (n % 3) as usize;
        let old = std::mem::replace(&mut stores[at], store(9));
        let mut engine = old.into_engine();
        engine.lose_unsynced();
        stores[at] = Store::open(engine, NodeId(at as u64 + 1), (n + 2) << 22, Past::MayLack).unwrap();
        replace(&mut stores[at], &key((n % u64::from(KEYS)) as u8), b"value");
        stores[at].commit(true).unwrap();
        for other in (0..3).filter(|other| *other != at) {
            let [from, to] = stores.get_disjoint_mut([at, other]).unwrap();
            pull(to, from);
            to.commit(true).unwrap();
        }
        if closing && n % 10 == 9 {
            let lives: Vec<(NodeId, u64)> = (0..3)
                .map(|i| (NodeId(i as u64 + 1), stores[i].find(P).unwrap().map_or(1, |copy| copy.actor().life)))
                .collect();
            let closer = (n / 10 % 3) as usize;
            assert!(stores[closer].close_lives(P, &lives).unwrap());
            for other in (0..3).filter(|other| *other != closer) {
                let [from, to] = stores.get_disjoint_mut([closer, other]).unwrap();
                pull(to, from);
            }
        }
        let clocks: Vec<Clock> = stores.iter_mut().map(clock).collect();
        for (at, store) in stores.iter_mut().enumerate() {
            let others: Vec<&Clock> = clocks.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, c)| c).collect();
            store.collect(P, &others).unwrap();
            store.strip(P, 100).unwrap();
            store.commit(true).unwrap();
        }
    }
    let clocks: Vec<Clock> = stores.iter_mut().map(clock).collect();
    assert!(clocks.iter().all(|c| *c == clocks[0]), "the copies are equal");
    sizes(&mut stores[0], &key(0))
}

fn sizes(store: &mut Mem, key: &ObjectKey) -> Sizes {
    store.close().unwrap();
    let context = store.read(P, key).unwrap().client_context();
    let clock = encode_clock(&clock(store)).len();
    let stored = |space, from: &[u8], to: &[u8]| {
        let mut bytes = 0;
        let mut add = |at: &[u8], value: &[u8]| (bytes += at.len() + value.len(), true).1;
        store.engine().scan(space, from, to, &mut add).unwrap();
        bytes
    };
    let object = store.engine().get(Space::Objects, &[&[0, 7][..], key.as_bytes()].concat()).unwrap().unwrap();
    Sizes {
        clock,
        client_context: encode_clock(&context).len(),
        checkpoint: stored(Space::Clocks, &[], &[0xff; 3]),
        object_stored: object.len() - b"value".len(),
        index: stored(Space::Index, &[], &[0xff; 3]),
    }
}

#[test]
fn a_thousand_unclean_restarts_leave_little_behind() {
    let (open, closed) = (live(false), live(true));
    println!("after {RESTARTS} unclean restarts of three copies, bytes: {open:?} with lives left open");
    println!("after {RESTARTS} unclean restarts of three copies, bytes: {closed:?} with lives closed");
    assert!(open.clock > 16_000, "else there is nothing to close");
    for size in [closed.clock, closed.client_context, closed.checkpoint] {
        assert!(size < 1024, "{closed:?}");
    }
    assert!(closed.object_stored < 64, "a settled key has one dot: {closed:?}");
    assert!(closed.index == 0, "nothing is left in the index: {closed:?}");
}

fn reopen(store: Mem, first_life: u64, past: Past) -> Mem {
    Store::open(store.into_engine(), NodeId(1), first_life, past).unwrap()
}

#[test]
fn what_is_refused_stays_refused() {
    let (mut a, lives) = (store(1), [(NodeId(1), 1 << 30), (NodeId(2), 40)]);
    assert!(a.refused(P).is_empty());
    a.refuse(P, &lives).unwrap();
    a.refuse(P, &[(NodeId(2), 30), (NodeId(3), 7)]).unwrap();
    a.commit(true).unwrap();
    let all = [lives[0], lives[1], (NodeId(3), 7)];
    assert_eq!(a.refused(P), all, "a promise only grows");
    let mut a = reopen(a, 1, Past::Whole);
    assert_eq!(a.refused(P), all);
    assert!(a.copy(P).unwrap().actor().life >= 1 << 30, "and binds its own lives too");
}

#[test]
fn a_dot_of_a_refused_life_is_taken_only_from_those_who_refuse_it() {
    let (mut a, mut b) = (store(1), store(2));
    let known = put(&mut b, &key(0), b"known", Clock::new());
    pull(&mut a, &mut b);
    let unknown = put(&mut b, &key(0), b"unknown", Clock::new());
    let lives = [(NodeId(2), known.actor.life + 1)];
    a.refuse(P, &lives).unwrap();
    let of = |dot| [dot].into_iter().collect::<Clock>();
    assert!(!a.brings_refused(P, &[], &of(known)).unwrap(), "it is here");
    assert!(a.brings_refused(P, &[], &of(unknown)).unwrap());
    assert!(!a.brings_refused(P, &lives, &of(unknown)).unwrap(), "it was handed over");
    assert!(a.refuses(P, unknown));
}

#[test]
fn who_holds_nothing_of_a_life_refuses_it_with_the_others() {
    let (mut a, mut b, mut c) = (store(1), store(2), store(3));
    put(&mut b, &key(0), b"v", Clock::new());
    put(&mut c, &key(0), b"v", Clock::new());
    pull(&mut a, &mut b);
    let life = |s: &mut Mem| s.copy(P).unwrap().actor().life;
    let theirs = [(NodeId(2), life(&mut b) + 1), (NodeId(3), life(&mut c) + 1)];
    a.adopt_refused(P, &theirs).unwrap();
    assert_eq!(a.refused(P), [theirs[1]], "what it holds of the other it has still to hand over");
}

#[test]
fn a_copy_older_than_a_closing_is_known_and_its_values_are_set_aside() {
    let (mut a, mut b) = (store(1), store(2));
    put(&mut b, &key(0), b"doubtful", Clock::new());
    pull(&mut a, &mut b);
    put(&mut a, &key(1), b"own", Clock::new());
    let closed = [(NodeId(2), b.copy(P).unwrap().actor().life + 1)];
    assert!(!a.predates(P, &[]).unwrap());
    assert!(!a.predates(P, &[(NodeId(3), 1 << 40)]).unwrap(), "it holds nothing of that one");
    assert!(a.predates(P, &closed).unwrap());
    let mut member = reopen(a, 1 << 40, Past::Whole);
    member.refuse(P, &closed).unwrap();
    assert!(!member.predates(P, &closed).unwrap(), "who has refused it was there when it was closed");

    let (mut a, mut b) = (store(1), store(2));
    put(&mut b, &key(0), b"doubtful", Clock::new());
    pull(&mut a, &mut b);
    put(&mut a, &key(1), b"own", Clock::new());
    assert_eq!(a.set_aside(P, &closed).unwrap(), 1);
    a.commit(true).unwrap();
    assert!(a.find(P).unwrap().is_none(), "it is no copy any more");
    assert_eq!(a.refused(P), closed);
    let mut aside = Vec::new();
    a.engine().scan(Space::Meta, b"aside/", b"aside0", &mut |_, value| (aside.push(value.to_vec()), true).1).unwrap();
    assert_eq!(aside, [b"doubtful".to_vec()]);
}

#[test]
fn a_copy_is_recovering_until_it_is_told_otherwise() {
    let mut a = store(1);
    put(&mut a, &key(0), b"v", Clock::new());
    assert!(a.copy(P).unwrap().is_recovering(), "a new copy");
    a.commit(true).unwrap();
    let mut a = reopen(a, 1 << 30, Past::Whole);
    assert!(a.copy(P).unwrap().is_recovering(), "a restart changes nothing");
    a.recovered(P).unwrap();
    a.commit(true).unwrap();
    let mut a = reopen(a, 1 << 31, Past::Whole);
    assert!(!a.copy(P).unwrap().is_recovering());
    a.go_on_in_new_life(P).unwrap();
    assert!(!a.copy(P).unwrap().is_recovering(), "a new life as a precaution takes nothing from it");
    a.commit(true).unwrap();
    let mut a = reopen(a, 1 << 32, Past::MayLack);
    assert!(a.copy(P).unwrap().is_recovering(), "a power cut may have taken something");
}

#[test]
fn lives_go_on_beyond_what_others_know() {
    let mut a = store(1);
    let life = a.copy(P).unwrap().actor().life;
    let mut known = Clock::new();
    known.close(NodeId(1), 1 << 30);
    assert!(a.hear(P, &known).unwrap(), "its life is closed");
    assert!(a.copy(P).unwrap().actor().life >= 1 << 30 && life < 1 << 30);
    known.add(dynode_storage::Dot { actor: dynode_storage::Actor { node: NodeId(1), life: 1 << 40 }, counter: 1 });
    assert!(a.hear(P, &known).unwrap(), "others know a later one");
    let now = a.copy(P).unwrap().actor().life;
    assert!(now > 1 << 40);
    assert!(!a.hear(P, &known).unwrap());
    assert!(a.outlive(P, now + 1).unwrap() && !a.outlive(P, now + 1).unwrap());
    a.commit(true).unwrap();
    let a = reopen(a, 1, Past::Whole);
    assert!(a.next_life() > now, "a restart with a clock set back remembers");
}
