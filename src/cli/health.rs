//! `headset health`: one line and an exit code, for exec probes and HEALTHCHECK.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::base::causes::with_causes;
use crate::cli::instance::InstanceArgs;
use crate::cli::process;

/// Tell whether a running headset is well: exit code 0, or 1 with one line why not.
#[derive(Clone, Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES, after_help = NOTES)]
pub struct HealthArgs {
    /// Ask whether its event loops respond, rather than whether it is ready.
    #[arg(long, conflicts_with = "strict")]
    pub live: bool,
    /// Ask whether every credential that a route names is live, too.
    #[arg(long)]
    pub strict: bool,
    /// How long the answer may take.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Which headset.
    #[command(flatten)]
    pub instance: InstanceArgs,
}

const EXAMPLES: &str = "\
Examples:
  headset health
  headset health --live
  headset health --strict --timeout 1s
  HEALTHCHECK CMD [\"/headset\", \"health\"]";

const NOTES: &str = "\
Ready means that the listeners are bound and headset is not stopping; it says nothing about
upstreams. Probes need no token.

Exit codes: 0 well, 1 not well, or nobody answers, 64 usage.";

/// Asks.
///
/// # Errors
/// Where stdout cannot be written or the machine refuses a runtime.
pub fn run(args: HealthArgs) -> anyhow::Result<ExitCode> {
    let probe = match (args.live, args.strict) {
        (true, _) => "/livez",
        (false, true) => "/readyz?strict",
        (false, false) => "/readyz",
    };
    let asking = async {
        let found = args.instance.find().await?;
        (found.ask(Method::GET, probe, String::new(), args.timeout)).await
    };
    // Finding it may take its time, too.
    let asked = async { tokio::time::timeout(args.timeout, asking).await };
    let (well, line) = match process::runtime()?.block_on(asked) {
        Ok(Ok(reply)) => (reply.status == StatusCode::OK, reply.line()),
        Ok(Err(error)) => (false, with_causes(&error)),
        Err(_) => (false, format!("no answer within {:?}", args.timeout)),
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(ExitCode::from(u8::from(!well)))
}
