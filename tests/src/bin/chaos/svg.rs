//! Throughput and p99 over time, and the faults beneath: a standalone SVG, readable in light and dark.

use std::fmt::Write;

use dynode::cli::units;

use crate::faults::Kind;
use crate::outcome::{Event, Outcome};

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 1070.0;
/// Top and height of the two charts.
const RATE: (f64, f64) = (80.0, 190.0);
const TAIL: (f64, f64) = (310.0, 150.0);
/// Where the faults begin, and the height of one kind's row.
const FAULTS: f64 = 500.0;
const ROW: f64 = 24.0;

/// The scale of latencies, in milliseconds: each step ten times the one before.
const TAIL_MS: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];

/// Told apart in light and dark, and by most eyes that see fewer colours (after Paul Tol's "bright" and "vibrant").
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Kill => "#ee6677",
        Kind::Stop => "#ccbb44",
        Kind::Pause => "#aa3377",
        Kind::Split => "#4477aa",
        Kind::OneWay => "#66ccee",
        Kind::Slow => "#228833",
        Kind::Reset => "#ee7733",
        Kind::Disk => "#997700",
    }
}

/// Draws a run.
pub(crate) fn draw(outcome: &Outcome) -> String {
    let mut kinds: Vec<Kind> = outcome.events.iter().flat_map(|event| event.kinds.clone()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let height = FAULTS + ROW * kinds.len() as f64 + 50.0;
    let length = outcome.measured.end.max(1) as f64;
    let x = |seconds: f64| LEFT + (RIGHT - LEFT) * (seconds / length).clamp(0.0, 1.0);
    let mut svg = String::new();
    begin(outcome, height, &mut svg);
    for event in &outcome.events {
        shade(event, &x, FAULTS + ROW * kinds.len() as f64, &mut svg);
    }
    rate(outcome, &x, &mut svg);
    tail(outcome, &x, &mut svg);
    for (row, kind) in kinds.iter().enumerate() {
        faults(outcome, *kind, FAULTS + ROW * row as f64, &x, &mut svg);
    }
    axis(length, &x, FAULTS + ROW * kinds.len() as f64, &mut svg);
    svg.push_str("</svg>\n");
    svg
}

fn begin(outcome: &Outcome, height: f64, svg: &mut String) {
    let held = if outcome.all_held() { "all of it held" } else { "NOT all of it held" };
    let verdict = &outcome.verdict;
    let (lost, back, words) = (verdict.lost.len(), verdict.resurrected.len(), verdict.false_words.len());
    let slowest = outcome.slowest().map_or("?".into(), units::time);
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="Throughput, p99 and faults over time">
<style>
.ground {{ fill: #ffffff; }}
text {{ fill: #1c2128; font: 13px system-ui, sans-serif; }}
.title {{ font-size: 20px; font-weight: 600; }}
.faint {{ fill: #6a737d; }}
.right {{ text-anchor: end; font-variant-numeric: tabular-nums; }}
.mid {{ text-anchor: middle; font-variant-numeric: tabular-nums; }}
.grid {{ stroke: #d0d7de; stroke-width: 1; }}
.rate {{ fill: #4477aa; fill-opacity: 0.35; stroke: #4477aa; stroke-width: 1.5; }}
.tail {{ fill: none; stroke: #aa3377; stroke-width: 1.8; }}
.silent {{ fill: #d1242f; }}
@media (prefers-color-scheme: dark) {{
  .ground {{ fill: #14181d; }}
  text {{ fill: #e6edf3; }}
  .faint {{ fill: #8b949e; }}
  .grid {{ stroke: #30363d; }}
}}
</style>
<rect class="ground" width="{WIDTH}" height="{height}"/>
<text class="title" x="{LEFT}" y="34">dynode-chaos: {held}</text>
<text class="faint" x="{LEFT}" y="56">{} nodes, {}, seed {}; {lost} lost, {back} resurrected, {words} false words; whole {slowest} after a heal at most</text>
"##,
        outcome.nodes.len(),
        outcome.network,
        outcome.seed,
    );
}

/// A fault's time across all charts; lighter from its end until all was whole.
fn shade(event: &Event, x: &impl Fn(f64) -> f64, bottom: f64, svg: &mut String) {
    let Some(kind) = event.kinds.first() else { return };
    for (from, until, opacity) in [(event.from, event.until, 0.16), (event.until, event.end(), 0.07)] {
        let (left, width, height) = (x(from), x(until) - x(from), bottom - RATE.0);
        let fill = colour(*kind);
        let _ = writeln!(
            svg,
            r#"<rect x="{left:.1}" y="{}" width="{width:.1}" height="{height}" fill="{fill}" fill-opacity="{opacity}"/>"#,
            RATE.0
        );
    }
}

fn line(y: f64, label: &str, svg: &mut String) {
    let _ = writeln!(svg, r#"<line class="grid" x1="{LEFT}" y1="{y:.1}" x2="{RIGHT}" y2="{y:.1}"/>"#);
    let _ = writeln!(svg, r#"<text class="faint right" x="{}" y="{:.1}">{label}</text>"#, LEFT - 8.0, y + 4.0);
}

fn rate(outcome: &Outcome, x: &impl Fn(f64) -> f64, svg: &mut String) {
    let most = outcome.seconds.all.iter().map(|s| s.done).max().unwrap_or(0).max(1);
    // Four steps of a round number.
    let step = [1, 2, 5].iter().cycle().zip(0..).map(|(digit, i)| digit * 10_u64.pow(i / 3)).find(|s| s * 4 >= most);
    let top = step.unwrap_or(most) * 4;
    let y = |rate: u64| RATE.0 + RATE.1 * (1.0 - rate as f64 / top as f64);
    for i in 0..=4 {
        line(y(top / 4 * i), &units::count(top / 4 * i), svg);
    }
    let _ = writeln!(svg, r#"<text x="{}" y="{}">requests/s</text>"#, LEFT + 6.0, RATE.0 + 16.0);
    let seconds = || outcome.measured.clone().filter_map(|at| outcome.seconds.all.get(at).map(|s| (at, s)));
    let mut path = format!("M{:.1},{:.1}", x(outcome.measured.start as f64), y(0));
    for (at, second) in seconds() {
        let _ = write!(
            path,
            " L{:.1},{:.1} L{:.1},{:.1}",
            x(at as f64),
            y(second.done),
            x(at as f64 + 1.0),
            y(second.done)
        );
    }
    let _ = write!(path, " L{:.1},{:.1} Z", x(outcome.measured.end as f64), y(0));
    let _ = writeln!(svg, r#"<path class="rate" d="{path}"/>"#);
    for at in outcome.silent() {
        let (left, width) = (x(at as f64), x(1.0) - x(0.0));
        let _ = writeln!(
            svg,
            r#"<rect class="silent" x="{left:.1}" y="{:.1}" width="{width:.1}" height="6"/>"#,
            y(0) - 6.0
        );
    }
}

fn tail(outcome: &Outcome, x: &impl Fn(f64) -> f64, svg: &mut String) {
    let part = |ms: f64| (ms.max(TAIL_MS[0]).log10() / TAIL_MS[TAIL_MS.len() - 1].log10()).min(1.0);
    let y = |ms: f64| TAIL.0 + TAIL.1 * (1.0 - part(ms));
    for ms in TAIL_MS {
        line(y(ms), &if ms < 1_000.0 { format!("{ms} ms") } else { format!("{} s", ms / 1_000.0) }, svg);
    }
    let _ = writeln!(svg, r#"<text x="{}" y="{}">p99</text>"#, LEFT + 6.0, TAIL.0 + 16.0);
    let mut path = String::new();
    for at in outcome.measured.clone() {
        // A second without an answer has no p99: the line breaks.
        let Some(second) = outcome.seconds.all.get(at).filter(|s| s.done > 0) else {
            path.push(' ');
            continue;
        };
        let pen = if path.is_empty() || path.ends_with(' ') { 'M' } else { 'L' };
        let _ = write!(path, "{pen}{:.1},{:.1}", x(at as f64 + 0.5), y(second.p99_ms));
    }
    let _ = writeln!(svg, r#"<path class="tail" d="{path}"/>"#);
}

fn faults(outcome: &Outcome, kind: Kind, top: f64, x: &impl Fn(f64) -> f64, svg: &mut String) {
    let _ = writeln!(svg, r#"<text class="right" x="{}" y="{:.1}">{}</text>"#, LEFT - 8.0, top + 16.0, kind.name());
    for event in outcome.events.iter().filter(|event| event.kinds.contains(&kind)) {
        let (left, width, fill) = (x(event.from), x(event.until) - x(event.from), colour(kind));
        let after = x(event.end()) - x(event.until);
        let whole = match &event.whole {
            Ok(Some(took)) => format!("whole after {}", units::time(*took)),
            Ok(None) => "it cannot be told when it was whole".into(),
            Err(_) => "never whole".into(),
        };
        let title = escaped(&format!("{}, {:.1} s to {:.1} s, {whole}", event.text, event.from, event.until));
        let (y, height) = (top + 4.0, ROW - 8.0);
        let _ = writeln!(
            svg,
            r#"<g><title>{title}</title><rect x="{left:.1}" y="{y:.1}" width="{width:.1}" height="{height}" rx="2" fill="{fill}"/><rect x="{:.1}" y="{y:.1}" width="{after:.1}" height="{height}" fill="{fill}" fill-opacity="0.4"/></g>"#,
            left + width
        );
    }
}

fn axis(length: f64, x: &impl Fn(f64) -> f64, bottom: f64, svg: &mut String) {
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0].into_iter().find(|s| length / s <= 14.0);
    let step = step.unwrap_or(length / 10.0);
    let mut at = 0.0;
    while at <= length {
        let _ = writeln!(svg, r#"<text class="faint mid" x="{:.1}" y="{:.1}">{at:.0} s</text>"#, x(at), bottom + 22.0);
        at += step;
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
