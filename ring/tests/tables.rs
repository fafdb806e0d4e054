//! Rings as tables of text: what a plan looks like. A row is a member, a column a partition; the number is the place in
//! the partition's order, `+` marks a copy that is new, `-` one that went.

mod common;

use common::member;
use dynode_ring::{Layout, Member};

fn table(layout: &Layout, before: Option<&Layout>) -> String {
    let mut text = format!("epoch {}\n", layout.epoch());
    let mut members = layout.members().to_vec();
    let gone = |m: &&Member| layout.member(m.id).is_none();
    members.extend(before.iter().flat_map(|before| before.members().iter().filter(gone).cloned()));
    for member in &members {
        let (zone, weight) = (&member.zone, member.weight);
        text += &format!("{} {zone} {weight} |", member.name);
        for p in layout.partition_ids() {
            let place = layout.owners(p).iter().position(|&node| node == member.id);
            let owned = before.is_none_or(|before| before.owns(member.id, p));
            text += &match (place, owned) {
                (Some(place), true) => format!("{:>3}", place + 1),
                (Some(place), false) => format!(" +{}", place + 1),
                (None, true) if before.is_some() => "  -".to_owned(),
                (None, _) => "  .".to_owned(),
            };
        }
        let share = layout.shares().into_iter().find(|share| share.node == member.id);
        text += &share.map_or(" |\n".to_owned(), |share| format!(" |{:>3} of {:.2}\n", share.held, share.target));
    }
    text
}

fn check(found: &str, expected: &str) {
    let expected: String = expected.lines().skip(1).map(|line| format!("{}\n", line.trim_start())).collect();
    assert_eq!(found.trim(), expected.trim(), "the table is now\n{found}");
}

fn five() -> Vec<Member> {
    (0..5).map(|n| member(n, n as usize % 3, 1)).collect()
}

#[test]
fn five_nodes_in_three_zones() {
    let first = Layout::first(16, 3, five()).expect("a first layout");
    check(
        &table(&first, None),
        "
        epoch 1
        n0 z0 1 |  .  2  .  2  .  1  .  3  .  1  .  3  2  .  3  . |  8 of 8.00
        n1 z1 1 |  .  1  3  .  2  .  .  1  3  .  1  .  .  3  .  2 |  8 of 8.00
        n2 z2 1 |  3  3  1  3  1  2  1  2  2  2  3  1  3  2  1  3 | 16 of 16.00
        n3 z0 1 |  2  .  2  .  3  .  3  .  1  .  2  .  .  1  .  1 |  8 of 8.00
        n4 z1 1 |  1  .  .  1  .  3  2  .  .  3  .  2  1  .  2  . |  8 of 8.00",
    );
}

#[test]
fn a_sixth_node_joins() {
    let first = Layout::first(16, 3, five()).expect("a first layout");
    let next = first.next((0..6).map(|n| member(n, n as usize % 3, 1)).collect()).expect("a next layout");
    check(
        &table(&next, Some(&first)),
        "
        epoch 2
        n0 z0 1 |  .  3  .  2  .  2  .  3  .  1  .  1  2  .  3  . |  8 of 8.00
        n1 z1 1 |  .  1  3  .  2  .  .  1  3  .  1  .  .  3  .  2 |  8 of 8.00
        n2 z2 1 |  -  2  1  3  -  -  1  2  -  2  -  3  -  -  1  3 |  9 of 8.00
        n3 z0 1 |  2  .  2  .  3  .  3  .  1  .  2  .  .  1  .  1 |  8 of 8.00
        n4 z1 1 |  1  .  .  1  .  3  2  .  .  3  .  2  1  .  2  . |  8 of 8.00
        n5 z2 1 | +3  .  .  . +1 +1  .  . +2  . +3  . +3 +2  .  . |  7 of 8.00",
    );
}

#[test]
fn a_node_leaves() {
    let first = Layout::first(16, 3, five()).expect("a first layout");
    let next = first.next(five()[1..].to_vec()).expect("a next layout");
    check(
        &table(&next, Some(&first)),
        "
        epoch 2
        n1 z1 1 |  .  2  3  .  2  .  .  1  3  .  1  .  .  3  .  2 |  8 of 8.00
        n2 z2 1 |  3  3  2  3  1  1  1  2  2  1  3  1  2  2  1  3 | 16 of 16.00
        n3 z0 1 |  2 +1  1 +2  3 +2  3 +3  1 +3  2 +3 +3  1 +2  1 | 16 of 16.00
        n4 z1 1 |  1  .  .  1  .  3  2  .  .  2  .  2  1  .  3  . |  8 of 8.00
        n0 z0 1 |  .  -  .  -  .  -  .  -  .  -  .  -  -  .  -  . |",
    );
}

#[test]
fn one_zone_and_three_weights() {
    let members = [1, 2, 3, 4].iter().enumerate().map(|(n, &weight)| member(n as u64, 0, weight)).collect();
    let first = Layout::first(16, 3, members).expect("a first layout");
    check(
        &table(&first, None),
        "
        epoch 1
        n0 z0 1 |  .  2  .  .  .  1  .  .  1  3  .  .  2  .  .  . |  5 of 5.33
        n1 z0 2 |  2  .  1  2  3  .  3  3  .  .  1  1  .  3  2  2 | 11 of 10.67
        n2 z0 3 |  3  1  2  3  2  3  1  2  3  2  3  3  1  2  1  1 | 16 of 16.00
        n3 z0 4 |  1  3  3  1  1  2  2  1  2  1  2  2  3  1  3  3 | 16 of 16.00",
    );
}
