//! One run: a cluster, clients, one fault after another, then quiet, and the check of all that was written.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dynode::cli::units;
use dynode_client::Client;
use owo_colors::OwoColorize;
use tokio::sync::watch;

use crate::args::{Network, RunArgs};
use crate::faults::{self, Deck, Fault, Kind};
use crate::load::{Load, Plan};
use crate::outcome::{Event, Outcome};
use crate::quorums::with_quorum;
use crate::subject::Subject;
use crate::{report, svg};

/// Undisturbed at the start, and at least so long between two faults.
const QUIET: Duration = Duration::from_secs(2);

/// While a fault lasts: how often what repeats is repeated, and processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const BUCKET: &str = "chaos";

/// Runs it. Whether all held.
pub(crate) async fn run(args: &RunArgs, asked: watch::Receiver<bool>) -> Result<bool, String> {
    let seed = args.seed.unwrap_or_else(rand::random);
    let folder = Folder::new(args)?;
    let mut subject = match args.attach.is_empty() {
        true => Subject::start(args, &folder.path).await,
        false => Subject::attach(args).await,
    }
    .map_err(|why| format!("{why}{}", folder.kept_for_a_look()))?;
    let deck = deck(args, &mut subject, seed)?;
    let mut run = Run { args, asked, deck, seed, say: Say { to_stderr: args.json } };
    run.introduce(&subject, &folder);
    let outcome = run.through(&mut subject).await;
    drop(subject);
    let outcome = outcome.map_err(|why| format!("{why}{}", folder.kept_for_a_look()))?;
    report::show(&outcome, args.json)?;
    if let Some(path) = &args.svg {
        std::fs::write(path, svg::draw(&outcome)).map_err(|e| format!("{}: {e}", path.display()))?;
        run.say.line(&format!("drawn in {}", path.display()));
    }
    let held = outcome.all_held();
    if !held {
        run.say.line(&format!("again: --seed {seed}{}", folder.kept_for_a_look()));
    }
    Ok(held)
}

struct Run<'a> {
    args: &'a RunArgs,
    asked: watch::Receiver<bool>,
    deck: Deck,
    seed: u64,
    say: Say,
}

impl Run<'_> {
    async fn through(&mut self, subject: &mut Subject) -> Result<Outcome, String> {
        let args = self.args;
        let client = Client::connect(&subject.addrs).await.map_err(|e| e.to_string())?;
        let layout = client.layout();
        let origin = Instant::now();
        let mut load = Load::start(self.plan(subject), origin)?;
        let (mut events, mut troubles) = (Vec::new(), Vec::new());
        let end = origin + args.duration;
        let mut next = origin + QUIET;
        while !self.wait_until(next.min(end), &load).await && Instant::now() + self.hold() < end {
            let faults = self.deck.draw();
            if faults.is_empty() {
                next = end;
                continue;
            }
            let began = Instant::now();
            let texts: Vec<String> = faults.iter().map(|fault| fault.text(&subject.names)).collect();
            let text = texts.join(", ");
            self.say.event(origin, &text);
            let done = self.one(subject, &faults, &load).await;
            let (with_quorum, until, healed) = match done {
                Ok((reach, until, healed)) => (with_quorum(&layout, &subject.ids, &reach), until, healed),
                Err(why) => {
                    troubles.push(format!("{text}: {why}"));
                    break;
                }
            };
            let (whole, notes) = match healed {
                Ok(notes) => (subject.until_whole().await.map(Some), notes),
                Err(why) => (Err(why), Vec::new()),
            };
            self.say.whole(origin, &whole);
            let since = |at: Instant| at.duration_since(origin).as_secs_f64();
            let kinds = faults.iter().map(Fault::kind).collect();
            let failed = whole.is_err();
            events.push(Event { from: since(began), until: since(until), kinds, text, with_quorum, whole, notes });
            if failed {
                break;
            }
            next = (began + args.interval).max(Instant::now() + QUIET);
        }
        if troubles.is_empty() && !*self.asked.borrow() {
            self.wait_until(end, &load).await;
        }
        let quiet_at = origin.elapsed().as_secs();
        load.quiet().await;
        troubles.extend(subject.ended_unasked());
        let equal = subject.until_equal().await;
        self.say.line(&format!("{} requests answered; every key is read and checked", units::count(load.done())));
        let (verdict, seconds) = load.verdict().await?;
        Ok(Outcome {
            seed: self.seed,
            nodes: subject.names.clone(),
            network: match (args.attach.is_empty(), args.network) {
                (false, _) => "attached",
                (true, Network::Proxy) => "proxy",
                (true, Network::Netns) => "network namespaces",
                (true, Network::Plain) => "plain",
            },
            partitions: layout.partitions() as usize,
            whole_within: args.whole_within,
            events,
            skipped: subject.skipped.clone(),
            seconds,
            measured: 1..usize::try_from(quiet_at).unwrap_or(usize::MAX).max(1),
            verdict,
            equal,
            troubles,
        })
    }

    /// Injects faults, holds them, and heals: what worked meanwhile, when the heal began, and its notes.
    async fn one(
        &mut self,
        subject: &mut Subject,
        faults: &[Fault],
        load: &Load,
    ) -> Result<(crate::quorums::Reach, Instant, Result<Vec<String>, String>), String> {
        for fault in faults {
            subject.inject(fault).await?;
        }
        let until = Instant::now() + self.hold();
        // A node may end when its disk is full, as it is meant to: who asks would take that for its own.
        let is_disk = faults.iter().any(|fault| fault.kind() == Kind::Disk);
        let mut ended = None;
        while Instant::now() < until && ended.is_none() {
            if self.wait_until(until.min(Instant::now() + LOOK_EVERY), load).await {
                break;
            }
            faults.iter().for_each(|fault| subject.again(fault));
            ended = if is_disk { None } else { subject.ended_unasked() };
        }
        let (reach, healing) = (subject.reach.clone(), Instant::now());
        let break_connections = self.deck.coin();
        let healed = subject.heal(faults, break_connections).await;
        Ok((reach, healing, ended.map_or(healed, Err)))
    }

    /// Waits; true when the run is to end before its time.
    async fn wait_until(&mut self, at: Instant, load: &Load) -> bool {
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            // An error means that nobody can ask any more, and that this ends anyway.
            _ = self.asked.wait_for(|asked| *asked) => return true,
        }
        load.is_over()
    }

    fn hold(&self) -> Duration {
        self.args.hold.unwrap_or(self.args.interval / 2)
    }

    fn plan(&self, subject: &Subject) -> Plan {
        let args = self.args;
        Plan {
            nodes: subject.addrs.clone(),
            bucket: BUCKET.into(),
            writers: args.writers,
            rate: args.rate,
            keys: args.keys,
            value_size: args.value_size,
            timeout: args.timeout,
            strict: args.strict,
            seed: self.seed,
            settle: args.settle,
        }
    }

    fn introduce(&self, subject: &Subject, folder: &Folder) {
        let nodes = subject.names.iter().zip(&subject.addrs).map(|(name, addr)| format!("{name} {addr}"));
        self.say.line(&format!("{}  seed {}", "dynode-chaos".bold(), self.seed));
        self.say.line(&format!("nodes  {}", nodes.collect::<Vec<_>>().join("   ")));
        if self.args.attach.is_empty() {
            self.say.line(&format!("files  {}", folder.path.display()));
        }
        for skipped in &subject.skipped {
            self.say.line(&format!("{} {skipped}", "skipped".yellow()));
        }
    }
}

