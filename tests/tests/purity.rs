//! What decides must not do: no clock, no sockets, no randomness of its own, no hash map that could be iterated.
//!
//! Read from the sources, so that it also holds for what no lint knows. Tests inside the files are not looked at.

use std::path::{Path, PathBuf};

/// Words that must not stand in the code, each with its reason.
const FORBIDDEN: [(&str, &str); 14] = [
    ("tokio", "async and I/O belong to the shell"),
    ("async fn", "async and I/O belong to the shell"),
    (".await", "async and I/O belong to the shell"),
    ("std::net", "I/O belongs to the shell"),
    ("std::fs", "I/O belongs to the shell, and to the one file that names rocksdb"),
    ("std::thread", "decisions are made on one thread"),
    ("Instant::", "time comes as an argument"),
    ("SystemTime", "time comes as an argument"),
    ("thread_rng", "randomness comes from a seed"),
    ("rand::rng()", "randomness comes from a seed"),
    ("from_os_rng", "randomness comes from a seed"),
    ("HashMap", "its order is not the same in every run"),
    ("HashSet", "its order is not the same in every run"),
    ("RandomState", "its order is not the same in every run"),
];

/// Where decisions are made.
const PURE: [&str; 3] = ["node/src/protocol", "ring/src", "storage/src"];

/// The files there that are not pure, each with its reason.
const EXEMPT: [&str; 2] = ["rocks.rs", "syncs.rs"]; // the disk, and how long it takes

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, out);
        } else if name.ends_with(".rs") && name != "tests.rs" && !EXEMPT.contains(&name.as_str()) {
            out.push(path);
        }
    }
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[test]
fn what_decides_is_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    PURE.iter().for_each(|folder| sources(&root.join(folder), &mut files));
    files.sort();
    assert!(files.len() > 30, "only {} sources were found", files.len());
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source");
        let decisive = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
        for (number, line) in decisive.enumerate() {
            let wrong = FORBIDDEN.iter().filter(|(word, _)| code(line).contains(word));
            found.extend(wrong.map(|(word, why)| format!("{}:{}: `{word}`: {why}", file.display(), number + 1)));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
