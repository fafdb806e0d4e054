//! Single properties of copies: lives, letting go, stripping, lists, what is told and what is left.

mod common;

use bytes::Bytes;
use common::hand::*;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::reading::Reading;
use dynode_storage::{Clock, Dot, Engine, Object, ObjectKey, Past, Space, Store, View};

#[test]
fn stripping_comes_round_to_every_key() {
    let mut a = store(1);
    let unseen = |n| Dot { actor: dynode_storage::Actor { node: NodeId(9), life: 1 }, counter: n };
    // Contexts that the clock never comes to cover come first in order, one that it does comes last.
    for i in 0..3 {
        put(&mut a, &key(i), b"v", [unseen(5)].into_iter().collect());
    }
    put(&mut a, &key(3), b"v", [unseen(1)].into_iter().collect());
    a.apply(P, &key(8), Object::delete(Clock::new()), &[unseen(1)]).unwrap().unwrap();
    let listed = |a: &mut Mem| {
        a.commit(false).unwrap();
        let mut n = 0;
        a.engine().scan(Space::Index, &[0, 7, 2], &[0, 7, 3], &mut |_, _| (n += 1, true).1).unwrap();
        n
    };
    assert_eq!(listed(&mut a), 4);
    for _ in 0..4 {
        a.strip(P, 1).unwrap();
    }
    assert_eq!(listed(&mut a), 3, "the last key had its turn");
    assert!(a.copy(P).unwrap().maybe_unstripped());
    a.apply(P, &key(8), Object::delete(Clock::new()), &(2..6).map(unseen).collect::<Vec<_>>()).unwrap().unwrap();
    for _ in 0..8 {
        a.strip(P, 1).unwrap();
    }
    assert_eq!(listed(&mut a), 0);
    assert!(!a.copy(P).unwrap().maybe_unstripped());
}

#[test]
fn a_context_that_knows_of_closed_lives_says_which_must_be_outlived() {
    let mut a = store(1);
    let mut past = Clock::new();
    past.close(NodeId(9), 40);
    put(&mut a, &key(0), b"v", past);
    assert_eq!(a.copy(P).unwrap().last_life(NodeId(9)), 0);
    assert_eq!(a.strip(P, 10).unwrap(), 1);
    assert_eq!(a.copy(P).unwrap().last_life(NodeId(9)), 40, "or nobody ever closes as much as the context says");
    a.close_lives(P, &[(NodeId(9), 40)]).unwrap();
    assert_eq!(a.strip(P, 10).unwrap(), 0);
    assert!(!a.copy(P).unwrap().maybe_unstripped());
}

#[test]
fn a_copy_that_others_know_more_of_begins_a_new_life() {
    let mut a = store(1);
    let old = put(&mut a, &key(0), b"kept", Clock::new());
    let ahead = Dot { counter: old.counter + 4, ..old };
    let known: Clock = (1..=ahead.counter).map(|counter| Dot { counter, ..old }).collect();
    a.commit(true).unwrap();
    let engine = a.into_engine();
    let hears = |how: &str, what: &dyn Fn(&mut Mem)| {
        let mut a = Store::open(engine.clone(), NodeId(1), 50, Past::Whole).unwrap();
        what(&mut a);
        let next = a.next_dot(P).unwrap();
        assert!(next.actor.life > old.actor.life && next.counter == 1, "by {how}: {next}");
    };
    let value = |dot| Object::put(dot, Bytes::from_static(b"v"), Clock::new());
    hears("a clock", &|a| assert!(a.hear(P, &known).unwrap()));
    hears("a write", &|a| assert_eq!(a.apply(P, &key(1), value(ahead), &[ahead]).unwrap(), Ok(1)));
    hears("a value", &|a| assert_eq!(a.apply(P, &key(1), value(ahead), &[]).unwrap(), Ok(1)));
    hears("a context", &|a| assert_eq!(a.apply(P, &key(1), Object::delete(known.clone()), &[]).unwrap(), Ok(0)));
    hears("a scan", &|a| {
        let mut other = store(2);
        let dots: Vec<Dot> = (1..=ahead.counter).map(|counter| Dot { counter, ..old }).collect();
        assert_eq!(other.apply(P, &key(1), Object::delete(Clock::new()), &dots).unwrap(), Ok(5));
        cut(&mut other);
        let mut scan = other.scan(P).unwrap();
        let all = page(&mut scan, a, &Bytes::new(), ALL);
        take(a, &Bytes::new(), all).unwrap();
    });

    let mut a = Store::open(engine.clone(), NodeId(1), 50, Past::Whole).unwrap();
    assert!(!a.hear(P, &[old].into_iter().collect()).unwrap());
    assert_eq!(a.next_dot(P).unwrap(), Dot { counter: 2, ..old }, "what it knows itself is no news");
}

