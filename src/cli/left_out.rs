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
         which brings the simulated contact center; run `cargo run -- {command}` in \
         headset's source, where that feature is on by default"
    )?;
    Ok(ExitCode::from(EX_UNAVAILABLE))
}
