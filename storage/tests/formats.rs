//! The bytes of every stored and sent form, so that none changes unnoticed: what was released must be readable for ever.
//!
//! A failure here means: give the new form a new format byte, keep reading the old one, and add a line.

use bytes::Bytes;
use dynode_ring::{NodeId, PartitionId};
use dynode_storage::clock::DotRange;
use dynode_storage::codec::{self, Checkpoint, Claim, Entry, Part, Scanned};
use dynode_storage::copy::Wholeness;
use dynode_storage::memory::MemoryEngine;
use dynode_storage::seal::SealKey;
use dynode_storage::{Actor, Clock, Dot, Object, ObjectKey, Past, Payload, Sibling, Store};

fn actor(node: u64, life: u64) -> Actor {
    Actor { node: NodeId(node), life }
}

fn dot(node: u64, counter: u64) -> Dot {
    Dot { actor: actor(node, 7), counter }
}

fn clock() -> Clock {
    let mut clock = Clock::new();
    clock.add_range(DotRange { actor: actor(1, 7), first: 1, last: 300 });
    clock.add_range(DotRange { actor: actor(1, 7), first: 302, last: 305 });
    clock.add_range(DotRange { actor: actor(2, 7), first: 9, last: 9 });
    clock
}

fn object() -> Object {
    let here = |bytes| Payload::Here(Bytes::from_static(bytes));
    let values = vec![
        Sibling { dot: dot(1, 300), value: here(b"ab") },
        Sibling { dot: dot(2, 9), value: here(b"") },
        Sibling { dot: dot(3, 1), value: Payload::Known },
    ];
    Object { values, context: [dot(2, 4)].into_iter().collect() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter_map(|b| char::from(b).to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

const A1: &str = "01000000000000000700000000000000";
const A2: &str = "02000000000000000700000000000000";
const A3: &str = "03000000000000000700000000000000";

fn clock_hex() -> String {
    format!("02 {A1} 02 01 ab02 02 03 {A2} 01 09 00").replace(' ', "")
}

fn object_hex() -> String {
    format!("03 {A1} ac02 03 {A2} 09 01 {A3} 01 00 01 {A2} 01 04 00 6162").replace(' ', "")
}

fn key() -> ObjectKey {
    ObjectKey::new(b"bk", b"key")
}

const KEY: &str = "0002626b6b6579";

#[test]
fn clocks_objects_dots() {
    assert_eq!(hex(&codec::encode_clock(&clock())), format!("01{}", clock_hex()));
    assert_eq!(hex(&codec::encode_clock(&Clock::new())), "0100");
    assert_eq!(hex(&codec::encode_object(&object())), format!("01{}", object_hex()));
    assert_eq!(hex(&codec::encode_object(&Object::default())), "010000");
    assert_eq!(hex(&codec::encode_dots([dot(1, 300), dot(3, 1)])), format!("01{A1}ac02{A3}01"));
}

#[test]
fn keys_entries_parts() {
    assert_eq!(hex(key().as_bytes()), KEY);
    let entry = format!("07{KEY}01{A3}01{}", object_hex());
    assert_eq!(hex(&codec::encode_entry(&key(), &object(), &[dot(3, 1)])), format!("01{entry}"));
    let part = Part::Entry(Entry { key: key(), object: object(), dots: vec![dot(3, 1)] });
    let claim = Part::Claim(Claim {
        clock: clock(),
        watermark: Clock::new(),
        remains: Clock::new(),
        content: 0x0807_0605_0403_0201,
    });
    assert_eq!(
        hex(&codec::encode_parts(&[part.clone(), claim])),
        format!("0101{entry}02{}00000102030405060708", clock_hex())
    );
    assert_eq!(hex(&codec::encode_parts(&[part.clone(), part])), format!("0101{entry}01{entry}"));

    let object = Object { values: Vec::new(), context: clock() };
    let part = Part::Entry(Entry { key: key(), object, dots: Vec::new() });
    let entry = format!("01 07{KEY} 00 00 02 {A1} 01 ae02 03 {A2} 01 09 00");
    let expected = format!("01 03 01 {A1} 01 01 ab02 {entry} {entry}").replace(' ', "");
    assert_eq!(hex(&codec::encode_parts(&[part.clone(), part])), expected, "what both have seen is said once");

    let dots: Vec<Dot> = self::object().dots().collect();
    let part = Part::Entry(Entry { key: key(), object: self::object(), dots });
    let expected = format!("01 05 07{KEY} {}", object_hex()).replace(' ', "");
    assert_eq!(hex(&codec::encode_parts(&[part])), expected, "the dots of values that are what is new are said once");
    let twice = format!("01 01 07{KEY} 03 {A1} ac02 {A2} 09 {A3} 01 {}", object_hex());
    let none = format!("01 05 07{KEY} 00 00");
    for other in [twice, none] {
        assert!(codec::decode_parts(unhex(&other)).is_err(), "{other} has a form of its own");
    }
}

#[test]
fn closed_lives() {
    let mut closed = clock();
    closed.close(NodeId(2), 7);
    closed.close(NodeId(3), 7);
    // The life below which all are closed stands before the lives that are open; an actor without runs means it.
    let expected = format!("01 04 {A1} 02 01 ab02 02 03 {A2} 00 {A2} 01 09 00 {A3} 00").replace(' ', "");
    assert_eq!(hex(&codec::encode_clock(&closed)), expected);
    assert_eq!(codec::decode_clock(codec::encode_clock(&closed).into()), Ok(closed.clone()));
    assert_eq!(closed.hash(), CLOSED_HASH);
    let part = Part::Closed(closed.closed().to_vec());
    assert_eq!(hex(&codec::encode_parts(&[part])), format!("010402{A2}{A3}"));
    let wrong = [
        format!("01 01 {A2} 00 00"),
        format!("01 02 {A2} 01 09 00 {A2} 00"),
        format!("01 02 {A2} 00 {A2} 00"),
        "01 01 0200000000000000 0000000000000000 00".into(),
        "01 01 0200000000000000 ffffffffffffffff 00".into(),
        format!("01 02 {A2} 00 0200000000000000 0600000000000000 01 09 00"),
    ];
    for bytes in wrong {
        let digits: Vec<u8> = bytes.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
        let raw: Vec<u8> = digits.chunks(2).map(byte).collect();
        assert!(codec::decode_clock(raw.into()).is_err(), "{bytes}");
    }
}

#[test]
fn checkpoints_and_index_entries() {
    let scans = vec![Scanned { upto: key().as_bytes().clone(), clock: clock() }];
    let remains = [dot(3, 5)].into_iter().collect();
    let checkpoint = Checkpoint {
        life: 0x0102,
        wholeness: Wholeness::MayLack,
        clock: clock(),
        watermark: Clock::new(),
        content: 0xfe,
        remains,
        scans,
    };
    let expected =
        format!("01 0201000000000000 01 fe00000000000000 {} 00 01{A3}010500 01 07 {KEY} {}", clock_hex(), clock_hex());
    assert_eq!(hex(&codec::encode_checkpoint(&checkpoint)), expected.replace(' ', ""));
    assert_eq!(hex(&codec::encode_index(&key(), 0x0506)), format!("010605000000000000{KEY}"));
}

#[test]
fn hashes_and_seals() {
    // Peers compare these, and clients hold the seal: they are as fixed as what is on a disk.
    assert_eq!(clock().hash(), CLOCK_HASH);
    let sealed = SealKey::derive(b"secret of a cluster").seal(b"bk", b"key", &clock());
    assert_eq!(hex(&sealed), format!("{SEAL}01{}", clock_hex()));
}

#[test]
fn set_hashes() {
    let mut store = Store::open(MemoryEngine::new(), NodeId(9), 1, Past::Whole).unwrap();
    let p = PartitionId(0);
    store
        .apply(p, &key(), Object::put(dot(1, 1), Bytes::from_static(b"x"), Clock::new()), &[dot(1, 1)])
        .unwrap()
        .unwrap();
    assert_eq!(store.copy(p).unwrap().content(), SET_HASH_OF_ONE);
    store
        .apply(p, &key(), Object::put(dot(2, 1), Bytes::from_static(b"y"), Clock::new()), &[dot(2, 1)])
        .unwrap()
        .unwrap();
    assert_eq!(store.copy(p).unwrap().content(), SET_HASH_OF_TWO);
}

const CLOCK_HASH: u64 = 1588912813367820148;
const CLOSED_HASH: u64 = 13015468411511440413;
const SEAL: &str = "61d9c35a3e0d07344b9f1dd7e8ed2fbd";
const SET_HASH_OF_ONE: u64 = 694266291874942208;
const SET_HASH_OF_TWO: u64 = 18136925654340963002;
