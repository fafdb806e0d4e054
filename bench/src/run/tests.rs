//! Runs against a store in memory, on a clock that stands still unless somebody waits: no test takes real time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::fake::{Fake, Fate, Fresh};
use crate::target::Nowhere;
use crate::workload::{Mix, Op};

/// Tokio's clock, which tests pause.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> u64 {
        nanos(self.0.elapsed())
    }

    async fn sleep_until(&self, at: u64) {
        tokio::time::sleep_until(self.0 + Duration::from_nanos(at)).await;
    }
}

fn pace(in_flight: usize) -> Pace {
    Pace {
        in_flight,
        rate: None,
        poisson: false,
        warmup: Duration::ZERO,
        duration: None,
        operations: None,
        threads: 1,
        seed: 1,
        interval: Duration::from_secs(1),
    }
}

fn workload(mix: Mix, records: u64) -> Workload {
    Workload {
        mix,
        distribution: mix.distribution(),
        records,
        expected_inserts: 0,
        value_size: 10,
        replace: false,
        fresh_prefix: "put-".into(),
        insertions: Workload::insertions_from(mix, records),
    }
}

fn limits(pace: &Pace) -> Limits {
    let warmup = nanos(pace.warmup);
    Limits::new(warmup, pace.duration.map(|d| warmup + nanos(d)), pace.operations)
}

/// Drives one lane on paused time and gives what it measured, and how many nanoseconds went by.
fn drive_paused(pace: &Pace, workload: Workload, fake: &Fake) -> (Record, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let draw = Draw::new(&workload, pace.seed, 0);
        let clock = PausedClock(tokio::time::Instant::now());
        let lane = Rc::new(Lane::new(fake.clone(), clock, Arc::new(workload), Arc::new(limits(pace)), draw));
        let total = RefCell::new(Record::default());
        drive(&lane, pace, 0, |slice| total.borrow_mut().merge(&slice.record)).await;
        (total.into_inner(), lane.clock.now())
    })
}

fn ms(n: u64) -> u64 {
    n * 1_000_000
}

#[test]
fn a_closed_loop_has_as_many_in_flight_as_it_is_told() {
    let fake = Fake::new();
    fake.writes(|_, _| Fate::After(Duration::from_millis(10)));
    let pace = Pace { duration: Some(Duration::from_secs(1)), ..pace(8) };
    let (record, _) = drive_paused(&pace, workload(Mix::Put, 0), &fake);
    // 8 at a time, 10 ms each, for a second.
    assert_eq!(record.begun, 800);
    let put = record.of(Op::Put, None).expect("puts");
    assert_eq!(put.len(), 800);
    assert!(put.min() >= ms(9) && put.max() <= ms(12), "{} to {}", put.min(), put.max());
}

#[test]
fn the_number_of_operations_is_exact_and_leaves_the_warm_up_out() {
    let fake = Fake::new();
    fake.writes(|_, _| Fate::After(Duration::from_millis(10)));
    let pace = Pace { operations: Some(100), warmup: Duration::from_millis(500), ..pace(4) };
    let (record, _) = drive_paused(&pace, workload(Mix::Put, 0), &fake);
    assert_eq!(record.begun, 100);
    assert_eq!(record.of(Op::Put, None).map(|h| h.len()), Some(100));
    assert!((300..=304).contains(&fake.operations()), "{}", fake.operations());
}

#[test]
fn an_open_loop_counts_latency_from_the_intended_start() {
    // 100 a second for 10 s; every write takes 1 ms, but one at 3 s holds up all until 5 s.
    let fake = Fake::new();
    let stall = Rc::new(RefCell::new(None));
    let began = tokio::time::Instant::now;
    fake.writes(move |number, _| {
        if number == 300 {
            *stall.borrow_mut() = Some(began() + Duration::from_secs(2));
        }
        let left = stall.borrow().map_or(Duration::ZERO, |end| end.saturating_duration_since(began()));
        Fate::After(left.max(Duration::from_millis(1)))
    });
    let pace = Pace { rate: Some(100.0), duration: Some(Duration::from_secs(10)), ..pace(50) };
    let (record, _) = drive_paused(&pace, workload(Mix::Put, 0), &fake);
    let put = record.of(Op::Put, None).expect("puts");
    assert_eq!(put.len(), 1_000, "the schedule is kept, whatever the target does");
    assert!(put.max() >= ms(1_995) && put.max() <= ms(2_010), "{}", put.max());
    // 200 of the thousand were due in those two seconds, and waited 1 s on average.
    let waited = put.count_between(ms(5), ms(2_100));
    assert!((198..=202).contains(&waited), "{waited}");
    let half = put.count_between(ms(1_000), ms(2_100));
    assert!((99..=102).contains(&half), "{half}");
    // Only 50 fit in flight: the other 150 were held back, and that is not the generator's fault.
    assert!((147..=153).contains(&record.held_back), "{}", record.held_back);
    let lag = record.lag().expect("lag");
    assert_eq!(lag.len(), 1_000);
    assert!(lag.max() <= ms(3), "{}", lag.max());
    assert_eq!(record.never_started, 0);
}

