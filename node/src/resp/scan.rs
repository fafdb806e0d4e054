//! `SCAN` and `DBSIZE`: partition by partition, each at a quorum of its owners, its keys in order.
//!
//! A cursor is the number of a partition, from 1 on, as long as pages end with one. Where a page ends within a partition the
//! cursor is above all of those, and this node remembers the key that it stands for: such a cursor is good at the node that
//! gave it, for as long as not very many others were given out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use dynode_ring::PartitionId;

use super::app::App;
use super::codec::Reply;
use super::failures;
use super::glob::Pattern;
use super::lanes::BUCKET;
use super::limits::{COUNTED_MAX, CURSORS_MAX, SCAN_KEYS_MAX, SCAN_KEYS_MIN};
use crate::front::listing::{self, Wanted as Listed};

/// Above the number of every partition.
const FIRST: u64 = 1 << 32;

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) cursor: u64,
    pub(super) pattern: Option<Pattern>,
    pub(super) count: usize,
    /// Only values of types that there are none of.
    pub(super) only_other_types: bool,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted { cursor: 0, pattern: None, count: 10, only_other_types: false }
    }
}

/// Cursors within partitions.
#[derive(Debug)]
pub(super) struct Cursors(Mutex<Given>);

#[derive(Debug)]
struct Given {
    next: u64,
    /// The oldest first: a partition, and the key after which to go on.
    known: BTreeMap<u64, (u16, Bytes)>,
}

impl Default for Cursors {
    fn default() -> Cursors {
        // Not those of an earlier life of this node, nor of another.
        let first = FIRST + u64::from(rand::random::<u32>()) * CURSORS_MAX as u64;
        Cursors(Mutex::new(Given { next: first, known: BTreeMap::new() }))
    }
}

impl Cursors {
    fn give(&self, partition: u16, after: Bytes) -> u64 {
        let mut cursors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Given { next, known } = &mut *cursors;
        let given = *next;
        *next += 1;
        known.insert(given, (partition, after));
        if known.len() > CURSORS_MAX {
            known.pop_first();
        }
        given
    }

    /// Where to go on.
    fn place(&self, cursor: u64, partitions: u32) -> Option<(u16, Bytes)> {
        match u16::try_from(cursor) {
            Ok(partition) if cursor < u64::from(partitions) => Some((partition, Bytes::new())),
            _ => self.0.lock().unwrap_or_else(PoisonError::into_inner).known.get(&cursor).cloned(),
        }
    }
}

/// A page of keys, and the cursor of the next; 0 after the last.
pub(super) async fn page(app: &Arc<App>, wanted: &Wanted) -> Result<(u64, Vec<Bytes>), Reply> {
    let _room = app.listings.try_acquire().map_err(|_| busy())?;
    let client = app.client().await?;
    let partitions = client.layout().partitions();
    let invalid = || Reply::err("invalid cursor: it was given by another node, or long ago; begin with 0");
    let (mut partition, mut after) = app.cursors.place(wanted.cursor, partitions).ok_or_else(invalid)?;
    let limit = wanted.count.clamp(SCAN_KEYS_MIN, SCAN_KEYS_MAX);
    let prefix = wanted.pattern.as_ref().map(Pattern::prefix).unwrap_or_default();
    let mut keys = Vec::new();
    if wanted.only_other_types {
        return Ok((0, keys));
    }
    let mut looked_at = 0;
    loop {
        let listed = Listed { bucket: BUCKET.into(), prefix: prefix.clone(), after, limit };
        let page = listing::page_of(client, &app.inside, PartitionId(partition), &listed)
            .await
            .map_err(|why| failures::too_few(&why))?;
        if !page.incomplete.is_empty() {
            // A list without their keys would look like a whole one.
            return Err(failures::too_few(&page.why.unwrap_or_default()));
        }
        looked_at += page.keys.len();
        let fits = |key: &Bytes| wanted.pattern.as_ref().is_none_or(|pattern| pattern.fits(key));
        keys.extend(page.keys.into_iter().filter(fits));
        let enough = looked_at >= wanted.count.min(SCAN_KEYS_MAX);
        match page.next {
            Some(last) if enough => return Ok((app.cursors.give(partition, last), keys)),
            Some(last) => after = last,
            None => {
                partition = partition.wrapping_add(1);
                if u32::from(partition) >= partitions || partition == 0 {
                    return Ok((0, keys));
                }
                if enough {
                    return Ok((u64::from(partition), keys));
                }
                after = Bytes::new();
            }
        }
    }
}

/// How many keys there are.
pub(super) async fn count(app: &Arc<App>) -> Result<usize, Reply> {
    let mut wanted = Wanted { count: SCAN_KEYS_MAX, ..Wanted::default() };
    let mut counted = 0;
    loop {
        let (next, keys) = page(app, &wanted).await?;
        counted += keys.len();
        if counted > COUNTED_MAX {
            let why = format!("there are more than {COUNTED_MAX} keys: counting them by listing would take too long");
            return Err(Reply::err(why));
        }
        if next == 0 {
            return Ok(counted);
        }
        wanted.cursor = next;
    }
}

fn busy() -> Reply {
    Reply::Error("TRYAGAIN too many listings are under way".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_found_until_many_others_were_given() {
        let cursors = Cursors::default();
        assert_eq!(cursors.place(0, 16), Some((0, Bytes::new())));
        assert_eq!(cursors.place(15, 16), Some((15, Bytes::new())));
        assert_eq!(cursors.place(16, 16), None);
        let first = cursors.give(3, "k".into());
        assert!(first >= FIRST);
        assert_eq!(cursors.place(first, 16), Some((3, "k".into())));
        for _ in 0..CURSORS_MAX - 1 {
            cursors.give(4, "l".into());
        }
        assert!(cursors.place(first, 16).is_some());
        cursors.give(4, "l".into());
        assert_eq!(cursors.place(first, 16), None);
    }
}
