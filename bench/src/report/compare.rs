//! Two reports side by side: figure by figure, the ratio, and which way it is.

use std::fmt::Write;

use owo_colors::OwoColorize;
use serde_json::Value;

use super::{Latencies, Report};
use crate::units::{count, latency};

/// Ratios closer to 1 than this are called the same.
const SAME: f64 = 0.02;

/// Figures that `--fail-over` goes by. Not the far tail: a p99.99 doubles by chance.
const JUDGED: [&str; 5] = ["rate", "mean", "p50", "p90", "p99"];

/// One figure of both.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The operation, with its error if it is about one.
    pub what: String,
    /// The figure.
    pub figure: &'static str,
    /// In the first report.
    pub a: f64,
    /// In the second.
    pub b: f64,
    /// Less is better.
    pub less_is_better: bool,
}

impl Line {
    /// The second to the first; `None` when the first is nothing.
    pub fn ratio(&self) -> Option<f64> {
        (self.a > 0.0).then(|| self.b / self.a)
    }

    /// By which share the second is worse: 0.1 is 10 %; negative is better. Something in the place of nothing is
    /// infinitely more.
    pub fn worse(&self) -> f64 {
        if self.a == self.b {
            return 0.0;
        }
        match (self.less_is_better, self.ratio()) {
            (true, Some(ratio)) => ratio - 1.0,
            (false, Some(ratio)) if ratio > 0.0 => 1.0 / ratio - 1.0,
            (true, None) | (false, Some(_)) => f64::INFINITY,
            (false, None) => -1.0,
        }
    }
}

/// All that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Settings that differ: name, first, second.
    pub settings: Vec<(String, String, String)>,
    /// Figures.
    pub lines: Vec<Line>,
    /// Operations that only one of them has.
    pub only_one: Vec<String>,
}

/// Compares two reports.
pub fn compare(a: &Report, b: &Report) -> Comparison {
    let mut lines = vec![line("all", "rate", a.rate, b.rate, false)];
    let mut only_one = Vec::new();
    for ours in a.latencies.iter().filter(|l| l.error.is_none()) {
        let Some(theirs) = b.of(&ours.op, None) else {
            only_one.push(format!("{} (only the first)", ours.op));
            continue;
        };
        lines.push(line(&ours.op, "rate", ours.stats.rate, theirs.stats.rate, false));
        for ((name, a), (_, b)) in ours.stats.figures().into_iter().zip(theirs.stats.figures()) {
            lines.push(line(&ours.op, name, a, b, true));
        }
    }
    let new = b.latencies.iter().filter(|l| l.error.is_none() && a.of(&l.op, None).is_none());
    only_one.extend(new.map(|l| format!("{} (only the second)", l.op)));

    let mut errors: Vec<(&str, &str)> = Vec::new();
    for latencies in a.latencies.iter().chain(&b.latencies) {
        if let Some(error) = &latencies.error
            && !errors.contains(&(latencies.op.as_str(), error.as_str()))
        {
            errors.push((&latencies.op, error));
        }
    }
    for (op, error) in errors {
        let rate = |report: &Report| report.of(op, Some(error)).map_or(0.0, |l: &Latencies| l.stats.rate);
        lines.push(line(&format!("{op} {error}"), "errors/s", rate(a), rate(b), true));
    }
    Comparison { settings: settings(a, b), lines, only_one }
}

impl Comparison {
    /// What is worse by more than `share`, of the figures that are steady enough to judge, and of errors.
    pub fn worse_than(&self, share: f64) -> Vec<&Line> {
        let judged = |line: &&Line| JUDGED.contains(&line.figure) || line.figure == "errors/s";
        self.lines.iter().filter(judged).filter(|line| line.worse() > share).collect()
    }

    /// As text, with colours.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if !self.settings.is_empty() {
            let _ = writeln!(text, "{}", "The runs were not set up alike:".yellow().bold());
            for (name, a, b) in &self.settings {
                let _ = writeln!(text, "  {name}: {a} and {b}");
            }
            text.push('\n');
        }
        let head = ["", "first", "second", "second/first", ""];
        let cells: Vec<[String; 5]> = self.lines.iter().map(Line::cells).collect();
        let width = |column: usize| {
            let all = cells.iter().map(|row| row[column].chars().count());
            all.chain([head[column].chars().count()]).max().unwrap_or(0)
        };
        let [w0, w1, w2, w3] = [0, 1, 2, 3].map(width);
        let title = format!("{:<w0$}  {:>w1$}  {:>w2$}  {:>w3$}", head[0], head[1], head[2], head[3]);
        let _ = writeln!(text, "{}", title.bold());
        let mut last = "";
        for (line, [name, a, b, ratio, word]) in self.lines.iter().zip(&cells) {
            if !last.is_empty() && last != line.what {
                text.push('\n');
            }
            last = &line.what;
            let word = match line.worse() {
                worse if worse > SAME => word.red().to_string(),
                worse if worse < -SAME => word.green().to_string(),
                _ => word.dimmed().to_string(),
            };
            let _ = writeln!(text, "{name:<w0$}  {a:>w1$}  {b:>w2$}  {ratio:>w3$}  {word}");
        }
        for op in &self.only_one {
            let _ = writeln!(text, "{}", format!("not compared: {op}").yellow());
        }
        text
    }
}

