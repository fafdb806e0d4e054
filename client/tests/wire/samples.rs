//! One frame of each kind, with every field away from its default.

use bytes::{Buf, Bytes, BytesMut};
use dynode_client::wire::*;

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn bucket() -> BucketIs {
    let properties = Properties { kind: BucketKind::Lww, r: Quorum::One, w: Quorum::All, ttl_ms: Some(60_000) };
    BucketIs { bucket: b("files"), n: 3, properties, since: Hlc(5), node: 9 }
}

fn guest() -> MemberIs {
    MemberIs { node: 5, name: "n5".into(), addr: "127.0.0.1:7150".into(), zone: "z".into(), weight: 2 }
}

/// Frames of all kinds, in the order of their kind bytes; the second of a kind has another variant.
pub(crate) fn samples() -> Vec<Frame> {
    let frames: Vec<(Message, Bytes)> = vec![
        (Hello { oldest: 1, newest: 2, cluster: [7; 16], role: Role::Peer { node: 9, token: [8; 16] } }.into(), b("")),
        (Hello { oldest: 1, newest: 1, cluster: [0; 16], role: Role::Client }.into(), b("")),
        (Welcome { version: 1, cluster: [7; 16], node: u64::MAX, name: "n0".into() }.into(), b("")),
        (Failure { code: ErrorCode::QuorumNotMet, needed: 2, received: 1, detail: "n1 is down".into() }.into(), b("")),
        (Failure { code: ErrorCode::Internal, needed: 0, received: 0, detail: "disk".into() }.into(), b("")),
        (
            Put {
                bucket: b("files"),
                key: b("a.txt"),
                causality: Causality::Seen(b("ctx")),
                w: Quorum::Count(3),
                strict: true,
                timeout_ms: 5000,
                content_type: b("text/plain"),
                expiry: Expiry::After(60_000),
                request: Some(0x1122),
            }
            .into(),
            b("hello"),
        ),
        (PutDone { context: b("ctx2"), acks: Acks { owners: 2, stand_ins: 1 } }.into(), b("")),
        (
            Get {
                bucket: b("files"),
                key: b("a"),
                r: Quorum::Majority,
                strict: false,
                timeout_ms: 300,
                at_least: Some(b("ctx")),
            }
            .into(),
            b(""),
        ),
        (
            Found {
                siblings: vec![
                    SiblingIs { length: 3, meta: Meta::default() },
                    SiblingIs {
                        length: 2,
                        meta: Meta {
                            content_type: b("text/plain"),
                            expires_ms: Some(7),
                            written: Some(Hlc::at_ms(6)),
                            request: Some(5),
                        },
                    },
                ],
                context: b("c"),
                acks: Acks { owners: 2, stand_ins: 0 },
            }
            .into(),
            b("onetw"),
        ),
        (
            Delete {
                bucket: b("files"),
                key: b("a"),
                causality: Causality::Current,
                w: Quorum::All,
                strict: true,
                timeout_ms: 1,
            }
            .into(),
            b(""),
        ),
        (ListKeys { partition: 255, bucket: b("f"), prefix: b("p/"), after: b("p/x"), limit: 1000 }.into(), b("")),
        (Keys { keys: vec![b("p/y"), b("p/z")], more: true, recovering: false }.into(), b("")),
        (GetLayout {}.into(), b("")),
        (
            LayoutIs {
                epoch: 3,
                replicas: 2,
                members: vec![MemberIs {
                    node: 1,
                    name: "n0".into(),
                    addr: "127.0.0.1:7100".into(),
                    zone: "z".into(),
                    weight: 100,
                }],
                owners: vec![vec![0, 300], vec![]],
            }
            .into(),
            b(""),
        ),
        (Inspect { topic: Topic::LocalKey { bucket: b("f"), key: b("k") } }.into(), b("")),
        (Inspect { topic: Topic::Storage }.into(), b("")),
        (Report {}.into(), b("{}")),
        (Replicate { epoch: 3, partition: 17, required: true, timeout_ms: 250 }.into(), b("delta")),
        (ReplicateDone { recovering: false }.into(), b("")),
        (
            Fetch { epoch: 3, partition: 17, bucket: b("f"), key: b("k"), have: b("dots"), reads_before: true }.into(),
            b(""),
        ),
        (Fetched { same: true, recovering: false }.into(), b("")),
        (
            Digests { epoch: 3, sum: Some(7), digests: vec![Digest { partition: 1, clock: u64::MAX, content: 5 }] }
                .into(),
            b(""),
        ),
        (
            Clocks {
                epoch: 3,
                sum_differs: true,
                differing: vec![(1, 70_000)],
                absent: vec![2, 3],
                last_life: 9,
                whole: true,
                recovering: vec![(4, Lacks::Own), (6, Lacks::Former)],
                unlike: vec![5],
            }
            .into(),
            b("clock"),
        ),
        (
            Pull {
                epoch: 3,
                partition: 1,
                only: b(""),
                scan: Some(ScanAt { id: 4, after: b("k") }),
                budget: 1 << 20,
                doubted: false,
            }
            .into(),
            b("clock"),
        ),
        (
            Answer {
                epoch: 3,
                partition: 1,
                kind: AnswerKind::Page { id: 4, after: b("l"), done: true },
                life: 6,
                refused: vec![(77, 5)],
            }
            .into(),
            b("entries"),
        ),
        (
            Answer { epoch: 3, partition: 1, kind: AnswerKind::Delta { more: true }, life: 6, refused: vec![] }.into(),
            b(""),
        ),
        (Answer { epoch: 3, partition: 1, kind: AnswerKind::Gone, life: 6, refused: vec![] }.into(), b("")),
        (Behind { epoch: 3, partition: 1, key: b("k"), source: 77 }.into(), b("")),
        (AskLife { epoch: 3, partition: 1, last_life: 5 }.into(), b("")),
        (LifeIs { life: 6, has_copy: true }.into(), b("")),
        (Refuse { epoch: 3, partition: 1, lives: vec![(77, 5), (78, 6)] }.into(), b("")),
        (HandedOver { life: 6 }.into(), b("clock")),
        (Handoff { epoch: 3, partitions: vec![1, 300] }.into(), b("")),
        (Scrub {}.into(), b("")),
        (GetBucket { bucket: b("files") }.into(), b("")),
        (
            SetBucket {
                bucket: b("files"),
                kind: Some(BucketKind::Lww),
                n: Some(3),
                r: Some(Quorum::One),
                w: Some(Quorum::OfBucket),
                ttl_ms: Some(Some(60_000)),
            }
            .into(),
            b(""),
        ),
        (SetBucket { bucket: b("files"), ttl_ms: Some(None), ..SetBucket::default() }.into(), b("")),
        (bucket().into(), b("")),
        (BucketsHash { hash: u64::MAX, answers: true }.into(), b("")),
        (Buckets { buckets: vec![bucket()] }.into(), b("")),
        (
            Ping {
                incarnation: 300,
                rumours: vec![
                    Rumour { node: 1, incarnation: 2, state: MemberState::Alive },
                    Rumour { node: u64::MAX, incarnation: 1 << 40, state: MemberState::Suspect { by: 3 } },
                ],
            }
            .into(),
            b(""),
        ),
        (PingFor { incarnation: 4, target: 5, rumours: vec![] }.into(), b("")),
        (
            Ack {
                incarnation: 4,
                heard: true,
                rumours: vec![Rumour { node: 6, incarnation: 7, state: MemberState::Down }],
            }
            .into(),
            b(""),
        ),
        (
            Members { incarnation: 8, rumours: vec![Rumour { node: 9, incarnation: 1, state: MemberState::Alive }] }
                .into(),
            b(""),
        ),
        (
            Standing {
                epoch: 3,
                layout: 1 << 60,
                staged: 77,
                voted: true,
                accepted: true,
                abstains: false,
                guest: Some(GuestIs { member: guest(), former: true }),
            }
            .into(),
            b(""),
        ),
        (GetChange { epoch: 3 }.into(), b("")),
        (Change { epoch: 4 }.into(), b("decision")),
        (Prepare { epoch: 3, layout: 5, ballot: Ballot { round: 2, node: 9 } }.into(), b("")),
        (
            Promise {
                epoch: 3,
                ballot: Ballot { round: 2, node: 9 },
                promised: Ballot { round: 300, node: 8 },
                accepted: Some(Ballot { round: 1, node: 7 }),
                granted: false,
            }
            .into(),
            b("decision"),
        ),
        (Accept { epoch: 3, layout: 5, ballot: Ballot { round: 2, node: 9 } }.into(), b("decision")),
        (
            Accepted {
                epoch: 3,
                ballot: Ballot { round: 2, node: 9 },
                promised: Ballot { round: 2, node: 9 },
                granted: true,
            }
            .into(),
            b(""),
        ),
        (Staged { epoch: 3 }.into(), b("changes")),
        (Phases { epoch: 3, partitions: vec![PhaseIs { partition: 17, phase: 1, whole: true }] }.into(), b("")),
        (Operate { what: Operator::Replace { old: "n1".into(), new: guest() } }.into(), b("")),
        (
            Operate { what: Operator::Commit { changes: vec![ChangeId { epoch: 3, number: 1 << 50 }], force: true } }
                .into(),
            b(""),
        ),
        (GetSync { now: true }.into(), b("")),
    ];
    let numbered = frames.into_iter().zip(0x0102_0304_0506_0700..);
    let plain = numbered.map(|((message, body), request)| Frame { request, trace: None, message, body });
    plain.chain([traced()]).collect()
}

/// A request that is known by a name.
fn traced() -> Frame {
    let trace = Trace::named("7c4e").unwrap().within([0xab; 16], [0xcd; 8]);
    let message = Replicate { epoch: 3, partition: 17, required: false, timeout_ms: 9 }.into();
    Frame { request: 5, trace: Some(Box::new(trace)), message, body: b("delta") }
}

pub(crate) fn encoded(frame: &Frame) -> BytesMut {
    let mut out = OutQueue::new();
    out.push(frame).unwrap();
    BytesMut::from(&out.copy_to_bytes(out.remaining())[..])
}

/// The bytes of a frame with this version, kind, flags and announced header length, its length and checksum right.
pub(crate) fn raw(version: u8, kind: u8, flags: u16, header_length: u32, rest: &[u8]) -> BytesMut {
    let mut tail = vec![version, kind];
    tail.extend(flags.to_le_bytes());
    tail.extend(5_u64.to_le_bytes());
    tail.extend(header_length.to_le_bytes());
    tail.extend(rest);
    let mut out = BytesMut::new();
    out.extend((tail.len() as u32).to_le_bytes());
    out.extend(crc32fast::hash(&tail).to_le_bytes());
    out.extend(tail);
    out
}
