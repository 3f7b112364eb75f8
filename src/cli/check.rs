//! `headset check`: every problem of a configuration at once; nothing is started.
//!
//! Each secret and each file that is named is tried once, so that what would fail at
//! the first mint fails here. Problems go to stderr, each with the line that it is about,
//! and the exit code is 78 (`EX_CONFIG` of sysexits(3)); else a summary of what would run goes to stdout.
//! No value of a secret is shown in either.

use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;

use serde_json::{Value as Json, json};

use crate::app::build::{PlanDraft, kind_keys, open_stores};
use crate::base::one_by_one::one_by_one;
use crate::base::problem::{Place, Problem};
use crate::base::spelled_out::spelled_out;
use crate::base::time::Clock;
use crate::cli::excerpt;
use crate::cli::exit;
use crate::cli::online::{self, Tried};
use crate::cli::quick::Quick;
use crate::cli::report::{self, OutputFormat};
use crate::config::resolve::Resolve;
use crate::config::{Config, load};
use crate::net::egress::ProcessContext;
use crate::secret::SecretSource;

/// Checks a configuration and shows every problem at once; starts nothing.
///
/// A secret that cannot be read is a problem here. Where it is a credential's, `headset run`
/// serves all the same and answers that credential's calls 503 until it can be read.
#[derive(clap::Args, Clone, Debug)]
#[command(help_template = super::HELP, before_help = EXAMPLES)]
pub struct CheckArgs {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub quick: Quick,
    /// Mint each credential once, for real: this changes what its issuer holds, as
    /// `headset mint --help` says. Warns where manual action is required within 14 days.
    /// Asks the shared store of a fleet, too. Ends with 77 where one is refused, 69 where one
    /// (or the store) is out of reach, 78 where the store does not let headset in.
    #[arg(long)]
    pub online: bool,
    /// Leave out what is only where headset will run: secrets, the files of TLS, the store.
    /// For a build server, which has none of them.
    #[arg(long, conflicts_with = "online")]
    pub offline_secrets: bool,
    /// How to write the outcome to stdout.
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    pub output: OutputFormat,
}

const EXAMPLES: &str = "\
Examples:
  headset check --config headset.toml
  headset check --config headset.toml --offline-secrets   on a build server
  headset check --config - --offline-secrets <headset.toml   from standard input
  headset check --config headset.toml --online            ask each issuer, for real";

/// Checks what `args` name; with `--online`, and where the configuration is good, each
/// credential is asked for.
///
/// # Errors
/// Only where stdout or stderr cannot be written or the machine refuses a runtime; a
/// faulty configuration is exit code 78.
pub fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let sources = args.quick.sources_to_judge();
    let kinds = kind_keys();
    let reading = load::read(&sources, &kinds);
    let mut problems = match args.offline_secrets {
        true => Vec::new(),
        false => unreadable(&reading.secrets),
    };
    let outcome = match reading.outcome {
        Ok(mut config) => {
            let exposed = load::exposed(&config);
            config.warnings.extend(exposed);
            // A key whose secret cannot be read has been told about.
            let told: Vec<String> = problems.iter().map(|p| p.key.clone()).collect();
            let more = used(&config, args.offline_secrets).into_iter();
            problems.extend(more.filter(|problem| !told.contains(&problem.key)));
            problems.is_empty().then_some(config)
        }
        Err(more) => {
            problems.extend(more);
            None
        }
    };
    problems.sort_unstable();
    problems.dedup();
    let outcome = outcome.ok_or(problems);
    let tried = match &outcome {
        Ok(config) if args.online => online::try_all(config)?,
        _ => Tried::default(),
    };
    write(
        &outcome,
        (&tried, reading.text.as_deref().unwrap_or_default()),
        args.output,
        &mut std::io::stdout().lock(),
        &mut std::io::stderr().lock(),
    )?;
    Ok(match outcome {
        Ok(_) => ExitCode::from(tried.exit_code()),
        Err(_) => ExitCode::from(exit::EX_CONFIG),
    })
}

/// What shows only when `config` is used: each kind over its own options, the files of
/// TLS, the store; with `offline` none of those files.
fn used(config: &Config, offline: bool) -> Vec<Problem> {
    let mut problems = PlanDraft::judge(config, &Clock::system());
    if offline {
        problems.retain(|problem| !problem.key.split('.').any(|part| TLS.contains(&part)));
    } else {
        problems.extend(open_stores(config, ProcessContext::default()).err());
    }
    config.places.settle(&mut problems);
    problems
}

/// The tables whose keys name files of certificates and private keys, and the key that names
/// users of the machine.
const TLS: [&str; 4] = ["tls", "upstream_tls", "ca", "allow_users"];