impl Line {
    fn cells(&self) -> [String; 5] {
        let figure = |value: f64| match self.figure {
            "rate" => format!("{}/s", count(value.round() as u64)),
            "errors/s" => format!("{value:.2}"),
            _ => latency(value),
        };
        let ratio = self.ratio().map_or_else(|| "-".into(), |ratio| format!("{ratio:.3}"));
        let word = match self.worse() {
            worse if worse > SAME => "worse",
            worse if worse < -SAME => "better",
            _ => "same",
        };
        [format!("{} {}", self.what, self.figure), figure(self.a), figure(self.b), ratio, word.into()]
    }
}

fn line(what: &str, figure: &'static str, a: f64, b: f64, less_is_better: bool) -> Line {
    Line { what: what.into(), figure, a, b, less_is_better }
}

/// What the two were told differently, in the order of the report's JSON.
fn settings(a: &Report, b: &Report) -> Vec<(String, String, String)> {
    let (a, b) = (serde_json::to_value(&a.config), serde_json::to_value(&b.config));
    let (Ok(Value::Object(a)), Ok(Value::Object(b))) = (a, b) else { return Vec::new() };
    let differing = a.iter().filter_map(|(name, ours)| {
        let theirs = b.get(name).unwrap_or(&Value::Null);
        (ours != theirs).then(|| (name.clone(), ours.to_string(), theirs.to_string()))
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_report_is_like_itself() {
        let report = report(1);
        let comparison = compare(&report, &report);
        assert!(comparison.settings.is_empty() && comparison.only_one.is_empty());
        assert!(comparison.lines.iter().all(|l| l.worse() == 0.0));
        assert!(comparison.worse_than(0.0).is_empty());
        let text = anstream::adapter::strip_str(&comparison.render()).to_string();
        assert!(text.contains("same") && !text.contains("worse") && !text.contains("better"), "{text}");
    }

    #[test]
    fn half_as_fast_is_worse_and_the_other_way_round_better() {
        let (fast, slow) = (report(1), report(2));
        let comparison = compare(&fast, &slow);
        let find = |what: &str, figure: &str| comparison.lines.iter().find(|l| l.what == what && l.figure == figure);
        let rate = find("read", "rate").expect("rate");
        assert_eq!(rate.ratio(), Some(0.5));
        assert_eq!(rate.worse(), 1.0);
        let p50 = find("read", "p50").expect("p50");
        assert!((p50.worse() - 1.0).abs() < 0.01, "{p50:?}");
        let errors = find("update overloaded", "errors/s").expect("errors");
        assert_eq!(errors.worse(), f64::INFINITY);
        assert!(comparison.worse_than(0.1).iter().any(|l| l.figure == "p99"));
        assert!(comparison.worse_than(1e9).iter().all(|l| l.figure == "errors/s"));
        let text = anstream::adapter::strip_str(&comparison.render()).to_string();
        assert!(text.contains("worse") && !text.contains("better"), "{text}");

        let back = compare(&slow, &fast);
        assert!(back.worse_than(0.0).is_empty());
        assert!(anstream::adapter::strip_str(&back.render()).to_string().contains("better"));
    }

    #[test]
    fn the_far_tail_is_shown_but_not_judged() {
        let (a, mut b) = (report(1), report(1));
        for latencies in &mut b.latencies {
            latencies.stats.p99_99_ns *= 50;
            latencies.stats.max_ns *= 50;
        }
        let comparison = compare(&a, &b);
        assert!(comparison.worse_than(0.1).is_empty());
        assert!(comparison.render().contains("worse"));
    }

    #[test]
    fn settings_and_operations_that_differ_are_named() {
        let (a, mut b) = (report(1), report(1));
        b.config.in_flight = 128;
        b.config.rate = Some(1_000.0);
        b.latencies.retain(|l| l.op != "read");
        let comparison = compare(&a, &b);
        let named: Vec<&str> = comparison.settings.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(named, ["in_flight", "rate"]);
        assert_eq!(comparison.only_one, ["read (only the first)"]);
        assert!(comparison.render().contains("in_flight: 64 and 128"));
    }
}
