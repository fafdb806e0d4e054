//! The bounds that all front ends share, each with its reason.

use std::time::Duration;

/// Lists of one partition asked for at once, for one page: two owners of each of 16 partitions.
pub(crate) const LISTS_MAX: usize = 32;

/// Keys that only some of the copies have, read at once for a page.
pub(crate) const DOUBTS_MAX: usize = 8;

/// A read of a key in doubt: a node that is down takes as long as it takes to notice.
pub(crate) const DOUBT_TIME: Duration = Duration::from_secs(5);

/// When a server stops, answers that are under way have so long.
pub(crate) const STOP_TIME: Duration = Duration::from_secs(3);

/// After a connection could not be accepted (no descriptors are left, for example): not at once again.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
