//! The ring as a drawing: one arc a partition, one circle an owner, a legend with shares. A standalone SVG, readable in
//! light and dark.

use std::f64::consts::TAU;
use std::fmt::Write;

use dynode_ring::{Layout, NodeId, PartitionId, Token};

use super::{status, units};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 650.0;
const CENTRE: (f64, f64) = (300.0, 350.0);
const OUTER: f64 = 250.0;
/// Thickness of the first owners' circle, and of the others'.
const FIRST: f64 = 46.0;
const OTHERS: f64 = 20.0;
const GAP: f64 = 4.0;

/// Finer than this no eye sees, and the file would grow to megabytes.
const SECTORS_MAX: u32 = 2048;

/// Legend lines that have room.
const LEGEND_MAX: usize = 18;

/// Told apart in light and dark, and by most eyes that see fewer colours (after Paul Tol's "bright" and "vibrant").
const COLOURS: [&str; 10] =
    ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733", "#009988", "#997700", "#8866cc"];

/// A place on the ring to point at.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Where.
    pub token: Token,
    /// What is there.
    pub label: String,
}

/// Draws the ring of a layout.
pub fn ring(layout: &Layout, mark: Option<&Mark>) -> String {
    let members = status::shares(layout);
    let order: Vec<NodeId> = members.iter().map(|(member, _)| member.id).collect();
    let mut svg = String::new();
    begin(layout, &mut svg);
    let width = layout.owners(PartitionId(0)).len();
    for rank in 0..width {
        circle(layout, rank, &order, &mut svg);
    }
    centre(layout, &mut svg);
    if let Some(mark) = mark {
        pointer(mark, &mut svg);
    }
    legend(layout, &members, &mut svg);
    svg.push_str("</svg>\n");
    svg
}

