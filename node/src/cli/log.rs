//! A node's log: text or JSON on stderr, filtered by the environment variable `DYNODE_LOG`.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// As in `info`, or `info,dynode::shell=debug`.
pub(super) const VARIABLE: &str = "DYNODE_LOG";

/// How each line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Form {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Begins logging. A filter that cannot be read is said and passed over: a node must not fail to start for it.
pub(super) fn begin(form: Form) {
    let wanted = std::env::var(VARIABLE).unwrap_or_else(|_| "info".into());
    let (filter, complaint) = match EnvFilter::try_new(&wanted) {
        Ok(filter) => (filter, None),
        Err(e) => (EnvFilter::new("info"), Some(e)),
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only if there is a log already, which then serves as well.
    let _ = match form {
        Form::Text => subscriber.with_ansi(colours).try_init(),
        Form::Json => subscriber.with_ansi(false).json().flatten_event(true).try_init(),
    };
    if let Some(e) = complaint {
        tracing::warn!("{VARIABLE}=`{wanted}` is not a filter ({e}): going by `info`");
    }
}
