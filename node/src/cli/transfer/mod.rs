//! Many files or keys at once: bounded jobs and bytes in flight, retries where they are safe, and a tally of what became
//! of each.

mod progress;
mod tally;
mod walk;

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use dynode_client::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use self::progress::Progress;
pub use self::tally::Tally;
pub use self::walk::{Found, Walk, walk_into};
use super::units;
use crate::config::parse_duration;

/// Items that wait for a free job: enough to keep all jobs busy while the source reads a directory or a page of keys.
const SOURCE_ITEMS: usize = 1024;

/// Bytes of values held at once. Nodes hold each a few times over until it is on three disks: more in flight would only wait
/// there until requests run out of time.
const BYTES_IN_FLIGHT: u64 = 32 << 20;

/// First and longest pause before a request is made again; the client library has already tried for its own time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// One thing to carry.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its key.
    pub key: Bytes,
    /// Its file.
    pub path: PathBuf,
    /// The file's length when it was found.
    pub bytes: u64,
}

/// Why one thing was not carried, or is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Trouble {
    /// A stable name.
    pub kind: &'static str,
    /// The file or key.
    pub name: String,
    /// For people.
    pub detail: String,
}

impl Trouble {
    /// About a key.
    pub fn new(kind: &'static str, key: &[u8], detail: impl Into<String>) -> Trouble {
        Trouble { kind, name: units::key(key), detail: detail.into() }
    }

    /// A request for a key failed.
    pub fn request(key: &[u8], error: &Error) -> Trouble {
        Trouble::new(error.kind(), key, error.to_string())
    }
}

/// What there is to carry, as it is found.
pub type Source = mpsc::Receiver<Result<Item, Trouble>>;

/// The two ends of a source.
pub fn source() -> (mpsc::Sender<Result<Item, Trouble>>, Source) {
    mpsc::channel(SOURCE_ITEMS)
}

/// What became of one item.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Bytes carried.
    pub bytes: u64,
    /// From the first attempt to the answer.
    pub latency: Duration,
    /// Attempts that failed before.
    pub retries: u32,
    /// Done, but worth a word in the summary.
    pub note: Option<&'static str>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How one item ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Carried.
    Done,
    /// Left out on purpose.
    LeftOut,
    /// Not carried, or not as it should be.
    Failed(Trouble),
}

impl From<Result<(), Trouble>> for Outcome {
    fn from(result: Result<(), Trouble>) -> Outcome {
        result.map_or_else(Outcome::Failed, |()| Outcome::Done)
    }
}

impl Finished {
    /// Never begun, or ended before any request.
    pub fn failed(trouble: Trouble) -> Finished {
        Finished { bytes: 0, latency: Duration::ZERO, retries: 0, note: None, outcome: Outcome::Failed(trouble) }
    }

    /// Left out on purpose.
    pub fn left_out(note: &'static str) -> Finished {
        Finished { bytes: 0, latency: Duration::ZERO, retries: 0, note: Some(note), outcome: Outcome::LeftOut }
    }
}

/// How much at once, and for how long.
#[derive(Debug, Clone, Copy, Args)]
pub struct Pace {
    /// Requests in flight
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub jobs: u16,
    /// Time for one request, before it is made again
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "15s")]
    pub timeout: Duration,
    /// Keep trying each file for so long when nodes are down or busy
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    pub retry_for: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { jobs: 32, timeout: Duration::from_secs(15), retry_for: Duration::from_secs(60) }
    }
}

/// Does `work` for each item of a source, at most `pace.jobs` at a time and with about 32 MiB held. `cost` says how many
/// bytes an item holds while it is worked on. `each` hears of every one that is finished. When as many items in a row as
/// there are jobs were tried again and again for nothing, the rest is not tried: no node would do it.
pub async fn carry<Work, Fut>(
    mut source: Source,
    pace: Pace,
    cost: impl Fn(&Item) -> u64,
    work: Work,
    mut each: impl FnMut(&Finished),
) -> Tally
where
    Work: Fn(Item) -> Fut,
    Fut: Future<Output = Finished> + Send + 'static,
{
    let mut tally = Tally::new();
    let mut under_way: JoinSet<(u64, Finished)> = JoinSet::new();
    let (mut held, mut waiting, mut ended) = (0u64, VecDeque::new(), false);
    let mut in_vain = 0;
    loop {
        // An item larger than what may be held goes alone.
        while let Some((cost, _)) = waiting.front()
            && under_way.len() < usize::from(pace.jobs)
            && (held + cost <= BYTES_IN_FLIGHT || under_way.is_empty())
            && let Some((cost, item)) = waiting.pop_front()
        {
            held += cost;
            let working = work(item);
            under_way.spawn(async move { (cost, working.await) });
        }
        if ended && waiting.is_empty() && under_way.is_empty() {
            return tally.ended();
        }
        tokio::select! {
            Some(joined) = under_way.join_next() => {
                let finished = match joined {
                    Ok((cost, finished)) => {
                        held -= cost;
                        finished
                    }
                    Err(e) => Finished::failed(Trouble::new("internal", b"?", e.to_string())),
                };
                in_vain = match &finished.outcome {
                    Outcome::Done => 0,
                    Outcome::Failed(_) if finished.retries > 0 => in_vain + 1,
                    Outcome::LeftOut | Outcome::Failed(_) => in_vain,
                };
                each(&finished);
                tally.take(finished);
                if in_vain >= pace.jobs {
                    tally.gave_up = true;
                    return tally.ended();
                }
            }
            next = source.recv(), if !ended && waiting.is_empty() => match next {
                Some(Ok(item)) => waiting.push_back((cost(&item), item)),
                Some(Err(trouble)) => {
                    let finished = Finished::failed(trouble);
                    each(&finished);
                    tally.take(finished);
                }
                None => ended = true,
            },
        }
    }
}

