//! A node's log: text on stderr, filtered by the environment variable `DYNODE_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// As in `info`, or `info,dynode::shell=debug`.
pub(super) const VARIABLE: &str = "DYNODE_LOG";

/// Begins logging. A filter that cannot be read is said and passed over: a node must not fail to start for it.
pub(super) fn begin() {
    let wanted = std::env::var(VARIABLE).unwrap_or_else(|_| "info".into());
    let (filter, complaint) = match EnvFilter::try_new(&wanted) {
        Ok(filter) => (filter, None),
        Err(e) => (EnvFilter::new("info"), Some(e)),
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // Fails only if there is a log already, which then serves as well.
    let _ = subscriber.try_init();
    if let Some(e) = complaint {
        tracing::warn!("{VARIABLE}=`{wanted}` is not a filter ({e}): going by `info`");
    }
}
