//! Progress while a run goes on: a bar on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Interval, Pace};
use crate::measure::histogram;
use crate::units::{count, latency};

/// The bar of one run, drawn on stderr when that is a terminal.
pub struct Progress {
    bar: ProgressBar,
    by_operations: bool,
}

impl Progress {
    /// Nothing drawn yet. `show` false: nothing ever.
    pub fn new(pace: &Pace, show: bool) -> Progress {
        let by_operations = pace.operations.is_some();
        let length = pace.operations.or(pace.duration.map(|d| (pace.warmup + d).as_secs().max(1)));
        let bar = ProgressBar::with_draw_target(
            length,
            if show { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        let style = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {percent:>3} %  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Progress { bar, by_operations }
    }

    /// After an interval.
    pub fn show(&self, interval: &Interval) {
        if self.bar.is_hidden() {
            return;
        }
        if self.by_operations {
            self.bar.inc(interval.record.begun);
        } else {
            self.bar.set_position(interval.until / 1_000_000_000);
        }
        self.bar.set_message(line(interval));
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// One interval in a few words.
fn line(interval: &Interval) -> String {
    let record = &interval.record;
    if record.begun == 0 {
        return "warm-up".into();
    }
    let seconds = (interval.until - interval.from).max(1) as f64 / 1e9;
    let mut all = histogram();
    for series in record.all().iter().filter(|s| s.error.is_none()) {
        let _ = all.add(&series.latency);
    }
    let errors = match record.errors() {
        0 => String::new(),
        n => format!("  {} errors", count(n)),
    };
    let p99 = latency(all.value_at_quantile(0.99) as f64);
    format!("{}/s  p99 {p99}{errors}", count((record.begun as f64 / seconds) as u64))
}
