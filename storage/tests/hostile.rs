//! Bytes that nobody of ours has written: decoders return errors, never panic, never take more memory than a small
//! multiple of what they were given, and accept only what the encoder would have written.

mod common;

use bytes::Bytes;
use common::rng::Rng;
use dynode_ring::NodeId;
use dynode_storage::clock::DotRange;
use dynode_storage::codec::{self, Checkpoint, Claim, Entry, Part, Scanned};
use dynode_storage::copy::Wholeness;
use dynode_storage::seal::SealKey;
use dynode_storage::{Actor, Clock, Dot, Object, ObjectKey, Payload, Sibling};

const INPUTS: usize = 1_000_000;

fn dot(rng: &mut Rng) -> Dot {
    let actor = Actor { node: NodeId(rng.below(3) as u64), life: rng.below(2) as u64 };
    Dot { actor, counter: 1 + (rng.next() >> (3 + rng.below(61))).min((u64::MAX >> 3) - 10) }
}

fn clock(rng: &mut Rng) -> Clock {
    let mut clock = Clock::new();
    for _ in 0..rng.below(5) {
        let Dot { actor, counter } = dot(rng);
        clock.add_range(DotRange { actor, first: counter, last: counter + rng.below(9) as u64 });
        if rng.chance(300) {
            clock.close(actor.node, dot(rng).actor.life);
        }
    }
    clock
}

fn object(rng: &mut Rng) -> Object {
    let mut values: Vec<Dot> = (0..rng.below(4)).map(|_| dot(rng)).collect();
    values.sort();
    values.dedup();
    let payload =
        |rng: &mut Rng| if rng.chance(300) { Payload::Known } else { Payload::Here(vec![7; rng.below(9)].into()) };
    let values = values.into_iter().map(|dot| Sibling { dot, value: payload(rng) }).collect();
    Object { values, context: clock(rng) }
}

fn entry(rng: &mut Rng) -> Entry {
    let key = ObjectKey::new(&b"bucket"[..rng.below(7)], &b"key"[..rng.below(4)]);
    Entry { key, object: object(rng), dots: (0..rng.below(4)).map(|_| dot(rng)).collect() }
}

const FORMS: usize = 8;

/// A sound encoding of one of the forms.
fn sound(form: usize, rng: &mut Rng) -> Vec<u8> {
    match form {
        0 => codec::encode_clock(&clock(rng)),
        1 => codec::encode_object(&object(rng)),
        2 => codec::encode_dots((0..rng.below(5)).map(|_| dot(rng)).collect::<Vec<_>>()),
        3 => {
            let e = entry(rng);
            codec::encode_entry(&e.key, &e.object, &e.dots)
        }
        4 => {
            let mut parts: Vec<Part> = (0..rng.below(4)).map(|_| Part::Entry(entry(rng))).collect();
            if rng.chance(500) {
                let (clock, watermark, remains) = (clock(rng), clock(rng), clock(rng));
                parts.push(Part::Claim(Claim { clock, watermark, remains, content: rng.next() }));
            } else if let closed = clock(rng)
                && !closed.closed().is_empty()
            {
                parts.push(Part::Closed(closed.closed().to_vec()));
            }
            codec::encode_parts(&parts)
        }
        5 => {
            let scans = (0..rng.below(3)).map(|_| Scanned { upto: Bytes::from_static(b"\0\0k"), clock: clock(rng) });
            let scans = scans.collect();
            codec::encode_checkpoint(&Checkpoint {
                life: 1,
                wholeness: if rng.chance(500) { Wholeness::New } else { Wholeness::Whole },
                clock: clock(rng),
                watermark: clock(rng),
                content: 2,
                remains: clock(rng),
                scans,
            })
        }
        6 => codec::encode_index(&entry(rng).key, rng.next()),
        _ => entry(rng).key.as_bytes().to_vec(),
    }
}

