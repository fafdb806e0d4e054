//! dynode-bench: see `dynode-bench --help`.

use std::process::ExitCode;

use clap::Parser;
use dynode_bench::cli::Cli;
use dynode_bench::command;
use owo_colors::OwoColorize;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match command::execute(cli.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            anstream::eprintln!("{} {error}", "error:".red().bold());
            ExitCode::from(2)
        }
    }
}
