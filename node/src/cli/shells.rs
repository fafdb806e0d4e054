//! `completion` and `man`: what shells and `man` know of the command line, made from it.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::output::{Done, Failure, print_raw, remark};

/// `completion`.
#[derive(Debug, Args)]
#[command(after_help = "\
    bash: dynode completion bash > /etc/bash_completion.d/dynode
    zsh:  dynode completion zsh > \"${fpath[1]}/_dynode\"
    fish: dynode completion fish > ~/.config/fish/completions/dynode.fish")]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// `man`.
#[derive(Debug, Args)]
#[command(after_help = "To read it at once: dynode man | man -l -")]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder, instead of the main one to stdout
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(super) fn completion(args: &CompletionArgs) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dynode", &mut script);
    print_raw(&script)
}

pub(super) fn man(args: ManArgs) -> Done {
    let Some(dir) = args.dir else {
        let mut page = Vec::new();
        let made = clap_mangen::Man::new(Cli::command()).render(&mut page);
        made.map_err(|e| Failure::new("internal", format!("the page cannot be made: {e}")))?;
        return print_raw(&page);
    };
    std::fs::create_dir_all(&dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &dir))
        .map_err(|e| Failure::file(&dir, &e))?;
    remark(&format!("written: {}", dir.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_and_man_know_every_command() {
        let commands: Vec<String> = Cli::command().get_subcommands().map(|c| c.get_name().to_string()).collect();
        assert!(commands.len() > 20);
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "dynode", &mut script);
            let script = String::from_utf8(script).unwrap();
            for name in &commands {
                assert!(script.contains(name.as_str()) && page.contains(name.as_str()), "{shell}: {name}");
            }
        }
    }
}
