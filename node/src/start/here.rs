//! Is a data directory the very one that the last run was on, or a copy, such as a backup that was put back?
//!
//! A copy knows nothing of what was done after it was made, and where all nodes are put back at once no peer knows better.
//! `data/run` has a random content, anew at each start; the database notes it, and with it what copying does not keep:
//! the file's inode, and when that was made. Snapshots of a whole file system that are rolled back look like the original:
//! whoever does that with all nodes makes a file `data/rolled-back` in each.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The directory as it was found, and the file that will mark it from now on.
pub(super) struct Here {
    data: PathBuf,
    /// What marked it; `None`: nothing.
    pub(super) found: Option<String>,
    /// What is to mark it.
    pub(super) fresh: String,
}

impl Here {
    /// Looks at a data directory, and makes the file that is to mark it.
    pub(super) fn look(data: &Path) -> io::Result<Here> {
        let found = mark_of(&data.join("run"))?;
        let made = data.join("run.new");
        // Not written over: a copied one would keep its inode.
        match fs::remove_file(&made) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        let mut file = File::create(&made)?;
        writeln!(file, "{:016x}", rand::random::<u64>())?;
        file.sync_all()?;
        let fresh = mark_of(&made)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Here { data: data.to_path_buf(), found, fresh })
    }

    /// The database has noted it: the file takes its place.
    pub(super) fn settle(self) -> io::Result<()> {
        fs::rename(self.data.join("run.new"), self.data.join("run"))?;
        File::open(&self.data)?.sync_all()
    }
}

/// What tells a file from its copies.
fn mark_of(file: &Path) -> io::Result<Option<String>> {
    let said = match fs::read(file) {
        Ok(said) => String::from_utf8_lossy(&said).trim().chars().take(16).collect::<String>(),
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(why),
    };
    let meta = fs::metadata(file)?;
    // Not all file systems know it.
    let made = meta.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Ok(Some(format!("{said} {} {}", meta.ino(), made.as_nanos())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_told_from_the_original_and_a_move_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
        fs::create_dir(&data).unwrap();
        fs::create_dir(&copy).unwrap();
        let here = Here::look(&data).unwrap();
        assert_eq!(here.found, None);
        let first = here.fresh.clone();
        here.settle().unwrap();
        fs::copy(data.join("run"), copy.join("run")).unwrap();
        assert_ne!(Here::look(&copy).unwrap().found, Some(first.clone()));
        let again = Here::look(&data).unwrap();
        assert_eq!(again.found, Some(first.clone()));
        assert_ne!(again.fresh, first, "what is put back over it is another one");
        let moved = folder.path().join("moved");
        fs::rename(&data, &moved).unwrap();
        assert_eq!(Here::look(&moved).unwrap().found, Some(first));
    }
}
