//! headset beside a command: a forward listener for it alone, the command when all is ready,
//! and the end of both.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::process::{Resource, getrlimit};
use rustls::pki_types::CertificateDer;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval};
use zeroize::Zeroizing;

use super::child::{self, NotStarted, RunningCommand};
use super::environment::{self, Changes, EXTRA, ProxyAccess, TrustPaths};
use super::signals::CaughtSignals;
use super::trust::{self, RunFolder};
use super::{RunArgs, prepared};
use crate::admin::health::ProbeVerdict;
use crate::app::change::origin::ConfigOrigin;
use crate::app::change::stop::Stop;
use crate::app::{App, ServingApp};
use crate::base::time::Clock;
use crate::cli::wait::Said;
use crate::cli::{command_listener, exit, process};
use crate::config::Bind;
use crate::config::load::Sources;
use crate::config::url::HttpOrigin;
use crate::credential::slot::{SlotState, Snapshot};
use crate::net::tls::pem;
use crate::secret;

/// The listener of the command.
const LISTENER: &str = command_listener::NAME;

/// How often it is looked whether headset is ready.
const LOOK: Duration = Duration::from_millis(20);

/// For how long nobody is told that it is not.
const SILENT: Duration = Duration::from_secs(1);

/// Serves beside the command of `args` until that ends.
///
/// # Errors
/// As [`super::run`].
pub(super) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let folder = RunFolder::new().context("no folder can be made for this run")?;
    let mut sources = args.quick.clone().sources();
    let password = match args.dangerous_no_password {
        true => None,
        false => Some(password()?),
    };
    let password = password.as_ref().map(|password| password.as_str());
    listen(&mut sources, &folder, password).context("the run has no password")?;
    let app = match prepared(ConfigOrigin::of(sources), process::hide_memory)? {
        Ok(app) => app,
        Err(refused) => return Ok(refused),
    };
    let files = getrlimit(Resource::Nofile);
    let changes = changes(&app, &args, password, &folder)?;
    let runtime = process::runtime()?;
    let outcome = runtime.block_on(serve(app, async |serving, signals: &mut CaughtSignals| {
        if let Some(code) = ready(&serving, signals).await? {
            return Ok(Outcome::Code(code));
        }
        match child::start(&args.command, &changes, files, signals) {
            Ok(running) => Ok(Outcome::Running(running)),
            Err(NotStarted { code, why }) => {
                writeln!(io::stderr(), "headset: {why}")?;
                Ok(Outcome::Code(code))
            }
        }
    }));
    secret::command::end_all();
    // A disk that does not answer must not hold up the end.
    runtime.shutdown_background();
    outcome.map(ExitCode::from)
}

/// What came of starting the command.
enum Outcome {
    /// It runs.
    Running(RunningCommand),
    /// It does not, and headset ends with this.
    Code(u8),
}

/// Serves `app`; `begin`s the command, waits for its end, and drains.
async fn serve(
    mut app: App,
    begin: impl AsyncFnOnce(ServingApp, &mut CaughtSignals) -> anyhow::Result<Outcome>,
) -> anyhow::Result<u8> {
    // Before anything that a signal should end.
    let mut signals = CaughtSignals::catch()?;
    let (tell, bound) = oneshot::channel();
    app.tell_when_bound(tell);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = std::pin::pin!(app.serve(Stop::Finished(stopped)));
    let begun = async {
        let bound = bound
            .await
            .map_err(|_| anyhow!("headset ended at its start"))?;
        begin(bound, &mut signals).await
    };
    let begun = tokio::select! {
        biased;
        served = &mut serving => {
            served?;
            return Err(anyhow!("headset was stopped before the command could start"));
        }
        begun = begun => begun,
    };
    let code = match begun {
        Ok(Outcome::Running(mut running)) => {
            let (served, status) = both(serving.as_mut(), &mut running, &mut signals).await;
            let code = child::exit_code(status?);
            if let Some(served) = served {
                served?;
                return Ok(code);
            }
            Ok(code)
        }
        Ok(Outcome::Code(code)) => Ok(code),
        Err(error) => Err(error),
    };
    drop(stop);
    serving.await?;
    code
}

/// Waits for the command; where headset ends before it, the command is asked to end, too.
async fn both<S: Future>(
    mut serving: std::pin::Pin<&mut S>,
    running: &mut RunningCommand,
    signals: &mut CaughtSignals,
) -> (Option<S::Output>, io::Result<ExitStatus>) {
    let served = tokio::select! {
        status = running.wait(signals) => return (None, status),
        served = &mut serving => served,
    };
    tracing::error!("headset ends before the command, which is asked to end, too");
    running.terminate();
    (Some(served), running.wait(signals).await)
}

/// A secret of this run: 192 bits, of characters that a URL holds as they are.
fn password() -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 24]);
    let filled = SystemRandom::new().fill(&mut *bytes);
    filled.map_err(|_| anyhow!("the machine yields no random bytes"))?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

/// Adds the listener of the command to what `sources` say, and what is usual beside one.
fn listen(sources: &mut Sources, folder: &RunFolder, password: Option<&str>) -> io::Result<()> {
    sources.flags.extend(command_listener::own());
    if let Some(password) = password {
        let file = folder.write("password", password.as_bytes())?;
        let file = file.to_string_lossy();
        let token = command_listener::said("caller_token.file", &file);
        sources.flags.push(token);
    }
    sources.beneath.extend(command_listener::usual());
    let usual = |path: &str, text: &str| {
        let spelling = "headset run -- COMMAND".to_owned();
        (path.to_owned(), text.to_owned(), spelling)
    };
    // Several commands may run at a time, and their output is theirs.
    sources.beneath.push(usual("admin.bind", "127.0.0.1:0"));
    sources.beneath.push(usual("log.level", "warn"));
    Ok(())
}

