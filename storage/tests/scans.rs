//! The hard corners of scans: pages that come twice, late, out of order or for another; scans that break off.

mod common;

use bytes::Bytes;
use common::hand::*;
use dynode_ring::NodeId;
use dynode_storage::answer::{Budget, Page, Scan};
use dynode_storage::codec::Part;
use dynode_storage::memory::MemorySnapshot;
use dynode_storage::reading::Reading;
use dynode_storage::{Clock, Object, Past, Refused, Store};

#[test]
fn every_key_of_a_scan_of_many_pages_arrives() {
    let (mut a, mut b) = (store(1), store(2));
    for i in 0..5 {
        put(&mut a, &key(i), b"v", Clock::new());
    }
    cut(&mut a);
    let mut scan = a.scan(P).unwrap();
    let mut after = Bytes::new();
    loop {
        let next = page(&mut scan, &mut b, &after, ONE);
        let (before, done) = (std::mem::replace(&mut after, next.after.clone()), next.done);
        take(&mut b, &before, next).unwrap();
        if done {
            break;
        }
    }
    assert!((0..5).all(|i| values(&mut b, &key(i)) == ["v"]), "the last key of a page is not behind the next one's");
    assert_eq!(clock(&mut a), clock(&mut b));
    assert_eq!(a.copy(P).unwrap().content(), b.copy(P).unwrap().content());
    assert!(!b.copy(P).unwrap().is_scanning());
}

#[test]
fn a_budget_of_nothing_still_moves_one_key_at_a_time() {
    let none = Budget { bytes: 0, keys: 0 };
    let (mut a, mut b) = (store(1), store(2));
    for i in 0..3 {
        put(&mut a, &key(i), b"v", Clock::new());
    }
    for left in [2, 1, 0] {
        let asker = clock(&mut b);
        let delta = a.delta(P, &asker, &mut Reading::new(), none).unwrap().unwrap();
        assert_eq!((delta.entries.len(), delta.more), (1, left > 0));
        b.absorb_delta(P, delta.entries).unwrap().unwrap();
    }
    let mut c = store(3);
    put(&mut a, &key(9), b"above the watermark", Clock::new());
    let mut scan = a.scan(P).unwrap();
    let first = page(&mut scan, &mut c, &Bytes::new(), none);
    assert!(!first.done && matches!(first.parts[..], [Part::Entry(_)]), "what is indexed comes first, with its dots");
}

#[test]
fn a_page_that_does_not_join_on_is_refused() {
    let (mut a, mut b) = (store(1), store(2));
    for i in 0..4 {
        put(&mut a, &key(i), b"v", Clock::new());
    }
    cut(&mut a);
    let mut scan = a.scan(P).unwrap();
    let first = page(&mut scan, &mut b, &Bytes::new(), ONE);
    let second_at = first.after.clone();
    let second = page(&mut scan, &mut b, &second_at, ONE);
    let last = page(&mut scan, &mut b, &second.after, ALL);
    let before_last = second.after.clone();
    assert!(last.done);
    assert_eq!(take(&mut b, &before_last, last), Err(Refused), "two pages are missing");
    assert!(clock(&mut b).is_empty(), "nothing is claimed");
    take(&mut b, &Bytes::new(), first).unwrap();
    let last = page(&mut scan, &mut b, &before_last, ALL);
    assert_eq!(take(&mut b, &before_last, last), Err(Refused), "one page is missing");
    take(&mut b, &second_at, second).unwrap();
    let last = page(&mut scan, &mut b, &before_last, ALL);
    assert_eq!(take(&mut b, &before_last, last), Ok(()));
    assert_eq!(clock(&mut a), clock(&mut b));
}

#[test]
fn a_claim_without_the_indexed_writes_is_refused() {
    let (mut a, mut b) = (store(1), store(2));
    put(&mut a, &key(0), b"v", Clock::new());
    cut(&mut a);
    let above = delete(&mut a, &key(1));
    let mut scan = a.scan(P).unwrap();
    // Made for a copy that had the delete, whose dot is all that is left of it; this one was rolled back since.
    let made_for_another = scan.page(&[above].into_iter().collect(), &Bytes::new(), ALL).unwrap();
    assert!(made_for_another.done);
    assert_eq!(take(&mut b, &Bytes::new(), made_for_another), Err(Refused));
    assert!(clock(&mut b).is_empty());
}

#[test]
fn a_refused_page_leaves_the_copy_as_it_was() {
    let (mut a, mut b) = (store(1), store(2));
    put(&mut a, &key(0), b"first", Clock::new());
    let known = put(&mut a, &key(1), b"known", Clock::new());
    cut(&mut a);
    let mut scan = a.scan(P).unwrap();
    let made_for_another = scan.page(&[known].into_iter().collect(), &Bytes::new(), ALL).unwrap();
    assert_eq!(take(&mut b, &Bytes::new(), made_for_another), Err(Refused));
    assert!(values(&mut b, &key(0)).is_empty(), "the key before the one that was refused");
    assert_eq!(b.recount(P).unwrap(), (0, 0));
    assert!(!b.copy(P).unwrap().is_scanning());
}