/// Decodes; what is accepted is encoded again and must come out as it went in, since there is but one way to say it.
/// Returns about how many bytes the outcome takes in memory, or `None` for a refusal.
fn decode(form: usize, bytes: Bytes) -> Option<usize> {
    let clock_size = |c: &Clock| c.closed().len() * 16 + c.actors() * 48 + c.ranges().count() * 16;
    let object_size = |o: &Object| o.values.capacity() * size_of::<Sibling>() + clock_size(&o.context);
    let entry_size = |e: &Entry| size_of::<Entry>() + object_size(&e.object) + e.dots.capacity() * size_of::<Dot>();
    Some(match form {
        0 => {
            let clock = codec::decode_clock(bytes.clone()).ok()?;
            assert_eq!(codec::encode_clock(&clock), bytes);
            clock_size(&clock)
        }
        1 => {
            let object = codec::decode_object(bytes.clone()).ok()?;
            assert_eq!(codec::encode_object(&object), bytes);
            object_size(&object)
        }
        2 => {
            let dots = codec::decode_dots(bytes.clone()).ok()?;
            assert_eq!(codec::encode_dots(dots.iter().copied()), bytes);
            dots.capacity() * size_of::<Dot>()
        }
        3 => {
            let entry = codec::decode_entry(bytes.clone()).ok()?;
            assert_eq!(codec::encode_entry(&entry.key, &entry.object, &entry.dots), bytes);
            entry_size(&entry)
        }
        4 => {
            let part_size = |p: &Part| match p {
                Part::Entry(e) => size_of::<Part>() + entry_size(e),
                Part::Claim(c) => {
                    size_of::<Part>() + clock_size(&c.clock) + clock_size(&c.watermark) + clock_size(&c.remains)
                }
                Part::Closed(closed) => size_of::<Part>() + closed.capacity() * size_of::<(NodeId, u64)>(),
            };
            codec::decode_parts(bytes).ok()?.iter().map(part_size).sum()
        }
        5 => {
            let c = codec::decode_checkpoint(bytes.clone()).ok()?;
            assert_eq!(codec::encode_checkpoint(&c), bytes);
            let scans: usize = c.scans.iter().map(|s| size_of::<Scanned>() + clock_size(&s.clock)).sum();
            clock_size(&c.clock) + clock_size(&c.watermark) + clock_size(&c.remains) + scans
        }
        6 => {
            let (key, moved) = codec::decode_index(bytes.clone()).ok()?;
            assert_eq!(codec::encode_index(&key, moved), bytes);
            0
        }
        _ => {
            let key = ObjectKey::from_bytes(bytes)?;
            assert_eq!(ObjectKey::new(key.bucket(), key.key()), key);
            0
        }
    })
}

/// A few changes of the kinds that hurt decoders: flips, cuts, repeats, and great numbers in the middle.
fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(bytes.len() + 1);
        match rng.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 => bytes.truncate(at),
            2 if at < bytes.len() => bytes[at] = *rng.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            3 => drop(bytes.splice(at..at, [0xff; 9])),
            4 => drop(bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
            _ => {
                let tail = bytes[at..].to_vec();
                bytes.extend(tail);
            }
        }
    }
}

#[test]
fn decoders_take_any_bytes() {
    let mut rng = Rng::new(1);
    let (mut accepted, mut refused) = ([0; FORMS], [0; FORMS]);
    for i in 0..INPUTS {
        let form = i % FORMS;
        let mut bytes = match rng.below(4) {
            0 => (0..rng.below(60)).map(|_| (rng.next() >> rng.below(64)) as u8).collect(),
            _ => sound(form, &mut rng),
        };
        if rng.chance(900) {
            mutate(&mut bytes, &mut rng);
        }
        let given = bytes.len();
        match decode(form, bytes.into()) {
            Some(size) => {
                accepted[form] += 1;
                assert!(size <= 64 * (given + 1), "{size} bytes of memory for {given} of form {form}");
            }
            None => refused[form] += 1,
        }
    }
    assert!(accepted.iter().all(|n| *n > 1000), "{accepted:?}");
    assert!(refused.iter().all(|n| *n > 1000), "{refused:?}");
}

#[test]
fn sound_bytes_are_accepted_and_each_cut_of_them_is_refused() {
    let mut rng = Rng::new(2);
    for i in 0..20_000 {
        let form = i % FORMS;
        let bytes = Bytes::from(sound(form, &mut rng));
        assert!(decode(form, bytes.clone()).is_some());
        if ![2, 4, 6, 7].contains(&form) {
            // Dots, parts and keys have no length of their own: a cut at a boundary is sound.
            (0..bytes.len()).for_each(|len| assert!(decode(form, bytes.slice(..len)).is_none()));
        }
    }
}