/// Which faults there will be. What was asked for and cannot be done is said.
fn deck(args: &RunArgs, subject: &mut Subject, seed: u64) -> Result<Deck, String> {
    let nodes = subject.names.len();
    let given = args.split.iter().chain(&args.cut).chain(&args.isolate).cloned();
    let given = given.map(|fault| faults::complete(fault, nodes)).collect::<Result<Vec<_>, _>>()?;
    let wanted = match (args.faults.is_empty(), given.is_empty()) {
        (false, _) => args.faults.clone(),
        (true, true) => Kind::ALL.to_vec(),
        (true, false) => Vec::new(),
    };
    let (mut kinds, mut skipped) = (Vec::new(), Vec::new());
    for kind in wanted {
        match subject.can(kind) {
            Ok(()) => kinds.push(kind),
            // Whatever was tried at the start has said itself why it cannot be.
            Err(_) if subject.skipped.iter().any(|said| said.starts_with(kind.name())) => {}
            Err(why) => skipped.push(format!("{}: {why}", kind.name())),
        }
    }
    if let Some(why) = given.iter().find_map(|fault| subject.can(fault.kind()).err()) {
        return Err(format!("this fault cannot be done here: {why}"));
    }
    subject.skipped.extend(skipped);
    let kill_probability = if subject.can(Kind::Kill).is_ok() { args.kill_probability } else { 0.0 };
    Ok(Deck::new(nodes, kinds, given, kill_probability, seed))
}

/// Where configurations, logs and data are. Removed at the end, unless something did not hold.
struct Folder {
    path: PathBuf,
    temporary: std::cell::RefCell<Option<tempfile::TempDir>>,
}

impl Folder {
    fn new(args: &RunArgs) -> Result<Folder, String> {
        if let Some(path) = &args.keep {
            std::fs::create_dir_all(path).map_err(|e| format!("{}: {e}", path.display()))?;
            let path = path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?;
            return Ok(Folder { path, temporary: None.into() });
        }
        let made = tempfile::Builder::new().prefix("dynode-chaos-").tempdir().map_err(|e| e.to_string())?;
        Ok(Folder { path: made.path().to_path_buf(), temporary: Some(made).into() })
    }

    /// Says where to look, and sees to it that there is something to look at.
    fn kept_for_a_look(&self) -> String {
        let kept = self.temporary.take().map(tempfile::TempDir::keep);
        let logs = std::fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_some());
        match (logs, kept) {
            (true, _) => format!("; logs and data are kept in {}", self.path.display()),
            (false, Some(path)) => {
                let _ = std::fs::remove_dir(path);
                String::new()
            }
            (false, None) => String::new(),
        }
    }
}

/// What goes on, for people.
struct Say {
    to_stderr: bool,
}

impl Say {
    fn line(&self, line: &str) {
        match self.to_stderr {
            true => anstream::eprintln!("{line}"),
            false => anstream::println!("{line}"),
        }
    }

    fn event(&self, origin: Instant, text: &str) {
        let at = format!("{:>6.1} s", origin.elapsed().as_secs_f64());
        self.line(&format!("{}  {}", at.dimmed(), text.yellow()));
    }

    fn whole(&self, origin: Instant, whole: &Result<Option<Duration>, String>) {
        match whole {
            Ok(Some(took)) => {
                let at = format!("{:>6.1} s", origin.elapsed().as_secs_f64());
                let words = format!("whole, {} after the heal", units::time(*took));
                self.line(&format!("{}  {}", at.dimmed(), words.green()));
            }
            Ok(None) => {}
            Err(why) => self.line(&format!("{} {why}", "not whole:".red().bold())),
        }
    }
}