#[test]
fn pages_that_come_twice_or_anew_take_nothing_back() {
    let (mut a, mut b) = (store(1), store(2));
    for i in 0..4 {
        put(&mut a, &key(i), b"v", Clock::new());
    }
    cut(&mut a);
    let mut scan = a.scan(P).unwrap();
    let first = |scan: &mut Scan<MemorySnapshot>| scan.page(&Clock::new(), &Bytes::new(), ONE).unwrap();
    let at = first(&mut scan).after;
    let second = page(&mut scan, &mut b, &at, ONE);
    let second_at = second.after.clone();
    take(&mut b, &Bytes::new(), first(&mut scan)).unwrap();
    take(&mut b, &at, second).unwrap();
    take(&mut b, &Bytes::new(), first(&mut scan)).unwrap();
    let rest = page(&mut scan, &mut b, &second_at, ALL);
    assert_eq!(take(&mut b, &second_at, rest), Ok(()), "the first page again did not take back the second");
}

/// A scanned value has replaced another, and its own dot is not in the clock yet: whoever gets it from a copy that is
/// itself in the middle of a scan must learn what it has replaced.
#[test]
fn values_of_an_unfinished_scan_travel_with_their_past() {
    for by_scan in [false, true] {
        let (mut a, mut b, mut c) = (store(1), store(2), store(3));
        put(&mut a, &key(0), b"old", Clock::new());
        pull(&mut c, &mut a);
        let new = replace(&mut a, &key(0), b"new");
        put(&mut a, &key(1), b"more", Clock::new());
        cut(&mut a);
        let mut scan = a.scan(P).unwrap();
        let first = page(&mut scan, &mut b, &Bytes::new(), ONE);
        take(&mut b, &Bytes::new(), first).unwrap();
        assert!(b.copy(P).unwrap().is_scanning() && !clock(&mut b).has(new));
        put(&mut b, &key(0), b"aside", Clock::new());
        if by_scan {
            cut(&mut b);
            let mut scan = b.scan(P).unwrap();
            let all = page(&mut scan, &mut c, &Bytes::new(), ALL);
            take(&mut c, &Bytes::new(), all).unwrap();
        } else {
            pull(&mut c, &mut b);
        }
        assert_eq!(values(&mut c, &key(0)), ["new", "aside"], "the old value is not beside what replaced it");
    }
}

/// More unfinished scans than are remembered, each breaking off earlier than the one before: what the forgotten ones
/// said stays with the values that depend on it.
#[test]
fn many_scans_that_break_off_lose_no_past() {
    let (mut a, mut b, mut c) = (store(1), store(2), store(3));
    for i in 0..12 {
        put(&mut a, &key(i), b"old", Clock::new());
    }
    pull(&mut c, &mut a);
    for pages in (1..12).rev() {
        // The last key that this scan reaches, and no later one: only its own clock knows of the new value, and of the
        // one in between that the third copy has.
        let last = key(pages - 1);
        let between = replace(&mut a, &last, b"between");
        let letter = a.read(P, &last).unwrap();
        assert_eq!(c.apply(P, &last, letter, &[between]).unwrap(), Ok(1));
        replace(&mut a, &last, b"new");
        cut(&mut a);
        let mut scan = a.scan(P).unwrap();
        let mut after = Bytes::new();
        for _ in 0..pages {
            let next = page(&mut scan, &mut b, &after, ONE);
            let before = std::mem::replace(&mut after, next.after.clone());
            take(&mut b, &before, next).unwrap();
        }
        b.commit(true).unwrap();
    }
    assert!(clock(&mut b).is_empty() && b.copy(P).unwrap().is_scanning());
    for i in 0..11 {
        put(&mut b, &key(i), b"aside", Clock::new());
    }
    b.commit(true).unwrap();
    let mut b = Store::open(b.into_engine(), NodeId(2), 1, Past::Whole).unwrap();
    pull(&mut c, &mut b);
    for i in 0..11 {
        assert_eq!(values(&mut c, &key(i)), ["new", "aside"], "{}", key(i));
    }
}

#[test]
fn the_set_hash_survives_a_crash_in_the_middle_of_a_scan() {
    let (mut a, mut b) = (store(1), store(2));
    for i in 0..3 {
        put(&mut a, &key(i), b"v", Clock::new());
    }
    cut(&mut a);
    let mut scan = a.scan(P).unwrap();
    let first = page(&mut scan, &mut b, &Bytes::new(), ONE);
    take(&mut b, &Bytes::new(), first).unwrap();
    b.commit(true).unwrap();
    let mut b = Store::open(b.into_engine(), NodeId(2), 9, Past::Whole).unwrap();
    let content = b.copy(P).unwrap().content();
    assert_eq!(b.recount(P).unwrap(), (content, 1));
}

