//! `headset run`: load, bind, serve, drain; beside a command where one is given.

mod beside;
mod child;
mod environment;
mod signals;
mod trust;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::app::build::kind_keys;
use crate::app::change::origin::ConfigOrigin;
use crate::app::change::stop::Stop;
use crate::app::{App, StartError, telemetry};
use crate::base::time::Clock;
use crate::cli::quick::Quick;
use crate::cli::{process, report};
use crate::config::load;
use crate::secret;

/// Serve: take calls, attach credentials, send them on. With a command, start it so that its
/// calls pass through headset, and end with it.
#[derive(Clone, Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES, after_help = AFTER)]
pub struct RunArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub quick: Quick,
    /// With a command: leave it this variable, although a secret of headset's is taken from
    /// it; repeatable.
    #[arg(long, value_name = "VARIABLE", requires = "command")]
    pub keep_env: Vec<String>,
    /// With a command: let every local process use the proxy, without the password of the
    /// run. For programs that cannot send one to a proxy, as Java's.
    #[arg(long, requires = "command")]
    pub dangerous_no_password: bool,
    /// A command to start when headset is ready, and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  headset run --config headset.toml
  headset run --config headset.toml -- python3 app.py
  headset run --upstream https://cms.example.com:8443 \\
      --register-url https://cms.example.com:8443/configuration/basicauth \\
      --username crm_sync --password-file ./password \\
      --context-id 1 --admin-bearer-file ./bearer
  HEADSET_CONFIG=headset.toml HEADSET_LOG__LEVEL=debug headset run";

const AFTER: &str = "\
With a command headset opens a forward listener (listener.run) on a free port of loopback, besides
those that are configured, and starts the command when every credential is live. The variables by
which programs find a proxy and the authorities that they trust lead it through headset; calls to
the upstreams of routes get what the routes say, all others pass as they are. Its signals, its
terminal and its exit code (128 and the number, where a signal ended it) are its own; 127 and 126
say that it could not be found or started. What headset takes secrets from is not in its
environment. When it ends, headset drains and ends, too (docs/howto/run-command.md).

Signals, without a command: SIGTERM or SIGINT drains (new calls are still taken until nothing was in
flight for 2 s), a second one stops at once. SIGHUP reads the configuration anew, as a
change of its file does; one with faults changes nothing (docs/reload.md). Where the
terminal was closed that headset was started in, it drains, unless nohup started it.

A credential whose secret cannot be read does not keep headset from serving: the log and
/startupz say so, its calls are answered 503, and headset reads the secret again every 2 s.
`headset check` reports it as a problem. Without a caller token, the admin token or the
store's key headset does not start.";

/// Serves until a signal ends it, or beside a command until that ends.
///
/// # Errors
/// Where an address is taken or the machine refuses something; a faulty
/// configuration is printed and becomes exit code 78.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    if !args.command.is_empty() {
        return beside::run(args);
    }
    let origin = ConfigOrigin::of(args.quick.sources());
    let app = match prepared(origin, process::protect_memory)? {
        Ok(app) => app,
        Err(refused) => return Ok(refused),
    };
    let runtime = process::runtime()?;
    let served = runtime.block_on(async {
        let stop = Stop::at_signals()?;
        app.serve(stop).await.map_err(anyhow::Error::from)
    });
    secret::command::end_all();
    // A disk that does not answer must not hold up the end.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

/// An app of what `origin` says, bound; or the exit code where its configuration is faulty,
/// with every problem told. Logs from then on, and guards its memory by `protect`.
fn prepared(origin: ConfigOrigin, protect: fn()) -> anyhow::Result<Result<App, ExitCode>> {
    let config = match load::load(&origin.sources, &kind_keys()) {
        Ok(config) => config,
        Err(problems) => return Ok(Err(report::refuse(&problems))),
    };
    telemetry::start(config.log);
    protect();
    for warning in config.warnings.iter().chain(&load::exposed(&config)) {
        telemetry::warn(warning);
    }
    match App::reloading(origin, config, Clock::system()) {
        Ok(app) => Ok(Ok(app)),
        Err(StartError::Config(problems)) => Ok(Err(report::refuse(&problems))),
        Err(other) => Err(other.into()),
    }
}
