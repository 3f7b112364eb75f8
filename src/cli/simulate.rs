//! `headset simulate`: the contact-center simulator on a port of its own.
//!
//! Prints where it listens and what to try to stdout; logs each call as a line. The
//! administrator's bearer goes to a file only, never to a terminal or a log.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use headset_simulator::{AccountOptions, Faults, Options, Simulator};

/// Run a contact center to practise on: strict, counting, broken on demand
#[derive(Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES)]
pub struct Simulate {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    bind: SocketAddr,

    /// Speak TLS with a certificate made for localhost, 127.0.0.1 and ::1
    #[arg(long)]
    tls: bool,

    /// Write the certificate authority to trust, as PEM
    #[arg(long, value_name = "FILE", requires = "tls")]
    write_ca: Option<PathBuf>,

    /// Write an administrator's bearer, readable by you alone (mode 0600)
    #[arg(long, value_name = "FILE")]
    write_bearer: Option<PathBuf>,

    /// How long that bearer is good
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = humantime::parse_duration)]
    bearer_life: Duration,

    /// What goes wrong from the start, as POST /_sim/faults takes it
    #[arg(long, value_name = "JSON", value_parser = faults)]
    faults: Option<Box<Faults>>,

    /// How long a key lives that is registered without a dateExpiry
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = humantime::parse_duration)]
    default_life: Duration,

    /// The pause between two pushes of a stream
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    push_interval: Duration,

    /// End each push stream after so many pushes
    #[arg(long, value_name = "N")]
    push_count: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  headset simulate --write-bearer /tmp/bearer
  headset simulate --tls --write-ca /tmp/ca.pem --write-bearer /tmp/bearer
  headset simulate --faults '{\"unauthorized_next\": 3, \"delay_ms\": 200}'
  curl -X POST -d '{\"reset_next\": 1}' http://127.0.0.1:9900/_sim/faults
";

/// Serves until Ctrl-C or SIGTERM. Fails where the address cannot be bound (the
/// `io::Error` is in the chain) or a file cannot be written. Dropping it stops the
/// simulator.
pub async fn run(args: Simulate) -> anyhow::Result<()> {
    let simulator = Simulator::start(Options {
        bind: args.bind,
        tls: args.tls,
        default_life: args.default_life,
        push_interval: args.push_interval,
        push_count: args.push_count,
        faults: args.faults.map(|faults| *faults).unwrap_or_default(),
        ..Options::default()
    })
    .await
    .with_context(|| {
        format!(
            "the simulator cannot listen on {}; choose another address with --bind (port 0 takes a free one)",
            args.bind
        )
    })?;
    if let (Some(path), Some(pem)) = (&args.write_ca, simulator.ca_pem()) {
        fs::write(path, pem)
            .with_context(|| format!("the authority cannot be written to {}", path.display()))?;
    }
    if let Some(path) = &args.write_bearer {
        write_private(path, &simulator.admin_bearer(args.bearer_life))
            .with_context(|| format!("the bearer cannot be written to {}", path.display()))?;
    }
    let text = greeting(
        &simulator,
        args.write_ca.as_deref(),
        args.write_bearer.as_deref(),
    );
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).context("stdout is closed")?;
    out.flush().context("stdout is closed")?;
    drop(out);

    told_to_stop().await?;
    simulator.shutdown().await;
    Ok(())
}

fn faults(json: &str) -> Result<Box<Faults>, headset_simulator::FaultsError> {
    Faults::default().merged(json).map(Box::new)
}

/// Writes `text` so that nobody else can read it at any moment: a new file beside
/// the old one, then renamed.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("it names no file"))?;
    let mut beside = name.to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn greeting(simulator: &Simulator, ca: Option<&Path>, bearer: Option<&Path>) -> String {
    let url = simulator.base_url();
    let trust = match (simulator.ca_pem(), ca) {
        (None, _) => String::new(),
        (Some(_), Some(path)) => format!(" --cacert {}", path.display()),
        (Some(_), None) => " --insecure".into(),
    };
    let (bearer, missing) = match bearer {
        Some(path) => (path.display().to_string(), ""),
        None => (
            "./admin-bearer".into(),
            "  # start with --write-bearer ./admin-bearer to get one\n",
        ),
    };
    let logins = logins(&url);
    let ca = ca.map_or_else(String::new, |path| format!(" --ca {}", path.display()));
    format!(
        "contact-center simulator on {url}
  keys    {url}/configuration/basicauth
  state   {url}/_sim/state
  faults  {url}/_sim/faults
  echo    {url}/_sim/echo

Logins, each with the user name and the password of a [credential.NAME], and what else it must hold:
{logins}
headset before it:
{missing}  (umask 077; printf try-me > password)
  headset run --upstream {url} --register-url {url}/configuration/basicauth \\
    --username practice --password-file ./password --context-id 1 --admin-bearer-file {bearer}{ca}

Or without headset:
  curl{trust} {url}/configuration/basicauth -H \"Authorization: Bearer $(cat {bearer})\" -H 'Content-Type: application/json' -d '{{\"username\":\"practice\",\"password\":\"try-me\",\"context\":\"ContactCenter\",\"contextId\":\"1\",\"userRole\":\"Administrator\"}}'
  curl{trust} -u practice:try-me {url}/configuration/cc/1/process
  curl{trust} -d '{{\"unauthorized_next\": 1}}' {url}/_sim/faults
  curl{trust} {url}/_sim/state
"
    )
}

