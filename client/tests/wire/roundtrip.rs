//! Any message of any kind comes back as it was.

use bytes::{Bytes, BytesMut};
use dynode_client::wire::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::samples::encoded;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn quorum() -> impl Strategy<Value = Quorum> {
    prop_oneof![Just(Quorum::One), Just(Quorum::Majority), Just(Quorum::All), any::<u8>().prop_map(Quorum::Count)]
}

fn causality() -> impl Strategy<Value = Causality> {
    prop_oneof![Just(Causality::Blind), Just(Causality::Current), bytes().prop_map(Causality::Seen)]
}

fn acks() -> impl Strategy<Value = Acks> {
    any::<(u8, u8)>().prop_map(|(owners, stand_ins)| Acks { owners, stand_ins })
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), any::<(u64, [u8; 16])>().prop_map(|(node, token)| Role::Peer { node, token })]
}

fn code() -> impl Strategy<Value = ErrorCode> {
    use ErrorCode::*;
    prop::sample::select(vec![
        BadRequest,
        TooLarge,
        TooManySiblings,
        ForeignContext,
        QuorumNotMet,
        OutcomeUnknown,
        Overloaded,
        Unavailable,
        OtherLayout,
        Refused,
        Internal,
    ])
}

fn topic() -> impl Strategy<Value = Topic> {
    let key = (bytes(), bytes()).prop_map(|(bucket, key)| Topic::LocalKey { bucket, key });
    prop_oneof![Just(Topic::Status), Just(Topic::LocalClocks), Just(Topic::Storage), key]
}

fn member() -> impl Strategy<Value = MemberIs> {
    (any::<u64>(), ".{0,9}", ".{0,9}", ".{0,9}", any::<u32>()).prop_map(|(node, name, addr, zone, weight)| MemberIs {
        node,
        name,
        addr,
        zone,
        weight,
    })
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::OfBucket),
        Just(Expiry::Never),
        any::<u64>().prop_map(Expiry::After),
        any::<u64>().prop_map(Expiry::At)
    ]
}

fn meta() -> impl Strategy<Value = Meta> {
    (bytes(), any::<[Option<u64>; 3]>()).prop_map(|(content_type, [expires_ms, written, request])| Meta {
        content_type,
        expires_ms,
        written: written.map(Hlc),
        request,
    })
}

fn sibling() -> impl Strategy<Value = SiblingIs> {
    (any::<u32>(), meta()).prop_map(|(length, meta)| SiblingIs { length, meta })
}

fn client_message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (any::<(u8, u8, [u8; 16])>(), role()).prop_map(|((oldest, newest, cluster), role)| Hello {
            oldest,
            newest,
            cluster,
            role
        }
        .into()),
        (any::<(u8, [u8; 16], u64)>(), ".{0,9}").prop_map(|((version, cluster, node), name)| Welcome {
            version,
            cluster,
            node,
            name
        }
        .into()),
        (code(), any::<(u8, u8)>(), ".{0,40}").prop_map(|(code, (needed, received), detail)| Failure {
            code,
            needed,
            received,
            detail
        }
        .into()),
        ((bytes(), bytes(), bytes()), causality(), quorum(), any::<(bool, u32, Option<u64>)>(), expiry()).prop_map(
            |((bucket, key, content_type), causality, w, (strict, timeout_ms, request), expiry)| Put {
                bucket,
                key,
                causality,
                w,
                strict,
                timeout_ms,
                content_type,
                expiry,
                request
            }
            .into()
        ),
        (bytes(), bytes(), causality(), quorum(), any::<(bool, u32)>()).prop_map(
            |(bucket, key, causality, w, (strict, timeout_ms))| Delete {
                bucket,
                key,
                causality,
                w,
                strict,
                timeout_ms
            }
            .into()
        ),
        (bytes(), acks()).prop_map(|(context, acks)| PutDone { context, acks }.into()),
        (bytes(), bytes(), quorum(), any::<(bool, u32)>(), option::of(bytes())).prop_map(
            |(bucket, key, r, (strict, timeout_ms), at_least)| Get { bucket, key, r, strict, timeout_ms, at_least }
                .into()
        ),
        (vec(sibling(), 0..9), bytes(), acks())
            .prop_map(|(siblings, context, acks)| Found { siblings, context, acks }.into()),
        (any::<(u16, u32)>(), bytes(), bytes(), bytes()).prop_map(|((partition, limit), bucket, prefix, after)| {
            ListKeys { partition, bucket, prefix, after, limit }.into()
        }),
        (vec(bytes(), 0..9), any::<bool>(), any::<bool>()).prop_map(|(keys, more, recovering)| Keys {
            keys,
            more,
            recovering
        }
        .into()),
        Just(GetLayout {}.into()),
        (any::<(u64, u8)>(), vec(member(), 0..5), vec(vec(any::<u16>(), 0..7), 0..40))
            .prop_map(|((epoch, replicas), members, owners)| LayoutIs { epoch, replicas, members, owners }.into()),
        topic().prop_map(|topic| Inspect { topic }.into()),
        Just(Report {}.into()),
    ]
}

