//! `headset run`: load, bind, serve, drain.

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

/// Serve: take calls, attach credentials, send them on.
#[derive(Clone, Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES, after_help = SIGNALS)]
pub struct RunArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub quick: Quick,
}

const EXAMPLES: &str = "\
Examples:
  headset run --config headset.toml
  headset run --upstream https://cms.example.com:8443 \\
      --register-url https://cms.example.com:8443/configuration/basicauth \\
      --username crm_sync --password-file ./password \\
      --context-id 1 --admin-bearer-file ./bearer
  HEADSET_CONFIG=headset.toml HEADSET_LOG__LEVEL=debug headset run";

const SIGNALS: &str = "\
Signals: SIGTERM or SIGINT drains (new calls are still taken until nothing was in
flight for 2 s), a second one stops at once. SIGHUP reads the configuration anew, as a
change of its file does; one with faults changes nothing (docs/reload.md). Where the
terminal was closed that headset was started in, it drains, unless nohup started it.

A credential whose secret cannot be read does not keep headset from serving: the log and
/startupz say so, its calls are answered 503, and headset reads the secret again every 2 s.
`headset check` reports it as a problem. Without a caller token, the admin token or the
store's key headset does not start.";

/// Serves until a signal ends it.
///
/// # Errors
/// Where an address is taken or the machine refuses something; a faulty
/// configuration is printed and becomes exit code 78.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let origin = ConfigOrigin::of(args.quick.sources());
    let config = match load::load(&origin.sources, &kind_keys()) {
        Ok(config) => config,
        Err(problems) => return Ok(report::refuse(&problems)),
    };
    telemetry::start(config.log);
    process::protect_memory();
    for warning in config.warnings.iter().chain(&load::exposed(&config)) {
        tracing::warn!(config.key = %warning.key, "{warning}");
    }
    let app = match App::reloading(origin, config, Clock::system()) {
        Ok(app) => app,
        Err(StartError::Config(problems)) => return Ok(report::refuse(&problems)),
        Err(other) => return Err(other.into()),
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