/// Tries every one of these secrets once.
pub fn unreadable(secrets: &[(String, SecretSource, Place)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, source, place) in secrets {
        if matches!(source, SecretSource::Generate | SecretSource::Keepers) {
            continue;
        }
        // A key in PEM has lines, of which no other secret may have several.
        let read = match key.ends_with(".ca.key") {
            true => source.fetch_lines(),
            false => source.fetch(),
        };
        if let Err(error) = read {
            problems.push(Problem::new(
                place.clone(),
                key.clone(),
                format!("{}: {}", error.from, error.fault),
                error.fault.fix(),
            ));
        }
    }
    problems
}

/// Writes what was found in the file with this `text`.
fn write(
    outcome: &Result<Config, Vec<Problem>>,
    (tried, text): (&Tried, &str),
    output: OutputFormat,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> std::io::Result<()> {
    match (outcome, output) {
        (_, OutputFormat::Json) => writeln!(stdout, "{}", as_json(outcome, tried)),
        (Err(problems), OutputFormat::Human) => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            report::drawn(
                problems,
                |problem| excerpt::of(problem, text, colour),
                stderr,
            )
        }
        (Ok(config), OutputFormat::Human) => {
            for warning in &config.warnings {
                writeln!(stderr, "warning: {}", spelled_out(&warning.to_string()))?;
            }
            for line in summary(config) {
                writeln!(stdout, "{line}")?;
            }
            for line in tried.bad() {
                writeln!(stderr, "{line}")?;
            }
            for line in tried.good() {
                writeln!(stdout, "{line}")?;
            }
            let word = match tried.exit_code() == 0 {
                true => "ok",
                false => {
                    "the configuration is valid, but not all that was asked for online could be had"
                }
            };
            writeln!(stdout, "{word} ({})", config.digest)
        }
    }
}

fn summary(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for listener in &config.listeners {
        lines.push(format!("listener {}: {}", listener.name, listener.bind));
    }
    lines.push(format!("admin: {}", config.admin.bind));
    for route in &config.routes {
        let with = match &route.credential {
            Some(name) => format!(" with {name}"),
            None => String::new(),
        };
        lines.push(format!(
            "route {}: {}{} -> {}{}{with}",
            route.name,
            route.host.as_deref().unwrap_or(""),
            route.path,
            route.upstream,
            dialled(&route.resolve),
        ));
    }
    for credential in &config.credentials {
        lines.push(format!(
            "credential {}: {}{}",
            credential.name,
            credential.kind,
            dialled(&credential.resolve),
        ));
    }
    lines
}

/// Where the configuration says that a host is dialled.
fn dialled(resolve: &Resolve) -> String {
    let each = resolve.names().map(|(name, addresses)| {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        format!(" ({name} is dialled at {})", addresses.join(", "))
    });
    each.collect()
}

fn dialled_json(resolve: &Resolve) -> Json {
    let each = resolve.names().map(|(name, addresses)| {
        let addresses = addresses.iter().map(ToString::to_string);
        (name.to_owned(), addresses.collect::<Json>())
    });
    Json::Object(one_by_one(each))
}

