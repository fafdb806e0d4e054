//! The report: tables for people, or JSON.

use dynode::cli::table::Side::{Left, Right};
use dynode::cli::table::{Cell, Table};
use dynode::cli::units;
use owo_colors::OwoColorize;
use serde_json::{Value, json};

use crate::outcome::{Event, Outcome};

/// So many offenders of a kind are shown to people; the JSON has all.
const SHOWN_MAX: usize = 10;

/// Prints it.
pub(crate) fn show(outcome: &Outcome, as_json: bool) -> Result<(), String> {
    if as_json {
        let text = serde_json::to_string_pretty(&json(outcome)).map_err(|e| e.to_string())?;
        anstream::println!("{text}");
        return Ok(());
    }
    anstream::println!("\n{}", events(outcome));
    anstream::println!("{}", load(outcome));
    anstream::println!("{}", requests(outcome));
    anstream::println!("{}", held(outcome));
    Ok(())
}

fn events(outcome: &Outcome) -> String {
    let columns =
        [("at", Right), ("fault", Left), ("held", Right), ("quorum", Right), ("whole after", Right), ("", Left)];
    let mut table = Table::new(columns).indented(2);
    for event in &outcome.events {
        let whole = match &event.whole {
            Ok(Some(took)) if *took > outcome.whole_within => Cell::bad(units::time(*took)),
            Ok(Some(took)) => Cell::good(units::time(*took)),
            Ok(None) => Cell::faint("?"),
            Err(_) => Cell::bad("never"),
        };
        let quorum = units::percent(event.with_quorum as f64 / outcome.partitions.max(1) as f64);
        let notes = event.whole.clone().err().into_iter().chain(event.notes.iter().cloned()).collect::<Vec<_>>();
        table.row([
            format!("{:.1} s", event.from).into(),
            event.text.as_str().into(),
            format!("{:.1} s", event.until - event.from).into(),
            if event.with_quorum == outcome.partitions { quorum.into() } else { Cell::notable(quorum) },
            whole,
            Cell::faint(notes.join("; ")),
        ]);
    }
    for skipped in &outcome.skipped {
        table.row([Cell::faint("skipped"), Cell::notable(skipped.as_str())]);
    }
    match table.is_empty() {
        true => "  no faults\n".into(),
        false => table.render(),
    }
}

fn load(outcome: &Outcome) -> String {
    let measured: Vec<_> = outcome.measured.clone().filter_map(|s| outcome.seconds.all.get(s)).collect();
    let count = measured.len().max(1) as u64;
    let done: u64 = measured.iter().map(|s| s.done).sum();
    let mut rates: Vec<u64> = measured.iter().map(|s| s.done).collect();
    rates.sort_unstable();
    let mut tails: Vec<f64> = measured.iter().filter(|s| s.done > 0).map(|s| s.p99_ms).collect();
    tails.sort_unstable_by(f64::total_cmp);
    let mut table = Table::pairs().indented(2);
    let poorest = rates.first().copied().unwrap_or(0);
    table.pair("throughput", format!("{} requests/s, {poorest} in the poorest second", units::count(done / count)));
    let ms = |value: Option<&f64>| value.map_or("-".to_string(), |ms| format!("{ms:.1} ms"));
    let words = format!("{} in the median second, {} in the worst", ms(tails.get(tails.len() / 2)), ms(tails.last()));
    table.pair("p99", words);
    table.pair("buckets", Cell::faint("one second each, by when a request ended; its latency from when it was made"));
    let held_up = units::time(outcome.seconds.held_up);
    table.pair("the clients themselves", Cell::faint(format!("were held up for {held_up} at most")));
    table.render()
}

fn requests(outcome: &Outcome) -> String {
    let mut table = Table::new([("requests", Left), ("ended with", Left), ("", Left), ("", Right)]).indented(2);
    for ((op, kind, known), count) in &outcome.seconds.ends {
        let known = match *known {
            "done" => Cell::good("acknowledged"),
            "unknown" => Cell::notable("outcome unknown"),
            _ if *op == "read" => Cell::notable("no answer"),
            _ => Cell::notable("refused, nothing changed"),
        };
        table.row([(*op).into(), (*kind).into(), known, units::count(*count).into()]);
    }
    table.render()
}

fn held(outcome: &Outcome) -> String {
    let mut table = Table::new([("", Left), ("", Left), ("", Left)]).indented(2);
    for held in outcome.held() {
        let (mark, figure) = match held.held {
            true => (Cell::good("✓"), Cell::good(held.figure.as_str())),
            false => (Cell::bad("✗"), Cell::bad(held.figure.as_str())),
        };
        table.row([mark, held.what.into(), figure]);
    }
    let mut text = table.render();
    let verdict = &outcome.verdict;
    for (what, offences) in [
        ("lost", &verdict.lost),
        ("resurrected", &verdict.resurrected),
        ("false word", &verdict.false_words),
        ("strange", &verdict.strange),
        ("unread", &verdict.unread),
        ("stale", &verdict.missed),
    ] {
        for offence in offences.iter().take(SHOWN_MAX) {
            text.push_str(&format!("  {} {}: {}\n", what.red(), offence.key, offence.what));
        }
    }
    for trouble in &outcome.troubles {
        text.push_str(&format!("  {} {trouble}\n", "trouble".red()));
    }
    let words = match outcome.all_held() {
        true => "all of it held".green().bold().to_string(),
        false => "NOT all of it held".red().bold().to_string(),
    };
    text.push_str(&format!("\n{words}\n"));
    text
}

fn json(outcome: &Outcome) -> Value {
    let event = |event: &Event| {
        json!({
            "from_s": event.from,
            "until_s": event.until,
            "kinds": event.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
            "fault": event.text,
            "partitions_with_quorum": event.with_quorum,
            "whole_after_s": event.whole.clone().ok().flatten().map(|took| took.as_secs_f64()),
            "not_whole": event.whole.clone().err(),
            "notes": event.notes,
        })
    };
    let second =
        |s: &crate::load::Second| json!({ "done": s.done, "failed": s.failed, "p50_ms": s.p50_ms, "p99_ms": s.p99_ms });
    let ends = outcome.seconds.ends.iter();
    let ends =
        ends.map(|((op, kind, known), count)| json!({ "op": op, "ended_with": kind, "known": known, "count": count }));
    let held = outcome.held();
    let held = held.iter().map(|held| json!({ "what": held.what, "held": held.held, "figure": held.figure }));
    json!({
        "held": outcome.all_held(),
        "seed": outcome.seed,
        "network": outcome.network,
        "nodes": outcome.nodes,
        "partitions": outcome.partitions,
        "criteria": held.collect::<Vec<_>>(),
        "faults": outcome.events.iter().map(event).collect::<Vec<_>>(),
        "skipped": outcome.skipped,
        "silent_seconds": outcome.silent(),
        "measured_seconds": [outcome.measured.start, outcome.measured.end],
        "seconds": outcome.seconds.all.iter().map(second).collect::<Vec<_>>(),
        "requests": ends.collect::<Vec<_>>(),
        "retries": outcome.seconds.retries,
        "errors": outcome.seconds.errors,
        "clients_held_up_ms": outcome.seconds.held_up.as_secs_f64() * 1000.0,
        "audit": serde_json::to_value(&outcome.verdict).unwrap_or_default(),
        "troubles": outcome.troubles,
    })
}