/// The kinds that log in, with the names and passwords that are known from the start.
fn logins(url: &str) -> String {
    let known = AccountOptions::default();
    let sid = &known.sid;
    let user = |at: usize| known.users[at].clone();
    let all = [
        (
            "ccm_token",
            format!("/v2/accounts/{sid}/configuration/basicauth"),
            known.api_key.clone(),
        ),
        (
            "v4_login",
            format!("/v4/accounts/{sid}/login"),
            known.api_key.clone(),
        ),
        (
            "ameyo_session",
            "/ameyorestapi/session/userLogin".into(),
            user(1),
        ),
        ("ameyo_jwt", "/ameyorestapi/userLogin/login".into(), user(0)),
        (
            "integrations_token",
            "/v2/integrations/token".into(),
            known.integration.clone(),
        ),
        ("oauth2", "/oauth2/token".into(), known.client.clone()),
        ("recipe (Acme)", "/acme/session".into(), known.acme.clone()),
    ];
    let line = |(kind, path, (name, password)): (&str, String, (String, String))| {
        let also = match kind {
            "v4_login" => format!("  account_sid = \"{sid}\""),
            "ameyo_jwt" => "  domain = \"any.example\"".into(),
            _ => String::new(),
        };
        format!("  {kind:<18}  {url}{path}  {name}  {password}{also}\n")
    };
    all.map(line).concat()
}

async fn told_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("Ctrl-C cannot be awaited"),
        _ = terminated.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_bearer_file_is_private_even_where_a_public_one_stood() {
        let folder = std::env::temp_dir().join(format!("headset-simulate-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("bearer");
        fs::write(&path, "old and public").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        write_private(&path, "new").expect("written");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).expect("read"), "new");
        assert_eq!(fs::read_dir(&folder).expect("read").count(), 1);
        fs::remove_dir_all(&folder).expect("removed");
    }

    /// Nobody can practise on a login whose name and password stand nowhere.
    #[tokio::test]
    async fn the_greeting_names_every_login_with_what_it_takes() {
        let simulator = Simulator::start(Options::default()).await.expect("a port");
        let text = greeting(&simulator, None, None);
        let known = AccountOptions::default();
        let mut pairs = vec![
            &known.api_key,
            &known.integration,
            &known.client,
            &known.acme,
        ];
        pairs.extend(&known.users);
        for (name, password) in pairs {
            let mut lines = text.lines();
            let pair = format!("  {name}  {password}");
            assert!(lines.any(|line| line.contains(&pair)), "{text}");
        }
        let sid = &known.sid;
        assert!(
            text.contains(&format!("  account_sid = \"{sid}\"\n")),
            "{text}"
        );
        assert!(text.contains("  domain = "), "{text}");
    }

    #[tokio::test]
    async fn the_greeting_gives_a_headset_that_can_be_started_as_it_is() {
        use clap::Parser as _;
        let simulator = Simulator::start(Options::default()).await.expect("a port");
        let bearer = Path::new("/tmp/bearer");
        let text = greeting(&simulator, Some(Path::new("/tmp/ca.pem")), Some(bearer));
        let (_, run) = text.split_once("  headset run ").expect("a line");
        let (run, _) = run.split_once("\n\n").expect("its end");
        let words = run.split_whitespace().filter(|word| *word != "\\");
        let line = ["headset", "run"].into_iter().chain(words);
        let cli = crate::cli::Cli::try_parse_from(line).expect(run);
        let crate::cli::Command::Run(args) = cli.command else {
            panic!("{run}");
        };
        let sources = crate::config::load::Sources {
            flags: args.quick.shortcuts.flags,
            ..Default::default()
        };
        let kinds = crate::app::build::kind_keys();
        crate::config::load::load(&sources, &kinds).expect("a configuration");
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_with_the_flag_to_change() {
        let other = Simulator::start(Options::default())
            .await
            .expect("a free port");
        let error = run(Simulate {
            bind: other.address(),
            tls: false,
            write_ca: None,
            write_bearer: None,
            bearer_life: Duration::from_secs(1),
            faults: None,
            default_life: Duration::from_secs(1),
            push_interval: Duration::from_secs(1),
            push_count: None,
        })
        .await
        .expect_err("taken");
        assert!(error.to_string().contains("--bind"), "{error}");
        let cause = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(cause.map(io::Error::kind), Some(io::ErrorKind::AddrInUse));
    }
}
