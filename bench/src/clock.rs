//! Time: the one place that reads clocks, sleeps precisely, and asks how much CPU a thread has used.
//!
//! Latencies are nanoseconds since the start of a run, as [`Clock::now`] gives them, so that tests can run the same
//! loops on tokio's paused clock.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time of a run.
pub trait Clock: 'static {
    /// Nanoseconds since the start.
    fn now(&self) -> u64;

    /// Returns at `at` (nanoseconds since the start), or at once when that has passed. One sleeper at a time.
    fn sleep_until(&self, at: u64) -> impl Future<Output = ()>;
}

/// The real clock: `Instant`, and on Linux a timer of its own. Tokio's timers tick in milliseconds, which an open
/// loop would add to the latency of whatever it measures.
pub struct SystemClock {
    origin: Instant,
    #[cfg(target_os = "linux")]
    timer: Option<tokio::net::unix::pipe::Receiver>,
}

impl SystemClock {
    /// A clock whose zero is `origin`. Must be called on the runtime that will sleep with it.
    pub fn new(origin: Instant) -> SystemClock {
        SystemClock {
            origin,
            #[cfg(target_os = "linux")]
            timer: linux::timer().ok(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        nanos(self.origin.elapsed())
    }

    async fn sleep_until(&self, at: u64) {
        let left = at.saturating_sub(self.now());
        if left == 0 {
            return;
        }
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.timer
            && linux::sleep(timer, left).await.is_ok()
        {
            return;
        }
        tokio::time::sleep_until((self.origin + Duration::from_nanos(at)).into()).await;
    }
}

/// Whole nanoseconds of a duration, as far as 64 bits go (584 years).
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// This moment, as a zero for [`SystemClock`].
pub fn instant() -> Instant {
    Instant::now()
}

/// This moment by the calendar.
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since 1970.
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| nanos(d) / 1_000_000)
}

/// What the calling thread has had of the processors so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// Nanoseconds on a processor; `None` where the system does not say.
    pub busy: Option<u64>,
    /// Nanoseconds that it was ready to run but had to wait for a processor; `None` where the system does not say.
    pub waited: Option<u64>,
}

impl ThreadTime {
    /// Of the calling thread, now.
    pub fn now() -> ThreadTime {
        #[cfg(unix)]
        {
            let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let busy = u64::try_from(spent.tv_sec).ok().zip(u64::try_from(spent.tv_nsec).ok());
            ThreadTime { busy: busy.map(|(s, n)| s * 1_000_000_000 + n), waited: run_queue_wait() }
        }
        #[cfg(not(unix))]
        ThreadTime::default()
    }

    /// What was added since `earlier`.
    pub fn since(self, earlier: ThreadTime) -> ThreadTime {
        let less = |now: Option<u64>, then: Option<u64>| now.zip(then).map(|(n, t)| n.saturating_sub(t));
        ThreadTime { busy: less(self.busy, earlier.busy), waited: less(self.waited, earlier.waited) }
    }
}

/// Linux's `schedstat`: time on a processor, time waiting for one, number of turns.
#[cfg(unix)]
fn run_queue_wait() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut fields = text.split_ascii_whitespace();
    let on: u64 = fields.next()?.parse().ok()?;
    let waited = fields.next()?.parse().ok()?;
    (on > 0).then_some(waited) // all zeros: the kernel does not keep count
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::net::unix::pipe::Receiver;

    /// A timer that is a file. To tokio it is the reading end of a pipe: it becomes readable, and gives eight bytes.
    pub(super) fn timer() -> io::Result<Receiver> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Receiver::from_file_unchecked(File::from(fd))
    }

    /// Sleeps for `left` nanoseconds, to some ten microseconds.
    pub(super) async fn sleep(timer: &Receiver, left: u64) -> io::Result<()> {
        let seconds = i64::try_from(left / 1_000_000_000).unwrap_or(i64::MAX);
        let it_value = Timespec { tv_sec: seconds, tv_nsec: (left % 1_000_000_000) as _ };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        let mut expirations = [0; 8];
        loop {
            timer.readable().await?;
            match timer.try_read(&mut expirations) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return other.map(|_| ()),
            }
        }
    }
}
