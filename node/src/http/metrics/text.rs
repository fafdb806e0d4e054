//! The text format of Prometheus, 0.0.4.

use std::fmt::Write as _;

use crate::shell::meter::{BUCKETS, Histogram};

/// The text as it grows. Every name begins with `dynode_`.
pub(super) struct Text(pub(super) String);

impl Text {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP dynode_{name} {help}\n# TYPE dynode_{name} {kind}");
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.0, "dynode_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A histogram of times.
    pub(super) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bounds: Vec<u64> = (0..BUCKETS).map(Histogram::bound_us).collect();
        self.buckets(name, labels, &bounds, &histogram.cumulated(), histogram.sum_us());
    }

    /// A histogram of times from its parts, in microseconds: upper bounds, how many took no longer than each, and after them
    /// how many there are, and all that they took together.
    pub(super) fn buckets(&mut self, name: &str, labels: &[(&str, &str)], bounds: &[u64], counts: &[u64], sum: u64) {
        let count = counts.last().copied().unwrap_or(0);
        for (at, below) in counts.iter().enumerate() {
            let bound = bounds.get(at).map_or("+Inf".into(), |us| seconds(*us).to_string());
            let with_bound: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &with_bound, *below);
        }
        self.sample(&format!("{name}_sum"), labels, seconds(sum));
        self.sample(&format!("{name}_count"), labels, count);
    }
}

pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
