//! A progress bar on a terminal, and nothing elsewhere.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Finished, Found, Outcome, Walk};
use crate::cli::units;

/// A bar over files and bytes, on stderr.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    files: u64,
    failed: u64,
}

impl Progress {
    /// What is done is said before the bar: `importing`.
    pub fn new(what: &'static str) -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template = "{prefix} {bar:28.cyan/dim} {binary_bytes:>10} of {binary_total_bytes}  {binary_bytes_per_sec}  \
                        {msg}  {eta} left";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { bar, files: 0, failed: 0 }
    }

    /// How many bytes there will be.
    pub fn expect(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    /// Finds out how many bytes there will be, beside the work itself; only if there is anybody to see it.
    pub fn expect_files_of(&self, dir: &Path, bytes_max: u64) {
        if self.bar.is_hidden() {
            return;
        }
        let (bar, dir) = (self.bar.clone(), dir.to_path_buf());
        std::thread::spawn(move || {
            let files = Walk::new(&dir).into_iter().flatten();
            let bytes = files.filter_map(|found| match found {
                Found::File(item) if item.bytes <= bytes_max => Some(item.bytes),
                _ => None,
            });
            bar.set_length(bytes.sum());
        });
    }

    /// One more is finished.
    pub fn take(&mut self, finished: &Finished) {
        match finished.outcome {
            Outcome::Done => self.files += 1,
            Outcome::LeftOut => {}
            Outcome::Failed(_) => self.failed += 1,
        }
        if self.bar.is_hidden() {
            return;
        }
        self.bar.inc(finished.bytes);
        let failed = if self.failed > 0 { format!(", {} failed", units::count(self.failed)) } else { String::new() };
        self.bar.set_message(format!("{}{failed}", units::counted(self.files, "file")));
    }

    /// Files finished so far.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// Says something above the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| anstream::eprintln!("{text}"));
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
