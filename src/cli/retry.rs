//! `headset retry NAME`: an attempt for a credential, now, because a person mended it.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value as Json;

use crate::cli::instance::{InstanceArgs, InstanceError};
use crate::cli::report::{self, OutputFormat};
use crate::cli::{exit, process};
use crate::config::tenant;

/// How long an answer may take: an attempt under way, and the one that is asked for, each
/// as long as a patient `timeouts.mint`.
const LIMIT: Duration = Duration::from_secs(150);

/// Try a refused or locked credential now, after you mended what was wrong.
#[derive(Clone, Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES, after_help = NOTES)]
pub struct RetryArgs {
    /// The credential's name in the configuration.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// For which tenant, where each has its own; without it those whose last attempt failed.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Obtain a new one also where nothing is wrong.
    #[arg(long)]
    pub renew: bool,
    /// How to write the outcome to stdout.
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    pub output: OutputFormat,
    /// Which headset.
    #[command(flatten)]
    pub instance: InstanceArgs,
}

const EXAMPLES: &str = "\
Examples:
  headset retry cms_key
  headset retry cms_key --tenant 7
  headset retry cms_key --renew --output json";

const NOTES: &str = "\
The issuer is asked at once, whatever it refused before. A wrong password counts as one more
failed login, so mend first. What is live and well is left alone without --renew: it renews
itself, and a new login can end the session that calls are using. A credential can be asked
for once in 5 s.

Exit codes: 0 obtained or nothing to do, 64 there is no such credential, 69 the issuer is out of
reach or no headset runs there, 75 try again later, 77 refused, 78 a secret cannot be used.";

/// Asks for the attempt, and tells what came of it.
///
/// # Errors
/// Where stdout or stderr cannot be written or the machine refuses a runtime.
pub fn run(args: RetryArgs) -> anyhow::Result<ExitCode> {
    let mut stderr = std::io::stderr();
    let unfit = |text: &String| !tenant::is_name(text);
    if unfit(&args.name) || args.tenant.as_ref().is_some_and(unfit) {
        writeln!(
            stderr,
            "headset: this cannot be the name of a credential or tenant"
        )?;
        return Ok(ExitCode::from(exit::EX_USAGE));
    }
    let (status, told) = match process::runtime()?.block_on(ask(&args)) {
        Ok(answer) => answer,
        Err(error) => return report::unanswered(&error),
    };
    if let Some(error) = told["error"].as_str() {
        writeln!(stderr, "headset: {error}")?;
        let usage = status.is_client_error();
        return Ok(ExitCode::from(if usage {
            exit::EX_USAGE
        } else {
            exit::EX_SOFTWARE
        }));
    }
    let (line, code) = outcome(&args.name, &told);
    match (args.output, code) {
        (OutputFormat::Json, _) => writeln!(std::io::stdout(), "{told}")?,
        (OutputFormat::Human, 0) => writeln!(std::io::stdout(), "{line}")?,
        (OutputFormat::Human, _) => writeln!(stderr, "headset: {line}")?,
    }
    Ok(ExitCode::from(code))
}

async fn ask(args: &RetryArgs) -> Result<(StatusCode, Json), InstanceError> {
    let mut target = format!("/credentials/{}/retry?", args.name);
    if args.renew {
        target.push_str("renew&");
    }
    if let Some(tenant) = &args.tenant {
        target.push_str("tenant=");
        target.push_str(tenant);
    }
    let found = args.instance.find().await?;
    (found.ask_json(Method::POST, &target, String::new(), LIMIT)).await
}

/// What came of it, for a person and as an exit code.
fn outcome(name: &str, told: &Json) -> (String, u8) {
    let credential = &told["credential"];
    let lives = match credential["expires"].as_str() {
        Some(expires) => format!(", valid until {expires}"),
        None => String::new(),
    };
    // Of several tenants, the first that has one.
    let errors = credential["tenants"].as_array();
    let mut slots = errors.map_or(vec![credential], |all| all.iter().collect());
    slots.retain(|slot| slot["last_error"].is_string());
    let why = slots.first().and_then(|slot| slot["last_error"].as_str());
    let why = why.unwrap_or("`headset status` says why");
    match told["outcome"].as_str() {
        Some("obtained") => (format!("{name}: obtained{lives}"), 0),
        Some("not_needed") => {
            let renew = "nothing is wrong, so nobody was asked (--renew obtains a new one)";
            (format!("{name}: {renew}{lives}"), 0)
        }
        Some("too_soon") => {
            let seconds = told["retry_after_seconds"].as_u64().unwrap_or(5);
            let text = format!("{name} was asked for just now; try again in {seconds} s");
            (text, exit::EX_TEMPFAIL)
        }
        Some("replaced") => {
            let text = format!("{name} is being replaced by a reload, which asks by itself");
            (text, exit::EX_TEMPFAIL)
        }
        Some("refused") if told["reason"] == "secret" => (
            format!("{name}: a secret cannot be used: {why}"),
            exit::EX_CONFIG,
        ),
        Some("refused") => (format!("{name}: refused: {why}"), exit::EX_NOPERM),
        _ => {
            let far = matches!(told["reason"].as_str(), Some("connect" | "timeout"));
            match far {
                true => (format!("{name}: out of reach: {why}"), exit::EX_UNAVAILABLE),
                false => (format!("{name}: try again later: {why}"), exit::EX_TEMPFAIL),
            }
        }
    }
}
