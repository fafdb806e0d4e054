//! dynode: see `dynode help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dynode::cli::main()
}
