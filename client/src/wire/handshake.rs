//! The first frame each way: do we speak the same version, and of the same cluster?
//!
//! The side that connects sends [`Hello`]; the other answers [`Welcome`], or a [`Failure`] with
//! [`ErrorCode::Refused`] and closes. Both frames have version [`VERSION_GREETING`] forever, so that every release can
//! read every other's greeting; from then on frames have the agreed version. The functions here decide only that;
//! whether a peer's token is right, the node checks.

use super::{ErrorCode, Failure, Hello, Role, Welcome};

/// Version of the frames of a handshake, in all releases.
pub const VERSION_GREETING: u8 = 1;

/// Lowest version of the wire format that this release speaks: no higher than the highest of the release before it. Nodes
/// store what buckets are like as frames of this version; whoever raises it goes on reading those.
pub const VERSION_OLDEST: u8 = 1;

/// Highest version of the wire format that this release speaks.
pub const VERSION_NEWEST: u8 = 1;

/// The cluster id of a client that does not mind which cluster it reaches.
pub const ANY_CLUSTER: [u8; 16] = [0; 16];

/// A greeting from this release to `cluster`.
pub fn hello(cluster: [u8; 16], role: Role) -> Hello {
    Hello { oldest: VERSION_OLDEST, newest: VERSION_NEWEST, cluster, role }
}

/// The version that both sides speak: the highest in both ranges.
///
/// # Errors
///
/// The [`Failure`] to answer with, when there is none.
pub fn agree(theirs: &Hello) -> Result<u8, Failure> {
    let version = theirs.newest.min(VERSION_NEWEST);
    if theirs.oldest <= version && VERSION_OLDEST <= version {
        return Ok(version);
    }
    Err(refused(format!(
        "this node speaks wire versions {VERSION_OLDEST} to {VERSION_NEWEST}, the caller {} to {}: \
         use releases closer to each other",
        theirs.oldest, theirs.newest
    )))
}

/// The accepting side's decision about a [`Hello`]: version and cluster. The version to answer with, or the refusal.
///
/// # Errors
///
/// The [`Failure`] to answer with before closing the connection.
pub fn accept(theirs: &Hello, cluster: [u8; 16]) -> Result<u8, Failure> {
    let version = agree(theirs)?;
    let any = theirs.cluster == ANY_CLUSTER && theirs.role == Role::Client;
    if theirs.cluster != cluster && !any {
        return Err(refused(format!(
            "this node belongs to cluster {}, the caller means {}: check the address",
            Hex(&cluster),
            Hex(&theirs.cluster)
        )));
    }
    Ok(version)
}

/// The connecting side's check of the [`Welcome`] that answers `ours`.
///
/// # Errors
///
/// A [`Failure`] that says what does not fit; close the connection.
pub fn check_welcome(ours: &Hello, welcome: &Welcome) -> Result<(), Failure> {
    if !(ours.oldest..=ours.newest).contains(&welcome.version) {
        return Err(refused(format!(
            "the node wants wire version {}, this side speaks {} to {}",
            welcome.version, ours.oldest, ours.newest
        )));
    }
    if ours.cluster != ANY_CLUSTER && ours.cluster != welcome.cluster {
        return Err(refused(format!(
            "the node belongs to cluster {}, wanted was {}: check the address",
            Hex(&welcome.cluster),
            Hex(&ours.cluster)
        )));
    }
    Ok(())
}

fn refused(detail: String) -> Failure {
    Failure { code: ErrorCode::Refused, needed: 0, received: 0, detail }
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
