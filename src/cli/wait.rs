//! `headset wait`: for a script that must not call before headset can serve.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use crate::base::causes::with_causes;
use crate::cli::exit::EX_TEMPFAIL;
use crate::cli::instance::InstanceArgs;
use crate::cli::process;

/// Waits until a headset serves: its listeners are bound, and each credential that a route
/// names was minted once, or 20 s have passed. One that is not started yet is waited for, too.
#[derive(Clone, Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES, after_help = EXITS)]
pub struct WaitArgs {
    /// Wait until every credential is live, however long that takes.
    #[arg(long)]
    pub strict: bool,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Which headset.
    #[command(flatten)]
    pub instance: InstanceArgs,
}

const EXAMPLES: &str = "\
Examples:
  headset wait && ./import-contacts
  headset wait --strict --timeout 2m";

const EXITS: &str = "Exit codes: 0 it serves, 64 usage, 75 it did not within the time.";

/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long nothing new may stand still before it is said again.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Waits, and says on stderr what for.
///
/// # Errors
/// Where stderr cannot be written or the machine refuses a runtime.
pub fn run(args: WaitArgs) -> anyhow::Result<ExitCode> {
    process::runtime()?.block_on(async {
        let begun = Instant::now();
        let mut said = Said::default();
        loop {
            let left = args.timeout.saturating_sub(begun.elapsed());
            let why = match timeout(left, look(&args)).await {
                Ok(Ok(())) => return Ok(ExitCode::SUCCESS),
                Ok(Err(why)) => why,
                Err(_) => "it does not answer".to_owned(),
            };
            if begun.elapsed() + LOOK_EVERY >= args.timeout {
                let limit = humantime::format_duration(args.timeout);
                writeln!(
                    io::stderr(),
                    "headset: it does not serve after {limit}: {why}"
                )?;
                return Ok(ExitCode::from(EX_TEMPFAIL));
            }
            said.say(&format!("waiting: {why}"))?;
            sleep(LOOK_EVERY).await;
        }
    })
}

/// Looks once; an error says why it does not serve yet.
async fn look(args: &WaitArgs) -> Result<(), String> {
    let probe = match args.strict {
        true => "/readyz?strict",
        false => "/startupz",
    };
    let asked = async {
        let found = args.instance.find().await?;
        (found.ask(Method::GET, probe, String::new(), args.timeout)).await
    };
    let reply = asked.await.map_err(|error| with_causes(&error))?;
    match reply.status {
        StatusCode::OK => Ok(()),
        _ => Err(reply.line()),
    }
}

/// What was last said, so that a line is written only when something changed, or again
/// after a while.
#[derive(Default)]
pub(in crate::cli) struct Said {
    last: Option<(String, Instant)>,
}

impl Said {
    /// Writes `line` to stderr where it is new, or the last one is old.
    pub(in crate::cli) fn say(&mut self, line: &str) -> io::Result<()> {
        let is_due = self
            .last
            .as_ref()
            .is_none_or(|(last, at)| last != line || at.elapsed() >= SAY_AGAIN);
        if is_due {
            writeln!(io::stderr(), "{line}")?;
            self.last = Some((line.to_owned(), Instant::now()));
        }
        Ok(())
    }
}
