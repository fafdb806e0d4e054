//! Scenarios as text: the commands of `tests/scripts/*.txt` must leave the traces that stand there.
//!
//! After a change that is meant to alter them, `UPDATE_SCRIPTS=1 cargo test -p tests --release --test golden` writes them
//! anew; the difference then shows in the change what it does to the messages.

use std::path::{Path, PathBuf};

use tests::script::play;

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = std::fs::read_dir(folder).expect("the scripts' folder");
    let mut scripts: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    scripts.sort();
    scripts
}

#[test]
fn every_script_leaves_the_trace_that_it_says() {
    let update = std::env::var_os("UPDATE_SCRIPTS").is_some();
    let scripts = scripts();
    assert!(!scripts.is_empty());
    for path in scripts {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let expected = std::fs::read_to_string(&path).expect("a script");
        let (found, ended) = play(&expected);
        assert_eq!(ended, Ok(()), "{name}");
        if update {
            std::fs::write(&path, &found).expect("the script written anew");
            continue;
        }
        let differs = expected.lines().zip(found.lines()).position(|(a, b)| a != b);
        if let Some(at) = differs.or((expected != found).then_some(0)) {
            panic!(
                "{name}, line {}:\n  expected {:?}\n  found    {:?}\n(UPDATE_SCRIPTS=1 writes the scripts anew)",
                at + 1,
                expected.lines().nth(at),
                found.lines().nth(at),
            );
        }
    }
}
