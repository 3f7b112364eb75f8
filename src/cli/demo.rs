//! `headset demo`: a simulated contact center, headset before it, and a walkthrough of one call.
//!
//! Everything in it is real: the same configuration loader, sockets, mint and stack
//! as `run`, against the simulator in this process. Only the secrets are made up,
//! and even those are not shown.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http::{Method, Request};
use tokio::sync::oneshot;

use crate::app::build::kind_keys;
use crate::app::change::stop::Stop;
use crate::app::{App, BoundAddresses, telemetry};
use crate::base::time::Clock;
use crate::config::load::{self, Sources};
use crate::config::url::HttpUrl;
use crate::config::{Bind, LogConfig, LogFormat, Roots, UpstreamTls};
use crate::credential::issuer_client::IssuerClient;
use crate::credential::issuer_response::IssuerResponse;
use crate::net::connect::Connector;
use crate::net::egress::Egress;
use headset_simulator::{Options, Simulator};

/// A simulated contact center, headset before it, and a walkthrough of one call.
#[derive(Clone, Debug, clap::Args)]
#[command(help_template = super::HELP, before_help = EXAMPLES)]
pub struct DemoArgs {
    /// End after the story, with exit code 0, instead of serving on.
    #[arg(long)]
    pub once: bool,
}

const EXAMPLES: &str = "\
Examples:
  headset demo          tell the story, then keep serving until Ctrl-C
  headset demo --once   tell the story and end";

/// The call that the story tells.
const PATH: &str = "/configuration/cc/1/process?limit=2&offset=0";

/// A step of the story that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the simulated administrator stays logged in: for less, the story would end with
/// a warning that a person must act within 14 days.
const BEARER_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Tells the story.
///
/// # Errors
/// Where the machine refuses a port or a file, or a step of the story fails.
pub fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    telemetry::start(LogConfig {
        level: tracing::Level::WARN,
        format: LogFormat::Auto,
        access: None,
    });
    super::process::runtime()?.block_on(tell_and_serve(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn tell_and_serve(args: DemoArgs) -> anyhow::Result<()> {
    let center = Simulator::start(Options::default())
        .await
        .context("the simulated contact center cannot start")?;
    let props = DemoFiles::lay_out(&center)?;
    let sources = Sources {
        file: Some(props.config.clone()),
        ..Sources::default()
    };
    let config = load::load(&sources, &kind_keys())
        .map_err(|problems| anyhow!("the demo's configuration is faulty: {problems:?}"))?;
    let app = App::prepare(config, Clock::system())?;
    let addresses = app.addresses().clone();
    let (ask, asked) = oneshot::channel();
    let stop = if args.once {
        Stop::Asked(asked)
    } else {
        Stop::at_signals()?
    };
    let mut serving = std::pin::pin!(app.serve(stop));
    let story = Walkthrough {
        center: &center,
        props: &props,
        addresses: &addresses,
    };
    tokio::select! {
        ended = &mut serving => ended?,
        told = story.tell(args.once) => {
            told?;
            if args.once {
                drop(ask);
            }
            serving.await?;
        }
    }
    center.shutdown().await;
    Ok(())
}

/// The files of the demo, gone when it ends.
struct DemoFiles {
    folder: PathBuf,
    config: PathBuf,
}

impl DemoFiles {
    fn lay_out(center: &Simulator) -> anyhow::Result<DemoFiles> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!(
            "headset-demo-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        );
        let folder = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        let props = DemoFiles {
            config: folder.join("headset.toml"),
            folder,
        };
        let password: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(20)
            .collect();
        let password = props.write("password", &password)?;
        let bearer = props.write("bearer", &center.admin_bearer(BEARER_LIFE))?;
        let base = center.base_url();
        let text = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n\n\
             [admin]\nbind = \"127.0.0.1:0\"\n\n\
             [route.contacts]\nupstream = \"{base}\"\ncredential = \"cms_key\"\n\n\
             [credential.cms_key]\nkind = \"basicauth\"\nurl = \"{base}/configuration/basicauth\"\n\
             username = \"crm_sync\"\npassword = {{ file = {password:?} }}\ncontext_id = \"1\"\n\
             user_role = \"Administrator\"\nlifetime = \"1h\"\n\
             admin_bearer = {{ file = {bearer:?} }}\n\n\
             [timeouts]\ndrain = \"100ms\"\n"
        );
        props.write("headset.toml", &text)?;
        Ok(props)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.folder.join(name);
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }
}

impl Drop for DemoFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Walkthrough<'a> {
    center: &'a Simulator,
    props: &'a DemoFiles,
    addresses: &'a BoundAddresses,
}