#[test]
fn a_closed_loop_does_not_see_most_of_the_same_stall() {
    let fake = Fake::new();
    fake.writes(move |number, _| Fate::After(Duration::from_millis(if number == 300 { 2_000 } else { 10 })));
    let pace = Pace { duration: Some(Duration::from_secs(10)), ..pace(1) };
    let (record, _) = drive_paused(&pace, workload(Mix::Put, 0), &fake);
    let put = record.of(Op::Put, None).expect("puts");
    assert_eq!(put.count_between(ms(100), ms(3_000)), 1, "which is why latencies are measured in the open loop");
}

#[test]
fn what_was_due_and_never_started_is_counted() {
    // 100 a second wanted, 2 slots of 100 ms each: 20 a second done.
    let fake = Fake::new();
    fake.writes(|_, _| Fate::After(Duration::from_millis(100)));
    let pace = Pace { rate: Some(100.0), duration: Some(Duration::from_secs(5)), ..pace(2) };
    let (record, until) = drive_paused(&pace, workload(Mix::Put, 0), &fake);
    assert!((98..=102).contains(&record.begun), "{}", record.begun);
    assert!((record.begun + record.never_started).abs_diff(500) <= 1, "{} never", record.never_started);
    assert!(until <= ms(5_200));
    let put = record.of(Op::Put, None).expect("puts");
    assert!(put.max() >= ms(3_900), "the last ones were due four seconds before they ended: {}", put.max());
}

#[test]
fn the_schedule_is_even_between_lanes_and_poisson_keeps_the_rate() {
    let mut lanes: Vec<Schedule> = (0..4).map(|lane| Schedule::new(1_000.0, false, lane, 4)).collect();
    let mut starts: Vec<u64> =
        lanes.iter_mut().flat_map(|s| (0..250).map(|_| s.next(|| 0.0)).collect::<Vec<_>>()).collect();
    starts.sort_unstable();
    let wanted: Vec<u64> = (0..1_000).map(ms).collect();
    assert_eq!(starts, wanted);

    let mut poisson = Schedule::new(1_000.0, true, 0, 1);
    let mut fraction = 0.0;
    let mut last = 0;
    for _ in 0..10_000 {
        fraction = (fraction + 0.618_033_988_749_894_9) % 1.0; // evenly spread
        last = poisson.next(|| fraction);
    }
    assert!((last as f64 / 1e10 - 1.0).abs() < 0.01, "{last}");
}

#[test]
fn a_read_modify_write_is_counted_whole_and_in_parts() {
    let fake = Fake::new();
    let load = Pace { operations: Some(20), ..pace(4) };
    drive_paused(&load, workload(Mix::Load, 20), &fake);
    fake.reads(|_, _| Fate::After(Duration::from_millis(2)));
    fake.writes(|_, _| Fate::After(Duration::from_millis(5)));
    let pace = Pace { operations: Some(400), ..pace(1) };
    let (record, _) = drive_paused(&pace, workload(Mix::F, 20), &fake);
    let (whole, read, update) = (Op::ReadModifyWrite, Op::Read, Op::Update);
    let [whole, read, update] = [whole, read, update].map(|op| record.of(op, None).expect("measured"));
    assert_eq!(record.begun, 400);
    assert_eq!(read.len(), 400, "plain reads, and those of read-modify-writes");
    assert_eq!(whole.len(), update.len());
    assert!((150..250).contains(&whole.len()));
    assert!(whole.min() >= ms(6) && whole.max() <= ms(10));
    assert!(update.min() >= ms(4) && update.max() <= ms(7));
    assert!(read.max() <= ms(4));
    assert_eq!(record.errors() + record.siblings, 0);
}

