//! The process: signals, and what it writes to being closed, full or unread.

use std::net::SocketAddr;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::support::client::{self, Raw};
use crate::support::folder::Folder;
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

/// The lines of `child`'s log that tell of failed calls, up to `count` of them.
async fn failures(child: &mut Child, count: usize) -> Vec<serde_json::Value> {
    let lines = tokio::io::BufReader::new(child.stderr.take().unwrap());
    let mut lines = tokio::io::AsyncBufReadExt::lines(lines);
    let mut found = Vec::new();
    while found.len() < count {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("a line in time").unwrap().expect("a line");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["message"] == "call failed" {
            found.push(line);
        }
    }
    found
}

#[tokio::test]
async fn the_log_says_which_call_failed_and_counts_repeats() {
    let upstream = Recorder::start([
        Step::status(500),
        Step::AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab".into()),
        Step::Close,
    ])
    .await;
    let mut process = Process::start(&upstream.url()).await;
    let app = process.app;
    let answer = client::get(app, "/fine?session=hunter2").await;
    assert_eq!(
        answer.status, 500,
        "the upstream's own answer is no failure"
    );
    let broken = "GET /broken/off?session=hunter2 HTTP/1.1\r\nHost: localhost:81\r\n\r\n";
    let mut caller = Raw::connect(app).await;
    caller.send(broken).await;
    assert_eq!(caller.head().await.unwrap().0, 200);
    caller.take(2).await;
    assert!(caller.is_closed().await);
    let mut ids = Vec::new();
    for _ in 0..4 {
        let answer = client::call(app, "POST", "/closed?a=hunter2", &[], b"x").await;
        assert_eq!(answer.status, 502);
        ids.push(answer.json()["request_id"].clone());
    }
    let lines = failures(&mut process.child, 3).await;
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            let names = [
                "error.code",
                "request.method",
                "request.path",
                "response.status",
            ];
            names.map(|name| line[name].clone())
        })
        .collect();
    let closed = serde_json::json!(["upstream_closed", "POST", "/closed", 502]);
    let expected =
        serde_json::json!([["answer_broken", "GET", "/broken/off", 200], closed, closed]);
    assert_eq!(serde_json::json!(told), expected);
    assert_eq!(lines[0]["request.host"], "localhost:81");
    assert_eq!(lines[1]["request.id"], ids[0]);
    assert!(ids.contains(&lines[2]["request.id"]));
    for line in &lines {
        assert_eq!(line["route.name"], "a");
        assert_eq!(line["upstream"], upstream.url());
        assert!(line["duration_ms"].is_u64(), "{line}");
        assert!(!line.to_string().contains("hunter2"), "{line}");
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
        log.contains("stopped: every call finished"),
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

#[tokio::test]
async fn when_its_terminal_is_closed_it_drains_and_ends() {
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.a]\nupstream = \"{}\"\n",
        upstream.url()
    );
    let (file, log) = (folder.write("headset.toml", &text), folder.path("log"));
    let run = format!(
        "exec {} run --config {} 2> {}",
        env!("CARGO_BIN_EXE_headset"),
        file.display(),
        log.display()
    );
    // script(1) gives it a terminal, which is closed when script is killed.
    let mut script = Command::new("script")
        .args(["-qc", &run, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("script(1), of util-linux");
    let said = |text: &str| std::fs::read_to_string(&log).is_ok_and(|log| log.contains(text));
    eventually("headset", async || said("admin listening")).await;
    script.kill().await.unwrap();
    eventually("the drain", async || said("SIGHUP of a closed terminal")).await;
    eventually("the end", async || said("stopped: every call finished")).await;
}

#[tokio::test]
async fn a_unix_socket_has_the_mode_it_should_and_takes_any_host() {
    use crate::support::process::Process as Logged;
    use std::os::unix::fs::PermissionsExt as _;
    let upstream = Recorder::start([Step::ok("fine")]).await;
    let folder = Folder::new();
    let socket = folder.path("app.sock");
    let text = |mode: &str| {
        format!(
            "[listener.app]\nbind = \"unix:{}\"\n{mode}\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.a]\nupstream = \"{}\"\n",
            socket.display(),
            upstream.url()
        )
    };
    let mode = || std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    let file = folder.write("headset.toml", &text(""));
    let headset = Logged::start(&file).await;
    assert_eq!(mode(), 0o600);
    let mut raw = Raw::over(tokio::net::UnixStream::connect(&socket).await.unwrap());
    raw.send("GET / HTTP/1.1\r\nHost: contact-center.example\r\n\r\n")
        .await;
    assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
    folder.write("headset.toml", &text("socket_mode = \"0660\""));
    assert!(headset.reload().await);
    assert_eq!(mode(), 0o660);
    raw.send("GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")
        .await;
    assert_eq!(raw.answer(false).await.unwrap().text(), "fine");
    // Somebody puts a link in its place.
    let other = folder.write("other", "theirs");
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::remove_file(&socket).unwrap();
    std::os::unix::fs::symlink(&other, &socket).unwrap();
    folder.write("headset.toml", &text("socket_mode = \"0666\""));
    headset.reload().await;
    assert_eq!(mode(), 0o640, "of the other file");
    assert_eq!(headset.said("is not the socket any more"), 1);
    drop(raw);
    assert_eq!(headset.terminate().await, Some(0));
    assert!(socket.is_symlink(), "it is not headset's");
    std::fs::remove_file(&socket).unwrap();
    let headset = Logged::start(&file).await;
    assert_eq!(mode(), 0o666);
    assert_eq!(headset.terminate().await, Some(0));
    assert!(!socket.exists(), "it is headset's");
}

#[tokio::test]
async fn a_program_that_hangs_ends_with_it() {
    use crate::support::process::Process as Logged;
    let folder = Folder::new();
    let pid = folder.path("pid");
    let file = folder.write(
        "headset.toml",
        &format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [route.a]\nupstream = \"http://127.0.0.1:9\"\ncredential = \"slow\"\n\
             [credential.slow]\nkind = \"static\"\n\
             bearer = {{ command = [\"/bin/sh\", \"-c\", \"sleep 600 & echo $! > {}; wait\"] }}\n",
            pid.display()
        ),
    );
    let headset = Logged::start(&file).await;
    let number = || {
        std::fs::read_to_string(&pid)
            .ok()?
            .trim()
            .parse::<i32>()
            .ok()
    };
    eventually("the program", async || number().is_some()).await;
    assert_eq!(headset.terminate().await, Some(0));
    let stat = format!("/proc/{}/stat", number().unwrap());
    // The kernel kills in its own time, and init may leave a zombie.
    eventually("its end", async || {
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
}
