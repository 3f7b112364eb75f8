//! `headset run`: load, bind, serve, drain.

use std::io::Write;
use std::process::ExitCode;

use crate::app::build::{PlanDraft, kind_keys, open_store};
use crate::app::change::reload::ConfigOrigin;
use crate::app::change::stop::Stop;
use crate::app::{App, StartError, telemetry};
use crate::base::problem::Problem;
use crate::base::time::Clock;
use crate::cli::quick::Quick;
use crate::cli::{EX_CONFIG, check, online};
use crate::config::{Config, LogConfig, LogFormat, load};
use crate::secret;

/// Serve: take calls, attach credentials, send them on.
#[derive(Clone, Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = SIGNALS)]
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
terminal was closed that headset was started in, it drains, unless nohup started it.";

/// Serves until a signal ends it.
///
/// # Errors
/// Where an address is taken or the machine refuses something; a faulty
/// configuration is printed and becomes exit code 78.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let origin = ConfigOrigin::of(args.quick.sources());
    let config = match load::load(&origin.sources, &kind_keys()) {
        Ok(config) => config,
        Err(problems) => return Ok(refuse(&problems)),
    };
    telemetry::start(config.log);
    protect_memory();
    for warning in config.warnings.iter().chain(&load::exposed(&config)) {
        tracing::warn!(config.key = %warning.key, "{warning}");
    }
    let app = match App::prepare(config, Clock::system()) {
        Ok(app) => app.reloading(origin),
        Err(StartError::Config(problems)) => return Ok(refuse(&problems)),
        Err(other) => return Err(other.into()),
    };
    let runtime = super::runtime()?;
    let served = runtime.block_on(async {
        let stop = Stop::at_signals()?;
        app.serve(stop).await.map_err(anyhow::Error::from)
    });
    secret::command::end_all();
    // A disk that does not answer must not hold up the end.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

/// `headset check`, with what only the kinds and the TLS set-up can find.
///
/// # Errors
/// Only where stdout or stderr cannot be written.
pub fn check(args: check::CheckArgs) -> anyhow::Result<ExitCode> {
    let judge = |config: &Config| {
        let mut problems = PlanDraft::judge(config, &Clock::system());
        problems.extend(open_store(config).err());
        config.places.settle(&mut problems);
        problems
    };
    check::run(args, &kind_keys(), judge, online::try_all)
}

/// Logging for the commands that read no configuration.
pub fn log_for_tools() {
    telemetry::start(LogConfig {
        level: tracing::Level::INFO,
        format: LogFormat::Auto,
    });
}

/// Shows the `problems` of a configuration.
pub(super) fn refuse(problems: &[Problem]) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    // The exit code says it too, where stderr cannot be written.
    for problem in problems {
        let _ = writeln!(stderr, "{problem}");
    }
    let count = problems.len();
    let noun = if count == 1 { "problem" } else { "problems" };
    let _ = writeln!(stderr, "{count} {noun}");
    ExitCode::from(EX_CONFIG)
}

/// Secrets stand in this process's memory: no core dump, and no debugger of the same
/// user (prctl(2), PR_SET_DUMPABLE).
pub(super) fn protect_memory() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{
            DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit,
        };
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        let limited = setrlimit(Resource::Core, none);
        let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        if limited.is_err() || hidden.is_err() {
            tracing::warn!("core dumps could not be switched off; they would hold secrets");
        }
    }
}