fn peer_message() -> impl Strategy<Value = Message> {
    let digest = any::<(u16, u64, u64)>().prop_map(|(partition, clock, content)| Digest { partition, clock, content });
    let scan = (any::<u64>(), bytes()).prop_map(|(id, after)| ScanAt { id, after });
    let kind = prop_oneof![
        any::<bool>().prop_map(|more| AnswerKind::Delta { more }),
        (any::<(u64, bool)>(), bytes()).prop_map(|((id, done), after)| AnswerKind::Page { id, after, done }),
        Just(AnswerKind::Gone),
    ];
    prop_oneof![
        liveness_message(),
        any::<(u64, u16, bool, u32)>().prop_map(|(epoch, partition, required, timeout_ms)| {
            Replicate { epoch, partition, required, timeout_ms }.into()
        }),
        any::<bool>().prop_map(|recovering| ReplicateDone { recovering }.into()),
        (any::<(u64, u16)>(), bytes(), bytes(), bytes()).prop_map(|((epoch, partition), bucket, key, have)| {
            Fetch { epoch, partition, bucket, key, have, reads_before: partition % 2 == 0 }.into()
        }),
        any::<(bool, bool)>().prop_map(|(same, recovering)| Fetched { same, recovering }.into()),
        (any::<(u64, Option<u64>)>(), vec(digest, 0..9)).prop_map(|((epoch, sum), digests)| Digests {
            epoch,
            sum,
            digests
        }
        .into()),
        (any::<(u64, u64, bool, bool)>(), vec(any::<(u16, u32)>(), 0..9), vec(any::<u16>(), 0..9)).prop_map(
            |((epoch, last_life, whole, sum_differs), differing, absent)| {
                Clocks {
                    epoch,
                    sum_differs,
                    differing,
                    absent: absent.clone(),
                    last_life,
                    whole,
                    recovering: absent
                        .iter()
                        .map(|p| (*p, [Lacks::Others, Lacks::Own, Lacks::Former][usize::from(p % 3)]))
                        .collect(),
                    unlike: absent,
                }
                .into()
            }
        ),
        any::<(u64, u16, u64)>()
            .prop_map(|(epoch, partition, last_life)| AskLife { epoch, partition, last_life }.into()),
        any::<(u64, bool)>().prop_map(|(life, has_copy)| LifeIs { life, has_copy }.into()),
        (any::<(u64, u16)>(), vec(any::<(u64, u64)>(), 0..9)).prop_map(|((epoch, partition), lives)| Refuse {
            epoch,
            partition,
            lives
        }
        .into()),
        any::<u64>().prop_map(|life| HandedOver { life }.into()),
        (any::<(u64, u16, u32, bool)>(), bytes(), option::of(scan)).prop_map(
            |((epoch, partition, budget, doubted), only, scan)| Pull { epoch, partition, only, scan, budget, doubted }
                .into()
        ),
        (any::<(u64, u16, u64)>(), kind, vec(any::<(u64, u64)>(), 0..9)).prop_map(
            |((epoch, partition, life), kind, refused)| Answer { epoch, partition, kind, life, refused }.into()
        ),
        (any::<(u64, u16, u64)>(), bytes()).prop_map(|((epoch, partition, source), key)| Behind {
            epoch,
            partition,
            key,
            source
        }
        .into()),
    ]
}

