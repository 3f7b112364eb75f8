//! The grammar of the command line; each command has a file of its own in `cli/`.
//!
//! Data goes to stdout, the rest to stderr. Secrets are never values of flags. Exit
//! codes are those of sysexits(3): see [`exit_code`].

pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(not(feature = "demo"))]
pub mod left_out;
pub mod mint;
pub mod online;
pub mod quick;
pub mod run;
#[cfg(feature = "demo")]
pub mod simulate;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::StartError;
use crate::app::serve::listener_sockets::ListenError;

/// Puts the right Authorization header on every contact-center call.
#[derive(Debug, Parser)]
#[command(name = "headset", version, propagate_version = true, before_help = EXAMPLES, after_help = EXITS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[cfg(feature = "demo")]
const EXAMPLES: &str = "\
Examples:
  headset demo                          watch it work, nothing to set up
  headset run --config headset.toml     serve
  headset check --config headset.toml   every problem of a configuration at once
  headset mint cms_key -c headset.toml  obtain one credential now, and show how
  headset simulate                      a contact center to practise on";

#[cfg(not(feature = "demo"))]
const EXAMPLES: &str = "\
Examples:
  headset run --config headset.toml     serve
  headset check --config headset.toml   every problem of a configuration at once
  headset mint cms_key -c headset.toml  obtain one credential now, and show how";

const EXITS: &str = "\
Exit codes: 0 well, 64 usage, 69 a port is taken or something is out of reach,
70 a fault of headset itself, 75 try again later, 77 a credential was refused (mint, check --online),
78 configuration (with the list of problems).";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve: take calls, attach credentials, send them on.
    Run(run::RunArgs),
    /// A simulated contact center, headset before it, and a walkthrough of one call.
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    /// This build leaves the simulated contact center out.
    #[cfg(not(feature = "demo"))]
    #[command(hide = true)]
    Demo(left_out::LeftOutArgs),
    /// Show every problem of a configuration at once; start nothing.
    Check(check::CheckArgs),
    /// Obtain one credential now and show how, with every secret masked.
    Mint(mint::MintArgs),
    /// Serve a simulated contact center to practise on.
    #[cfg(feature = "demo")]
    Simulate(simulate::Simulate),
    /// This build leaves the simulated contact center out.
    #[cfg(not(feature = "demo"))]
    #[command(hide = true)]
    Simulate(left_out::LeftOutArgs),
    /// Show the version.
    Version,
}

/// Runs `cli` to its end.
pub fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(args) => run::run(args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args),
        #[cfg(not(feature = "demo"))]
        Command::Demo(_) => left_out::run("demo"),
        Command::Check(args) => run::check(args),
        Command::Mint(args) => mint::run(args),
        #[cfg(not(feature = "demo"))]
        Command::Simulate(_) => left_out::run("simulate"),
        #[cfg(feature = "demo")]
        Command::Simulate(args) => {
            run::log_for_tools();
            runtime()?.block_on(simulate::run(args))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Version => {
            use std::io::Write;
            writeln!(io::stdout(), "headset {}", env!("CARGO_PKG_VERSION"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The runtime of a control thread: one thread, the caller's.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// `EX_USAGE`: the command line is wrong.
pub const EX_USAGE: u8 = 64;
/// `EX_UNAVAILABLE`: a port is taken, something is out of reach.
pub const EX_UNAVAILABLE: u8 = 69;
/// `EX_SOFTWARE`: a fault of headset itself, such as workers that have ended.
pub const EX_SOFTWARE: u8 = 70;
/// `EX_TEMPFAIL`: it may well work later.
pub const EX_TEMPFAIL: u8 = 75;
/// `EX_NOPERM`: the issuer refused.
pub const EX_NOPERM: u8 = 77;
/// `EX_CONFIG`: the configuration is wrong.
pub const EX_CONFIG: u8 = 78;

/// The exit code of an error that ended a command (sysexits(3)).
pub fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        match cause.downcast_ref::<StartError>() {
            Some(StartError::Config(_)) => return EX_CONFIG,
            Some(
                StartError::Listen(ListenError::Bind { .. } | ListenError::Access { .. })
                | StartError::Store(_),
            ) => {
                return EX_UNAVAILABLE;
            }
            _ => {}
        }
        if let Some(error) = cause.downcast_ref::<io::Error>()
            && matches!(
                error.kind(),
                io::ErrorKind::AddrInUse
                    | io::ErrorKind::AddrNotAvailable
                    | io::ErrorKind::PermissionDenied
            )
        {
            return EX_UNAVAILABLE;
        }
    }
    EX_SOFTWARE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_that_ended_are_a_fault_of_headset() {
        let error = anyhow::Error::from(StartError::WorkersEnded);
        assert_eq!(exit_code(&error), EX_SOFTWARE);
    }
}