/// What the command's environment differs in; writes the files that it names.
fn changes(
    app: &App,
    args: &RunArgs,
    password: Option<&str>,
    folder: &RunFolder,
) -> anyhow::Result<Changes> {
    let config = app.config();
    let listeners = config.listeners.iter();
    let mut own = listeners.filter(|listener| listener.name.as_str() == LISTENER);
    let confines = own.any(|own| own.forward.as_ref().is_some_and(|f| !f.passes_elsewhere));
    let local = app
        .authority(LISTENER)
        .map(|authority| authority.certificates());
    let written = Trust::write(folder, &local.unwrap_or_default())?;
    let origins: Vec<HttpOrigin> = config
        .routes
        .iter()
        .map(|route| route.upstream.origin.clone())
        .collect();
    let access = ProxyAccess {
        address: address(app)?,
        password,
        origins: &origins,
        confines,
    };
    let mut secret = environment::secret_variables(config);
    secret.retain(|name| !args.keep_env.contains(name));
    let has = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (changes, warnings) = environment::changes(&has, &access, &written.paths(), &secret);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(changes)
}

fn address(app: &App) -> anyhow::Result<SocketAddr> {
    let mut listeners = app.addresses().listeners.iter();
    match listeners.find(|(name, _)| name == LISTENER) {
        Some((_, Bind::Tcp(address))) => Ok(*address),
        _ => Err(anyhow!("listener.{LISTENER} has no port")),
    }
}

/// The files by which the command trusts.
struct Trust {
    bundle: String,
    extra: String,
    java: String,
}

impl Trust {
    fn write(folder: &RunFolder, local: &[CertificateDer<'static>]) -> anyhow::Result<Trust> {
        let machine = trust::of_machine();
        if machine.is_empty() {
            tracing::warn!(
                "this machine has no authorities (ca-certificates), so the command can verify no \
                 site but the upstreams of routes"
            );
        }
        let all: Vec<CertificateDer<'static>> = local.iter().chain(&machine).cloned().collect();
        let before = std::env::var_os(EXTRA);
        let extra = trust::extra(local, before.as_deref().map(Path::new));
        let write = |name: &str, content: &[u8]| {
            let written = folder.write(name, content);
            let path = written.with_context(|| format!("{name} cannot be written"))?;
            anyhow::Ok(path.to_string_lossy().into_owned())
        };
        let now_ms = Clock::system().now().wall_ms;
        Ok(Trust {
            bundle: write("bundle.pem", pem::certificates(&all).as_bytes())?,
            extra: write("extra.pem", extra.as_bytes())?,
            java: write("trust.jks", &trust::java_store(&all, now_ms))?,
        })
    }

    fn paths(&self) -> TrustPaths<'_> {
        TrustPaths {
            bundle: &self.bundle,
            extra: &self.extra,
            java: &self.java,
        }
    }
}

/// Waits until every credential is live, and says on stderr what for where that takes a
/// while. An exit code where the command is not to start: one was refused, or wants a secret that
/// cannot be read, or a signal came.
async fn ready(serving: &ServingApp, signals: &mut CaughtSignals) -> anyhow::Result<Option<u8>> {
    let begun = Instant::now();
    let mut look = interval(LOOK);
    let mut said = Said::default();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            ended = signals.next() => return Ok(Some(ended.exit_code())),
        }
        let why = match serving.health.ready(true) {
            ProbeVerdict::Well => return Ok(None),
            ProbeVerdict::Unwell(why) => why,
        };
        for credential in serving.admin_view.load().credentials.credentials() {
            let mut slots = credential.slots.iter();
            if let Some(slot) = slots.find(|slot| needs_a_person(slot)) {
                let why = slot
                    .last_error
                    .as_deref()
                    .unwrap_or("the issuer refused it");
                let action = slot
                    .action
                    .as_ref()
                    .map_or(&credential.action, |(_, text)| text);
                writeln!(
                    io::stderr(),
                    "headset: credential {}: {why}; {action}; the command was not started",
                    credential.name
                )?;
                return Ok(Some(match slot.state {
                    SlotState::Refused => exit::EX_NOPERM,
                    _ => exit::EX_CONFIG,
                }));
            }
        }
        if begun.elapsed() >= SILENT {
            let last = last_error(serving);
            said.say(&format!("headset: the command waits: {why}{last}"))?;
        }
    }
}

/// What the last attempt for a credential said, where one failed.
fn last_error(serving: &ServingApp) -> String {
    let credentials = serving.admin_view.load().credentials.credentials();
    let mut slots = credentials.into_iter().flat_map(|one| one.slots);
    let told = slots.find_map(|slot| slot.last_error);
    told.map_or_else(String::new, |error| format!(" ({error})"))
}

/// Whether nothing but a person brings the first credential: the issuer refused it, or a
/// secret of headset's own cannot be read.
fn needs_a_person(slot: &Snapshot) -> bool {
    let never = slot.generation == 0 && slot.action.is_some();
    slot.state == SlotState::Refused || never
}
