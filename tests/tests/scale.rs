//! Larger clusters than the simulated world has: changes of ownership without a refusal, moving no more than they must.
//! `make scale` has the figures for 100 and 1,000 nodes.

use tests::scale::cluster::Setup;
use tests::scale::tally::PHASES;
use tests::scale::{Bed, Change};

const SETUP: Setup = Setup { nodes: 40, rack: 2, partitions: 256, keys: 2048, value_bytes: 1024, load: 1000 };

fn is_smooth(change: &Change) {
    println!("{change:?}");
    assert_eq!(change.served.refused, 0);
    assert_eq!(change.false_downs, 0);
    assert!(change.distance <= 1.0, "{} partitions from its share", change.distance);
    assert!(change.copies.0 * 20 <= change.copies.1 * 21, "{:?} copies", change.copies);
    // Beside what it must: keys and headers, a pull for each partition, and what is written meanwhile.
    assert!(change.moved * 10 <= change.least * 15, "{} of {} bytes", change.moved, change.least);
}

#[test]
fn nodes_join_and_leave_without_a_refusal() {
    let mut bed = Bed::new(SETUP).unwrap();
    // Four racks: partitions lose several owners at once.
    let changes = [bed.join(8).unwrap(), bed.leave(8).unwrap()];
    for change in &changes {
        is_smooth(change);
        assert!(change.served.again.is_empty(), "{:?}", change.served.details);
    }
    for change in &changes {
        // All to all would be several times as much, and grow with the square of the members.
        assert!(change.bytes_a_node(PHASES) < 10_000.0, "{} bytes of phases a node", change.bytes_a_node(PHASES));
    }
}

#[test]
fn a_rack_is_lost_and_every_node_restarted() {
    let mut bed = Bed::new(SETUP).unwrap();
    let restarted = bed.restart_all().unwrap();
    assert_eq!((restarted.served.refused, restarted.false_downs), (0, 0), "{:?}", restarted.served.details);
    assert!(restarted.served.again.is_empty(), "{:?}", restarted.served.details);
    is_smooth(&bed.lose_rack().unwrap());
}