fn as_json(outcome: &Result<Config, Vec<Problem>>, tried: &Tried) -> Json {
    let listed = |problems: &[Problem]| -> Vec<Json> {
        problems
            .iter()
            .map(|problem| {
                json!({
                    "place": problem.place.to_string(),
                    "key": problem.key,
                    "why": problem.why,
                    "fix": problem.fix,
                })
            })
            .collect()
    };
    match outcome {
        Err(problems) => json!({ "ok": false, "problems": listed(problems) }),
        Ok(config) => json!({
            "ok": tried.exit_code() == 0,
            "online": tried.json(),
            "store": tried.store_json(),
            "digest": config.digest,
            "warnings": listed(&config.warnings),
            "admin": config.admin.bind.to_string(),
            "listeners": config.listeners.iter().map(|listener| json!({
                "name": listener.name.as_str(),
                "bind": listener.bind.to_string(),
            })).collect::<Vec<_>>(),
            "routes": config.routes.iter().map(|route| json!({
                "name": route.name.as_str(),
                "host": route.host,
                "path": route.path,
                "upstream": route.upstream.to_string(),
                "resolve": dialled_json(&route.resolve),
                "credential": route.credential.as_ref().map(|name| name.as_str()),
            })).collect::<Vec<_>>(),
            "credentials": config.credentials.iter().map(|credential| json!({
                "name": credential.name.as_str(),
                "kind": credential.kind,
                "resolve": dialled_json(&credential.resolve),
            })).collect::<Vec<_>>(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::temp_folder::TempFolder;
    use crate::config::load::tests::{KINDS, load_text};

    fn text(password: &str, bearer: &str) -> String {
        format!(
            "[listener.app]\nbind = \"127.0.0.1:8080\"\n\
             [route.contacts]\nupstream = \"https://cms.example.com\"\ncredential = \"cms\"\n\
             upstream_tls.ca = \"/nonexistent/ca.pem\"\n\
             [credential.cms]\nkind = \"basicauth\"\nurl = \"https://cms.example.com/b\"\n\
             username = \"crm\"\ncontext_id = \"1\"\n\
             password = {{ file = {password:?} }}\nadmin_bearer = {{ file = {bearer:?} }}\n"
        )
    }

    fn written(outcome: &Result<Config, Vec<Problem>>, output: OutputFormat) -> (String, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        write(
            outcome,
            (&Tried::default(), ""),
            output,
            &mut stdout,
            &mut stderr,
        )
        .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(stdout), text(stderr))
    }

    #[test]
    fn each_secret_is_tried_and_none_is_shown() {
        let folder = TempFolder::new();
        let password = folder.write("password", "hunter2\u{2019}");
        let text = text(password.to_str().unwrap(), "/nonexistent/bearer");
        // Whatever else is wrong.
        for (more, faults) in [("", 2), ("nonsense = 1\n", 3), ("[[broken\n", 3)] {
            let file = folder.write("headset.toml", &format!("{text}{more}"));
            let sources = load::Sources {
                file: Some(file),
                ..load::Sources::default()
            };
            let reading = load::read(&sources, KINDS);
            let mut problems = unreadable(&reading.secrets);
            problems.extend(reading.outcome.err().into_iter().flatten());
            let (stdout, stderr) = written(&Err(problems), OutputFormat::Human);
            assert_eq!(stdout, "");
            for part in [
                "credential.cms.password: file ",
                "curly quote at byte 7",
                "/nonexistent/bearer: it cannot be read",
            ] {
                assert!(stderr.contains(part), "{part} in {stderr}");
            }
            let count = stderr.matches("headset.toml:").count();
            assert_eq!(count, faults, "{stderr}");
            assert!(!stderr.contains("hunter2"), "{stderr}");
        }
    }

    #[test]
    fn a_good_configuration_is_summed_up_without_values() {
        let outcome = load_text(&text("/p", "/b"));
        let (stdout, stderr) = written(&outcome, OutputFormat::Human);
        assert_eq!(stderr, "");
        for line in [
            "listener app: 127.0.0.1:8080\n",
            "route contacts: / -> https://cms.example.com/ with cms\n",
            "credential cms: basicauth\n",
            "ok (",
        ] {
            assert!(stdout.contains(line), "{line}: {stdout}");
        }
    }

    #[test]
    fn a_host_that_is_dialled_elsewhere_is_told() {
        let there = "resolve = { \"cms.example.com\" = [\"127.0.0.1:8443\", \"::1\"] }\n";
        let text = text("/p", "/b").replace("kind =", &format!("{there}kind ="));
        let (stdout, _) = written(&load_text(&text), OutputFormat::Human);
        let line =
            "credential cms: basicauth (cms.example.com is dialled at 127.0.0.1:8443, ::1)\n";
        assert!(stdout.contains(line), "{stdout}");
        let (stdout, _) = written(&load_text(&text), OutputFormat::Json);
        let value: Json = serde_json::from_str(&stdout).unwrap();
        let told = &value["credentials"][0]["resolve"]["cms.example.com"];
        assert_eq!(*told, json!(["127.0.0.1:8443", "::1"]));
        assert_eq!(value["routes"][0]["resolve"], json!({}));
    }

    #[test]
    fn a_machine_without_the_secrets_can_check_all_else() {
        let config = load_text(&text("/nonexistent/p", "/nonexistent/b")).unwrap();
        let found = |offline| used(&config, offline).len();
        assert_eq!((found(true), found(false)), (0, 1), "the upstream's ca");
        let bad = text("/p", "/b").replace("crm", "crm:sync");
        let problems = load_text(&bad).map_or_else(|found| found, |config| used(&config, true));
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn json_is_one_object_on_stdout_either_way() {
        let good = written(&load_text(&text("/p", "/b")), OutputFormat::Json);
        let bad = written(&load_text("[x]"), OutputFormat::Json);
        for ((stdout, stderr), ok) in [(good, true), (bad, false)] {
            let value: Json = serde_json::from_str(&stdout).unwrap();
            assert_eq!(value["ok"], ok);
            assert_eq!(stderr, "");
        }
    }
}
