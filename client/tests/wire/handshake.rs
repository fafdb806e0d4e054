//! Agreement on version and cluster.

use bytes::{Buf, Bytes, BytesMut};
use dynode_client::wire::handshake::{ANY_CLUSTER, accept, agree, check_welcome, hello};
use dynode_client::wire::{
    Decoder, ErrorCode, GetLayout, Hello, Message, OutQueue, Role, VERSION_GREETING, VERSION_NEWEST, VERSION_OLDEST,
    Welcome, encode,
};

const OURS: [u8; 16] = [1; 16];
const OTHER: [u8; 16] = [2; 16];
const PEER: Role = Role::Peer { node: 4, token: [0; 16] };

fn range(oldest: u8, newest: u8) -> Hello {
    Hello { oldest, newest, ..hello(OURS, Role::Client) }
}

#[test]
fn the_highest_common_version_is_agreed() {
    assert_eq!(agree(&range(VERSION_OLDEST, VERSION_NEWEST)), Ok(VERSION_NEWEST));
    assert_eq!(agree(&range(VERSION_NEWEST, 200)), Ok(VERSION_NEWEST));
    for (oldest, newest) in [(VERSION_NEWEST + 1, 200), (0, VERSION_OLDEST - 1), (9, 0)] {
        let refusal = agree(&range(oldest, newest)).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Refused);
        assert!(refusal.detail.contains("versions"), "{}", refusal.detail);
    }
}

#[test]
fn only_clients_may_mean_any_cluster() {
    assert!(accept(&hello(OURS, Role::Client), OURS).is_ok());
    assert!(accept(&hello(OURS, PEER), OURS).is_ok());
    assert!(accept(&hello(ANY_CLUSTER, Role::Client), OURS).is_ok());
    for strange in [hello(ANY_CLUSTER, PEER), hello(OTHER, PEER), hello(OTHER, Role::Client)] {
        let refusal = accept(&strange, OURS).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::Refused);
        assert!(refusal.detail.contains("01010101"), "{}", refusal.detail);
    }
}

#[test]
fn the_connecting_side_checks_what_it_is_told() {
    let welcome = |version, cluster| Welcome { version, cluster, node: 1, name: "n0".into() };
    let ours = hello(OURS, Role::Client);
    assert_eq!(check_welcome(&ours, &welcome(VERSION_NEWEST, OURS)), Ok(()));
    assert!(check_welcome(&ours, &welcome(VERSION_NEWEST + 1, OURS)).is_err());
    assert!(check_welcome(&ours, &welcome(VERSION_NEWEST, OTHER)).is_err());
    assert_eq!(check_welcome(&hello(ANY_CLUSTER, Role::Client), &welcome(VERSION_NEWEST, OTHER)), Ok(()));
}

#[test]
fn frames_have_the_version_that_was_agreed_and_greetings_always_the_first() {
    let version_of = |queue: &OutQueue| queue.chunk()[8];
    let pushed = |mut queue: OutQueue, message: Message| {
        queue.push_parts(1, &message, &Bytes::new()).unwrap();
        version_of(&queue)
    };
    let mut agreed = OutQueue::new();
    agreed.agreed(9);
    assert_eq!(pushed(agreed, GetLayout {}.into()), 9);
    assert_eq!(pushed(OutQueue::of_version(9), GetLayout {}.into()), 9);
    assert_eq!(pushed(OutQueue::of_version(9), hello(OURS, PEER).into()), VERSION_GREETING);
    assert_eq!(pushed(OutQueue::new(), GetLayout {}.into()), VERSION_GREETING);
}

#[test]
fn what_has_begun_to_come_is_known_by_its_fixed_part() {
    let mut frame = BytesMut::new();
    encode(7, &GetLayout {}.into(), &[1; 100], &mut frame).unwrap();
    let all = frame.len();
    assert_eq!(Decoder::requests().begun(&frame[..23]), Ok(None));
    assert_eq!(Decoder::requests().begun(&frame[..24]), Ok(Some((7, all))));
    assert_eq!(Decoder::requests().begun(&frame), Ok(Some((7, all))));
    frame[9] = 0xff;
    frame[10] = 0xff;
    assert!(Decoder::requests().begun(&frame).is_err());
}

#[test]
fn what_waits_holds_a_long_body_until_all_of_it_is_taken() {
    let mut queue = OutQueue::new();
    queue.push_parts(1, &GetLayout {}.into(), &vec![1; 100_000].into()).unwrap();
    let all = queue.len_bytes();
    assert_eq!(queue.held_bytes(), all);
    let header = queue.chunk().len();
    queue.advance(header + 99_999);
    assert_eq!((queue.len_bytes(), queue.held_bytes()), (1, 100_000));
    queue.advance(1);
    assert_eq!(queue.held_bytes(), 0);
}
