//! A page of a bucket's keys, in byte order, from all partitions, each at a quorum.
//!
//! Keys are spread by a hash, so every partition is asked, of as many owners as a majority takes: an acknowledged write at
//! a quorum is in one of their lists at least. A key that all of them list is there; one that only some list is *in doubt*
//! (just written, just deleted, or missed by a copy), and is read at a quorum. A copy that is recovering may lack what it had
//! acknowledged: its keys are taken, in doubt, but it does not count. Each list goes only so far; the page ends where the first of
//! them does.
//!
//! Where too few owners answer, the keys of those that do are listed all the same, and the page says which partitions it
//! may lack keys of.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynode_client::wire::{Get, Keys, ListKeys, Message};
use dynode_client::{Client, Layout, NodeId, Quorum};
use dynode_ring::PartitionId;
use tokio::task::JoinSet;

use super::limits::{DOUBT_TIME, DOUBTS_MAX, LISTS_MAX};
use crate::shell::inside::Inside;

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) bucket: Bytes,
    pub(crate) prefix: Bytes,
    /// Only keys after this one; empty: from the start.
    pub(crate) after: Bytes,
    pub(crate) limit: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) keys: Vec<Bytes>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<Bytes>,
    /// Partitions of which too few owners have answered, or keys could not be read.
    pub(crate) incomplete: Vec<u16>,
    /// Why, of one of them.
    pub(crate) why: Option<String>,
}

/// The keys of one partition.
#[derive(Debug, Default)]
struct Listed {
    /// By key: how many of the lists that count it is in.
    keys: BTreeMap<Bytes, usize>,
    /// Lists that count.
    lists: usize,
    /// An owner answered, were it with a list that does not count.
    answered: bool,
    /// Beyond this key not all lists say what there is.
    horizon: Option<Bytes>,
    /// Why there are fewer lists than wanted.
    why: Option<String>,
}

/// A page of the keys of all partitions.
///
/// # Errors
///
/// Why there is none: no owner of any partition answers.
pub(crate) async fn page(client: &Client, inside: &Inside, wanted: &Wanted) -> Result<Page, String> {
    let layout = client.layout();
    let limit = keys_a_list(wanted.limit, layout.partitions());
    let mut lists = JoinSet::new();
    let mut listed: BTreeMap<u16, Listed> = BTreeMap::new();
    let mut partitions = layout.partition_ids();
    loop {
        while lists.len() < LISTS_MAX
            && let Some(partition) = partitions.next()
        {
            let (client, layout, wanted) = (client.clone(), layout.clone(), wanted.clone());
            lists.spawn(async move { (partition.0, list(&client, &layout, partition, &wanted, limit).await) });
        }
        let Some(joined) = lists.join_next().await else { break };
        let (partition, found) = joined.map_err(|_| "the server is stopping")?;
        listed.insert(partition, found);
    }
    let (mut page, doubts) = merge(listed, wanted.limit)?;
    settle(inside, wanted, doubts, &mut page).await;
    Ok(page)
}

/// A page of the keys of one partition.
///
/// # Errors
///
/// Why there is none: no owner of it answers.
pub(crate) async fn page_of(
    client: &Client,
    inside: &Inside,
    partition: PartitionId,
    wanted: &Wanted,
) -> Result<Page, String> {
    let limit = u32::try_from(wanted.limit).unwrap_or(u32::MAX);
    let listed = list(client, &client.layout(), partition, wanted, limit).await;
    let (mut page, doubts) = merge(BTreeMap::from([(partition.0, listed)]), wanted.limit)?;
    settle(inside, wanted, doubts, &mut page).await;
    Ok(page)
}

/// Keys to ask a list for: as many as fall into a partition of a page's, with room for four times the deviation of a hash.
fn keys_a_list(limit: usize, partitions: u32) -> u32 {
    let mean = limit as f64 / f64::from(partitions);
    (mean + 4.0 * mean.sqrt() + 4.0).ceil() as u32
}

