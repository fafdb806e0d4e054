//! What is imported: the regular files of a folder, up to a number of bytes.

use std::path::{Path, PathBuf};

use dynode::cli::transfer::{Found, Item, Walk};
use dynode_client::wire::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// The files, and what was left out.
pub(crate) struct Files {
    pub(crate) dir: PathBuf,
    pub(crate) items: Vec<Item>,
    pub(crate) bytes: u64,
    /// Over 8 MiB, or with a path too long for a key.
    pub(crate) too_large: u64,
    /// The folder has more than was asked for.
    pub(crate) cut: bool,
}

/// Looks for files in `dir`, or in Cargo's registry.
pub(crate) fn collect(dir: Option<PathBuf>, bytes_max: u64) -> Result<Files, String> {
    let dir = match dir {
        Some(dir) => dir,
        None => registry().ok_or("Cargo's registry has no sources: name a folder, as in `make demo DIR=folder`")?,
    };
    let mut files = Files { dir: dir.clone(), items: Vec::new(), bytes: 0, too_large: 0, cut: false };
    for found in Walk::new(&dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        match found {
            Found::File(item) if item.bytes > VALUE_BYTES_MAX as u64 || item.key.len() > KEY_BYTES_MAX => {
                files.too_large += 1;
            }
            Found::File(item) if files.bytes + item.bytes > bytes_max => {
                files.cut = true;
                break;
            }
            Found::File(item) => {
                files.bytes += item.bytes;
                files.items.push(item);
            }
            Found::Other => {}
            Found::Trouble(trouble) => return Err(format!("{}: {}", trouble.name, trouble.detail)),
        }
    }
    if files.items.len() < 2 {
        return Err(format!("{} has too few files for a demo", dir.display()));
    }
    Ok(files)
}

fn registry() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")))?;
    Some(home.join("registry/src")).filter(|dir| dir.is_dir())
}

/// `300M`, `2G`, `1000`: powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'M')) => (&text[..at], 20),
        Some((at, 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("`{text}` is no number of bytes: write 300M or 2G"))
}