fn begin(layout: &Layout, svg: &mut String) {
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="The ring: {} partitions on {} nodes">
<style>
.ground {{ fill: #ffffff; }}
text {{ fill: #1c2128; font: 14px system-ui, sans-serif; }}
.title {{ font-size: 22px; font-weight: 600; }}
.big {{ font-size: 34px; font-weight: 600; text-anchor: middle; }}
.mid {{ text-anchor: middle; }}
.faint {{ fill: #6a737d; }}
.right {{ text-anchor: end; font-variant-numeric: tabular-nums; }}
.arc {{ stroke: #ffffff; stroke-width: 0.6; }}
.mark {{ stroke: #1c2128; stroke-width: 2.5; fill: none; }}
@media (prefers-color-scheme: dark) {{
  .ground {{ fill: #14181d; }}
  text {{ fill: #e6edf3; }}
  .faint {{ fill: #8b949e; }}
  .arc {{ stroke: #14181d; }}
  .mark {{ stroke: #e6edf3; }}
}}
</style>
<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>
<text class="title" x="40" y="46">The ring</text>
<text class="faint" x="40" y="68">outer circle: first owners; inner circles: further owners</text>
"##,
        layout.partitions(),
        layout.members().len(),
    );
}

/// The radii, outer and inner, of the circle of owners of a rank.
fn radii(rank: usize) -> (f64, f64) {
    match rank {
        0 => (OUTER, OUTER - FIRST),
        _ => {
            let outer = OUTER - FIRST - GAP - (rank - 1) as f64 * (OTHERS + GAP);
            (outer, outer - OTHERS)
        }
    }
}

/// A point at a part (0 to 1) of the way round, clockwise from the top.
fn point(part: f64, radius: f64) -> (f64, f64) {
    let (sin, cos) = (part * TAU).sin_cos();
    (CENTRE.0 + radius * sin, CENTRE.1 - radius * cos)
}

fn circle(layout: &Layout, rank: usize, order: &[NodeId], svg: &mut String) {
    let sectors = layout.partitions().min(SECTORS_MAX);
    let step = layout.partitions() / sectors;
    let (outer, inner) = radii(rank);
    for (at, node) in order.iter().enumerate() {
        let opacity = if rank == 0 { 1.0 } else { 0.75 };
        let _ = writeln!(svg, r#"<g fill="{}" fill-opacity="{opacity}">"#, colour(at));
        for sector in 0..sectors {
            let partition = PartitionId((sector * step) as u16);
            if layout.owners(partition).get(rank) == Some(node) {
                arc(sector, sectors, outer, inner, &about(layout, partition, step), svg);
            }
        }
        svg.push_str("</g>\n");
    }
}

/// What a browser says of an arc under the pointer.
fn about(layout: &Layout, partition: PartitionId, step: u32) -> String {
    let names: Vec<&str> =
        layout.owners(partition).iter().filter_map(|n| layout.member(*n)).map(|m| m.name.as_str()).collect();
    let more = if step > 1 { format!(" (and {} more)", step - 1) } else { String::new() };
    escape(&format!("partition {partition}{more}: {}", names.join(", ")))
}

fn arc(sector: u32, sectors: u32, outer: f64, inner: f64, title: &str, svg: &mut String) {
    // A whole circle cannot be one arc: it would begin and end in one point.
    let end = f64::from(sector + 1) / f64::from(sectors) - if sectors == 1 { 1e-5 } else { 0.0 };
    let start = f64::from(sector) / f64::from(sectors);
    let large = u8::from(end - start > 0.5);
    let ((ax, ay), (bx, by)) = (point(start, outer), point(end, outer));
    let ((cx, cy), (dx, dy)) = (point(end, inner), point(start, inner));
    let _ = writeln!(
        svg,
        r#"<path class="arc" d="M{ax:.2} {ay:.2}A{outer} {outer} 0 {large} 1 {bx:.2} {by:.2}L{cx:.2} {cy:.2}A{inner} {inner} 0 {large} 0 {dx:.2} {dy:.2}Z"><title>{title}</title></path>"#,
    );
}

fn centre(layout: &Layout, svg: &mut String) {
    let (x, y) = CENTRE;
    let copies = layout.owners(PartitionId(0)).len();
    let _ = writeln!(svg, r#"<text class="big" x="{x}" y="{}">{}</text>"#, y - 6.0, layout.partitions());
    let _ = writeln!(svg, r#"<text class="mid" x="{x}" y="{}">partitions × {copies}</text>"#, y + 18.0);
    let _ = writeln!(svg, r#"<text class="mid faint" x="{x}" y="{}">epoch {}</text>"#, y + 40.0, layout.epoch());
}

fn pointer(mark: &Mark, svg: &mut String) {
    let part = mark.token.0 as f64 / u64::MAX as f64;
    let ((ax, ay), (bx, by)) = (point(part, OUTER - FIRST - 6.0), point(part, OUTER + 12.0));
    let (x, y) = point(part, OUTER + 20.0);
    let _ = writeln!(svg, r#"<path class="mark" d="M{ax:.2} {ay:.2}L{bx:.2} {by:.2}"/>"#);
    let _ = writeln!(svg, r#"<circle class="mark" cx="{bx:.2}" cy="{by:.2}" r="4"/>"#);
    let label: String = mark.label.chars().take(28).collect();
    let anchor = if x < CENTRE.0 { "end" } else { "start" };
    // Labels at the sides would leave the drawing: they go above or below their mark instead.
    let y = if y < CENTRE.1 { y - 6.0 } else { y + 16.0 };
    let x = x.clamp(150.0, 450.0);
    let _ = writeln!(svg, r#"<text x="{x:.2}" y="{y:.2}" style="text-anchor: {anchor}">{}</text>"#, escape(&label));
}

fn legend(layout: &Layout, members: &[(dynode_ring::Member, dynode_ring::Share)], svg: &mut String) {
    let (left, held, right, top) = (600.0, 795.0, 860.0, 130.0);
    let _ = writeln!(svg, r#"<text class="faint" x="{left}" y="{}">node</text>"#, top - 22.0);
    let _ = writeln!(
        svg,
        r#"<text class="faint right" x="{held}" y="{y}">partitions</text><text class="faint right" x="{right}" y="{y}">share</text>"#,
        y = top - 22.0
    );
    let most = members.iter().map(|(_, share)| share.fraction).fold(f64::MIN_POSITIVE, f64::max);
    for (at, (member, share)) in members.iter().take(LEGEND_MAX).enumerate() {
        let y = top + at as f64 * 26.0;
        let name: String = member.name.chars().take(16).collect();
        let _ = writeln!(
            svg,
            r#"<rect x="{left}" y="{:.1}" width="14" height="14" rx="3" fill="{}"/><text x="{}" y="{:.1}">{}</text><text class="right" x="{held}" y="{:.1}">{}</text><text class="right" x="{right}" y="{:.1}">{}</text><rect x="{}" y="{:.1}" width="{:.1}" height="3" rx="1.5" fill="{}" fill-opacity="0.6"/>"#,
            y - 12.0,
            colour(at),
            left + 24.0,
            y,
            escape(&name),
            y,
            share.held,
            y,
            units::percent(share.fraction),
            left + 24.0,
            y + 5.0,
            (right - left - 24.0) * share.fraction / most,
            colour(at),
        );
    }
    let y = top + members.len().min(LEGEND_MAX) as f64 * 26.0 + 10.0;
    let mut remark = String::new();
    if members.len() > LEGEND_MAX {
        let _ = write!(remark, "and {} more nodes. ", members.len() - LEGEND_MAX);
    }
    if layout.partitions() > SECTORS_MAX {
        let _ = write!(remark, "One sector shows {} partitions.", layout.partitions() / SECTORS_MAX);
    }
    let _ = writeln!(svg, r#"<text class="faint" x="{left}" y="{y}">{remark}</text>"#);
}

/// The colour of the member at this place.
fn colour(at: usize) -> String {
    match COLOURS.get(at) {
        Some(colour) => (*colour).to_string(),
        // The golden angle keeps neighbours apart however many there are.
        None => format!("hsl({:.0} 55% {}%)", (at as f64 * 137.508) % 360.0, 45 + at % 3 * 8),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Other control characters cannot be in an XML document at all.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynode_ring::Member;

    fn layout(partitions: u32, nodes: u64) -> Layout {
        let member = |n: u64| Member {
            id: NodeId(n + 1),
            name: format!("n{n}<&\">"),
            addr: "127.0.0.1:7100".into(),
            zone: "a".into(),
            weight: 1,
        };
        Layout::first(partitions, 3, (0..nodes).map(member).collect()).unwrap()
    }

    /// Tags are balanced, attributes are quoted, and no bare `&` or `<` is left. How many elements there are.
    fn elements(mut rest: &str) -> usize {
        let (mut open, mut count) = (Vec::new(), 0);
        while let Some(at) = rest.find('<') {
            assert_text(&rest[..at]);
            let end = at + rest[at..].find('>').expect("a tag has an end");
            let tag = &rest[at + 1..end];
            assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "{tag}");
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name.to_string())),
                None => {
                    count += 1;
                    if !tag.ends_with('/') {
                        open.push(tag.split([' ', '\n']).next().unwrap_or_default().to_string());
                    }
                }
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty(), "not closed: {open:?}");
        count
    }

    fn assert_text(text: &str) {
        for (at, _) in text.match_indices('&') {
            assert!(["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|e| text[at..].starts_with(e)), "{text}");
        }
    }

    #[test]
    fn drawings_are_well_formed() {
        let mark = Mark { token: Token::of(b"b", b"k"), label: "b/<k> & \u{1}".into() };
        for (partitions, nodes) in [(1, 1), (16, 3), (256, 30)] {
            let svg = ring(&layout(partitions, nodes), Some(&mark));
            assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
            let width = 3.min(nodes as usize);
            assert!(elements(&svg) > partitions as usize * width * 2, "an arc with a title for every copy");
            assert_eq!(svg.matches("class=\"arc\"").count(), partitions as usize * width);
            assert!(!svg.contains("NaN") && svg.contains("prefers-color-scheme: dark"));
        }
    }

    #[test]
    fn very_many_partitions_are_drawn_as_fewer_sectors() {
        let svg = ring(&layout(16_384, 5), None);
        elements(&svg);
        assert_eq!(svg.matches("class=\"arc\"").count(), SECTORS_MAX as usize * 3);
        assert!(svg.contains("One sector shows 8 partitions."));
    }
}
