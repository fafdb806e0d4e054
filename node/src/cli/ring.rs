//! `ring`: who owns what, how even that is, and where a key lives.

use std::path::PathBuf;

use clap::Args;
use dynode_client::{Layout, NodeId};
use dynode_ring::{PartitionId, Token};
use owo_colors::OwoColorize;
use serde_json::{Value, json};

use super::output::{Done, Failure, print, print_json, print_raw, remark};
use super::status::{member_json, shares};
use super::table::Side::{Left, Right};
use super::table::{Cell, Table, bar};
use super::target::{TargetArgs, parse_place};
use super::{svg, units};

const BAR_CHARS: usize = 24;

/// `ring`.
#[derive(Debug, Args)]
pub(super) struct RingArgs {
    /// Show where this key lives: its token, partition and preference list
    #[arg(long, value_name = "BUCKET/KEY", value_parser = parse_place)]
    key: Option<(String, String)>,
    /// Draw the ring into this file (`-`: stdout), with the key's place if --key is given
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Show each partition's owners
    #[arg(long)]
    partitions: bool,
}

/// Where a key lives.
struct Place {
    bucket: String,
    key: String,
    token: Token,
    partition: PartitionId,
}

impl Place {
    fn of(layout: &Layout, (bucket, key): (String, String)) -> Place {
        let token = Token::of(bucket.as_bytes(), key.as_bytes());
        Place { partition: token.partition(layout.partitions()), bucket, key, token }
    }
}

/// What `ring --json` prints, with the place of `key` (bucket and key).
pub(super) fn ring_json(layout: &Layout, key: Option<(String, String)>) -> Value {
    as_json(layout, key.map(|key| Place::of(layout, key)).as_ref())
}

pub(super) async fn run(target: &TargetArgs, args: RingArgs) -> Done {
    let layout = target.connect().await?.layout();
    let place = args.key.map(|key| Place::of(&layout, key));
    if let Some(file) = &args.svg {
        let mark = place.as_ref().map(|p| svg::Mark { token: p.token, label: format!("{}/{}", p.bucket, p.key) });
        let drawing = svg::ring(&layout, mark.as_ref());
        if file.as_os_str() == "-" {
            return print_raw(drawing.as_bytes());
        }
        std::fs::write(file, drawing).map_err(|e| Failure::file(file, &e))?;
        remark(&format!("drawn: {}", file.display()));
    }
    if target.json {
        return print_json(&as_json(&layout, place.as_ref()));
    }
    let mut text = match &place {
        Some(place) => key_text(&layout, place),
        None => overview(&layout),
    };
    if args.partitions {
        text.push('\n');
        text.push_str(&table_of_partitions(&layout));
    }
    print(&text)
}

fn name(layout: &Layout, node: NodeId) -> String {
    layout.member(node).map_or_else(|| node.to_string(), |member| member.name.clone())
}

fn owners(layout: &Layout, partition: PartitionId) -> Vec<String> {
    layout.owners(partition).iter().map(|node| name(layout, *node)).collect()
}

/// Who would stand in, in order, if all owners were down.
fn stand_ins(layout: &Layout, partition: PartitionId) -> Vec<String> {
    let own = layout.owners(partition);
    let list = layout.preference_list(partition, |node| !own.contains(&node));
    list.stand_ins().iter().map(|node| name(layout, *node)).collect()
}

fn head(layout: &Layout) -> String {
    format!(
        "epoch {}  Q = {} partitions  N = {} copies each  {}\n",
        layout.epoch(),
        units::count(u64::from(layout.partitions())),
        layout.owners(PartitionId(0)).len(),
        units::counted(layout.members().len() as u64, "node"),
    )
}

