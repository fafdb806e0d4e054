//! How much room the disk has left. A disk that is entirely full stops a node altogether, so before that it takes no new
//! values, and goes on with everything else.

use std::path::PathBuf;

/// So much of the disk is kept free, and no more than [`FREE_BYTES_MOST`], when nobody says otherwise.
const FREE_SHARE: u64 = 50;

/// For compactions, which write before they delete.
const FREE_BYTES_MOST: u64 = 1 << 30;

/// The disk that the data are on.
#[derive(Debug, Clone)]
pub struct Room {
    place: PathBuf,
    free_min: Option<u64>,
    low: bool,
}

/// What the system says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Disk {
    bytes: u64,
    free: u64,
}

impl Room {
    /// `free_min`: bytes to be kept free; `None`: a fiftieth of the disk, at most 1 GiB.
    pub fn new(place: PathBuf, free_min: Option<u64>) -> Room {
        Room { place, free_min, low: false }
    }

    /// Why no new values are to be taken, if so.
    pub fn lack(&mut self) -> Option<String> {
        let disk = rustix::fs::statvfs(&self.place).ok()?;
        self.judge(Disk { bytes: disk.f_blocks * disk.f_frsize, free: disk.f_bavail * disk.f_frsize })
    }

    /// What was low is low until a quarter more is free, so that it does not change with every compaction.
    fn judge(&mut self, disk: Disk) -> Option<String> {
        let least = self.free_min.unwrap_or((disk.bytes / FREE_SHARE).min(FREE_BYTES_MOST));
        let enough = if self.low { least + least / 4 } else { least };
        self.low = disk.free < enough;
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        self.low.then(|| {
            let (free, least) = (mib(disk.free), mib(least));
            format!("the disk is nearly full: {free} MiB are free, {least} MiB are kept; no new values are taken here")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_is_low_until_there_is_a_quarter_more() {
        let mut room = Room::new("/".into(), None);
        let mut low = |free: u64| room.judge(Disk { bytes: 5000 << 20, free: free << 20 }).is_some();
        let said: Vec<bool> = [101, 100, 99, 100, 124, 125, 100].into_iter().map(&mut low).collect();
        assert_eq!(said, [false, false, true, true, true, false, false]);
        let mut room = Room::new("/".into(), Some(7 << 20));
        let why = room.judge(Disk { bytes: 1 << 40, free: 6 << 20 }).unwrap();
        assert!(why.contains("6 MiB are free") && why.contains("7 MiB are kept"), "{why}");
        let mut room = Room::new("/".into(), None);
        assert_eq!(room.judge(Disk { bytes: 1 << 40, free: 1 << 30 }), None, "of a large disk a gibibyte is enough");
        assert!(Room::new("/nowhere/at/all".into(), None).lack().is_none());
    }
}
