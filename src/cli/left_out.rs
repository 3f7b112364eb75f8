//! `headset demo` and `headset simulate` in a build without the feature `demo`.
//!
//! Such a build has no simulated contact center. Whoever asks for it is told so, and
//! how to get one, instead of that there is no such command.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use super::exit::EX_UNAVAILABLE;

/// Whatever stands after the command: none of it matters.
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct LeftOutArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Says that `command` is not in this build, and how to get a build that has it.
///
/// # Errors
/// Where stderr is closed.
pub fn run(command: &str) -> anyhow::Result<ExitCode> {
    writeln!(
        std::io::stderr(),
        "headset: this build has no `headset {command}`: it was made without the feature `demo`, \
         which brings the simulated contact center; run `cargo run --release -- {command}` in \
         headset's source, where that feature is on by default"
    )?;
    Ok(ExitCode::from(EX_UNAVAILABLE))
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn whatever_is_asked_of_a_command_that_is_left_out_is_understood() {
        for line in [
            "headset demo",
            "headset demo --once",
            "headset demo --help",
            "headset simulate --bind 127.0.0.1:0 --tls",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).expect(line);
            assert!(matches!(
                cli.command,
                Command::Demo(_) | Command::Simulate(_)
            ));
        }
    }

    #[test]
    fn the_help_names_no_command_that_is_left_out() {
        let help = Cli::command().render_long_help().to_string();
        for name in ["demo", "simulate"] {
            assert!(!help.contains(name), "{help}");
        }
    }
}
