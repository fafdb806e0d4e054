//! What sync costs depends on what is missing and not on how many keys there are (scenarios 14 and 17), and a second pass
//! moves nothing. `make sync-cost` prints the same for a million keys.

use tests::cost::cluster::Setup;
use tests::cost::tally::Tally;
use tests::cost::{Bed, Case, Cost, Way};

const SETUP: Setup = Setup { partitions: 16, value_bytes: 128, index_entries_max: 1 << 18 };

/// Brings a case about, syncs, checks that all is equal, and returns what that and the quiet afterwards have cost.
fn sync(bed: &mut Bed, case: Case) -> (Cost, Tally) {
    let mut ready = bed.prepare(case).expect("prepared");
    let cost = ready.sync().expect("synced");
    ready.check(case).expect("all copies are equal and have all keys");
    (cost, ready.quiet().expect("quiet"))
}

fn stopped(keys: usize, missing: usize) -> Case {
    Case { keys, missing, way: Way::Stopped }
}

#[test]
fn a_delta_costs_what_is_missing_however_many_keys_there_are() {
    let mut bed = Bed::new(SETUP);
    let (few, _) = sync(&mut bed, stopped(1_000, 100));
    let (many, _) = sync(&mut bed, stopped(20_000, 100));
    let (none, _) = sync(&mut bed, stopped(20_000, 0));
    let (much, _) = sync(&mut bed, stopped(20_000, 10_000));
    let bytes = |cost: &Cost| cost.tally.total().bytes as f64;

    let grown = bytes(&many) / bytes(&few);
    assert!((0.9..1.1).contains(&grown), "20 times the keys, and {grown} times the bytes for the same 100");
    assert!(bytes(&none) < 10_000.0, "{} bytes to find out that nothing is missing", bytes(&none));
    assert_eq!(none.tally.of("Pull").messages, 0);
    let ratio = bytes(&much) / stopped(20_000, 10_000).missing_bytes(bed.setup()) as f64;
    assert!(ratio <= 1.5, "{ratio} times what was missing was moved");
    assert_eq!((few.scans, many.scans, much.scans), (0, 0, 0));
}

#[test]
fn a_second_pass_moves_nothing() {
    let mut bed = Bed::new(SETUP);
    for case in [
        stopped(2_000, 100),
        Case { way: Way::IndexCut, ..stopped(2_000, 100) },
        Case { way: Way::DiskLost, ..stopped(2_000, 2_000) },
    ] {
        let (_, quiet) = sync(&mut bed, case);
        for name in ["Pull", "Answer", "Replicate", "Handoff"] {
            assert_eq!(quiet.of(name).messages, 0, "{name} after {case:?}");
        }
        assert_eq!(quiet.total().bytes, quiet.idle_bytes(), "after {case:?}");
    }
}

#[test]
fn a_lost_disk_costs_what_was_on_it() {
    let mut bed = Bed::new(SETUP);
    let case = Case { way: Way::DiskLost, ..stopped(20_000, 20_000) };
    let (cost, _) = sync(&mut bed, case);
    let ratio = cost.tally.total().bytes as f64 / case.missing_bytes(bed.setup()) as f64;
    assert!(cost.scans >= u64::from(SETUP.partitions), "{} scans", cost.scans);
    assert!(ratio <= 1.5, "{ratio} times what was missing was moved");
}

/// More partitions than a source keeps scans for: those that are done make room at once, not when they have been idle
/// for a minute.
#[test]
fn finished_scans_make_room_for_the_next() {
    let mut bed = Bed::new(Setup { partitions: 128, ..SETUP });
    let case = Case { way: Way::DiskLost, ..stopped(2_000, 2_000) };
    let (cost, _) = sync(&mut bed, case);
    assert!(cost.scans >= 128, "{} scans", cost.scans);
    let seconds = cost.agreed_after / 1_000_000;
    assert!(seconds < 10, "{seconds} simulated seconds");
}

/// A scan lists the keys of the partitions that differ, without their values.
#[test]
fn a_scan_brings_only_the_values_that_are_missing() {
    let mut bed = Bed::new(Setup { value_bytes: 1_000, ..SETUP });
    let case = Case { way: Way::IndexCut, ..stopped(10_000, 100) };
    let (cost, _) = sync(&mut bed, case);
    assert!(cost.scans > 0);
    let most = 100_000 + 3 * case.missing_bytes(bed.setup()) / 2 + 10_000 * 64;
    assert!(cost.tally.total().bytes < most, "{} bytes, and {most} would be the most", cost.tally.total().bytes);
}