/// Makes a request again and again for as long as it may help, up to `time`. Only for what may be done twice. The last
/// answer, and how many attempts failed before it.
pub async fn persist<T, Fut>(time: Duration, mut attempt: impl FnMut() -> Fut) -> (Result<T, Error>, u32)
where
    Fut: Future<Output = Result<T, Error>>,
{
    let until = Instant::now() + time;
    let (mut pause, mut retries) = (PAUSE_MIN, 0);
    loop {
        match attempt().await {
            Err(error) if may_pass(&error) && Instant::now() + pause < until => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                retries += 1;
            }
            answer => return (answer, retries),
        }
    }
}

/// Whether the same request may succeed later.
fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreachable { .. }
            | Error::QuorumNotMet { .. }
            | Error::OutcomeUnknown { .. }
            | Error::Overloaded { .. }
            | Error::Unavailable { .. }
            | Error::OtherLayout { .. }
            | Error::TimedOut
            | Error::Internal { .. }
    )
}

/// All bytes of a file; at most one more than `max`.
pub(super) async fn read_file(path: PathBuf, max: usize) -> std::io::Result<Bytes> {
    let reading = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let mut value = Vec::new();
        std::fs::File::open(&path)?.take(max as u64 + 1).read_to_end(&mut value)?;
        Ok(Bytes::from(value))
    });
    reading.await.unwrap_or_else(|e| Err(std::io::Error::other(e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    fn item(bytes: u64) -> Item {
        Item { key: Bytes::from("k"), path: "p".into(), bytes }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn jobs_and_bytes_in_flight_are_bounded_and_all_is_carried() {
        block_on(async {
            let (sender, source) = source();
            tokio::spawn(async move {
                for n in 0..200u64 {
                    sender.send(Ok(item(if n % 50 == 7 { 200 << 20 } else { 30 << 20 }))).await.unwrap();
                }
            });
            let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let (counting, at_most) = (now.clone(), most.clone());
            let work = move |item: Item| {
                let (now, most) = (counting.clone(), at_most.clone());
                async move {
                    most.fetch_max(now.fetch_add(item.bytes, SeqCst) + item.bytes, SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    now.fetch_sub(item.bytes, SeqCst);
                    Finished {
                        bytes: item.bytes,
                        latency: Duration::ZERO,
                        retries: 1,
                        note: None,
                        outcome: Outcome::Done,
                    }
                }
            };
            let mut heard = 0;
            let pace = Pace { jobs: 8, ..Pace::default() };
            let tally = carry(source, pace, |item| item.bytes, work, |_| heard += 1).await;
            assert_eq!((tally.done, heard, tally.retries), (200, 200, 200));
            assert_eq!(now.load(SeqCst), 0);
            assert_eq!(most.load(SeqCst), 200 << 20, "the large one, alone");
        });
    }

    #[test]
    fn when_nothing_gets_through_the_rest_is_not_tried() {
        block_on(async {
            let (sender, source) = source();
            let feeding = tokio::spawn(async move { while sender.send(Ok(item(1))).await.is_ok() {} });
            let work = |item: Item| async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let trouble = Trouble::new("unreachable", &item.key, "nobody");
                Finished { retries: 3, ..Finished::failed(trouble) }
            };
            let tally = carry(source, Pace { jobs: 8, ..Pace::default() }, |item| item.bytes, work, |_| {}).await;
            assert!(tally.gave_up && tally.failed() == 8);
            feeding.await.unwrap();
        });
    }

    #[test]
    fn what_may_pass_is_tried_again_until_time_is_up() {
        block_on(async {
            let mut left = 3;
            let (answer, retries) = persist(Duration::from_secs(10), || {
                left -= 1;
                std::future::ready(if left > 0 { Err(Error::TimedOut) } else { Ok(()) })
            })
            .await;
            assert_eq!((answer, retries), (Ok(()), 2));
            let (answer, retries) =
                persist(Duration::from_secs(10), || std::future::ready(Err::<(), _>(Error::TooManySiblings))).await;
            assert_eq!((answer, retries), (Err(Error::TooManySiblings), 0));
        });
    }
}
