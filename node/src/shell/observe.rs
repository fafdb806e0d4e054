//! What the decisions observe, as lines of the log.

use tracing::{debug, error, info, warn};

use crate::protocol::{BreakerState, Liveness, Observation};

pub(super) fn observe(what: &Observation) {
    match what {
        Observation::ContentDiffers { partition, peer } => {
            error!(%partition, %peer, "equal clocks, different content: one of the two copies is damaged");
        }
        Observation::ScanDiffers { partition, source } => error!(
            %partition, %source,
            "a scan has listed something else than its source says of its copy: it is not relied on, and the source reads its copy whole"
        ),
        Observation::NoProgress { partition, peer } => error!(%partition, %peer, "a sync brings nothing new: a bug"),
        Observation::NewLife { partition } => warn!(%partition, "peers know more of this copy: it begins a new life"),
        // Usual while a layout spreads; where it lasts, `doctor` says so.
        Observation::OtherLayout { peer, theirs } => debug!(%peer, theirs, "a peer goes by another layout"),
        Observation::Unreadable { peer, detail } => warn!(%peer, "a peer's message cannot be read: {detail}"),
        Observation::Breaker { peer, state: BreakerState::Closed } => info!(%peer, "answers again"),
        Observation::Breaker { peer, state } => warn!(%peer, ?state, "does not answer: nothing more is asked of it"),
        Observation::SetAside { partition, values } => error!(
            %partition, values,
            "this copy came from a backup older than what its peers have closed since: it was discarded and is rebuilt from them; \
             values that may exist nowhere else were set aside in the data directory"
        ),
        Observation::HandedOff { may_go: true, .. } => {
            info!("this node is not a member, and all that it had is with the owners: it can be stopped");
        }
        Observation::HandedOff { partition, .. } => debug!(%partition, "handed off: every owner contains it"),
        Observation::Discarded { partition, detail, aside } => {
            let aside = aside.as_deref().unwrap_or("nowhere");
            error!(%partition, %aside, "a copy is damaged: discarded, and rebuilt from the other owners; what only it had \
                is in what was set aside: {detail}");
        }
        Observation::Shelved { partition, detail } => {
            error!(%partition, "a copy is damaged, and no other node has one: it is left alone and answers nothing \
                until it is restored from a backup: {detail}");
        }
        Observation::Rebuilt { partition } => info!(%partition, "the copy is whole again"),
        Observation::Scrubbed { copies, bytes, damaged: 0 } => info!(copies, bytes, "scrubbed: all is sound"),
        Observation::Scrubbed { copies, bytes, damaged } => warn!(copies, bytes, damaged, "scrubbed"),
        Observation::Liveness { peer, liveness, incarnation } => match liveness {
            Liveness::Alive => info!(%peer, incarnation, "a member is alive"),
            Liveness::Suspect => info!(%peer, incarnation, "a member is suspect: it did not answer"),
            Liveness::Down => warn!(%peer, incarnation, "a member is down: it did not contradict in time"),
        },
        Observation::Guest { peer, former: false } => info!(%peer, "a guest has come: `dynode join` makes it a member"),
        Observation::Guest { peer, .. } => info!(%peer, "a former member has come: it owns nothing"),
        Observation::Phase { partition, phase } => debug!(%partition, ?phase, "on its way to other owners"),
        Observation::Adopted { epoch, members, is_member, forced } => match (is_member, forced) {
            (true, false) => info!(epoch, members, "another layout holds"),
            (true, true) => warn!(epoch, members, "another layout holds, which an operator forced"),
            (false, _) => info!(epoch, members, "another layout holds, and this node is not a member: it owns nothing"),
        },
        Observation::Forced { epoch, forced } => error!(
            epoch,
            forced,
            "an operator forced a layout without a majority of the members: whatever the others decide gives way to it"
        ),
        Observation::Overruled { ours, theirs, by } => error!(
            ours,
            theirs,
            ?by,
            "two parts of the cluster went by different layouts, and one gives way: strict quorums may have missed writes \
             meanwhile; no data is lost by it, former owners hand over what they have"
        ),
        Observation::NoLayout { why } => error!("what was committed leads to no layout: {why}"),
        Observation::ScanBegan { partition, source } => info!(%partition, %source, "scan began"),
        Observation::ScanEnded { partition, source } => info!(%partition, %source, "scan ended"),
    }
}
