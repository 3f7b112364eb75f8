//! `headset explain METHOD URL`: what would become of a call, without sending it.
//!
//! By a configuration, of which no secret is read, or by a headset that runs. Both yield the
//! JSON of `/explain`, which is shown as it is or as text for people.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::admin::explain::shown;
use crate::app::build::{PlanDraft, kind_keys};
use crate::base::causes::with_causes;
use crate::base::spelled_out::spelled_out;
use crate::base::time::Clock;
use crate::cli::instance::InstanceArgs;
use crate::cli::quick::Quick;
use crate::cli::report::{self, OutputFormat};
use crate::cli::{exit, process};
use crate::config::load;
use crate::gateway::explain::asked::without_user;
use crate::net::egress::ProcessContext;

/// Says what would become of a call, without sending it: its listener and route, where it
/// goes with which credential, what is removed and set, its timeouts and limits, and whether
/// it may be sent twice. Or why headset would answer it itself.
#[derive(clap::Args, Clone, Debug)]
#[command(help_template = super::HELP, before_help = EXAMPLES)]
pub struct ExplainArgs {
    /// The method, such as GET.
    pub method: String,
    /// The path, or the URL as the application calls it. A query decides nothing.
    pub url: String,
    /// Ask a headset that runs, rather than read a configuration.
    #[arg(long, conflicts_with = "upstream")]
    pub running: bool,
    /// How to write it to stdout.
    #[arg(long, value_enum, default_value_t = OutputFormat::Human)]
    pub output: OutputFormat,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub quick: Quick,
    /// The admin socket of the running one.
    #[arg(long, value_name = "PATH", requires = "running")]
    pub socket: Option<std::path::PathBuf>,
    /// The admin address of the running one, such as http://127.0.0.1:9464.
    #[arg(
        long,
        value_name = "URL",
        requires = "running",
        conflicts_with = "socket"
    )]
    pub admin: Option<String>,
    /// A file with the admin token, for the admin address.
    #[arg(long, value_name = "FILE", requires = "running")]
    pub admin_token_file: Option<std::path::PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  headset explain GET /v1/cc-list --config headset.toml
  headset explain POST http://localhost:8080/ameyorestapi/voice --running
  headset explain GET https://api.exotel.com/v1/Accounts --config forward.toml
  headset explain CONNECT github.com:443 --config forward.toml";

