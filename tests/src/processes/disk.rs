//! A small disk of its own for one node, that can be filled and emptied: a tmpfs, where the system allows mounting one.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::system;

/// Less than the 70 MiB that RocksDB would reserve for its write-ahead log: on a larger disk a node could write on for
/// minutes into what it has reserved. The live data of a run are a few MiB.
const SIZE_MIB: u32 = 64;

/// A mounted disk. Unmounted when dropped: whatever uses it must have ended by then.
pub struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `place`, an empty folder that is made if need be.
    ///
    /// # Errors
    ///
    /// The system does not allow it.
    pub fn mount(place: &Path) -> Result<SmallDisk, String> {
        std::fs::create_dir_all(place).map_err(|e| format!("{}: {e}", place.display()))?;
        let shown = place.display();
        if shown.to_string().contains(' ') {
            return Err(format!("{shown}: a name with spaces"));
        }
        system(&format!("mount -t tmpfs -o size={SIZE_MIB}m,mode=700 dynode-chaos {shown}"))?;
        Ok(SmallDisk { place: place.to_path_buf() })
    }

    /// Writes until nothing more fits.
    ///
    /// # Errors
    ///
    /// The system fails in another way than by being full.
    pub fn fill(&self) -> Result<(), String> {
        let say = |e: std::io::Error| format!("{}: {e}", self.ballast().display());
        let mut ballast = File::create(self.ballast()).map_err(say)?;
        // The large pieces first, then what is left between two of them.
        for size in [1 << 20, 4096, 1] {
            let piece = vec![0xba; size];
            loop {
                match ballast.write_all(&piece) {
                    Ok(()) => {}
                    Err(e) if e.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(e) => return Err(say(e)),
                }
            }
        }
        Ok(())
    }

    /// Frees what [`SmallDisk::fill`] has taken.
    pub fn free(&self) {
        let _ = std::fs::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let shown = self.place.display();
        // A process that is just ending may still hold a file: then it goes when that is closed.
        if system(&format!("umount {shown}")).is_err() {
            let _ = system(&format!("umount -l {shown}"));
        }
    }
}
