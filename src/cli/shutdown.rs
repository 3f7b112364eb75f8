//! `headset shutdown`: ends the sidecar of a Job whose cluster does not do it.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use crate::cli::exit::{EX_TEMPFAIL, EX_UNAVAILABLE};
use crate::cli::instance::InstanceArgs;
use crate::cli::wait::Said;
use crate::cli::{process, report};

/// Stops a running headset as SIGTERM does: it takes calls until none was in flight for 2 s
/// (at most `timeouts.drain`), then ends with 0. Waits until it has ended.
#[derive(Clone, Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES, after_help = NOTES)]
pub struct ShutdownArgs {
    /// Do not wait for its end.
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait for its end.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Which headset.
    #[command(flatten)]
    pub instance: InstanceArgs,
}

const EXAMPLES: &str = "\
Examples:
  ./import-contacts; code=$?; headset shutdown; exit $code
  headset shutdown --socket /run/headset/admin.sock";

const NOTES: &str = "\
Over the admin socket it needs no token; over the admin address it needs `admin.token`.
Kubernetes 1.29 and later end a native sidecar by themselves: there this is not needed.

Exit codes: 0 it has ended (with --no-wait: it is stopping), 64 usage, 69 none runs, 75 it has
not ended within the time, 77 it refuses.";

/// How long it may take to say that it stops.
const ANSWER: Duration = Duration::from_secs(5);

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Asks it to stop, and waits.
///
/// # Errors
/// Where stderr cannot be written or the machine refuses a runtime.
pub fn run(args: ShutdownArgs) -> anyhow::Result<ExitCode> {
    process::runtime()?.block_on(async {
        let instance = match args.instance.find().await {
            Ok(instance) => instance,
            Err(error) => return report::unanswered(&error),
        };
        let asked = instance.ask(Method::POST, "/shutdown", String::new(), ANSWER);
        match asked.await {
            Ok(reply) if reply.status == StatusCode::ACCEPTED => {}
            Ok(reply) => {
                writeln!(io::stderr(), "headset: it does not stop: {}", reply.line())?;
                return Ok(ExitCode::from(EX_UNAVAILABLE));
            }
            Err(error) => return report::unanswered(&error),
        }
        if args.no_wait {
            return Ok(ExitCode::SUCCESS);
        }
        let begun = Instant::now();
        let mut said = Said::default();
        while instance.is_there().await {
            if begun.elapsed() >= args.timeout {
                let limit = humantime::format_duration(args.timeout);
                writeln!(
                    io::stderr(),
                    "headset: it has not ended after {limit}; a call may still be open"
                )?;
                return Ok(ExitCode::from(EX_TEMPFAIL));
            }
            if begun.elapsed() >= Duration::from_secs(1) {
                said.say("draining")?;
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(ExitCode::SUCCESS)
    })
}