#[test]
fn counts_of_nothing_take_no_memory() {
    // "2^64 - 1 of these follow", where nothing does.
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    for form in 0..6 {
        for prefix in [&[1][..], &[1, 1], &[1, 0], &[1, 0, 0, 0], &[0; 17], &[1; 17]] {
            assert_eq!(decode(form, [prefix, &huge].concat().into()), None);
        }
    }
}

#[test]
fn clocks_have_one_form() {
    let a = |n: u8| [&[n][..], &[0; 15]].concat();
    let clock = |parts: &[&[u8]]| codec::decode_clock([&[1][..], &parts.concat()].concat().into());
    assert!(clock(&[&[2], &a(1), &[1, 1, 0], &a(2), &[1, 1, 0]]).is_ok());
    assert!(clock(&[&[2], &a(2), &[1, 1, 0], &a(1), &[1, 1, 0]]).is_err(), "actors descend");
    assert!(clock(&[&[2], &a(1), &[1, 1, 0], &a(1), &[1, 5, 0]]).is_err(), "an actor twice");
    assert!(
        clock(&[&[1], &a(1), &[0]]).is_err() && clock(&[&[1], &a(1), &[0, 0, 0, 0]]).is_err(),
        "an actor of no dots"
    );
    assert!(clock(&[&[1], &a(1), &[2, 1, 0, 1, 0]]).is_err(), "runs touch");
    assert!(clock(&[&[1], &a(1), &[2, 1, 0, 2, 0]]).is_ok());
    assert!(clock(&[&[1], &a(1), &[1, 0, 3]]).is_err(), "counter 0");
    let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f];
    assert!(clock(&[&[1], &a(1), &[1, 1], &most]).is_err(), "a counter that no write has");
}

#[test]
fn values_have_one_order() {
    let value = |n: u8| [&[n][..], &[0; 15], &[1, 0]].concat();
    let object = |a, b| codec::decode_object([&[1, 2][..], &value(a), &value(b), &[0]].concat().into());
    assert!(object(1, 2).is_ok());
    assert!(object(2, 1).is_err() && object(1, 1).is_err());
}

#[test]
fn contexts_of_others_are_refused() {
    let (ours, other) = (SealKey::derive(b"our cluster"), SealKey::derive(b"another cluster"));
    let mut rng = Rng::new(3);
    for _ in 0..20_000 {
        let context = clock(&mut rng);
        let sealed = ours.seal(b"bucket", b"key", &context);
        assert_eq!(ours.open(b"bucket", b"key", &sealed), Ok(context));
        assert!(other.open(b"bucket", b"key", &sealed).is_err(), "another cluster's");
        assert!(ours.open(b"bucket", b"key2", &sealed).is_err(), "another key's");
        assert!(ours.open(b"packet", b"key", &sealed).is_err(), "another bucket's");
        assert!(ours.open(b"bucke", b"tkey", &sealed).is_err(), "another bucket's");
        assert!(ours.open(b"", b"bucketkey", &sealed).is_err(), "another bucket's");
        let mut forged = sealed.to_vec();
        mutate(&mut forged, &mut rng);
        if forged != sealed {
            assert!(ours.open(b"bucket", b"key", &forged.into()).is_err(), "an altered one");
        }
    }
    assert!(ours.open(b"bucket", b"key", &Bytes::new()).is_err());
    let unsealed = [vec![0; 16], codec::encode_clock(&Clock::new())].concat();
    assert!(ours.open(b"bucket", b"key", &unsealed.into()).is_err(), "one without a seal");
}

#[test]
fn a_million_forgeries_of_a_seal_are_refused() {
    let key = SealKey::derive(b"our cluster");
    let mut rng = Rng::new(4);
    let clock = codec::encode_clock(&clock(&mut rng));
    for _ in 0..INPUTS {
        let mac: Vec<u8> = (0..2).flat_map(|_| rng.next().to_le_bytes()).collect();
        assert!(key.open(b"bucket", b"key", &[&mac[..], &clock].concat().into()).is_err());
    }
}
