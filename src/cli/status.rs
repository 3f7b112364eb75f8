//! `headset status`: what a running headset knows of its credentials and routes.

use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use serde_json::Value as Json;

use crate::cli::instance::{InstanceArgs, InstanceError};
use crate::cli::report::{self, OutputFormat};
use crate::cli::{exit, process, status_table};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// How often `--watch` looks.
const AGAIN: Duration = Duration::from_secs(2);

/// Show what a running headset knows of its credentials and routes.
#[derive(Clone, Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES, after_help = NOTES)]
pub struct StatusArgs {
    /// Only this credential, with all that is known of it.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Look again every 2 s, until you stop it.
    #[arg(long)]
    pub watch: bool,
    /// How to write it to stdout; with --watch one JSON object a line.
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    pub output: OutputFormat,
    /// Which headset.
    #[command(flatten)]
    pub instance: InstanceArgs,
}

const EXAMPLES: &str = "\
Examples:
  headset status
  headset status cms_key --watch
  headset status --output json | jq '.credentials[] | select(.state != \"live\")'
  headset status --admin http://10.1.2.3:9464 --admin-token-file ./admin-token
  kubectl exec POD -c headset -- /headset status";

const NOTES: &str = "\
It asks by the admin socket, as the user that headset runs as or root, else by the admin address.

Exit codes: 0 shown, 64 there is no such credential, 69 no headset runs there or it does not
answer, 77 it wants a token, or it is another user's.";

/// Shows it.
///
/// # Errors
/// Where stdout cannot be written or the machine refuses a runtime.
pub fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    process::runtime()?.block_on(async {
        loop {
            let shown = show(&args).await?;
            if !args.watch {
                return Ok(shown);
            }
            tokio::time::sleep(AGAIN).await;
        }
    })
}

async fn show(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout().lock();
    let all = match ask(args).await {
        Ok(all) => all,
        Err(error) => return report::unanswered(&error),
    };
    let credentials = all["credentials"].as_array().map_or(&[][..], Vec::as_slice);
    let named = |name: &String| credentials.iter().find(|c| c["name"] == name.as_str());
    let text = match (&args.name, args.output) {
        (None, OutputFormat::Json) => format!("{all}\n"),
        (None, OutputFormat::Human) => status_table::overview(&all),
        (Some(name), output) => {
            let Some(one) = named(name) else {
                let names = credentials.iter().filter_map(|c| c["name"].as_str());
                let names: Vec<&str> = names.collect();
                let there = match names.is_empty() {
                    true => "no route of this headset names one".to_owned(),
                    false => format!("there is {}", names.join(", ")),
                };
                let mut stderr = std::io::stderr();
                writeln!(stderr, "headset: there is no credential {name}; {there}")?;
                return Ok(ExitCode::from(exit::EX_USAGE));
            };
            match output {
                OutputFormat::Json => format!("{one}\n"),
                OutputFormat::Human => status_table::credential(one, &all["now"]),
            }
        }
    };
    if args.watch && args.output == OutputFormat::Human && stdout.is_terminal() {
        // Home, and all below it cleared (ECMA-48, CUP and ED).
        stdout.write_all(b"\x1b[H\x1b[2J")?;
    }
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(args: &StatusArgs) -> Result<Json, InstanceError> {
    let found = args.instance.find().await?;
    let asked = found.ask_json(Method::GET, "/status", String::new(), LIMIT);
    Ok(asked.await?.1)
}
