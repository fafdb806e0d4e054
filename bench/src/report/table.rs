//! The report for people: a header of two lines, a table, and loud words where they are due.

use std::fmt::Write;

use owo_colors::OwoColorize;

use super::{Config, Report};
use crate::measure::{QUANTILES, Stats};
use crate::units::{count, latency};

/// How many details of errors are shown.
const FIRST_ERRORS_MAX: usize = 3;

/// The report as text, with colours; whoever prints it to something else than a terminal strips them.
pub fn table(report: &Report) -> String {
    let mut text = header(report);
    text.push('\n');
    let mut rows = Rows::new(&heads());
    for latencies in &report.latencies {
        let name = match &latencies.error {
            None => latencies.op.clone(),
            Some(error) => format!("  {} {error}", latencies.op),
        };
        rows.push(latencies.error.is_some(), figures(name, &latencies.stats));
    }
    text.push_str(&rows.render());
    let errors = match report.errors {
        0 => "no errors".green().to_string(),
        n => format!("{} errors", count(n)).red().bold().to_string(),
    };
    let _ = writeln!(
        text,
        "\n{} operations in {:.2} s: {}, {errors}",
        count(report.operations),
        report.seconds,
        format!("{}/s", count(report.rate.round() as u64)).bold(),
    );
    notes(report, &mut text);
    text
}

fn header(report: &Report) -> String {
    let config = &report.config;
    let title = report.label.as_ref().map_or(String::new(), |label| format!("{label}: "));
    let mut text = format!("{}{}", title.bold(), config.workload.bold());
    let values = format!("{}-byte values", count(config.value_size as u64));
    let _ = match config.workload {
        crate::workload::Mix::Load => write!(text, ", {} records, {values}", count(config.records)),
        crate::workload::Mix::Put => write!(text, ", {values}"),
        _ => write!(text, ", {} over {} records, {values}", config.distribution, count(config.records)),
    };
    text.push('\n');
    let _ = writeln!(text, "{}", store(config));
    let _ = writeln!(text, "{}", pace(config));
    text
}

fn store(config: &Config) -> String {
    if config.nodes.is_empty() {
        return "no store: every operation succeeds at once, to measure the generator itself".into();
    }
    let strict = if config.strict { ", strict" } else { "" };
    format!("{}, bucket {}, r {}, w {}{strict}", config.nodes.join(" "), config.bucket, config.r, config.w)
}

fn pace(config: &Config) -> String {
    let threads = format!("{} thread{}", config.threads, if config.threads == 1 { "" } else { "s" });
    let (in_flight, warmup) = (config.in_flight, config.warmup_seconds);
    let loop_ = match config.rate {
        None => format!("{in_flight} in flight, closed loop"),
        Some(rate) => {
            let poisson = if config.poisson { " as Poisson arrivals" } else { "" };
            format!("open loop at {}/s{poisson}, at most {in_flight} in flight", count(rate.round() as u64))
        }
    };
    let warmup = if warmup > 0.0 { format!(", after {warmup} s of warm-up") } else { String::new() };
    format!("{threads}, {loop_}{warmup}")
}

fn heads() -> Vec<String> {
    let fixed = ["operation", "count", "rate/s", "mean"];
    let quantiles = QUANTILES.iter().map(|(name, _)| *name);
    fixed.into_iter().chain(quantiles).chain(["max"]).map(str::to_string).collect()
}

fn figures(name: String, stats: &Stats) -> Vec<String> {
    let rate = if stats.rate >= 99.5 { count(stats.rate.round() as u64) } else { format!("{:.1}", stats.rate) };
    let latencies = stats.figures().into_iter().map(|(_, ns)| latency(ns));
    [name, count(stats.count), rate].into_iter().chain(latencies).collect()
}