#[test]
fn errors_are_counted_by_kind_with_their_latency() {
    let fake = Fake::new();
    fake.writes(|number, _| match number % 10 {
        0 => Fate::Refused,
        5 => Fate::Unknown { done: false },
        _ => Fate::Well,
    });
    let pace = Pace { operations: Some(1_000), ..pace(4) };
    let (record, _) = drive_paused(&pace, workload(Mix::Put, 0), &fake);
    let count = |error| record.of(Op::Put, error).map_or(0, |h| h.len());
    assert_eq!(count(None), 800);
    assert_eq!(count(Some("overloaded")), 100);
    assert_eq!(count(Some("outcome_unknown")), 100);
    assert_eq!((record.errors(), record.begun), (200, 1_000));
}

#[test]
fn reading_what_is_not_loaded_is_an_error() {
    let pace = Pace { operations: Some(10), ..pace(2) };
    let (record, _) = drive_paused(&pace, workload(Mix::C, 100), &Fake::new());
    assert_eq!(record.of(Op::Read, Some("not_found")).map(|h| h.len()), Some(10));
}

#[test]
fn a_target_that_refuses_everything_is_not_hammered() {
    let fake = Fake::new();
    fake.writes(|_, _| Fate::Refused);
    let pace = Pace { duration: Some(Duration::from_secs(1)), ..pace(10) };
    let (record, _) = drive_paused(&pace, workload(Mix::Put, 0), &fake);
    assert!(record.errors() <= 10_010, "{}", record.errors());
}

#[test]
fn workload_d_reads_what_it_inserts() {
    let fake = Fake::new();
    drive_paused(&Pace { operations: Some(100), ..pace(4) }, workload(Mix::Load, 100), &fake);
    fake.writes(|_, _| Fate::After(Duration::from_millis(3)));
    let (record, _) = drive_paused(&Pace { operations: Some(5_000), ..pace(8) }, workload(Mix::D, 100), &fake);
    assert_eq!(record.errors(), 0, "nothing is read before it is written");
    assert!(record.of(Op::Insert, None).is_some_and(|h| (180..330).contains(&h.len())));
}

#[test]
fn two_threads_do_all_of_it_once_and_intervals_add_up() {
    let (pace, records) = (Pace { threads: 2, interval: Duration::from_millis(5), ..pace(16) }, 50_000);
    let pace = Pace { operations: Some(records), ..pace };
    let workload = Arc::new(workload(Mix::Load, records));
    let limits = Arc::new(limits(&pace));
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let mut each = |interval: &Interval| {
        assert!(seen.insert(interval.number, interval.record.begun).is_none(), "each interval once");
    };
    let outcome = run(&pace, &Arc::new(Nowhere::new(1)), &workload, &limits, &mut each).expect("a run");
    assert_eq!(outcome.record.begun, records);
    assert_eq!(outcome.record.of(Op::Insert, None).map(|h| h.len()), Some(records));
    assert_eq!(workload.insertions.visible(), records);
    assert_eq!(seen.values().sum::<u64>(), records);
    assert_eq!(outcome.lanes.len(), 2);
    assert!(outcome.seconds > 0.0 && !outcome.stopped);
}

#[test]
fn a_lane_that_cannot_connect_ends_the_run() {
    struct Down;
    impl Connect for Down {
        type Target = Nowhere;
        async fn connect(&self) -> Result<Nowhere, Failed> {
            let changed = crate::target::Changed::Nothing;
            Err(Failed { kind: "unreachable", changed, detail: "nobody listens on 127.0.0.1:1".into() })
        }
    }
    let pace = Pace { threads: 2, operations: Some(10), ..pace(2) };
    let workload = Arc::new(workload(Mix::Load, 10));
    let outcome = run(&pace, &Arc::new(Down), &workload, &Arc::new(limits(&pace)), &mut |_| {});
    assert!(matches!(outcome, Err(RunError::Connect(failed)) if failed.detail.contains("127.0.0.1:1")));
}

#[test]
fn a_run_that_is_stopped_ends() {
    let pace = Pace { threads: 2, ..pace(4) };
    let limits = Arc::new(limits(&pace));
    let stop = limits.clone();
    let mut each = |_: &Interval| stop.stop();
    let pace = Pace { interval: Duration::from_millis(1), ..pace };
    let connect = Arc::new(Fresh(Fake::new));
    let outcome = run(&pace, &connect, &Arc::new(workload(Mix::Put, 0)), &limits, &mut each).expect("a run");
    assert!(outcome.stopped);
    assert!(outcome.record.begun > 0);
}
