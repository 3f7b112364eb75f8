//! The grammar of the command line; each command has a file of its own in `cli/`.
//!
//! Data goes to stdout, the rest to stderr. Secrets are never values of flags. Exit
//! codes are those of sysexits(3): see [`exit`].

mod attempt;
pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
pub mod exit;
#[cfg(not(feature = "demo"))]
pub mod left_out;
pub mod mint;
pub mod online;
mod process;
pub mod quick;
pub mod report;
pub mod run;
#[cfg(feature = "demo")]
pub mod simulate;
mod transcript;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
        Command::Check(args) => check::run(args),
        Command::Mint(args) => mint::run(args),
        #[cfg(not(feature = "demo"))]
        Command::Simulate(_) => left_out::run("simulate"),
        #[cfg(feature = "demo")]
        Command::Simulate(args) => {
            process::log_for_tools();
            process::runtime()?.block_on(simulate::run(args))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Version => {
            use std::io::Write;
            writeln!(io::stdout(), "headset {}", env!("CARGO_PKG_VERSION"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