fn rumour() -> impl Strategy<Value = Rumour> {
    let state = prop_oneof![
        Just(MemberState::Alive),
        any::<u64>().prop_map(|by| MemberState::Suspect { by }),
        Just(MemberState::Down)
    ];
    (any::<(u64, u64)>(), state).prop_map(|((node, incarnation), state)| Rumour { node, incarnation, state })
}

fn liveness_message() -> impl Strategy<Value = Message> {
    let rumours = || vec(rumour(), 0..9);
    prop_oneof![
        (any::<u64>(), rumours()).prop_map(|(incarnation, rumours)| Ping { incarnation, rumours }.into()),
        (any::<(u64, u64)>(), rumours()).prop_map(|((incarnation, target), rumours)| PingFor {
            incarnation,
            target,
            rumours
        }
        .into()),
        (any::<(u64, bool)>(), rumours()).prop_map(|((incarnation, heard), rumours)| Ack {
            incarnation,
            heard,
            rumours
        }
        .into()),
        (any::<u64>(), rumours()).prop_map(|(incarnation, rumours)| Members { incarnation, rumours }.into()),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let trace = option::of(("[ -~]{1,255}", any::<[u8; 16]>(), any::<[u8; 8]>()));
    let trace = trace
        .prop_map(|trace| trace.map(|(name, id, parent)| Box::new(Trace::named(&name).unwrap().within(id, parent))));
    let message = prop_oneof![client_message(), peer_message()];
    (any::<u64>(), trace, message, bytes()).prop_map(|(request, trace, message, body)| Frame {
        request,
        trace,
        message,
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn frames_come_back_as_they_were(frames in vec(frame(), 1..4)) {
        let mut bytes = BytesMut::new();
        for frame in &frames {
            bytes.extend(encoded(frame));
        }
        for frame in &frames {
            let decoded = decode(&mut bytes).unwrap();
            prop_assert_eq!(decoded.as_ref(), Some(frame));
        }
        prop_assert!(bytes.is_empty());
    }
}

/// The largest layout that can be: its lists must pass the decode limit and the header's.
#[test]
fn the_largest_layout_fits() {
    let text = || "x".repeat(255);
    let member = |node| MemberIs { node, name: text(), addr: text(), zone: text(), weight: u32::MAX };
    let members = (0..4096).map(|node| member(u64::MAX - node)).collect();
    let owners = (0..65_536).map(|p| (0..8).map(|i| 250 + ((p + i) % 3800) as u16).collect()).collect();
    let layout = LayoutIs { epoch: u64::MAX, replicas: 8, members, owners };
    let frame = Frame { request: 1, trace: None, message: layout.into(), body: Bytes::new() };
    assert_eq!(decode(&mut encoded(&frame)).unwrap(), Some(frame));
}

/// The largest page of keys.
#[test]
fn the_largest_page_of_keys_fits() {
    let keys = (0..limits::KEYS_PAGE_MAX).map(|_| Bytes::from(vec![b'k'; limits::KEY_BYTES_MAX])).collect();
    let frame = Frame {
        request: 1,
        trace: None,
        message: Keys { keys, more: true, recovering: false }.into(),
        body: Bytes::new(),
    };
    assert_eq!(decode(&mut encoded(&frame)).unwrap(), Some(frame));
}

/// All members of the largest cluster in one message.
#[test]
fn the_most_members_fit() {
    let rumour =
        |node| Rumour { node: u64::MAX - node, incarnation: u64::MAX, state: MemberState::Suspect { by: node } };
    let members = Members { incarnation: u64::MAX, rumours: (0..4096).map(rumour).collect() };
    let frame = Frame { request: 1, trace: None, message: members.into(), body: Bytes::new() };
    assert_eq!(decode(&mut encoded(&frame)).unwrap(), Some(frame));
}