#[test]
fn lives_end_with_what_may_lack_and_go_on_with_what_is_whole() {
    let mut a = store(1);
    let dot = put(&mut a, &key(0), b"v", Clock::new());
    a.commit(true).unwrap();
    let mut whole = Store::open(a.into_engine(), NodeId(1), 50, Past::Whole).unwrap();
    assert_eq!(whole.next_dot(P).unwrap(), Dot { counter: 2, ..dot });
    let mut lacking = Store::open(whole.into_engine(), NodeId(1), 60, Past::MayLack).unwrap();
    let second = lacking.next_dot(P).unwrap().actor.life;
    assert!(second > dot.actor.life);
    // That it began a new life was not written; that none before may go on was.
    let mut again = Store::open(lacking.into_engine(), NodeId(1), 70, Past::Whole).unwrap();
    let third = again.next_dot(P).unwrap().actor.life;
    assert!(third > second);
    again.commit(true).unwrap();
    let mut once_more = Store::open(again.into_engine(), NodeId(1), 80, Past::Whole).unwrap();
    assert_eq!(once_more.copy(P).unwrap().actor().life, third, "a life that was written goes on");
}

#[test]
fn a_discarded_copy_is_gone_with_all_it_had_and_its_neighbours_stay() {
    let (before, after) = (PartitionId(P.0 - 1), PartitionId(P.0 + 1));
    let mut a = store(1);
    for p in [before, P, after] {
        let dot = a.next_dot(p).unwrap();
        a.apply(p, &key(0), Object::put(dot, Bytes::from_static(b"v"), Clock::new()), &[dot]).unwrap().unwrap();
    }
    a.commit(true).unwrap();
    put(&mut a, &key(1), b"not committed", Clock::new());
    let life = a.copy(P).unwrap().actor().life;
    a.discard(P).unwrap();
    assert_eq!(a.told(P).unwrap(), Clock::new());
    put(&mut a, &key(2), b"in the next life", Clock::new());
    assert!(a.copy(P).unwrap().actor().life > life);
    a.commit(true).unwrap();
    for mut a in [Store::open(a.engine().clone(), NodeId(1), 9, Past::Whole).unwrap(), a] {
        assert_eq!(a.list(P, b"bk", b"", b"", 10, |_| true).unwrap().0, ["c"]);
        assert_eq!(clock(&mut a).len(), 1);
        for p in [before, after] {
            assert_eq!(a.read(p, &key(0)).unwrap().values.len(), 1);
            assert_eq!(a.delta(p, &Clock::new(), &mut Reading::new(), ALL).unwrap().unwrap().entries.len(), 1);
        }
    }
}

#[test]
fn a_new_copy_in_the_turn_of_a_discard_reads_nothing_of_the_old_one() {
    let mut a = store(1);
    put(&mut a, &key(0), b"of the former life", Clock::new());
    a.commit(true).unwrap();
    a.discard(P).unwrap();
    let dot = put(&mut a, &key(0), b"of the new life", Clock::new());
    let object = a.read(P, &key(0)).unwrap();
    assert_eq!(object.dots().collect::<Vec<_>>(), [dot]);
    assert_eq!(a.recount(P).unwrap().0, a.copy(P).unwrap().content());
}

