//! A look at all members: each one's report on its state, asked at its own address, and when it was made.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dynode_client::{Client, Error, Layout, Topic};
use dynode_ring::{Member, Share};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::status::shares;

/// Members asked at once: enough to hide those that take long, few enough for the descriptors of a shell.
const ASKED_MAX: usize = 64;

/// What one member says of itself, or why it says nothing.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) member: Member,
    pub(super) share: Share,
    pub(super) report: Result<Value, String>,
    /// Somebody is there, and refuses to talk.
    pub(super) refuses: bool,
    /// This machine's wall clock when it was asked and when it answered, in milliseconds since 1970.
    pub(super) asked_ms: u64,
    pub(super) answered_ms: u64,
}

/// Asks every member, each for no longer than `time`; in the order of names.
pub(super) async fn at_all(client: &Client, layout: &Layout, time: Duration) -> Vec<Look> {
    let mut members = shares(layout).into_iter().enumerate();
    let mut asked = JoinSet::new();
    let mut looks = Vec::new();
    loop {
        while asked.len() < ASKED_MAX
            && let Some((at, (member, share))) = members.next()
        {
            let client = client.clone();
            asked.spawn(async move {
                let asked_ms = wall_ms();
                let answer = timeout(time, client.inspect(Some(member.id), Topic::Status)).await;
                let refuses = matches!(answer, Ok(Err(Error::Refused { .. })));
                let report = match answer {
                    Ok(Ok(json)) => {
                        serde_json::from_slice(&json).map_err(|e| format!("answers what is no report: {e}"))
                    }
                    Ok(Err(why)) => Err(why.to_string()),
                    Err(_) => Err(format!("no answer in {} ms", time.as_millis())),
                };
                (at, Look { member, share, report, refuses, asked_ms, answered_ms: wall_ms() })
            });
        }
        let Some(joined) = asked.join_next().await else { break };
        looks.extend(joined);
    }
    looks.sort_by_key(|(at, _)| *at);
    looks.into_iter().map(|(_, look)| look).collect()
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
