//! Invariant 6: no metadata is left. A deleted key and a settled key leave nothing but the clock.

use bytes::Bytes;
use dynode_storage::{Space, View, codec};

use super::Live;
use crate::world::{Violation, World};

const NAME: &str = "6 no metadata is left";

impl World {
    /// The first thing that is still to be tidied away.
    pub(crate) fn leftovers(&mut self) -> Result<Option<Violation>, Violation> {
        for partition in self.layout.partition_ids().collect::<Vec<_>>() {
            for (at, host) in self.hosts.iter_mut().enumerate() {
                let Some(node) = &mut host.node else { continue };
                let is_foreign = !self.layout.owns(node.id(), partition);
                let Some(copy) = Violation::unless_found(node.store().find(partition))? else { continue };
                let what = if is_foreign {
                    format!("n{at} still holds a copy of {partition}, which it does not own")
                } else if copy.indexed() > 0 {
                    format!("n{at} has {} index entries of {partition}", copy.indexed())
                } else if copy.clock().has_gaps() {
                    format!("n{at} has gaps in its clock of {partition}: {}", copy.clock())
                } else if copy.has_several_lives() {
                    format!("n{at} keeps several lives of a node apart in {partition}: {}", copy.clock())
                } else if copy.maybe_unstripped() {
                    format!("n{at} may have contexts to strip in {partition}")
                } else if node.is_recovering(partition).map_err(Violation::storage)? {
                    format!("n{at} is still recovering in {partition}")
                } else {
                    continue;
                };
                return Ok(Some(Violation::new(NAME, what)));
            }
        }
        Ok(None)
    }

    /// Looks at the records themselves: no index, no contexts, nothing of a key without values.
    pub(crate) fn check_nothing_left(&mut self, live: &Live) -> Result<(), Violation> {
        for (at, host) in self.hosts.iter_mut().enumerate() {
            let Some(node) = &mut host.node else { continue };
            let mut wrong = None;
            let engine = node.store().engine();
            engine
                .scan(Space::Index, &[], &[0xff; 8], &mut |key, _| {
                    wrong = Some(format!("n{at} has an index record: {}", key.escape_ascii()));
                    false
                })
                .map_err(Violation::storage)?;
            engine
                .scan(Space::Objects, &[], &[0xff; 8], &mut |key, value| {
                    let place = self.journal.keys.iter().position(|k| key.get(2..) == Some(&k.as_bytes()[..]));
                    let has_values = place.is_some_and(|place| !live[place].is_empty());
                    wrong = match codec::decode_object(Bytes::copy_from_slice(value)) {
                        Ok(o) if o.values.is_empty() => Some(format!("n{at} keeps a record of a deleted key")),
                        Ok(o) if !o.context.is_empty() => Some(format!("n{at} keeps a context: {}", o.context)),
                        Ok(_) if !has_values => Some(format!("n{at} keeps a key without values")),
                        Ok(_) => None,
                        Err(e) => Some(e.to_string()),
                    };
                    wrong.is_none()
                })
                .map_err(Violation::storage)?;
            if let Some(what) = wrong {
                return Err(Violation::new(NAME, what));
            }
        }
        Ok(())
    }
}
