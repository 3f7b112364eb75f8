//! `headset log-level LEVEL`: another level of the log of a running headset, for a time.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::cli::instance::InstanceArgs;
use crate::cli::{exit, process, report};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Change the level of a running headset's log, for a time.
#[derive(Clone, Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES, after_help = NOTES)]
pub struct LogLevelArgs {
    /// The least severe level to write; the configured one ends the change.
    #[arg(value_name = "LEVEL")]
    pub level: LogLevel,
    /// For how long, at most a day.
    #[arg(long = "for", value_name = "TIME", default_value = "15m", value_parser = humantime::parse_duration)]
    pub time: Duration,
    /// Which headset.
    #[command(flatten)]
    pub instance: InstanceArgs,
}

/// A level of the log.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What failed and needs somebody.
    Error,
    /// And what may need somebody.
    Warn,
    /// And what changed.
    Info,
    /// And each call.
    Debug,
}

const EXAMPLES: &str = "\
Examples:
  headset log-level debug
  headset log-level debug --for 1h
  headset log-level info        (the configured level: at once)";

const NOTES: &str = "\
After the time the log is at its configured level again, and headset says so.

Exit codes: 0 changed, 64 usage, 69 no headset runs there or it does not answer, 77 it wants a
token, or it is another user's.";

/// Changes it.
///
/// # Errors
/// Where stdout or stderr cannot be written or the machine refuses a runtime.
pub fn run(args: LogLevelArgs) -> anyhow::Result<ExitCode> {
    let level = match args.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    let body = json!({ "level": level, "for_seconds": args.time.as_secs() }).to_string();
    let asked = process::runtime()?.block_on(async {
        let found = args.instance.find().await?;
        (found.ask_json(Method::PUT, "/log-level", body, LIMIT)).await
    });
    let told = match asked {
        Ok((_, told)) => told,
        Err(error) => return report::unanswered(&error),
    };
    if let Some(error) = told["error"].as_str().or(told["detail"].as_str()) {
        writeln!(std::io::stderr(), "headset: {error}")?;
        return Ok(ExitCode::from(exit::EX_USAGE));
    }
    let mut stdout = std::io::stdout();
    match told["until"].as_str() {
        Some(until) => {
            let configured = told["configured"].as_str().unwrap_or("configured");
            writeln!(
                stdout,
                "the log is at level {level} until {until}, then at {configured} again"
            )?;
        }
        None => writeln!(stdout, "the log is at level {level}, as configured")?,
    }
    Ok(ExitCode::SUCCESS)
}
