//! Merging objects, and that every stored and sent form comes back as it was.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynode_ring::NodeId;
use dynode_storage::codec::{self, Checkpoint, Claim, Entry, Part, Scanned};
use dynode_storage::copy::Wholeness;
use dynode_storage::{Actor, Clock, Dot, Object, ObjectKey, Payload, Sibling};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};

fn dots() -> impl Strategy<Value = Dot> {
    (0..3u64, 0..2u64, 1..12u64)
        .prop_map(|(node, life, counter)| Dot { actor: Actor { node: NodeId(node), life }, counter })
}

fn clocks() -> impl Strategy<Value = Clock> {
    let closed = prop::collection::vec((0..3u64, 0..2u64), 0..2);
    (prop::collection::vec(dots(), 0..12), closed).prop_map(|(dots, closed)| {
        let mut clock: Clock = dots.into_iter().collect();
        closed.into_iter().for_each(|(node, life)| clock.close(NodeId(node), life));
        clock
    })
}

/// The value of a dot: one write has one value.
fn value(dot: Dot) -> Bytes {
    vec![dot.counter as u8; (dot.counter + dot.actor.node.0) as usize].into()
}

/// Objects as they travel: the context knows the values. Some values are left out as known.
fn objects() -> impl Strategy<Value = Object> {
    (prop::collection::btree_map(dots(), prop::bool::weighted(0.2), 0..5), clocks()).prop_map(
        |(values, mut context)| {
            values.keys().for_each(|d| context.add(*d));
            let payload = |dot, known| if known { Payload::Known } else { Payload::Here(value(dot)) };
            let values = values.into_iter().map(|(dot, known)| Sibling { dot, value: payload(dot, known) });
            Object { values: values.collect(), context }
        },
    )
}

fn keys() -> impl Strategy<Value = ObjectKey> {
    (prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(bucket, key)| ObjectKey::new(&bucket, &key))
}

fn entries() -> impl Strategy<Value = Entry> {
    (keys(), objects(), prop::collection::vec(dots(), 0..5)).prop_map(|(key, object, dots)| Entry { key, object, dots })
}

/// The rule of merging, said over sets.
fn merged(a: &Object, b: &Object) -> BTreeMap<Dot, bool> {
    let values = |o: &Object| o.values.iter().map(|s| (s.dot, s.value != Payload::Known)).collect::<BTreeMap<_, _>>();
    let (va, vb) = (values(a), values(b));
    let mut out = BTreeMap::new();
    for (dot, here) in va.iter().chain(&vb) {
        let survives = |mine: &BTreeMap<Dot, bool>, context: &Clock| mine.contains_key(dot) || !context.has(*dot);
        if survives(&va, &a.context) && survives(&vb, &b.context) {
            *out.entry(*dot).or_insert(false) |= here;
        }
    }
    out
}

/// The same cases on every run; one that fails is kept in a file beside this one and tried first from then on.
fn config() -> ProptestConfig {
    let kept = FileFailurePersistence::Direct("tests/object_laws.regressions");
    let failure_persistence: Option<Box<dyn proptest::test_runner::FailurePersistence>> = Some(Box::new(kept));
    ProptestConfig { cases: 3000, rng_seed: RngSeed::Fixed(1), failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn merging_follows_the_rule(a in objects(), b in objects()) {
        let object = a.clone().merge(b.clone());
        let values: BTreeMap<Dot, bool> = object.values.iter().map(|s| (s.dot, s.value != Payload::Known)).collect();
        prop_assert_eq!(values, merged(&a, &b));
        prop_assert_eq!(&object.context, &a.context.union(&b.context));
        for s in &object.values {
            prop_assert!(s.value.bytes().is_none_or(|bytes| *bytes == value(s.dot)));
            prop_assert_eq!(object.value(s.dot), Some(s));
        }
        prop_assert!(object.dots().is_sorted());
    }

    #[test]
    fn merging_is_commutative_associative_and_idempotent(a in objects(), b in objects(), c in objects()) {
        prop_assert_eq!(a.clone().merge(b.clone()), b.clone().merge(a.clone()));
        let ab = a.clone().merge(b.clone());
        prop_assert_eq!(&ab.clone().merge(b.clone()), &ab);
        prop_assert_eq!(&a.clone().merge(a.clone()), &a);
        prop_assert_eq!(ab.merge(c.clone()), a.merge(b.merge(c)));
    }

    #[test]
    fn clients_are_given_exactly_what_was_seen(a in objects()) {
        prop_assert_eq!(a.client_context(), a.context);
    }

    #[test]
    fn every_form_comes_back_as_it_was(entry in entries(), clock in clocks(), claim in (clocks(), clocks(), clocks(), any::<u64>()), moved: u64) {
        prop_assert_eq!(&codec::decode_clock(codec::encode_clock(&clock).into()).unwrap(), &clock);
        prop_assert_eq!(&codec::decode_object(codec::encode_object(&entry.object).into()).unwrap(), &entry.object);
        let dots = codec::encode_dots(entry.dots.iter().copied());
        prop_assert_eq!(&codec::decode_dots(dots.into()).unwrap(), &entry.dots);
        let encoded = codec::encode_entry(&entry.key, &entry.object, &entry.dots);
        prop_assert_eq!(&codec::decode_entry(encoded.into()).unwrap(), &entry);
        let index = codec::encode_index(&entry.key, moved);
        prop_assert_eq!(index.len(), 9 + entry.key.as_bytes().len());
        prop_assert_eq!(codec::decode_index(index.into()).unwrap(), (entry.key.clone(), moved));
        let remains = claim.2.clone();
        let claim = Part::Claim(Claim { clock: claim.0, watermark: claim.1, remains: claim.2, content: claim.3 });
        let parts = vec![Part::Entry(entry.clone()), Part::Entry(entry.clone()), claim];
        prop_assert_eq!(codec::decode_parts(codec::encode_parts(&parts).into()).unwrap(), parts);
        let scans = vec![Scanned { upto: entry.key.as_bytes().clone(), clock: clock.clone() }];
        let content = !moved;
        let checkpoint =
            Checkpoint { life: moved, wholeness: if moved % 2 == 0 { Wholeness::MayLack } else { Wholeness::Whole }, clock: entry.object.context, watermark: clock, content, remains, scans };
        prop_assert_eq!(codec::decode_checkpoint(codec::encode_checkpoint(&checkpoint).into()).unwrap(), checkpoint);
    }

    #[test]
    fn answers_come_back_whatever_their_contexts_share(entries in proptest::collection::vec(entries(), 0..6), past in clocks()) {
        let mut parts: Vec<Part> = entries.into_iter().map(Part::Entry).collect();
        prop_assert_eq!(&codec::decode_parts(codec::encode_parts(&parts).into()).unwrap(), &parts);
        for part in &mut parts {
            if let Part::Entry(entry) = part {
                entry.object.context.merge(&past.floor());
            }
        }
        prop_assert_eq!(&codec::decode_parts(codec::encode_parts(&parts).into()).unwrap(), &parts);
    }

    #[test]
    fn keys_come_back_and_keep_their_order(a in keys(), b in keys()) {
        prop_assert_eq!(&ObjectKey::new(a.bucket(), a.key()), &a);
        prop_assert_eq!(&ObjectKey::from_bytes(a.as_bytes().clone()).unwrap(), &a);
        prop_assert_eq!(a.cmp(&b), a.as_bytes().cmp(b.as_bytes()));
        if a.bucket() == b.bucket() {
            prop_assert_eq!(a.cmp(&b), a.key().cmp(b.key()));
        }
    }
}
