//! What leaves the program: text or JSON to stdout, and failures, with what to do about them, to stderr.

use std::io::Write;
use std::process::ExitCode;

use dynode_client::Error;
use owo_colors::OwoColorize;
use serde::Serialize;
use serde_json::json;

/// Something failed, or what was asked for is not there.
pub(crate) const EXIT_FAILED: u8 = 1;

/// The key has several siblings where one value was wanted.
pub(crate) const EXIT_SIBLINGS: u8 = 3;

/// How a command ends.
pub(crate) type Done = Result<(), Failure>;

/// Why a command did not do all it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// A stable name, for programs.
    pub(crate) kind: &'static str,
    /// What happened; empty when all was said already.
    pub(crate) what: String,
    /// What to do.
    pub(crate) advice: Option<String>,
    pub(crate) exit: u8,
}

impl Failure {
    /// What happened.
    pub(crate) fn new(kind: &'static str, what: impl Into<String>) -> Failure {
        Failure { kind, what: what.into(), advice: None, exit: EXIT_FAILED }
    }

    /// All was said already: only the exit code is left.
    pub(crate) fn said(exit: u8) -> Failure {
        Failure { kind: "", what: String::new(), advice: None, exit }
    }

    /// What to do.
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Failure {
        self.advice = Some(advice.into());
        self
    }

    /// With another exit code than 1.
    pub(crate) fn exit(mut self, exit: u8) -> Failure {
        self.exit = exit;
        self
    }

    /// A file that could not be used.
    pub(crate) fn file(place: &std::path::Path, why: &std::io::Error) -> Failure {
        Failure::new("file", format!("{}: {why}", place.display()))
    }

    /// Tells it on stderr, and gives the exit code.
    pub(crate) fn tell(&self, json: bool) -> ExitCode {
        if !self.what.is_empty() {
            if json {
                let mut said = json!({ "error": self.kind, "detail": self.what });
                if let Some(advice) = &self.advice {
                    said["advice"] = json!(advice);
                }
                eprintln!("{said}");
            } else {
                anstream::eprintln!("{} {}", "error:".red().bold(), self.what);
                if let Some(advice) = &self.advice {
                    anstream::eprintln!("{advice}");
                }
            }
        }
        ExitCode::from(self.exit)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        self.advice.iter().try_for_each(|advice| write!(f, ". {advice}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let advice = match &error {
            Error::Unreachable { .. } => {
                "Is a node running there? `dynode dev` starts a local cluster; `--node HOST:PORT` names another node."
            }
            Error::QuorumNotMet { .. } => {
                "Nothing was changed. `dynode status` shows who is down; with a smaller --r or --w, or without \
                 --strict, fewer owners are enough."
            }
            Error::OutcomeUnknown { .. } => "The write may or may not be there: read the key before writing it again.",
            Error::Overloaded { .. } | Error::Unavailable { .. } | Error::OtherLayout { .. } => {
                "Nothing was changed. Try again in a moment."
            }
            Error::TooManySiblings => {
                "Read them with `dynode get --siblings --json`, then write one value with `dynode put --context`."
            }
            Error::ForeignContext => {
                "Give the context that `dynode get --json` printed for this very key of this cluster. Nothing was \
                 changed."
            }
            Error::TimedOut => "Give it more time with --timeout, or see `dynode status` for who is slow or down.",
            Error::Wire(_) => "Does another program listen there?",
            _ => "",
        };
        let failure = Failure::new(error.kind(), error.to_string());
        if advice.is_empty() { failure } else { failure.advice(advice) }
    }
}

/// Prints text to stdout; colours only where they are understood.
pub(crate) fn print(text: &str) -> Done {
    written(anstream::stdout().lock().write_all(text.as_bytes()))
}

/// Prints raw bytes to stdout.
pub(crate) fn print_raw(bytes: &[u8]) -> Done {
    let mut out = std::io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Prints one JSON document to stdout.
pub(crate) fn print_json(document: &impl Serialize) -> Done {
    match serde_json::to_string_pretty(document) {
        Ok(text) => print_raw(format!("{text}\n").as_bytes()),
        Err(e) => Err(Failure::new("internal", format!("cannot be written as JSON: {e}"))),
    }
}

/// Prints a remark to stderr.
pub(crate) fn remark(text: &str) {
    anstream::eprintln!("{text}");
}

/// A reader who has seen enough (`| head`) is no failure worth a word.
pub(crate) fn written(result: std::io::Result<()>) -> Done {
    result.map_err(|e| match e.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::said(EXIT_FAILED),
        _ => Failure::new("output", format!("stdout: {e}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_to_do() {
        let failure = Failure::from(Error::Unreachable { detail: "127.0.0.1:7100: refused".into() });
        assert_eq!((failure.kind, failure.exit), ("unreachable", EXIT_FAILED));
        assert!(failure.to_string().contains("127.0.0.1:7100: refused"));
        assert!(failure.to_string().contains("dynode dev"));
    }

    #[test]
    fn a_closed_pipe_is_silent() {
        let failure = written(Err(std::io::ErrorKind::BrokenPipe.into())).unwrap_err();
        assert!(failure.what.is_empty());
        assert!(!written(Err(std::io::ErrorKind::StorageFull.into())).unwrap_err().what.is_empty());
    }
}
