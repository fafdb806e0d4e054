//! Agreement on version and cluster.

use dynode_client::wire::handshake::{ANY_CLUSTER, accept, agree, check_welcome, hello};
use dynode_client::wire::{ErrorCode, Hello, Role, VERSION_NEWEST, VERSION_OLDEST, Welcome};

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
