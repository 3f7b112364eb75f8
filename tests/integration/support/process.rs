//! headset as a process of its own: the very binary, killed as hard as the kernel can.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::client;
use super::eventually;
use super::panics::PanicWatch;

/// A running process; killed when dropped.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<serde_json::Value>>>,
    written: Arc<Mutex<Vec<String>>>,
    reading: JoinHandle<()>,
    app: Option<SocketAddr>,
    admin: SocketAddr,
    _panics: PanicWatch,
}

impl Process {
    /// Starts `headset run` with the configuration file `config` and waits until it
    /// listens.
    pub async fn start(config: &Path) -> Process {
        Process::start_with(config, &[]).await
    }

    /// The same with these `variables` in its environment.
    pub async fn start_with(config: &Path, variables: &[(&str, &str)]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headset"));
        command.args(["run", "--config"]).arg(config);
        // A story that is killed would leave its admin socket there.
        command.env_remove("XDG_RUNTIME_DIR");
        command.envs(variables.iter().copied());
        Process::run(command, true).await
    }

    /// The same, where nobody reads what it writes to stdout.
    pub async fn start_unread(config: &Path) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headset"));
        command.args(["run", "--config"]).arg(config);
        Process::run(command, false).await
    }

    async fn run(mut command: Command, reads: bool) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
        let stderr = child.stderr.take().unwrap();
        let kept = log.clone();
        let written: Arc<Mutex<Vec<String>>> = Arc::default();
        let stdout = reads.then(|| child.stdout.take().unwrap());
        let out = written.clone();
        let reading = tokio::spawn(async move {
            let log = async {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let line =
                        serde_json::from_str(&line).unwrap_or(serde_json::Value::String(line));
                    kept.lock().unwrap().push(line);
                }
            };
            let written = async {
                let Some(stdout) = stdout else { return };
                let mut lines = BufReader::new(stdout).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    out.lock().unwrap().push(line);
                }
            };
            tokio::join!(log, written);
        });
        let address = |key: &str| {
            let log = log.lock().unwrap();
            let found = log.iter().find_map(|line| line.get(key)?.as_str());
            found.and_then(|text| text.parse().ok())
        };
        eventually("the listeners", async || address("admin.address").is_some()).await;
        let (app, admin) = (address("listener.address"), address("admin.address"));
        Process {
            app,
            admin: admin.unwrap(),
            child,
            log,
            written,
            reading,
            _panics: PanicWatch::begin(),
        }
    }

    /// The application listener.
    pub fn app(&self) -> SocketAddr {
        self.app.expect("a TCP listener")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The value of the series `name{labels}`; `None` where it is absent.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let metrics = client::get(self.admin, "/metrics").await.text();
        let line = metrics.lines().find(|line| {
            line.strip_prefix(series)
                .is_some_and(|rest| rest.starts_with(' '))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until `credential` is too old to be excused as not known everywhere yet: a
    /// younger one that is rejected is given until 2 s of age.
    pub async fn aged(&self, credential: &str) {
        let series =
            format!("headset_credential_issued_timestamp_seconds{{credential=\"{credential}\"}}");
        let issued = self.metric(&series).await.unwrap();
        eventually("a credential of 2 s", async || {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            now.as_secs_f64() - issued > 2.05
        })
        .await;
    }

    #[cfg(target_os = "linux")]
    /// From now on it may open no more files (`Some` limit of before gives them back).
    pub fn limit_files(&self, back: Option<rustix::process::Rlimit>) -> rustix::process::Rlimit {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let folder = format!("/proc/{}/fd", self.id());
        let open: std::collections::BTreeSet<u64> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        let free = (0..).find(|number| !open.contains(number));
        let pid = Pid::from_raw(i32::try_from(self.id()).unwrap());
        // The hard limit stays: it could not be raised again.
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        let limit = back.unwrap_or(Rlimit {
            current: free,
            maximum,
        });
        prlimit(pid, Resource::Nofile, limit).unwrap()
    }

    /// Sends it `signal`.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end and tells its exit code. All that it logged is read by then.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(super::PATIENCE, async {
            let status = self.child.wait().await.unwrap();
            // Its last lines may still be in the pipe.
            (&mut self.reading).await.unwrap();
            status
        });
        ended.await.expect("it stops").code()
    }

    /// How many lines of its log say `text`.
    pub fn said(&self, text: &str) -> usize {
        self.logged()
            .lines()
            .filter(|line| line.contains(text))
            .count()
    }

    /// SIGHUP; waits until that reload is over and tells whether it was successful. One
    /// that a changed file brought about is another.
    pub async fn reload(&self) -> bool {
        let ended = |how: &str| {
            let log = self.logged();
            let ours = log.lines().filter(|line| line.contains("\"SIGHUP\""));
            ours.filter(|line| line.contains(how)).count()
        };
        let reloaded = || ended("configuration reloaded");
        let over = || reloaded() + ended("configuration refused");
        let (before, good) = (over(), reloaded());
        self.signal(rustix::process::Signal::HUP);
        eventually("the end of the reload", async || over() > before).await;
        reloaded() > good
    }

    /// Waits until its credential is live.
    pub async fn ready(&self) {
        let admin = self.admin;
        eventually("a live credential", async || {
            client::get(admin, "/readyz?strict").await.status == 200
        })
        .await;
    }

    /// SIGKILL; it is gone when this returns.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; waits for its end and tells its exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.ended().await
    }

    /// All lines that it wrote to stdout so far.
    pub fn written(&self) -> Vec<String> {
        self.written.lock().unwrap().clone()
    }

    /// All that it logged so far, as text.
    pub fn logged(&self) -> String {
        let log = self.log.lock().unwrap();
        log.iter().map(|line| format!("{line}\n")).collect()
    }
}
