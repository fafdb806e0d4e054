//! Is the generator the limit, or the machine that it shares? Then the figures are about that, and it must be said loudly.

use super::Outcome;

/// A thread that is busier than this has no time left to be on time.
const BUSY_SHARE_MAX: f64 = 0.9;

/// A thread that waits longer than this share of its time for a processor shares it with others that want it, too.
const WAITED_SHARE_MAX: f64 = 0.1;

/// Starting later than this itself, the generator distorts latencies: most answers take less.
const LAG_P99_NS_MAX: u64 = 1_000_000;

/// How busy the generator was.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Load {
    /// Share of its time that the busiest thread spent on a processor.
    pub busy: Option<f64>,
    /// Share of its time that a thread was ready but waited for a processor; the worst thread.
    pub waited: Option<f64>,
    /// Open loop: its own lateness, 99 % at most this.
    pub lag_p99_ns: Option<u64>,
    /// Open loop: its own lateness at most.
    pub lag_max_ns: Option<u64>,
}

impl Load {
    /// Of a run.
    pub fn of(outcome: &Outcome) -> Load {
        let share = |part: Option<u64>, wall: u64| part.filter(|_| wall > 0).map(|p| p as f64 / wall as f64);
        let worst = |shares: Vec<Option<f64>>| shares.into_iter().flatten().reduce(f64::max);
        let lag = outcome.record.lag();
        Load {
            busy: worst(outcome.lanes.iter().map(|l| share(l.thread.busy, l.wall)).collect()),
            waited: worst(outcome.lanes.iter().map(|l| share(l.thread.waited, l.wall)).collect()),
            lag_p99_ns: lag.map(|h| h.value_at_quantile(0.99)),
            lag_max_ns: lag.map(|h| h.max()),
        }
    }

    /// Why the figures are about the generator or its machine rather than the target; nothing when they are not.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Some(busy) = self.busy.filter(|b| *b > BUSY_SHARE_MAX) {
            complaints.push(format!(
                "THE GENERATOR IS THE LIMIT, not the target: a thread of it was busy {:.0} % of the time; use more --threads, more machines, or a lower --rate",
                busy * 100.0
            ));
        }
        if let Some(waited) = self.waited.filter(|w| *w > WAITED_SHARE_MAX) {
            complaints.push(format!(
                "THE MACHINE IS FULL: the generator waited for a processor {:.0} % of the time, as others here wanted it, \
                 too; run it elsewhere, or take the figures as those of all of them together",
                waited * 100.0
            ));
        }
        if let Some(lag) = self.lag_p99_ns.filter(|l| *l > LAG_P99_NS_MAX) {
            complaints.push(format!(
                "THE GENERATOR IS THE LIMIT, not the target: 1 % of the operations started {:.1} ms late or more though a \
                 slot was free (at most {:.1} ms), and the latencies contain that; use more --threads or a lower --rate",
                lag as f64 / 1e6,
                self.lag_max_ns.unwrap_or(lag) as f64 / 1e6
            ));
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ThreadTime;
    use crate::measure::Record;
    use crate::run::LaneTime;

    fn outcome(busy: u64, waited: u64, lag: &[u64]) -> Outcome {
        let mut record = Record::default();
        lag.iter().for_each(|l| record.late(*l));
        let lane =
            |busy, waited| LaneTime { wall: 1_000, thread: ThreadTime { busy: Some(busy), waited: Some(waited) } };
        Outcome {
            record,
            seconds: 1e-6,
            lanes: vec![lane(100, 0), lane(busy, waited)],
            first_errors: Vec::new(),
            stopped: false,
        }
    }

    #[test]
    fn one_thread_at_its_end_is_enough_to_complain() {
        assert_eq!(Load::of(&outcome(899, 99, &[1_000; 100])).complaints(), Vec::<String>::new());
        let busy = Load::of(&outcome(950, 0, &[])).complaints();
        assert!(busy.len() == 1 && busy[0].contains("busy 95 %"), "{busy:?}");
        let waited = Load::of(&outcome(500, 300, &[])).complaints();
        assert!(waited.len() == 1 && waited[0].contains("30 %"), "{waited:?}");
    }

    #[test]
    fn being_late_is_a_complaint_when_it_is_more_than_one_in_a_hundred() {
        let mut lag = vec![50_000; 1_000];
        lag[..5].fill(80_000_000);
        assert_eq!(Load::of(&outcome(1, 0, &lag)).complaints(), Vec::<String>::new());
        lag[..50].fill(3_000_000);
        let late = Load::of(&outcome(1, 0, &lag)).complaints();
        assert!(late.len() == 1 && late[0].contains("3.0 ms late"), "{late:?}");
    }

    #[test]
    fn where_the_system_says_nothing_nothing_is_claimed() {
        let mut unknown = outcome(1, 0, &[]);
        unknown.lanes.iter_mut().for_each(|l| l.thread = ThreadTime::default());
        assert_eq!(Load::of(&unknown), Load::default());
    }
}
