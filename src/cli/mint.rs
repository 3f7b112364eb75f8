//! `headset mint NAME`: one live attempt to obtain one credential, and all that was
//! said and heard on the way, masked.
//!
//! The transcript goes to stdout, why it failed to stderr, and the exit code tells
//! apart what a script may do: ask again, look for the network, or call a person.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::app::build::{PlanDraft, kind_keys};
use crate::base::time::Clock;
use crate::cli::check::OutputFormat;
use crate::cli::quick::Quick;
use crate::cli::{EX_CONFIG, EX_NOPERM, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE, online, run};
use crate::config::{self, Config, load};
use crate::credential::attempt::{Attempt, Obtained, attempt};
use crate::credential::transcript::RecordedExchange;
use crate::credential::{MintError, UnavailableReason};
use crate::net::egress::OwnAddresses;

/// Obtain one credential now and show how, with every secret masked.
#[derive(Clone, Debug, clap::Args)]
#[command(before_help = EXAMPLES, after_help = NOTES)]
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
This really asks, so a wrong password counts as one wrong password. What it obtains is
dropped; a session is logged out of, unless `on_shutdown` is `keep`. A forced login ends the
user's other session.

Exit codes: 0 obtained, 69 out of reach, 75 the issuer failed: try again later,
77 refused, 78 the configuration or a secret is faulty.";

/// Tries the credential that `args` name.
///
/// # Errors
/// Where stdout or stderr cannot be written or the machine refuses a runtime.
pub fn run(args: MintArgs) -> anyhow::Result<ExitCode> {
    let config = match load::load(&args.quick.sources(), &kind_keys()) {
        Ok(config) => config,
        Err(problems) => return Ok(run::refuse(&problems)),
    };
    let credential = match named(&config, &args.name, args.tenant.as_deref()) {
        Ok(credential) => credential.clone(),
        Err(why) => {
            writeln!(std::io::stderr(), "headset: {why}")?;
            return Ok(ExitCode::from(EX_USAGE));
        }
    };
    run::log_for_tools();
    run::protect_memory();
    let limit = config.timeouts.mint;
    let clock = Clock::system();
    let draft = match PlanDraft::to_mint(config, clock.clone(), OwnAddresses::default()) {
        Ok(draft) => draft,
        Err(problems) => return Ok(run::refuse(&problems)),
    };
    let mint = match draft.mint(&credential, args.tenant.as_deref()) {
        Ok(mint) => mint,
        Err(problems) => return Ok(run::refuse(&problems)),
    };
    let attempt = super::runtime()?.block_on(async {
        // What it is chained to lives as long as the attempt.
        let sources = draft.open_sources(&credential)?;
        let attempt = attempt(&mint, limit, &clock).await;
        online::end(sources, limit).await;
        anyhow::Ok(attempt)
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
                told(&attempt)
            )?;
        }
        OutputFormat::Json => {
            let mut all = as_json(&attempt);
            all["credential"] = credential.name.as_str().into();
            all["kind"] = credential.kind.into();
            all["tenant"] = args.tenant.clone().into();
            writeln!(stdout, "{all}")?;
        }
    }
    stdout.flush()?;
    if let Err(error) = &attempt.outcome {
        writeln!(std::io::stderr(), "headset: {}: {error}", class(error))?;
    }
    Ok(ExitCode::from(exit_code(&attempt.outcome)))
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
            "each tenant has its own {name}; say whose with --tenant"
        )),
        (true, Some(tenant)) if !allowed(tenant) => {
            Err(format!("no route with {name} allows the tenant {tenant:?}"))
        }
        (false, Some(_)) => Err(format!("{name} is one for all; leave --tenant out")),
        _ => Ok(credential),
    }
}

/// What a script may do about an outcome (sysexits(3)).
pub fn exit_code<T>(outcome: &Result<T, MintError>) -> u8 {
    match outcome {
        Ok(_) => 0,
        Err(MintError::Unavailable {
            reason: UnavailableReason::Connect | UnavailableReason::Timeout,
            ..
        }) => EX_UNAVAILABLE,
        Err(MintError::Unavailable { .. }) => EX_TEMPFAIL,
        Err(MintError::Refused { .. }) => EX_NOPERM,
        Err(MintError::Secret { .. }) => EX_CONFIG,
    }
}

/// One word for a failure.
pub fn class(error: &MintError) -> &'static str {
    match error {
        MintError::Unavailable {
            reason: UnavailableReason::Connect | UnavailableReason::Timeout,
            ..
        } => "out of reach",
        MintError::Unavailable { .. } => "try again later",
        MintError::Refused { .. } => "refused",
        MintError::Secret { .. } => "a secret cannot be used",
    }
}

