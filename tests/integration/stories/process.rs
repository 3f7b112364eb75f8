//! The process: signals, and what it writes to being closed, full or unread.

use std::net::SocketAddr;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::support::client::{self, Raw};
use crate::support::headset::Folder;
use crate::support::recorder::{Recorder, Step};
use crate::support::{PATIENCE, eventually};

fn free_address() -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

/// The real binary before `upstream`, its stderr a pipe that nobody reads.
struct Process {
    child: Child,
    app: SocketAddr,
    admin: SocketAddr,
    _folder: Folder,
}

impl Process {
    async fn start(upstream: &str) -> Process {
        Process::under("exec \"$@\"", upstream).await
    }

    /// The same, started by a line of shell.
    async fn under(shell: &str, upstream: &str) -> Process {
        let (app, admin) = (free_address(), free_address());
        let folder = Folder::new();
        let file = folder.write(
            "headset.toml",
            &format!(
                "[listener.app]\nbind = \"{app}\"\n[admin]\nbind = \"{admin}\"\n\
                 [route.a]\nupstream = \"{upstream}\"\n"
            ),
        );
        let child = Command::new("sh")
            .args(["-c", shell, "sh", env!("CARGO_BIN_EXE_headset")])
            .args(["run", "--config"])
            .arg(file)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let process = Process {
            child,
            app,
            admin,
            _folder: folder,
        };
        eventually("headset", async || {
            tokio::net::TcpStream::connect(admin).await.is_ok()
                && client::get(admin, "/readyz").await.status == 200
        })
        .await;
        process
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

#[tokio::test]
async fn sighup_ends_nothing_and_sigterm_does() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let mut process = Process::start(&upstream.url()).await;
    process.signal(Signal::HUP);
    let admin = process.admin;
    eventually("the reload", async || {
        let status = client::get(admin, "/status").await.json();
        status["last_reload"]["successful"] == true
    })
    .await;
    process.signal(Signal::TERM);
    eventually("the drain", async || {
        client::get(admin, "/readyz").await.status == 503
    })
    .await;
    assert_eq!(client::get(process.app, "/").await.text(), "fine");
    let ended = tokio::time::timeout(PATIENCE, process.child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));
    let mut log = String::new();
    let mut stderr = process.child.stderr.take().unwrap();
    tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut log)
        .await
        .unwrap();
    assert!(log.contains("configuration reloaded"), "{log}");
    assert!(
        log.contains("stopped, nothing was cut"),
        "the last line too: {log}"
    );
}

#[tokio::test]
async fn logs_that_nobody_reads_stop_no_call() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let process = Process::start(&upstream.url()).await;
    let mut raw = Raw::connect(process.app).await;
    // Each writes a line, together far more than a pipe holds.
    for _ in 0..3000 {
        raw.send("GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n").await;
        assert_eq!(raw.answer(false).await.unwrap().status, 421);
    }
    assert_eq!(client::get(process.app, "/").await.text(), "fine");
    assert_eq!(client::get(process.admin, "/livez").await.status, 200);
}

#[tokio::test]
async fn more_callers_than_files_may_be_open_stop_neither_probes_nor_calls() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let process = Process::under("ulimit -n 64; exec \"$@\"", &upstream.url()).await;
    let mut served = Vec::new();
    for _ in 0..120 {
        let mut raw = Raw::connect(process.app).await;
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        if let Some(answer) = raw.answer(false).await {
            assert_eq!(answer.text(), "fine");
            served.push(raw);
        }
    }
    assert!(served.len() >= 10, "{}", served.len());
    assert_eq!(client::get(process.admin, "/livez").await.status, 200);
    drop(served);
    eventually("a free place", async || {
        let mut raw = Raw::connect(process.app).await;
        raw.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        raw.answer(false).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_faulty_configuration_is_78_although_stderr_is_full() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_headset"))
        .args(["run", "--config", "/nowhere/headset.toml"])
        .stderr(full)
        .status()
        .await
        .unwrap();
    assert_eq!(status.code(), Some(78));
}

#[tokio::test]
async fn what_others_leave_unread_or_unaccepted_holds_up_neither_start_nor_reload_nor_stop() {
    use crate::support::process::Process as Logged;
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    // A service manager that never reads, its queue full.
    let notify = folder.path("notify.sock");
    let manager = std::os::unix::net::UnixDatagram::bind(&notify).unwrap();
    let filler = std::os::unix::net::UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", &notify).is_ok() {}
    // An owner of a socket who accepts nothing, its queue full.
    let owned = folder.path("owned.sock");
    let address = socket2::SockAddr::unix(&owned).unwrap();
    let unix = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let owner = unix();
    owner.bind(&address).unwrap();
    owner.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let caller = unix();
        caller.set_nonblocking(true).unwrap();
        let is_full = caller.connect(&address).is_err();
        waiting.push(caller);
        if is_full {
            break;
        }
    }
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.a]\nupstream = \"{}\"\n",
        upstream.url()
    );
    let more = format!("{text}[listener.b]\nbind = \"unix:{}\"\n", owned.display());
    let file = folder.write("headset.toml", &more);
    let refused = Command::new(env!("CARGO_BIN_EXE_headset"))
        .args(["run", "--config"])
        .arg(&file)
        .kill_on_drop(true)
        .output();
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(refused.unwrap().status.code(), Some(69), "it is in use");

    folder.write("headset.toml", &text);
    let socket = notify.to_str().unwrap().to_owned();
    let headset = Logged::start_with(&file, &[("NOTIFY_SOCKET", &socket)]).await;
    folder.write("headset.toml", &more);
    assert!(!headset.reload().await);
    assert_eq!(client::get(headset.app(), "/").await.text(), "fine");
    assert_eq!(headset.terminate().await, Some(0));
    drop((manager, owner, waiting));
}