fn notes(report: &Report, text: &mut String) {
    for error in report.first_errors.iter().take(FIRST_ERRORS_MAX) {
        let _ = writeln!(text, "{} {error}", "an error:".red());
    }
    if report.siblings > 0 {
        let _ = writeln!(text, "{} reads found several siblings", count(report.siblings));
    }
    if report.held_back > 0 {
        let _ = writeln!(
            text,
            "{} operations were held back as all {} slots were in flight; their latency counts from when they were due",
            count(report.held_back),
            report.config.in_flight
        );
    }
    if report.never_started > 0 {
        let words = format!(
            "THE TARGET DID NOT KEEP UP: {} operations were due and never started; the latencies do not contain them",
            count(report.never_started)
        );
        let _ = writeln!(text, "{}", words.yellow().bold());
    }
    if report.stopped {
        let _ = writeln!(text, "{}", "stopped before its time".yellow());
    }
    let generator = &report.generator;
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut said = Vec::new();
    said.extend(generator.busy.map(|b| format!("busiest thread busy {}", percent(b))));
    said.extend(generator.waited.map(|w| format!("waited for a processor {}", percent(w))));
    said.extend(generator.lag_p99_ns.map(|l| format!("own lag p99 {}", latency(l as f64).trim_end())));
    said.extend(generator.lag_max_ns.map(|l| format!("max {}", latency(l as f64).trim_end())));
    if !said.is_empty() {
        let _ = writeln!(text, "{}", format!("generator: {}", said.join(", ")).dimmed());
    }
    for complaint in &report.complaints {
        let _ = writeln!(text, "{}", complaint.red().bold());
    }
}

/// Rows with aligned columns: the first to the left, the others to the right.
pub struct Rows {
    rows: Vec<(Style, Vec<String>)>,
}

/// How a row looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Head,
    Plain,
    Bad,
}

impl Rows {
    /// With the heads of the columns.
    pub fn new(heads: &[String]) -> Rows {
        Rows { rows: vec![(Style::Head, heads.to_vec())] }
    }

    /// One more row; `bad` ones are red.
    pub fn push(&mut self, bad: bool, cells: Vec<String>) {
        self.rows.push((if bad { Style::Bad } else { Style::Plain }, cells));
    }

    /// All of them.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (style, cells) in &self.rows {
            let mut line = String::new();
            for (column, cell) in cells.iter().enumerate() {
                let width = widths[column];
                let _ = if column == 0 { write!(line, "{cell:<width$}") } else { write!(line, "  {cell:>width$}") };
            }
            let line = line.trim_end();
            let _ = match style {
                Style::Head => writeln!(text, "{}", line.bold()),
                Style::Plain => writeln!(text, "{line}"),
                Style::Bad => writeln!(text, "{}", line.red()),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_are_aligned_and_errors_have_rows() {
        let text = plain(&table(&report(2)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "YCSB A (50 % read, 50 % update), zipfian over 1,000 records, 1,000-byte values");
        assert_eq!(lines[1], "127.0.0.1:7100, bucket bench, r quorum, w quorum");
        assert_eq!(lines[2], "1 thread, 64 in flight, closed loop");
        let rows: Vec<&&str> = lines.iter().filter(|l| l.contains("ms")).collect();
        assert!(rows[0].starts_with("read "));
        assert!(rows[1].starts_with("update "));
        assert!(rows[2].starts_with("  update overloaded"));
        let ends: Vec<usize> = rows[..3].iter().map(|r| r.chars().count()).collect();
        assert!(ends.windows(2).all(|w| w[0] == w[1]), "{text}");
        assert!(text.contains("1,001 operations in 20.00 s: 50/s, 1 errors"), "{text}");
        assert!(text.contains("an error: overloaded: too much is waiting"));
        assert!(!text.contains("LIMIT"));
    }

    #[test]
    fn the_generator_at_its_end_is_said_loudly() {
        let mut report = report(1);
        report.generator = crate::run::limit::Load { busy: Some(0.97), ..Default::default() };
        report.complaints = report.generator.complaints();
        report.never_started = 12_345;
        let text = plain(&table(&report));
        assert!(text.contains("THE GENERATOR IS THE LIMIT, not the target: a thread of it was busy 97 %"));
        assert!(text.contains("THE TARGET DID NOT KEEP UP: 12,345 operations"));
    }
}
