//! `headset completions`: completes commands and flags in a shell.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// Prints a script that completes headset's command line in a shell, to stdout.
#[derive(clap::Args, Clone, Debug)]
#[command(help_template = super::HELP, before_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  headset completions bash > ~/.local/share/bash-completion/completions/headset
  headset completions zsh > \"${fpath[1]}/_headset\"
  headset completions fish > ~/.config/fish/completions/headset.fish";

/// Prints it.
///
/// # Errors
/// Where stdout cannot be written.
pub fn run(args: CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "headset", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