fn overview(layout: &Layout) -> String {
    let shares = shares(layout);
    let most = shares.iter().map(|(_, share)| share.fraction).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut table = Table::new([
        ("node", Left),
        ("zone", Left),
        ("weight", Right),
        ("partitions", Right),
        ("wanted", Right),
        ("first", Right),
        ("share", Right),
        ("", Left),
    ]);
    for (member, share) in &shares {
        let first = layout.partition_ids().filter(|p| layout.owners(*p).first() == Some(&member.id)).count();
        table.row([
            Cell::styled(member.name.as_str(), owo_colors::Style::new().bold()),
            member.zone.as_str().into(),
            member.weight.to_string().into(),
            share.held.to_string().into(),
            format!("{:.1}", share.target).into(),
            first.to_string().into(),
            units::percent(share.fraction).into(),
            Cell::styled(bar(share.fraction / most, BAR_CHARS), owo_colors::Style::new().cyan()),
        ]);
    }
    let off = shares.iter().map(|(_, s)| (f64::from(s.held) - s.target).abs()).fold(0.0, f64::max);
    let balance = match off < 1.0 {
        true => format!("{}: every node is within one partition of its share", "balanced".green()),
        false => format!("{}: a node is {off:.1} partitions off its share", "not balanced".yellow()),
    };
    format!("{}\n{}\n{balance}\n", head(layout), table.render())
}

fn key_text(layout: &Layout, place: &Place) -> String {
    let mut table = Table::pairs();
    table.pair("key", Cell::styled(&place.key, owo_colors::Style::new().bold()));
    table.pair("bucket", place.bucket.as_str());
    table.pair("token", place.token.to_string());
    table.pair("partition", format!("{} of {}", place.partition, layout.partitions()));
    for (at, node) in layout.owners(place.partition).iter().enumerate() {
        let addr = layout.member(*node).map_or("", |member| member.addr.as_str());
        table.pair(if at == 0 { "owners" } else { "" }, format!("{}. {}  {addr}", at + 1, name(layout, *node)));
    }
    let stand_ins = stand_ins(layout, place.partition);
    let words = if stand_ins.is_empty() { "none: every node is an owner".into() } else { stand_ins.join(", ") };
    table.pair("stand-ins", words);
    table.render()
}

fn table_of_partitions(layout: &Layout) -> String {
    let mut table = Table::new([("partition", Right), ("tokens from", Left), ("owners", Left)]);
    for partition in layout.partition_ids() {
        let from = (u128::from(partition.0) << 64) / u128::from(layout.partitions());
        table.row([
            partition.to_string().into(),
            Cell::faint(format!("{from:016x}")),
            owners(layout, partition).join("  ").into(),
        ]);
    }
    table.render()
}

fn as_json(layout: &Layout, place: Option<&Place>) -> Value {
    let members: Vec<Value> = shares(layout).iter().map(|(member, share)| member_json(member, share)).collect();
    let table: Vec<Value> = layout.partition_ids().map(|p| json!(owners(layout, p))).collect();
    let mut document = json!({
        "epoch": layout.epoch(),
        "partitions": layout.partitions(),
        "replicas": layout.replicas(),
        "members": members,
        "owners": table,
    });
    if let Some(place) = place {
        document["key"] = json!({
            "bucket": place.bucket,
            "key": place.key,
            "token": place.token.to_string(),
            "partition": place.partition.0,
            "owners": owners(layout, place.partition),
            "stand_ins": stand_ins(layout, place.partition),
        });
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynode_ring::Member;

    fn layout(nodes: u64) -> Layout {
        let member = |n: u64| Member {
            id: NodeId(n + 1),
            name: format!("n{n}"),
            addr: format!("127.0.0.1:{}", 7100 + 10 * n),
            zone: "a".into(),
            weight: 1,
        };
        Layout::first(16, 3, (0..nodes).map(member).collect()).unwrap()
    }

    fn place(layout: &Layout) -> Place {
        let token = Token::of(b"b", b"k");
        Place { bucket: "b".into(), key: "k".into(), token, partition: token.partition(layout.partitions()) }
    }

    #[test]
    fn the_overview_names_every_node_and_says_whether_it_is_even() {
        let text = overview(&layout(4));
        assert!((0..4).all(|n| text.contains(&format!("n{n}"))), "{text}");
        assert!(text.contains("balanced"), "{text}");
        assert_eq!(table_of_partitions(&layout(4)).lines().count(), 17);
    }

    #[test]
    fn a_key_has_its_owners_and_stand_ins() {
        let layout = layout(4);
        let place = place(&layout);
        let document = as_json(&layout, Some(&place));
        assert_eq!(document["key"]["owners"].as_array().unwrap().len(), 3);
        assert_eq!(document["key"]["stand_ins"].as_array().unwrap().len(), 1);
        assert_eq!(document["owners"].as_array().unwrap().len(), 16);
        assert!(key_text(&layout, &place).contains("16"));
    }
}
