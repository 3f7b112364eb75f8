//! `headset mint NAME`: one live attempt to obtain one credential, and all that was
//! sent and received on the way, masked.
//!
//! The transcript goes to stdout, why it failed to stderr, and the exit code tells
//! apart what a script may do: ask again, look for the network, or call a person.

use std::io::Write;
use std::process::ExitCode;

use crate::app::build::{PlanDraft, kind_keys};
use crate::base::time::Clock;
use crate::cli::quick::Quick;
use crate::cli::report::{self, OutputFormat};
use crate::cli::{attempt, exit, process, transcript};
use crate::config::{self, Config, load};
use crate::net::egress::ProcessContext;

/// Obtain one credential now and show how, with every secret masked.
#[derive(Clone, Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES, after_help = NOTES)]
pub struct MintArgs {
    /// The credential's name in the configuration.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// For which tenant, where each has its own.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub quick: Quick,
    /// How to write the outcome to stdout.
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    pub output: OutputFormat,
}

const EXAMPLES: &str = "\
Examples:
  headset mint cms_key --config headset.toml
  headset mint cms_key --tenant 1 --config headset.toml
  headset mint cms_key --config headset.toml --output json | jq .calls";

const NOTES: &str = "\
This asks the issuer for real and changes what the issuer holds:
  - a basicauth registration is made, or extended with the configured password, and stays;
    where `rotation` is `new_name`, one more name is registered and deleted again;
  - a login opens a session, which is ended again unless `on_shutdown` is `keep`; a forced
    login ends the user's other sessions, also that of a running headset;
  - a wrong password counts as one failed login.
headset stores nothing of it, and what a running headset uses is left alone otherwise.

Exit codes: 0 obtained, 69 out of reach, 75 the issuer failed: try again later,
77 refused, 78 the configuration or a secret is faulty.";

/// Tries the credential that `args` name.
///
/// # Errors
/// Where stdout or stderr cannot be written or the machine refuses a runtime.
pub fn run(args: MintArgs) -> anyhow::Result<ExitCode> {
    let config = match load::load(&args.quick.sources_to_judge(), &kind_keys()) {
        Ok(config) => config,
        Err(problems) => return Ok(report::refuse(&problems)),
    };
    let credential = match named(&config, &args.name, args.tenant.as_deref()) {
        Ok(credential) => credential.clone(),
        Err(why) => {
            writeln!(std::io::stderr(), "headset: {why}")?;
            return Ok(ExitCode::from(exit::EX_USAGE));
        }
    };
    process::log_for_tools();
    process::protect_memory();
    let limit = config.timeouts.mint;
    let clock = Clock::system();
    let draft = match PlanDraft::to_mint(config, clock.clone(), ProcessContext::default()) {
        Ok(draft) => draft,
        Err(problems) => return Ok(report::refuse(&problems)),
    };
    let mint = match draft.mint(&credential, args.tenant.as_deref()) {
        Ok(mint) => mint,
        Err(problems) => return Ok(report::refuse(&problems)),
    };
    let attempt = process::runtime()?.block_on(async {
        let sources = draft.open_sources(&credential)?;
        anyhow::Ok(attempt::once(&mint, sources, limit, &clock).await)
    })?;
    let mut stdout = std::io::stdout().lock();
    match args.output {
        OutputFormat::Human => {
            let head = match &args.tenant {
                Some(tenant) => format!("{} for tenant {tenant}", credential.name),
                None => credential.name.to_string(),
            };
            write!(
                stdout,
                "credential {head} ({})\n{}",
                credential.kind,
                transcript::as_text(&attempt)
            )?;
        }
        OutputFormat::Json => {
            let mut all = transcript::as_json(&attempt);
            all["credential"] = credential.name.as_str().into();
            all["kind"] = credential.kind.into();
            all["tenant"] = args.tenant.clone().into();
            writeln!(stdout, "{all}")?;
        }
    }
    stdout.flush()?;
    if let Err(error) = &attempt.outcome {
        writeln!(
            std::io::stderr(),
            "headset: {}: {error}",
            report::class(error)
        )?;
    }
    Ok(ExitCode::from(exit::of_attempt(&attempt.outcome)))
}

/// The credential `name`, if a route lets `tenant` have it.
fn named<'c>(
    config: &'c Config,
    name: &str,
    tenant: Option<&str>,
) -> Result<&'c config::CredentialConfig, String> {
    let found = config.credentials.iter().find(|c| c.name.as_str() == name);
    let Some(credential) = found else {
        let known: Vec<&str> = config.credentials.iter().map(|c| c.name.as_str()).collect();
        return Err(match known.is_empty() {
            true => format!("there is no credential {name:?}, nor any other"),
            false => format!(
                "there is no credential {name:?}; name one of {}",
                known.join(", ")
            ),
        });
    };
    let allowed = |tenant: &str| {
        config
            .routes
            .iter()
            .filter(|route| route.credential.as_ref() == Some(&credential.name))
            .any(|route| {
                route
                    .tenant
                    .as_ref()
                    .is_some_and(|rule| rule.allows(tenant))
            })
    };
    match (credential.is_per_tenant(), tenant) {
        (true, None) => Err(format!(
            "each tenant has its own {name}; name the tenant with --tenant"
        )),
        (true, Some(tenant)) if !allowed(tenant) => {
            Err(format!("no route with {name} allows the tenant {tenant:?}"))
        }
        (false, Some(_)) => Err(format!(
            "{name} is the same for every tenant; remove --tenant"
        )),
        _ => Ok(credential),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::tests::load_text;

    #[test]
    fn only_a_credential_that_there_is_can_be_tried_and_for_a_tenant_that_may() {
        let config = load_text(
            "[listener.app]\nbind = \"127.0.0.1:8080\"\n\
             [route.a]\nmatch.path = \"/a\"\nupstream = \"https://h\"\ncredential = \"each\"\n\
             tenant = { header = \"x-t\", allow = [\"1\"] }\n\
             [route.b]\nupstream = \"https://h\"\ncredential = \"one\"\n\
             [credential.each]\nkind = \"static\"\nbasic.username = \"u{tenant}\"\n\
             basic.password = { file = \"/p\" }\n\
             [credential.one]\nkind = \"static\"\nbasic.username = \"u\"\n\
             basic.password = { file = \"/p\" }\n",
        )
        .unwrap();
        let verdict = |name: &str, tenant: Option<&str>| {
            named(&config, name, tenant).map(|c| c.name.to_string())
        };
        assert_eq!(verdict("one", None), Ok("one".into()));
        assert_eq!(verdict("each", Some("1")), Ok("each".into()));
        for (name, tenant, told) in [
            ("two", None, "name one of each, one"),
            ("each", None, "--tenant"),
            ("each", Some("2"), "no route"),
            ("one", Some("1"), "remove --tenant"),
        ] {
            let error = verdict(name, tenant).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
