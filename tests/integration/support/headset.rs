//! headset in a thread of its own, from a configuration as a user writes it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use headset::app::build::kind_keys;
use headset::app::change::stop::Stop;
use headset::app::{App, BoundAddresses};
use headset::base::time::Clock;
use headset::config::load::{self, Sources};
use headset::config::{AdminSocket, Bind};
use headset_simulator::Simulator;
use tokio::sync::oneshot;

use super::client;
use super::eventually;
use super::folder::Folder;
use super::panics::PanicWatch;

/// A running headset. It ends at once when dropped; a panic in it fails the story.
pub struct Headset {
    addresses: BoundAddresses,
    clock: Clock,
    ask: Option<oneshot::Sender<()>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    pub folder: Folder,
    _panics: PanicWatch,
}

impl Headset {
    /// Starts with the configuration `toml`, in which `{folder}` is its folder.
    pub fn start(folder: Folder, toml: &str) -> Headset {
        let text = toml.replace("{folder}", folder.root());
        let file = folder.write("headset.toml", &text);
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        let mut config = load::load(&sources, &kind_keys()).unwrap_or_else(|problems| {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}\n{text}", list.join("\n"))
        });
        // A story that is killed would leave it in the folder of whoever runs the tests.
        if config.admin.socket == AdminSocket::Usual {
            config.admin.socket = AdminSocket::None;
        }
        // The time of day, which a story may move ahead.
        let clock = Clock::faked(Clock::system().now().wall_ms);
        let app = App::prepare(config, clock.clone()).unwrap();
        let addresses = app.addresses().clone();
        let (ask, asked) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let name = format!("headset {:016x}", fastrand::u64(..));
        let panics = PanicWatch::begin().and_thread(&name);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    served = app.serve(Stop::Asked(asked)) => served.unwrap(),
                    _ = ended => {}
                }
            });
            runtime.shutdown_background();
        });
        Headset {
            addresses,
            clock,
            ask: Some(ask),
            end: Some(end),
            thread: Some(thread.unwrap()),
            folder,
            _panics: panics,
        }
    }

    /// Before `center`, with one route and one `basicauth` credential.
    pub async fn before(center: &Simulator) -> Headset {
        Setup::default().before(center).await
    }

    /// The application listener.
    pub fn app(&self) -> SocketAddr {
        match self.addresses.listeners[0].1 {
            Bind::Tcp(address) => address,
            Bind::Unix(_) => panic!("a TCP listener was expected"),
        }
    }

    /// The application listener of this name.
    pub fn listener(&self, name: &str) -> SocketAddr {
        let named = self.addresses.listeners.iter().find(|(n, _)| n == name);
        match named.unwrap().1 {
            Bind::Tcp(address) => address,
            Bind::Unix(_) => panic!("a TCP listener was expected"),
        }
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        client::get(self.admin(), "/metrics").await.text()
    }

    /// The value of the series `name{labels}`; `None` where it is absent.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.metrics().await;
        let line = metrics.lines().find(|line| {
            line.strip_prefix(series)
                .is_some_and(|rest| rest.starts_with(' '))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until every credential is live.
    pub async fn ready(&self) {
        let admin = self.admin();
        eventually("a live credential", async || {
            client::get(admin, "/readyz?strict").await.status == 200
        })
        .await;
    }

    /// Lets `time` pass for whatever looks at the clock; no timer wakes earlier for it.
    pub fn pass(&self, time: Duration) {
        self.clock.sleep_machine(time);
    }

    /// Makes every credential too old to be excused as not known everywhere yet: a younger
    /// one that is rejected is given until 2 s of age.
    pub fn age(&self) {
        self.pass(Duration::from_millis(2050));
    }

    /// Asks for a drain, without waiting for its end.
    pub fn ask_to_stop(&mut self) {
        self.ask = None;
    }

    /// Whether the drain is over.
    pub fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Headset {
    fn drop(&mut self) {
        self.end = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        if let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The variations of the usual set-up.
pub struct Setup {
    pub lifetime: &'static str,
    pub password: String,
    pub bearer_life: Duration,
    pub route: String,
    pub rest: String,
    pub wait_ready: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            lifetime: "1h",
            password: "customer_manager@123$".into(),
            bearer_life: Duration::from_secs(3600),
            route: String::new(),
            rest: String::new(),
            wait_ready: true,
        }
    }
}

impl Setup {
    /// Starts before `center`.
    pub async fn before(self, center: &Simulator) -> Headset {
        let folder = Folder::new();
        folder.write("password", &self.password);
        folder.write("bearer", &center.admin_bearer(self.bearer_life));
        let base = center.base_url();
        let mut toml = String::new();
        if let Some(ca) = center.ca_pem() {
            folder.write("ca.pem", ca);
            toml.push_str("[upstream_tls]\nca = \"{folder}/ca.pem\"\n");
        }
        write!(
            toml,
            r#"
[listener.app]
bind = "127.0.0.1:0"

[admin]
bind = "127.0.0.1:0"

[route.contacts]
upstream = "{base}"
credential = "cms_key"
{route}

[credential.cms_key]
kind = "basicauth"
url = "{base}/configuration/basicauth"
username = "customer_manager"
password = {{ file = "{{folder}}/password" }}
context_id = "1"
user_role = "Administrator"
lifetime = "{lifetime}"
admin_bearer = {{ file = "{{folder}}/bearer" }}

{rest}
"#,
            route = self.route,
            lifetime = self.lifetime,
            rest = self.rest,
        )
        .unwrap();
        let headset = Headset::start(folder, &toml);
        if self.wait_ready {
            headset.ready().await;
        }
        headset
    }
}

/// Before any upstream, on a route that passes credentials through, unless `route`
/// says otherwise.
pub fn plain(upstream: &str, route: &str, rest: &str) -> Headset {
    Headset::start(
        Folder::new(),
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"{upstream}\"\n{route}\n{rest}\n"
        ),
    )
}

/// Before any upstream, with a static Basic credential `robot:hunter2`.
pub fn with_static(upstream: &str, route: &str, rest: &str) -> Headset {
    let folder = Folder::new();
    folder.write("password", "hunter2");
    Headset::start(
        folder,
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.plain]\nupstream = \"{upstream}\"\ncredential = \"robot\"\n{route}\n\
             [credential.robot]\nkind = \"static\"\nbasic.username = \"robot\"\n\
             basic.password = {{ file = \"{{folder}}/password\" }}\n{rest}\n"
        ),
    )
}

/// What a headset of [`with_static`] injects.
pub const STATIC: &str = "Basic cm9ib3Q6aHVudGVyMg==";