#[test]
fn scans_that_the_clock_has_caught_up_with_are_forgotten() {
    let (mut a, mut b, mut c) = (store(1), store(2), store(3));
    for i in 0..3 {
        put(&mut a, &key(i), b"v", Clock::new());
    }
    pull(&mut c, &mut a);
    cut(&mut a);
    let mut scan = a.scan(P).unwrap();
    let first = page(&mut scan, &mut b, &Bytes::new(), ONE);
    take(&mut b, &Bytes::new(), first).unwrap();
    pull(&mut b, &mut c); // the third still has its index
    assert!(b.copy(P).unwrap().maybe_unstripped(), "there is something to tidy");
    b.strip(P, 10).unwrap();
    assert!(!b.copy(P).unwrap().is_scanning());
    assert_eq!(clock(&mut b), clock(&mut c));
    assert_eq!(b.copy(P).unwrap().content(), c.copy(P).unwrap().content());
}

#[test]
fn the_set_hash_is_kept_where_a_page_brings_more_than_it_claims() {
    let (mut a, mut b, mut c) = (store(1), store(2), store(3));
    put(&mut a, &key(0), b"v", Clock::new());
    cut(&mut a);
    // The second is in the middle of a scan of the first: it has a value that its own clock does not know.
    put(&mut a, &key(1), b"w", Clock::new());
    cut(&mut a);
    let mut scan = a.scan(P).unwrap();
    let first = page(&mut scan, &mut b, &Bytes::new(), ONE);
    take(&mut b, &Bytes::new(), first).unwrap();
    assert!(clock(&mut b).is_empty());
    c.copy(P).unwrap();
    c.commit(true).unwrap();
    let mut scan = b.scan(P).unwrap();
    let all = page(&mut scan, &mut c, &Bytes::new(), Budget { bytes: 0, keys: 1 });
    assert!(all.done);
    take(&mut c, &Bytes::new(), Page { done: false, ..all }).unwrap();
    c.commit(true).unwrap();
    let mut c = Store::open(c.into_engine(), NodeId(3), 9, Past::Whole).unwrap();
    let content = c.copy(P).unwrap().content();
    assert_eq!(c.recount(P).unwrap(), (content, 1));
}

#[test]
fn a_late_write_behind_the_scan_does_not_bring_back_what_the_source_has_replaced() {
    let (mut a, mut b) = (store(1), store(2));
    let late = put(&mut a, &key(0), b"old", Clock::new());
    let letter = a.read(P, &key(0)).unwrap();
    replace(&mut a, &key(0), b"new");
    put(&mut a, &key(1), b"more", Clock::new());
    cut(&mut a);
    let mut scan = a.scan(P).unwrap();
    let first = page(&mut scan, &mut b, &Bytes::new(), ONE);
    let at = first.after.clone();
    take(&mut b, &Bytes::new(), first).unwrap();
    assert_eq!(b.apply(P, &key(0), letter, &[late]).unwrap(), Ok(1));
    assert_eq!(values(&mut b, &key(0)), ["new"]);
    let rest = page(&mut scan, &mut b, &at, ALL);
    take(&mut b, &at, rest).unwrap();
    assert_eq!(values(&mut b, &key(0)), ["new"]);
    assert_eq!(a.copy(P).unwrap().content(), b.copy(P).unwrap().content());
}

#[test]
fn the_effect_of_a_write_that_has_left_the_index_may_come_before_its_dot() {
    let (mut a, mut b, mut c) = (store(1), store(2), store(3));
    put(&mut a, &key(0), b"old", Clock::new());
    pull(&mut b, &mut a);
    pull(&mut c, &mut a);
    delete(&mut a, &key(0)); // the others never hear of it
    cut(&mut a);
    let aside = put(&mut a, &key(0), b"aside", Clock::new());
    assert_eq!(c.apply(P, &key(0), Object::put(aside, "aside".into(), Clock::new()), &[aside]).unwrap(), Ok(1));
    let mut scan = a.scan(P).unwrap();
    let indexed = page(&mut scan, &mut b, &Bytes::new(), ALL);
    take(&mut b, &Bytes::new(), indexed).unwrap();
    b.commit(true).unwrap();
    assert_eq!(clock(&mut b), clock(&mut c));
    assert_ne!(b.copy(P).unwrap().content(), c.copy(P).unwrap().content());
    let mut b = Store::open(b.into_engine(), NodeId(2), 1, Past::Whole).unwrap();
    assert!(b.copy(P).unwrap().is_scanning(), "its content is ahead of its clock, and it knows");
    // The scan's source is lost, and with it the dot of the delete.
    b.strip(P, 10).unwrap();
    assert!(b.adopt_orphans(P).unwrap());
    pull(&mut c, &mut b);
    assert_eq!((values(&mut b, &key(0)), values(&mut c, &key(0))), (vec!["aside".into()], vec!["aside".into()]));
    assert_eq!(b.copy(P).unwrap().content(), c.copy(P).unwrap().content());
    assert_eq!(clock(&mut b), clock(&mut c));
}