fn told(attempt: &Attempt) -> String {
    let mut out = String::new();
    for (index, call) in attempt.calls.iter().enumerate() {
        exchange(&mut out, index + 1, call);
    }
    if let Ok(obtained) = &attempt.outcome {
        for set in &obtained.sets {
            let from = set
                .from
                .as_deref()
                .unwrap_or("what the configuration names");
            let _ = writeln!(out, "sets {}: {}, from {from}", set.name, set.value);
        }
        let _ = writeln!(out, "{}", ends(obtained));
        if let Some(skew) = obtained.skew_ms.filter(|skew| *skew != 0) {
            let (seconds, way) = (
                skew.unsigned_abs() / 1000,
                if skew > 0 { "ahead" } else { "behind" },
            );
            let _ = writeln!(out, "the issuer's clock is {seconds} s {way}");
        }
        if let (Some(due), Some(left)) = (obtained.human_due_ms, obtained.runway) {
            let _ = writeln!(
                out,
                "a person must act by {}, in {}: {}",
                date(due),
                span(left),
                obtained.action
            );
        }
    }
    let word = if attempt.outcome.is_ok() {
        "obtained"
    } else {
        "failed"
    };
    let _ = writeln!(out, "{word} after {} ms", attempt.took.as_millis());
    out
}

fn exchange(out: &mut String, number: usize, call: &RecordedExchange) {
    let _ = writeln!(out, "{number}. {} {}", call.method, call.url);
    for (name, value) in &call.said {
        let _ = writeln!(out, "   > {name}: {value}");
    }
    if let Some(body) = &call.said_body {
        let _ = writeln!(out, "   > {body}");
    }
    let connected = match call.connected {
        Some(time) => format!("connected after {} ms", time.as_millis()),
        None => "no connection".into(),
    };
    let took = call.took.as_millis();
    match &call.heard {
        Ok(heard) => {
            let _ = writeln!(out, "   < {} after {took} ms ({connected})", heard.status);
            for (name, value) in &heard.fields {
                let _ = writeln!(out, "   < {name}: {value}");
            }
            if let Some(body) = &heard.body {
                let _ = writeln!(out, "   < {body}");
            }
        }
        Err(error) => {
            let _ = writeln!(out, "   < {error}, after {took} ms ({connected})");
        }
    }
}

/// When what was obtained ends, and what said so.
pub fn ends(obtained: &Obtained) -> String {
    match (obtained.ends_ms, &obtained.ends_by) {
        (None, _) => "never expires".into(),
        (Some(ms), None) => format!("expires {}, in {}", date(ms), span(obtained.left)),
        (Some(ms), Some(by)) => {
            format!("expires {}, in {}, by {by}", date(ms), span(obtained.left))
        }
    }
}

/// A time for people.
pub fn date(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

/// A span for people, in whole seconds.
pub fn span(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

/// An attempt as one object.
fn as_json(attempt: &Attempt) -> Json {
    let pairs = |fields: &[(String, String)]| -> Json {
        fields
            .iter()
            .map(|(name, value)| json!([name, value]))
            .collect()
    };
    let calls: Vec<Json> = attempt
        .calls
        .iter()
        .map(|call| {
            let mut one = json!({
                "method": call.method,
                "url": call.url,
                "request": { "fields": pairs(&call.said), "body": call.said_body },
                "connect_ms": call.connected.map(|time| time.as_millis() as u64),
                "ms": call.took.as_millis() as u64,
            });
            match &call.heard {
                Ok(heard) => {
                    one["answer"] = json!({
                        "status": heard.status.as_u16(),
                        "fields": pairs(&heard.fields),
                        "body": heard.body,
                    });
                }
                Err(error) => one["error"] = error.as_str().into(),
            }
            one
        })
        .collect();
    let mut all = outcome_json(&attempt.outcome);
    all["calls"] = calls.into();
    all["ms"] = (attempt.took.as_millis() as u64).into();
    all
}

/// What came of an attempt, as an object with `ok`.
pub fn outcome_json(outcome: &Result<Obtained, MintError>) -> Json {
    match outcome {
        Ok(obtained) => json!({
            "ok": true,
            "sets": obtained.sets.iter().map(|set| json!({
                "name": set.name,
                "value": set.value,
                "from": set.from,
            })).collect::<Vec<_>>(),
            "expires": obtained.ends_ms.map(date),
            "expires_by": obtained.ends_by,
            "clock_skew_seconds": obtained.skew_ms.map(|ms| ms as f64 / 1000.0),
            "human": obtained.human_due_ms.map(|due| json!({
                "due": date(due),
                "due_in_seconds": obtained.runway.map(|left| left.as_secs()),
                "action": obtained.action,
            })),
        }),
        Err(error) => json!({
            "ok": false,
            "exit": exit_code(outcome),
            "reason": error.labels().1,
            "detail": error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::tests::load_text;
    use crate::credential::RefusalReason;

    #[test]
    fn each_failure_has_the_exit_code_that_tells_what_to_do() {
        let unavailable = |reason| MintError::Unavailable {
            reason,
            detail: String::new(),
            retry_after: None,
        };
        let code = |error: MintError| exit_code::<()>(&Err(error));
        assert_eq!(exit_code(&Ok(())), 0);
        assert_eq!(code(unavailable(UnavailableReason::Connect)), 69);
        assert_eq!(code(unavailable(UnavailableReason::Timeout)), 69);
        assert_eq!(code(unavailable(UnavailableReason::Status)), 75);
        assert_eq!(code(unavailable(UnavailableReason::Body)), 75);
        let detail = String::new();
        assert_eq!(
            code(MintError::Refused {
                reason: RefusalReason::Refused,
                detail
            }),
            77
        );
        assert_eq!(
            code(MintError::Secret {
                detail: String::new()
            }),
            78
        );
    }

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
            ("one", Some("1"), "leave --tenant out"),
        ] {
            let error = verdict(name, tenant).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