#[test]
fn looking_at_a_copy_that_is_not_there_makes_none() {
    let mut a = store(1);
    assert_eq!(a.read(P, &key(0)).unwrap(), Object::default());
    assert_eq!(a.told(P).unwrap(), Clock::new());
    assert!(a.delta(P, &Clock::new(), &mut Reading::new(), ALL).unwrap().unwrap().entries.is_empty());
    assert_eq!(a.list(P, b"bk", b"", b"", 10, |_| true).unwrap(), (vec![], false));
    assert_eq!((a.recount(P).unwrap(), a.strip(P, 10).unwrap()), ((0, 0), 0));
    assert!(!a.collect(P, &[]).unwrap() && !a.hear(P, &Clock::new()).unwrap() && a.find(P).unwrap().is_none());
    assert!(!a.has_pending());
}

#[test]
fn lists_come_in_pages() {
    let mut a = store(1);
    for name in ["a", "ab", "b", "ba", "bb", "c"] {
        put(&mut a, &ObjectKey::new(b"bk", name.as_bytes()), b"v", Clock::new());
    }
    put(&mut a, &ObjectKey::new(b"bkx", b"b"), b"another bucket", Clock::new());
    delete(&mut a, &ObjectKey::new(b"bk", b"ba"));
    let mut list = |prefix: &str, after: &str, limit| {
        let (keys, more) = a.list(P, b"bk", prefix.as_bytes(), after.as_bytes(), limit, |_| true).unwrap();
        let keys: Vec<String> = keys.iter().map(|k| k.escape_ascii().to_string()).collect();
        (keys.join(" "), more)
    };
    assert_eq!(list("", "", 10), ("a ab b bb c".into(), false));
    assert_eq!(list("", "", 2), ("a ab".into(), true));
    assert_eq!(list("", "ab", 2), ("b bb".into(), true));
    assert_eq!(list("", "bb", 2), ("c".into(), false));
    assert_eq!(list("b", "", 2), ("b bb".into(), false), "what comes behind the prefix is not more");
    assert_eq!(list("b", "b", 9), ("bb".into(), false));
    assert_eq!(list("b", "bb", 9), (String::new(), false));
    assert_eq!(list("x", "", 9), (String::new(), false));
}

#[test]
fn a_settled_key_is_one_dot_and_a_deleted_one_is_nothing() {
    let mut a = store(1);
    for _ in 0..3 {
        replace(&mut a, &key(0), b"value");
    }
    put(&mut a, &key(1), b"value", Clock::new());
    delete(&mut a, &key(1));
    let own = clock(&mut a);
    assert!(a.collect(P, &[&own]).unwrap() && !a.collect(P, &[&own]).unwrap());
    a.close().unwrap();
    let engine = a.engine();
    let mut stored = Vec::new();
    for space in [Space::Objects, Space::Index] {
        engine.scan(space, &[], &[0xff; 4], &mut |k, v| (stored.push((k.len(), v.len())), true).1).unwrap();
    }
    assert_eq!(stored, [(2 + key(0).as_bytes().len(), 22 + b"value".len() - 1)]);
    assert!(!engine.has_unsynced());
}

#[test]
fn what_was_synced_is_told_and_nothing_else() {
    let mut a = store(1);
    put(&mut a, &key(0), b"v", Clock::new());
    assert!(a.told(P).unwrap().is_empty() && a.has_unsynced() && a.has_pending());
    a.commit(false).unwrap();
    assert!(a.told(P).unwrap().is_empty() && a.has_unsynced() && !a.has_pending());
    let syncs = a.engine().syncs();
    a.commit(true).unwrap();
    assert_eq!((a.told(P).unwrap(), a.engine().syncs()), (clock(&mut a), syncs + 1));
    a.commit(true).unwrap();
    assert_eq!(a.engine().syncs(), syncs + 1, "nothing new to sync");
    assert!(!a.has_unsynced());
    assert_eq!(a.copy(P).unwrap().told_content(), a.copy(P).unwrap().content());
    let _ = a.engine().size(Space::Objects);
}

