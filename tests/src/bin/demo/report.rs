//! The table at the end, and a line for each thing that was shown.

use std::time::Duration;

use dynode::cli::table::{Cell, Table};
use dynode::cli::transfer::Tally;
use dynode::cli::units;
use owo_colors::OwoColorize;

/// Copying what a node has missed may cost half as much again for keys, dots and what was written meanwhile.
pub(crate) const RATIO_MAX: f64 = 1.5;

/// Keys, dots and the frame around a value: what each file costs beside its bytes.
const FILE_BYTES: u64 = 256;

/// What was measured.
pub(crate) struct Figures {
    pub(crate) written: Tally,
    pub(crate) read: Tally,
    /// Files that were acknowledged before the kill.
    pub(crate) killed_after: u64,
    pub(crate) restart: Duration,
    pub(crate) whole: Duration,
    /// Files, and their bytes, that were acknowledged while the node was dead.
    pub(crate) missed_files: u64,
    pub(crate) missed: u64,
    pub(crate) moved: u64,
    pub(crate) deleted: u64,
    pub(crate) forgotten: Duration,
    /// Keys with equal siblings: written twice, since the first answer was lost with the node.
    pub(crate) twins: u64,
}

impl Figures {
    pub(crate) fn ratio(&self) -> f64 {
        if self.missed == 0 { 0.0 } else { self.moved as f64 / self.missed as f64 }
    }

    /// Whether no more was moved than copying what was missed needs. Of very small files the bytes beside them count more
    /// than the files.
    pub(crate) fn is_lean(&self) -> bool {
        self.ratio() <= RATIO_MAX || self.moved <= self.missed + FILE_BYTES * self.missed_files
    }

    pub(crate) fn table(&self) -> String {
        let Figures { written, read, .. } = self;
        let mut table = Table::pairs().indented(2);
        table.pair("files", units::count(written.done));
        table.pair("bytes", format!("{}, three copies of each", units::bytes(written.bytes)));
        let mut speed = |name: &str, tally: &Tally| {
            let rate = units::rate("files", tally.done, tally.time);
            let bytes = units::byte_rate(tally.bytes, tally.time);
            table.pair(name, format!("{rate}, {bytes}, in {}", units::time(tally.time)));
            table.pair("", Cell::faint(tally.latencies()));
        };
        speed("written", written);
        speed("read back", read);
        table.pair("errors", Cell::good(units::count(written.failed() + read.failed())));
        table.pair("tried again", units::count(written.retries + read.retries));
        table.pair("killed", format!("a node, by SIGKILL, after {} files", units::count(self.killed_after)));
        table.pair("answering again", format!("{} after its start", units::time(self.restart)));
        table.pair("whole again", Cell::good(format!("{} later", units::time(self.whole))));
        let limit = match self.ratio() <= RATIO_MAX {
            true => format!("at most {RATIO_MAX}"),
            false if self.is_lean() => "keys and dots count more than files as small as these".into(),
            false => format!("more than {RATIO_MAX}"),
        };
        let (missed, moved) = (units::bytes(self.missed), units::bytes(self.moved));
        let ratio = format!("{missed} missed, {moved} moved: ratio {:.2} ({limit})", self.ratio());
        table.pair("synced", if self.is_lean() { Cell::good(ratio) } else { Cell::bad(ratio) });
        if self.twins > 0 {
            let words = "written twice, as the first answer died with the node; equal siblings";
            table.pair("retried writes", format!("{} {words}", units::count(self.twins)));
        }
        let words = format!(
            "{}; no record and 0 bytes of them in objects and index, on every node, {} later",
            units::counted(self.deleted, "file"),
            units::time(self.forgotten)
        );
        table.pair("deleted", Cell::good(words));
        table.render()
    }
}

/// Something held.
pub(crate) fn shown(what: &str) {
    anstream::println!("{} {what}", "✓".green().bold());
}