impl Walkthrough<'_> {
    async fn tell(&self, once: bool) -> anyhow::Result<()> {
        let app = self.listener()?;
        let admin = format!("http://{}", self.addresses.admin);
        self.introduce(&app)?;
        self.registered(&admin).await?;
        self.called(&app).await?;
        self.counted(&admin).await?;
        if !once {
            self.invite(&app, &admin)?;
        }
        Ok(())
    }

    fn listener(&self) -> anyhow::Result<String> {
        let bind = self.addresses.listeners.first().map(|(_, bind)| bind);
        match bind {
            Some(Bind::Tcp(address)) => Ok(format!("http://{address}")),
            _ => Err(anyhow!("the demo's listener is missing")),
        }
    }

    fn introduce(&self, app: &str) -> anyhow::Result<()> {
        say(&format!(
            "A contact center (simulated) stands at {}, headset before it at {app}.\n",
            self.center.base_url()
        ))
    }

    async fn registered(&self, admin: &str) -> anyhow::Result<()> {
        let started = tokio::time::Instant::now();
        loop {
            let ready = get(admin, "/readyz?strict").await?;
            if ready.status.is_success() {
                break;
            }
            if started.elapsed() > PATIENCE {
                return Err(anyhow!("the credential was not registered within 10 s"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let state = self.center.state();
        let key = state
            .keys
            .first()
            .ok_or_else(|| anyhow!("no key is registered"))?;
        say(&format!(
            "1. headset registers a credential, once, as the administrator:\n\
             \x20    POST /configuration/basicauth\n\
             \x20    Authorization: Bearer ***\n\
             \x20    {{\"username\":\"{}\",\"password\":\"***\",\"context\":\"ContactCenter\",\
             \"contextId\":\"{}\",\"dateExpiry\":\"{}\",\"userRole\":\"Administrator\"}}\n\
             \x20  The contact center has counted {} registration; headset keeps the \
             credential until it expires.\n",
            key.username, key.context_id, key.date_expiry, state.registrations
        ))
    }

    async fn called(&self, app: &str) -> anyhow::Result<()> {
        let answer = get(app, PATH).await?;
        let state = self.center.state();
        let body = String::from_utf8_lossy(&answer.body);
        say(&format!(
            "2. The application makes a plain call, without a secret:\n\
             \x20    GET {PATH}\n\
             3. headset sends it on with\n\
             \x20    Authorization: Basic ***\n\
             4. and the contact center answers (authorised calls so far: {}):\n\
             \x20    {}\n\
             \x20    {}\n",
            state.authorised,
            answer.status,
            shorten(&body)
        ))?;
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(anyhow!("the call was answered with {}", answer.status))
        }
    }

    async fn counted(&self, admin: &str) -> anyhow::Result<()> {
        let metrics = get(admin, "/metrics").await?;
        let text = String::from_utf8_lossy(&metrics.body);
        say("5. What headset counted:")?;
        let told = [
            "headset_requests_total{code=\"200\",route=\"contacts\"}",
            "headset_mints_total{credential=\"cms_key\",outcome=\"success\",reason=\"start\"}",
            "headset_credential_expiry_timestamp_seconds{credential=\"cms_key\"}",
            "headset_credential_state{credential=\"cms_key\",state=\"live\"}",
        ];
        for line in text
            .lines()
            .filter(|line| told.iter().any(|told| line.starts_with(told)))
        {
            say(&format!("     {line}"))?;
        }
        Ok(())
    }

    fn invite(&self, app: &str, admin: &str) -> anyhow::Result<()> {
        say(&format!(
            "\nTry it yourself, in another terminal; Ctrl-C ends it:\n\
             \x20 curl '{app}{PATH}'\n\
             \x20 curl -H 'Authorization: Basic bm90Om1pbmU=' '{app}{PATH}'   # yours is replaced\n\
             \x20 curl {app}/configuration/basicauth   # refused: it would list passwords\n\
             \x20 curl {admin}/status\n\
             \x20 curl {admin}/metrics\n\
             \x20 curl {}/_sim/state   # what the contact center counted\n\
             \x20 cat {}",
            self.center.base_url(),
            self.props.config.display()
        ))
    }
}

/// One plain GET.
async fn get(base: &str, target: &str) -> anyhow::Result<IssuerResponse> {
    let url = HttpUrl::parse(base).map_err(|why| anyhow!("{base}: {why}"))?;
    let tls = UpstreamTls {
        roots: Roots::Bundled,
        ..UpstreamTls::default()
    };
    let connector = Connector::new(url.origin, &tls, PATIENCE, Egress::default())?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(target)
        .body(Bytes::new())?;
    let login = IssuerClient::new(connector, Clock::system(), PATIENCE);
    Ok(login.send(request).await?)
}

fn shorten(text: &str) -> String {
    const WIDTH: usize = 160;
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}
