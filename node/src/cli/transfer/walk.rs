//! The regular files under a folder, in a fixed order, without following links.

use std::fs::{DirEntry, ReadDir};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Item, Trouble};

/// What a walk meets.
#[derive(Debug)]
pub enum Found {
    /// A regular file.
    File(Item),
    /// A link, socket or device: left out.
    Other,
    /// Something that cannot be read.
    Trouble(Trouble),
}

/// A walk through a folder: names sorted, folders at their place among the files. Holds the names of the folders from the
/// top to where it is.
#[derive(Debug)]
pub struct Walk {
    top: PathBuf,
    /// For each folder on the way down: what is left of it, last first.
    open: Vec<Vec<PathBuf>>,
}

impl Walk {
    /// Opens the folder.
    ///
    /// # Errors
    ///
    /// It is not there, is no folder, or cannot be read.
    pub fn new(top: &Path) -> std::io::Result<Walk> {
        let open = vec![names(std::fs::read_dir(top)?)?];
        Ok(Walk { top: top.to_path_buf(), open })
    }

    fn look(&mut self, path: PathBuf) -> Option<Found> {
        let key = key_of(&self.top, &path);
        let trouble = |e: std::io::Error| Some(Found::Trouble(Trouble::new("file", &key, e.to_string())));
        let about = match path.symlink_metadata() {
            Ok(about) => about,
            Err(e) => return trouble(e),
        };
        if about.is_dir() {
            match std::fs::read_dir(&path).and_then(names) {
                Ok(names) => self.open.push(names),
                Err(e) => return trouble(e),
            }
            return None;
        }
        Some(match about.is_file() {
            true => Found::File(Item { key, bytes: about.len(), path }),
            false => Found::Other,
        })
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            match self.open.last_mut()?.pop() {
                None => {
                    self.open.pop();
                }
                Some(path) => {
                    if let Some(found) = self.look(path) {
                        return Some(found);
                    }
                }
            }
        }
    }
}

/// The paths in a folder, last first: they are taken from the end.
fn names(dir: ReadDir) -> std::io::Result<Vec<PathBuf>> {
    let entries: std::io::Result<Vec<DirEntry>> = dir.collect();
    let mut paths: Vec<PathBuf> = entries?.iter().map(DirEntry::path).collect();
    paths.sort_unstable_by(|a, b| b.cmp(a));
    Ok(paths)
}

/// The path from the top, with `/`.
fn key_of(top: &Path, path: &Path) -> Bytes {
    let relative = path.strip_prefix(top).unwrap_or(path);
    Bytes::copy_from_slice(relative.as_os_str().as_bytes())
}

/// Sends what a walk finds into a source until the end, or until nobody takes it any more. How many things were left out.
/// For a thread of its own.
pub fn walk_into(walk: Walk, sender: &mpsc::Sender<Result<Item, Trouble>>) -> u64 {
    let mut left_out = 0;
    for found in walk {
        let sent = match found {
            Found::File(item) => sender.blocking_send(Ok(item)),
            Found::Trouble(trouble) => sender.blocking_send(Err(trouble)),
            Found::Other => {
                left_out += 1;
                Ok(())
            }
        };
        if sent.is_err() {
            break;
        }
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_walk_finds_every_regular_file_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        for (name, text) in [("b.txt", "1"), ("a/z", "22"), ("a/b/c", ""), ("c/d/e/f", "4444")] {
            let path = top.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir(top.join("empty")).unwrap();
        std::os::unix::fs::symlink(top, top.join("a/loop")).unwrap();
        std::os::unix::fs::symlink("b.txt", top.join("link")).unwrap();
        let (mut files, mut others) = (Vec::new(), 0);
        for found in Walk::new(top).unwrap() {
            match found {
                Found::File(item) => files.push((String::from_utf8(item.key.to_vec()).unwrap(), item.bytes)),
                Found::Other => others += 1,
                Found::Trouble(trouble) => panic!("{trouble:?}"),
            }
        }
        let expected = [("a/b/c", 0), ("a/z", 2), ("b.txt", 1), ("c/d/e/f", 4)];
        assert_eq!(files, expected.map(|(name, bytes)| (name.to_string(), bytes)));
        assert_eq!(others, 2);
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "x").unwrap();
        assert!(Walk::new(&dir.path().join("f")).is_err());
        assert!(Walk::new(&dir.path().join("none")).is_err());
    }
}
