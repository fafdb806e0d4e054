//! `watch`: the nodes as a table that is drawn anew, with what they did since it was last drawn.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use dynode_ring::Layout;
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::look::{self, Look};
use super::output::{Done, print_raw, written};
use super::table::Side::{Left, Right};
use super::table::{Cell, Table};
use super::target::TargetArgs;
use super::units;
use crate::config::parse_duration;

/// Drawing more often than this shows nothing more.
const INTERVAL_LEAST: Duration = Duration::from_millis(100);

/// The alternate screen, no cursor, lines cut at the edge rather than wrapped; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// `watch`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Rates and latencies are of the time since the table was last drawn. Ctrl-C ends it. Where stdout is no terminal the \
    tables follow each other; with --json each is one line.")]
pub(super) struct WatchArgs {
    /// How often the nodes are asked
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1s")]
    interval: Duration,
    /// Stop after so many tables
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

pub(super) async fn run(target: &TargetArgs, args: WatchArgs) -> Done {
    let client = target.connect().await?;
    let on_screen = std::io::stdout().is_terminal() && !target.json;
    if on_screen {
        print_raw(ENTER.as_bytes())?;
    }
    let shown = async {
        let (mut before, mut before_at) = (Vec::new(), Instant::now());
        for drawn in 0.. {
            if args.count.is_some_and(|count| drawn >= count) {
                break;
            }
            let next = Instant::now() + args.interval.max(INTERVAL_LEAST);
            let layout = client.layout();
            let looks = look::at_all(&client, &layout, args.interval.max(Duration::from_secs(1))).await;
            if looks.iter().any(|look| look.report.as_ref().is_ok_and(|r| r["epoch"].as_u64() > Some(layout.epoch()))) {
                let _ = client.refresh_layout().await; // else the table says next time
            }
            let span = before_at.elapsed();
            before_at = Instant::now();
            let rates: Vec<Option<Rates>> = looks.iter().map(|look| Rates::of(look, &before, span)).collect();
            if target.json {
                print_raw(format!("{}\n", as_json(&layout, &looks, &rates)).as_bytes())?;
            } else {
                draw(&as_text(&layout, &looks, &rates), on_screen)?;
            }
            before = looks;
            tokio::time::sleep_until(next).await;
        }
        Ok(())
    };
    let done = tokio::select! {
        done = shown => done,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    if on_screen {
        print_raw(LEAVE.as_bytes())?;
    }
    done
}

/// Writes over what was there, line by line, so that nothing flickers.
fn draw(text: &str, on_screen: bool) -> Done {
    let text = match on_screen {
        true => format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")),
        false => format!("{text}\n"),
    };
    let mut out = anstream::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What a node did in a span.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rates {
    puts: f64,
    gets: f64,
    /// All but one in a hundred of the operations that were done took no longer, by the bound of their bucket.
    p99: Option<Duration>,
}

impl Rates {
    /// `None` where there is nothing to compare with: the first look, or a node that was away or started anew.
    fn of(look: &Look, before: &[Look], span: Duration) -> Option<Rates> {
        let now = look.report.as_ref().ok()?;
        let then = before.iter().find(|other| other.member.id == look.member.id)?.report.as_ref().ok()?;
        let seconds = span.as_secs_f64();
        let count = |report: &Value, name: &str| report["counters"][name].as_u64();
        let grown = |name| Some(count(now, name)?.checked_sub(count(then, name)?)? as f64 / seconds);
        Some(Rates { puts: grown("puts")?, gets: grown("gets")?, p99: p99(&now["measured"], &then["measured"]) })
    }
}

fn p99(now: &Value, then: &Value) -> Option<Duration> {
    let counts = |measured: &Value, kind: &str, at: usize| measured["operations"][kind]["done"][at].as_u64();
    let bounds = now["bounds_us"].as_array()?;
    let below = |at: usize| {
        let kinds = ["put", "get", "delete"].iter();
        kinds.map(|kind| Some(counts(now, kind, at)?.saturating_sub(counts(then, kind, at)?))).sum::<Option<u64>>()
    };
    let all = below(bounds.len()).filter(|all| *all > 0)?;
    let at = (0..bounds.len()).find(|at| below(*at).is_some_and(|n| n * 100 >= all * 99)).unwrap_or(bounds.len() - 1);
    Some(Duration::from_micros(bounds.get(at)?.as_u64()?))
}

fn as_json(layout: &Layout, looks: &[Look], rates: &[Option<Rates>]) -> Value {
    let node = |(look, rates): (&Look, &Option<Rates>)| {
        let report = look.report.as_ref().ok();
        json!({
            "name": look.member.name,
            "state": report.map_or("unreachable".into(), |report| report["state"].clone()),
            "puts_per_second": rates.map(|rates| rates.puts),
            "gets_per_second": rates.map(|rates| rates.gets),
            "p99_us": rates.and_then(|rates| rates.p99).map(|p99| p99.as_micros() as u64),
            "lacking": report.map(|report| report["sync"]["lacking"].clone()),
            "hint_bytes": report.map(|report| report["hints"]["bytes"].clone()),
        })
    };
    json!({ "epoch": layout.epoch(), "nodes": looks.iter().zip(rates).map(node).collect::<Vec<_>>() })
}

fn as_text(layout: &Layout, looks: &[Look], rates: &[Option<Rates>]) -> String {
    let mut table = Table::new([
        ("node", Left),
        ("state", Left),
        ("zone", Left),
        ("share", Right),
        ("stored", Right),
        ("puts/s", Right),
        ("gets/s", Right),
        ("p99 below", Right),
        ("lacks", Right),
        ("pulls", Right),
        ("hints", Right),
        ("under way", Right),
        ("peers", Right),
    ]);
    let mut up = 0;
    let mut remarks = String::new();
    for (look, rates) in looks.iter().zip(rates) {
        let mut cells = vec![
            Cell::styled(look.member.name.as_str(), owo_colors::Style::new().bold()),
            match &look.report {
                Ok(report) if report["state"] == "up" => Cell::good("up"),
                Ok(report) => Cell::notable(report["state"].as_str().unwrap_or("?")),
                Err(_) => Cell::bad("no answer"),
            },
            look.member.zone.as_str().into(),
            units::percent(look.share.fraction).into(),
        ];
        match &look.report {
            Ok(report) => {
                up += usize::from(report["state"] == "up");
                cells.extend(figures(report, *rates));
            }
            Err(why) => remarks.push_str(&format!("{} {}: {why}\n", "no answer:".red(), look.member.name)),
        }
        table.row(cells);
    }
    let head = format!("epoch {}  {up} of {} up", layout.epoch(), units::counted(looks.len() as u64, "node"));
    format!("{}\n\n{}{}{remarks}", head.bold(), table.render(), if remarks.is_empty() { "" } else { "\n" })
}

fn figures(report: &Value, rates: Option<Rates>) -> [Cell; 9] {
    let figure = |place: &str| report.pointer(place).and_then(Value::as_u64).unwrap_or(0);
    let rate = |rate: Option<f64>| rate.map_or("".into(), |rate| Cell::from(units::count(rate.round() as u64)));
    let zero = |n: u64, text: String| if n == 0 { Cell::faint(text) } else { Cell::notable(text) };
    let stored: u64 = report["bytes"].as_object().into_iter().flat_map(|b| b.values()).filter_map(Value::as_u64).sum();
    let peers = report["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let alive = peers.iter().filter(|peer| peer["state"] == "alive").count();
    let (lacking, pulling, hints) = (figure("/sync/lacking"), figure("/sync/pulling"), figure("/hints/bytes"));
    [
        units::bytes(stored).into(),
        rate(rates.map(|rates| rates.puts)),
        rate(rates.map(|rates| rates.gets)),
        rates.and_then(|rates| rates.p99).map(units::time).unwrap_or_default().into(),
        zero(lacking, lacking.to_string()),
        zero(pulling, pulling.to_string()),
        zero(hints, units::bytes(hints)),
        units::count(figure("/operations")).into(),
        if alive == peers.len() {
            Cell::from(format!("{alive}/{}", peers.len()))
        } else {
            Cell::bad(format!("{alive}/{}", peers.len()))
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynode_ring::{Member, NodeId};

    fn look(layout: &Layout, puts: u64, done: [u64; 3]) -> Look {
        let (member, share) = crate::cli::status::shares(layout).remove(0);
        let measured = json!({ "bounds_us": [100, 200], "operations": {
            "put": { "done": done }, "get": { "done": [0, 0, 0] }, "delete": { "done": [0, 0, 0] } } });
        let report = json!({ "state": "up", "counters": { "puts": puts, "gets": 0 }, "measured": measured,
            "peers": [{ "state": "down" }] });
        Look { member, share, report: Ok(report), refuses: false, asked_ms: 0, answered_ms: 0 }
    }

    #[test]
    fn rates_are_of_the_time_between_and_none_after_a_restart() {
        let member = Member { id: NodeId(1), name: "n0".into(), addr: "a:1".into(), zone: "z".into(), weight: 1 };
        let layout = Layout::first(16, 1, vec![member]).unwrap();
        let (first, second) = (look(&layout, 100, [50, 60, 60]), look(&layout, 300, [50, 159, 160]));
        let span = Duration::from_secs(2);
        let rates = Rates::of(&second, std::slice::from_ref(&first), span).unwrap();
        assert_eq!(rates, Rates { puts: 100.0, gets: 0.0, p99: Some(Duration::from_micros(200)) });
        assert_eq!(Rates::of(&first, std::slice::from_ref(&second), span), None, "it counts anew");
        assert_eq!(Rates::of(&first, &[], span), None);
        let away = Look { report: Err("refused".into()), ..first };
        let text = as_text(&layout, &[second, away], &[Some(rates), None]);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(text.contains("1 of 2 nodes up") && text.contains("0/1") && text.contains("n0: refused"), "{text}");
    }
}
