//! What is written down is read again, and read with care.

use super::{Layout, Parts};
use crate::{LayoutError, Member, NodeId};

fn layout() -> Layout {
    let member =
        |n: u64| Member { id: NodeId(n), name: format!("n{n}"), addr: "h:1".into(), zone: "z".into(), weight: 1 };
    Layout::first(8, 3, (0..5).map(member).collect()).expect("a layout")
}

#[test]
fn parts_are_read_as_they_are_written() {
    assert_eq!(Layout::try_from(Parts::from(layout())), Ok(layout()));
}

#[test]
fn parts_are_checked() {
    let mut parts = Parts::from(layout());
    parts.owners[3][0] = 5;
    let error = Layout::try_from(parts).expect_err("there is no member 5");
    assert_eq!(error, LayoutError::OwnerIndex { partition: crate::PartitionId(3), index: 5 });
}