#[test]
fn an_answer_says_nothing_that_is_not_synced() {
    let mut a = store(1);
    put(&mut a, &key(0), b"v", Clock::new());
    assert_eq!(a.delta(P, &Clock::new(), &mut Reading::new(), ALL).unwrap().unwrap().entries.len(), 1);
    assert!(!a.has_unsynced() && !a.engine().has_unsynced(), "after a delta");
    put(&mut a, &key(1), b"v", Clock::new());
    let scan = a.scan(P).unwrap();
    assert_eq!(scan.clock().len(), 2);
    assert!(!a.has_unsynced() && !a.engine().has_unsynced(), "after a scan has begun");
}

#[test]
fn the_set_hash_is_kept_where_no_dot_is_new() {
    let mut a = store(1);
    let dot = put(&mut a, &key(0), b"v", Clock::new());
    a.commit(true).unwrap();
    assert_eq!(a.apply(P, &key(0), Object::delete([dot].into_iter().collect()), &[]).unwrap(), Ok(0));
    a.commit(true).unwrap();
    let mut a = Store::open(a.into_engine(), NodeId(1), 9, Past::Whole).unwrap();
    let content = a.copy(P).unwrap().content();
    assert_eq!(a.recount(P).unwrap(), (content, 0));
}

#[test]
fn an_entry_carries_every_dot_of_its_key() {
    let (mut a, mut b) = (store(1), store(2));
    let mut dots = vec![put(&mut a, &key(0), b"first", Clock::new()), replace(&mut a, &key(0), b"second")];
    put(&mut a, &key(1), b"aside", Clock::new());
    dots.push(delete(&mut a, &key(0)));
    let other = put(&mut b, &key(0), b"of another", Clock::new());
    pull(&mut a, &mut b);
    dots.push(other);
    for only in [None, Some(key(0))] {
        let delta = match &only {
            Some(key) => a.delta_of(P, &Clock::new(), key),
            None => a.delta(P, &Clock::new(), &mut Reading::new(), ALL),
        };
        let delta = delta.unwrap().unwrap();
        assert_eq!(delta.entries[0].key, key(0));
        assert_eq!(delta.entries[0].dots, dots);
        assert_eq!(delta.entries.len(), if only.is_some() { 1 } else { 2 });
    }
}

#[test]
fn index_entries_wait_for_all_others_to_be_collected_and_for_one_to_be_cut() {
    let mut a = store(1);
    let dots = [put(&mut a, &key(0), b"v", Clock::new()), put(&mut a, &key(1), b"v", Clock::new())];
    let (one, both): (Clock, Clock) = (dots[..1].iter().copied().collect(), dots.into_iter().collect());
    let none = Clock::new();
    assert!(!a.collect(P, &[&both, &none]).unwrap() && !a.cut_index(P, &[&none, &none]).unwrap());
    assert!(a.collect(P, &[&both, &one]).unwrap());
    assert_eq!(a.copy(P).unwrap().indexed(), 1);
    assert!(!a.cut_index(P, &[&one, &none]).unwrap() && !a.cut_index(P, &[]).unwrap(), "what nobody else has stays");
    assert!(a.cut_index(P, &[&none, &both]).unwrap());
    assert_eq!(a.copy(P).unwrap().indexed(), 0);
    assert!(a.delta(P, &one, &mut Reading::new(), ALL).unwrap().is_none(), "the index does not reach back so far");
    assert!(a.delta(P, &both, &mut Reading::new(), ALL).unwrap().is_some());
}