/// How long the running one may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Explains.
///
/// # Errors
/// Where stdout cannot be written or the machine refuses a runtime. A faulty configuration is
/// exit code 78, a method or URL that is none 64.
pub fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let told = match args.running {
        true => by_the_running_one(&args)?,
        false => by_a_configuration(&args),
    };
    let told = match told {
        Ok(told) => told,
        Err(code) => return Ok(code),
    };
    let mut out = io::stdout().lock();
    match args.output {
        OutputFormat::Json => writeln!(out, "{told}")?,
        OutputFormat::Human => out.write_all(text(&told).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn by_a_configuration(args: &ExplainArgs) -> Result<Value, ExitCode> {
    let sources = args.quick.clone().sources_to_judge();
    let config = load::load(&sources, &kind_keys()).map_err(|found| report::refuse(&found))?;
    // What it is explained by, where the configuration does not say that.
    for warning in config.warnings.iter().filter(|told| told.key == "listener") {
        let warning = warning.to_string();
        let _ = writeln!(io::stderr(), "warning: {}", spelled_out(&warning));
    }
    let draft = PlanDraft::new(config, Clock::system(), ProcessContext::default());
    let draft = draft.map_err(|found| report::refuse(&found))?;
    let told = draft.explainer().explain(&args.method, &args.url);
    told.map(|told| shown(&told)).map_err(|why| {
        let line = format!("{} {}: {why}", args.method, bare(&args.url));
        let _ = writeln!(io::stderr(), "headset: {}", spelled_out(&line));
        ExitCode::from(exit::EX_USAGE)
    })
}

fn by_the_running_one(args: &ExplainArgs) -> io::Result<Result<Value, ExitCode>> {
    let instance = InstanceArgs {
        socket: args.socket.clone(),
        admin: args.admin.clone(),
        admin_token_file: args.admin_token_file.clone(),
        config: args.quick.config.clone(),
    };
    let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let url = part(&bare(&args.url));
    let target = format!("/explain?method={}&url={url}", part(&args.method));
    let asked = process::runtime()?.block_on(async {
        let found = instance.find().await?;
        (found.ask(Method::GET, &target, String::new(), ANSWER)).await
    });
    let (why, code) = match asked {
        Ok(reply) if reply.status == StatusCode::OK => return Ok(Ok(reply.json())),
        Ok(reply) => (reply.line(), exit::EX_USAGE),
        Err(error) => (with_causes(&error), error.exit_code()),
    };
    writeln!(io::stderr(), "headset: {}", spelled_out(&why))?;
    Ok(Err(ExitCode::from(code)))
}

/// `url` without what decides nothing and is nobody's to read: its query, and a user with its
/// password, of whom it only stays that there is one.
fn bare(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match without_user(url) {
        (bare, true) => match bare.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://…@{rest}"),
            None => format!("…@{bare}"),
        },
        (bare, false) => bare.into_owned(),
    }
}

/// For people; a line for each thing, aligned.
fn text(told: &Value) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing to a String does not fail.
            let _ = writeln!(out, "{name:<11} {value}");
        }
    };
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| {
        let items = value.as_array().into_iter().flatten();
        items.map(word).collect::<Vec<_>>().join(", ")
    };
    line(
        "call",
        format!("{} {}", word(&told["method"]), word(&told["path"])),
    );
    let listeners = told["listeners"].as_array().into_iter().flatten();
    let listeners = listeners.map(|listener| {
        let proof = match listener["wants_proof"] == true {
            true => " (callers must show a token or certificate)",
            false => "",
        };
        format!("{}{proof}", word(&listener["name"]))
    });
    line("listener", listeners.collect::<Vec<_>>().join(", "));
    line(
        "connect",
        match word(&told["connect"]).as_str() {
            "opened" => "opened: headset answers as the host, and serves the calls in the tunnel",
            "tunnelled" => "tunnelled: the bytes pass unread both ways, without a credential",
            _ => "",
        }
        .to_owned(),
    );
    line("route", word(&told["route"]));
    line("note", word(&told["note"]));
    let refused = &told["refused"];
    if refused.is_object() {
        let (status, code) = (&refused["status"], word(&refused["code"]));
        line(
            "refused",
            format!("{status} {code}: {}", word(&refused["detail"])),
        );
        line("to do", word(&refused["hint"]));
        return out;
    }
    line("sent to", word(&told["sent_to"]));
    // Nothing more is known of what is in a tunnel.
    let is_call = told["set"].as_array().is_some_and(|set| !set.is_empty());
    if told["connect"].is_string() && !is_call {
        return out;
    }
    line("dialled", list(&told["dialled"]));
    let credential = &told["credential"];
    line(
        "credential",
        match credential.is_object() {
            true => format!(
                "{} ({})",
                word(&credential["name"]),
                word(&credential["kind"])
            ),
            false => "none: the caller's own passes".into(),
        },
    );
    line(
        "tenant",
        match word(&told["tenant"]) {
            field if field.is_empty() => field,
            field => format!("by the field {field}"),
        },
    );
    line("removed", list(&told["removed"]));
    line("set", list(&told["set"]));
    line("kept back", list(&told["kept_back"]));
    let by = match told["effect_is_configured"] == true {
        true => "as the route says",
        false => "by its method",
    };
    line("effect", format!("{} ({by})", word(&told["effect"])));
    for (at, case) in told["replay"].as_array().into_iter().flatten().enumerate() {
        let may = match case["again"] == true {
            true => "once more",
            false => "never    ",
        };
        let name = match at {
            0 => "sent again",
            _ => "",
        };
        line(name, format!("{may}  {}", word(&case["after"])));
    }
    let timeouts = told["timeouts_seconds"].as_object().into_iter().flatten();
    let timeouts = timeouts.map(|(key, seconds)| match seconds.as_f64() {
        Some(0.0) => format!("{key} none"),
        seconds => format!("{key} {} s", seconds.unwrap_or_default()),
    });
    line("timeouts", timeouts.collect::<Vec<_>>().join(", "));
    let limits = told["limits"].as_object().into_iter().flatten();
    let limits = limits.map(|(key, limit)| format!("{key} {limit}"));
    line("limits", limits.collect::<Vec<_>>().join(", "));
    out
}