/// Lists of a partition from a majority of its owners; where one does not answer, the next is asked.
async fn list(client: &Client, layout: &Layout, partition: PartitionId, wanted: &Wanted, limit: u32) -> Listed {
    let owners = layout.owners(partition);
    let majority = owners.len() / 2 + 1;
    // Not all partitions at the same nodes.
    let start = usize::from(partition.0) % owners.len().max(1);
    let mut owners = owners.iter().cycle().skip(start).take(owners.len()).copied();
    let mut asked = JoinSet::new();
    let mut listed = Listed::default();
    let ask = |asked: &mut JoinSet<_>, owner: NodeId| {
        let (client, wanted) = (client.clone(), wanted.clone());
        asked.spawn(async move {
            let Wanted { bucket, prefix, after, .. } = wanted;
            client.keys_at(owner, ListKeys { partition: partition.0, bucket, prefix, after, limit }).await
        });
    };
    owners.by_ref().take(majority).for_each(|owner| ask(&mut asked, owner));
    while let Some(joined) = asked.join_next().await {
        match joined {
            Ok(Ok(keys)) => {
                let counts = !keys.recovering;
                listed.take(keys);
                if counts {
                    continue;
                }
                listed.why = Some("an owner's copy is recovering what it may have lost".into());
            }
            Ok(Err(why)) => listed.why = Some(why.to_string()),
            Err(_) => continue, // the runtime goes down, and we with it
        }
        owners.next().into_iter().for_each(|owner| ask(&mut asked, owner));
    }
    if listed.lists >= majority {
        listed.why = None;
    }
    listed
}

impl Listed {
    fn take(&mut self, list: Keys) {
        let counts = usize::from(!list.recovering);
        self.lists += counts;
        self.answered = true;
        if list.more
            && let Some(last) = list.keys.last()
            && self.horizon.as_ref().is_none_or(|horizon| last < horizon)
        {
            self.horizon = Some(last.clone());
        }
        for key in list.keys {
            *self.keys.entry(key).or_default() += counts;
        }
    }
}

/// One page of all partitions' keys; and of those, with their partitions, the ones in doubt.
fn merge(listed: BTreeMap<u16, Listed>, limit: usize) -> Result<(Page, Vec<(Bytes, u16)>), String> {
    let mut page = Page::default();
    let horizon = listed.values().filter_map(|listed| listed.horizon.clone()).min();
    let mut keys: Vec<(Bytes, u16, bool)> = Vec::new();
    let mut answered = false;
    for (partition, found) in listed {
        answered |= found.answered;
        if let Some(why) = found.why {
            page.incomplete.push(partition);
            page.why = Some(why);
        }
        let within = found.keys.into_iter().filter(|(key, _)| horizon.as_ref().is_none_or(|horizon| key <= horizon));
        keys.extend(within.map(|(key, count)| (key, partition, count < found.lists)));
    }
    if !answered {
        return Err(page.why.unwrap_or_else(|| "no owner of any partition answers".into()));
    }
    keys.sort();
    page.next = match keys.len() > limit {
        true => keys.get(limit - 1).map(|(key, ..)| key.clone()),
        false => horizon,
    };
    keys.truncate(limit);
    let doubts =
        keys.iter().filter(|(.., doubt)| *doubt).map(|(key, partition, _)| (key.clone(), *partition)).collect();
    page.keys = keys.into_iter().map(|(key, ..)| key).collect();
    Ok((page, doubts))
}

