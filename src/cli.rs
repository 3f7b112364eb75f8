//! The grammar of the command line; each command has a file of its own in `cli/`.
//!
//! Data goes to stdout, the rest to stderr. Secrets are never values of flags. Exit
//! codes are those of sysexits(3): see [`exit`].

mod attempt;
pub mod ca;
pub mod check;
pub mod command_listener;
pub mod completions;
#[cfg(feature = "demo")]
pub mod demo;
mod excerpt;
pub mod exit;
pub mod explain;
pub mod health;
pub mod init;
pub mod instance;
#[cfg(not(feature = "demo"))]
pub mod left_out;
pub mod log_level;
pub mod mint;
pub mod online;
mod process;
pub mod quick;
pub mod report;
pub mod retry;
pub mod run;
pub mod schema;
pub mod shutdown;
#[cfg(feature = "demo")]
pub mod simulate;
pub mod status;
mod status_table;
mod transcript;
pub mod wait;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The version; with the commit and its day where the build was told them, as `deploy/release`
/// does.
pub const VERSION: &str = match option_env!("HEADSET_BUILD_VERSION") {
    Some(told) => told,
    None => env!("CARGO_PKG_VERSION"),
};

/// Puts the right Authorization header on every contact-center call.
#[derive(Debug, Parser)]
#[command(name = "headset", version = VERSION, propagate_version = true, help_template = HELP, before_help = EXAMPLES, after_help = EXITS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[cfg(feature = "demo")]
const EXAMPLES: &str = "\
Examples:
  headset demo                          watch it work, nothing to set up
  headset init                          write a first headset.toml
  headset run --config headset.toml     serve
  headset run -c headset.toml -- CMD    serve beside a command, whose calls pass through
  headset check --config headset.toml   every problem of a configuration at once
  headset mint cms_key -c headset.toml  obtain one credential now, and show how
  headset status                        what the running one knows of its credentials
  headset retry cms_key                 ask again, after you mended what was wrong
  headset simulate                      a contact center to practise on";

#[cfg(not(feature = "demo"))]
const EXAMPLES: &str = "\
Examples:
  headset init                          write a first headset.toml
  headset run --config headset.toml     serve
  headset run -c headset.toml -- CMD    serve beside a command, whose calls pass through
  headset check --config headset.toml   every problem of a configuration at once
  headset mint cms_key -c headset.toml  obtain one credential now, and show how
  headset status                        what the running one knows of its credentials
  headset retry cms_key                 ask again, after you mended what was wrong";

/// How help reads: what the command does, examples, then its grammar.
const HELP: &str =
    "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

const EXITS: &str = "\
Exit codes: 0 well, 64 usage, 69 a port is taken or something is out of reach, 70 a fault of \
headset itself, 75 try again later, 77 a credential was refused (mint, retry, check --online) or \
you are (status, log-level), 78 configuration (with the list of problems). `health` ends with 0 \
or 1.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve: take calls, attach credentials, send them on.
    Run(run::RunArgs),
    /// Make, show or replace the local authority of a forward listener.
    Ca(ca::CaArgs),
    /// A simulated contact center, headset before it, and a walkthrough of one call.
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    /// This build leaves the simulated contact center out.
    #[cfg(not(feature = "demo"))]
    #[command(hide = true)]
    Demo(left_out::LeftOutArgs),
    /// Write a first configuration file: asks, or takes flags.
    Init(init::InitArgs),
    /// Show every problem of a configuration at once; start nothing.
    Check(check::CheckArgs),
    /// Say what would become of a call, without sending it.
    Explain(explain::ExplainArgs),
    /// Obtain one credential now and show how, with every secret masked.
    Mint(mint::MintArgs),
    /// Show what a running headset knows of its credentials and routes.
    Status(status::StatusArgs),
    /// Tell whether a running headset is well: exit code 0 or 1.
    Health(health::HealthArgs),
    /// Try a refused or locked credential now, after you mended it.
    Retry(retry::RetryArgs),
    /// Change the level of a running headset's log, for a time.
    LogLevel(log_level::LogLevelArgs),
    /// Serve a simulated contact center to practise on.
    #[cfg(feature = "demo")]
    Simulate(simulate::Simulate),
    /// This build leaves the simulated contact center out.
    #[cfg(not(feature = "demo"))]
    #[command(hide = true)]
    Simulate(left_out::LeftOutArgs),
    /// Wait until a headset that was started serves with its credentials.
    Wait(wait::WaitArgs),
    /// Stop a running headset as SIGTERM does, and wait until it has drained.
    Shutdown(shutdown::ShutdownArgs),
    /// Print the JSON Schema of configuration files, for editors.
    Schema(schema::SchemaArgs),
    /// Print a script that completes the command line in a shell.
    Completions(completions::CompletionsArgs),
    /// Show the version.
    Version,
}

/// Runs `cli` to its end.
pub fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(args) => run::run(args),
        Command::Ca(args) => ca::run(args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args),
        #[cfg(not(feature = "demo"))]
        Command::Demo(_) => left_out::run("demo"),
        Command::Init(args) => init::run(args),
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Mint(args) => mint::run(args),
        Command::Status(args) => status::run(args),
        Command::Health(args) => health::run(args),
        Command::Retry(args) => retry::run(args),
        Command::LogLevel(args) => log_level::run(args),
        #[cfg(not(feature = "demo"))]
        Command::Simulate(_) => left_out::run("simulate"),
        #[cfg(feature = "demo")]
        Command::Simulate(args) => {
            process::log_for_tools();
            process::runtime()?.block_on(simulate::run(args))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Wait(args) => wait::run(args),
        Command::Shutdown(args) => shutdown::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Version => {
            use std::io::Write;
            writeln!(io::stdout(), "headset {VERSION}")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