/// Reads the keys in doubt, and leaves out those that are not there. One that cannot be read stays, and is told of.
async fn settle(inside: &Inside, wanted: &Wanted, doubts: Vec<(Bytes, u16)>, page: &mut Page) {
    let mut doubts = doubts.into_iter();
    let mut reads = JoinSet::new();
    loop {
        while reads.len() < DOUBTS_MAX
            && let Some((key, partition)) = doubts.next()
        {
            let (inside, bucket) = (inside.clone(), wanted.bucket.clone());
            reads.spawn(async move {
                let (r, strict, timeout_ms) = (Quorum::Majority, false, DOUBT_TIME.as_millis() as u32);
                let get = Get { bucket, key: key.clone(), r, strict, timeout_ms, at_least: None };
                (key, partition, inside.ask(get, Bytes::new(), DOUBT_TIME).await)
            });
        }
        let Some(joined) = reads.join_next().await else { return };
        match joined {
            Ok((key, _, Ok((Message::Found(found), _)))) if found.siblings.is_empty() => {
                if let Ok(at) = page.keys.binary_search(&key) {
                    page.keys.remove(at);
                }
            }
            Ok((_, _, Ok(_))) | Err(_) => {}
            Ok((_, partition, Err(failure))) => {
                if let Err(at) = page.incomplete.binary_search(&partition) {
                    page.incomplete.insert(at, partition);
                }
                page.why = Some(failure.detail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(list: &str, more: bool) -> Keys {
        let keys = list.split_whitespace().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
        Keys { keys, more, recovering: false }
    }

    fn listed(lists: impl IntoIterator<Item = Keys>) -> Listed {
        let mut listed = Listed::default();
        lists.into_iter().for_each(|list| listed.take(list));
        listed
    }

    fn names(keys: impl IntoIterator<Item = Bytes>) -> String {
        let names: Vec<String> = keys.into_iter().map(|key| String::from_utf8(key.to_vec()).unwrap()).collect();
        names.join(" ")
    }

    #[test]
    fn a_page_ends_where_the_first_list_does() {
        let one = listed([keys("a d g", true), keys("a d e", true)]);
        let two = listed([keys("b c f", false), keys("b f", false)]);
        let (page, doubts) = merge([(0, one), (1, two)].into(), 10).unwrap();
        // What comes after e may be in the second list of the first partition, too.
        assert_eq!((names(page.keys), names(page.next)), ("a b c d e".into(), "e".into()));
        assert_eq!(names(doubts.into_iter().map(|(key, _)| key)), "c e");
    }

    #[test]
    fn a_page_has_no_more_keys_than_wanted_and_goes_on_after_the_last() {
        let lists = || [(0, listed([keys("a c e", false)])), (1, listed([keys("b d", false)]))].into();
        let (page, doubts) = merge(lists(), 3).unwrap();
        assert_eq!((names(page.keys), names(page.next), doubts.len()), ("a b c".into(), "c".into(), 0));
        let (page, _) = merge(lists(), 5).unwrap();
        assert_eq!((names(page.keys), page.next), ("a b c d e".into(), None));
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut few = listed([keys("a", false)]);
        few.why = Some("down".into());
        let (page, _) = merge([(0, listed([keys("b", false)])), (7, few)].into(), 5).unwrap();
        assert_eq!((page.incomplete, page.why.as_deref()), (vec![7], Some("down")));
        assert!(merge([(0, Listed::default())].into(), 5).is_err());
    }

    #[test]
    fn a_recovering_copy_vouches_for_nothing_and_hides_nothing() {
        let recovering = |list: &str| Keys { recovering: true, ..keys(list, false) };
        // `b` is in all lists that count; that the recovering copy lacks it is no reason to doubt. `c` only that copy has.
        let beside = listed([keys("a b", false), recovering("a c"), keys("a b", false)]);
        assert_eq!(beside.lists, 2);
        let (page, doubts) = merge([(0, beside)].into(), 5).unwrap();
        assert_eq!((names(page.keys), names(doubts.into_iter().map(|(key, _)| key))), ("a b c".into(), "c".into()));
        // Alone its keys are better than none: the page is not complete.
        let mut only = listed([recovering("a")]);
        only.why = Some("recovering".into());
        let (page, _) = merge([(0, only)].into(), 5).unwrap();
        assert_eq!((names(page.keys), page.incomplete), ("a".into(), vec![0]));
    }
}
