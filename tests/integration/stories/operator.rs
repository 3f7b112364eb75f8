//! The commands that look at a running headset, as the very binary, over its admin socket
//! and its admin address.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use headset_simulator::{Options, Simulator};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::client;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::process::Process;

struct Told {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs a command where `runtime` is the user's runtime folder.
async fn headset(runtime: &str, arguments: &[&str]) -> Told {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"));
    command.args(arguments).env_clear().kill_on_drop(true);
    command.env("XDG_RUNTIME_DIR", runtime);
    let out = command.output().await.unwrap();
    Told {
        code: out.status.code().unwrap(),
        stdout: String::from_utf8(out.stdout).unwrap(),
        stderr: String::from_utf8(out.stderr).unwrap(),
    }
}

/// One headset with a session of a user of the simulated contact center.
struct Bench {
    center: Simulator,
    folder: Folder,
    file: PathBuf,
}

impl Bench {
    /// With these `admin` lines.
    async fn new(admin: &str) -> Bench {
        let center = Simulator::start(Options::default()).await.unwrap();
        let folder = Folder::new();
        folder.write("password", "doc_admin");
        folder.write("token", "admin-token-of-the-story");
        let base = center.base_url();
        let text = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n{admin}\n\
             [route.all]\nupstream = \"{base}\"\ncredential = \"pbx\"\n[credential.pbx]\n\
             kind = \"ameyo_session\"\nurl = \"{base}/ameyorestapi/session/userLogin\"\n\
             username = \"doc_admin\"\npassword = {{ file = \"{{folder}}/password\" }}\n"
        );
        let file = folder.write("headset.toml", &text.replace("{folder}", folder.root()));
        Bench {
            center,
            folder,
            file,
        }
    }

    fn runtime(&self) -> &str {
        self.folder.root()
    }

    async fn start(&self) -> Process {
        Process::start_with(&self.file, &[("XDG_RUNTIME_DIR", self.runtime())]).await
    }

    async fn run(&self, arguments: &[&str]) -> Told {
        headset(self.runtime(), arguments).await
    }
}

#[tokio::test]
async fn a_locked_account_is_seen_mended_and_retried_without_a_restart() {
    let bench = Bench::new("").await;
    assert!(bench.center.lock("doc_admin"));
    let process = bench.start().await;
    let refused = async || {
        let told = bench.run(&["status"]).await;
        told.stdout.contains("refused")
    };
    eventually("the refusal", refused).await;
    let told = bench.run(&["status"]).await;
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    for part in [
        "ready",
        "pbx",
        "ameyo_session",
        "last error: ",
        "manual action by ",
    ] {
        assert!(told.stdout.contains(part), "{part} in {}", told.stdout);
    }
    // Still locked: the issuer is asked, and says so.
    let told = bench.run(&["retry", "pbx"]).await;
    assert_eq!(told.code, 77, "{}{}", told.stdout, told.stderr);
    assert!(
        told.stderr.starts_with("headset: pbx: refused: "),
        "{}",
        told.stderr
    );
    // Whoever asks in a loop is told to wait.
    let told = bench.run(&["retry", "pbx"]).await;
    assert_eq!(told.code, 75, "{}{}", told.stdout, told.stderr);

    assert!(bench.center.unlock("doc_admin"));
    eventually("the retry", async || {
        bench.run(&["retry", "pbx"]).await.code == 0
    })
    .await;
    let told = bench.run(&["status", "pbx", "--output", "json"]).await;
    let one: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(
        (&one["state"], &one["generation"]),
        (&"live".into(), &1.into())
    );
    let campaigns = "/ameyorestapi/cc/campaigns/getAssigned";
    assert_eq!(client::get(process.app(), campaigns).await.status, 200);
    let asked = "headset_mints_total{credential=\"pbx\",outcome=\"success\",reason=\"asked\"}";
    assert_eq!(process.metric(asked).await, Some(1.0));

    // What is well is left alone.
    let told = bench.run(&["retry", "pbx"]).await;
    assert!(told.stdout.contains("nothing is wrong"), "{}", told.stdout);
    assert_eq!(process.metric(asked).await, Some(1.0));
    let told = bench.run(&["retry", "nobody"]).await;
    assert_eq!(told.code, 64);
    assert!(told.stderr.contains("there is pbx"), "{}", told.stderr);
    assert!(
        !process.logged().contains("doc_admin\""),
        "no password in the log"
    );
}

#[tokio::test]
async fn health_tells_by_its_exit_code_and_one_line_why() {
    let bench = Bench::new("").await;
    assert!(bench.center.lock("doc_admin"));
    let told = bench.run(&["health"]).await;
    assert_eq!(told.code, 1);
    assert!(
        told.stdout.starts_with("no headset runs here (looked at "),
        "{}",
        told.stdout
    );
    let mut process = bench.start().await;
    for (arguments, code, line) in [
        (&["health"][..], 0, "ok"),
        (&["health", "--live"], 0, "ok"),
        (&["health", "--strict"], 1, "pbx"),
    ] {
        let told = bench.run(arguments).await;
        assert_eq!(
            told.code, code,
            "{arguments:?}: {}{}",
            told.stdout, told.stderr
        );
        assert!(told.stdout.contains(line), "{arguments:?}: {}", told.stdout);
        assert_eq!(told.stdout.lines().count(), 1);
        assert_eq!(told.stderr, "");
    }
    // By the address, which needs no token for probes.
    let url = format!("http://{}", process.admin());
    let told = headset("/nowhere", &["health", "--admin", &url]).await;
    assert_eq!((told.code, told.stdout.as_str()), (0, "ok\n"));
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await, Some(0));
    assert_eq!(bench.run(&["health"]).await.code, 1);
}

#[tokio::test]
async fn the_socket_is_its_users_alone_and_goes_with_headset() {
    let bench = Bench::new("").await;
    let process = bench.start().await;
    let port = process.admin().port();
    let folder = bench.folder.path("headset");
    let socket = folder.join(format!("admin-{port}.sock"));
    let mode = |path: &PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&socket)), (0o700, 0o600));
    assert!(process.logged().contains(socket.to_str().unwrap()));
    // A second one of the same user does not get in the way; then one must be chosen.
    let second = bench.start().await;
    let told = bench.run(&["status"]).await;
    assert_eq!(told.code, 64, "{}", told.stdout);
    assert!(
        told.stderr.contains("choose one with --socket"),
        "{}",
        told.stderr
    );
    let chosen = ["status", "--socket", socket.to_str().unwrap()];
    assert_eq!(bench.run(&chosen).await.code, 0);
    assert_eq!(second.terminate().await, Some(0));
    assert_eq!(bench.run(&["status"]).await.code, 0);
    assert_eq!(process.terminate().await, Some(0));
    assert!(!socket.exists());
    let told = bench.run(&chosen).await;
    assert_eq!(told.code, 69);
    assert!(
        told.stderr.contains("no headset runs here"),
        "{}",
        told.stderr
    );
}

#[tokio::test]
async fn over_the_port_what_changes_something_needs_the_token() {
    let bench = Bench::new("socket = \"none\"").await;
    let process = bench.start().await;
    let url = format!("http://{}", process.admin());
    let shown = bench.run(&["status", "--admin", &url]).await;
    assert_eq!(
        shown.code, 0,
        "on loopback a look needs none: {}",
        shown.stderr
    );
    for refused in [&["retry", "pbx"][..], &["log-level", "debug"]] {
        let arguments = [refused, &["--admin", &url]].concat();
        let told = bench.run(&arguments).await;
        assert_eq!(told.code, 77, "{}", told.stderr);
        assert!(told.stderr.contains("set admin.token"), "{}", told.stderr);
    }
    assert_eq!(process.terminate().await, Some(0));

    let token = format!(
        "socket = \"none\"\ntoken = {{ file = \"{}/token\" }}",
        "{folder}"
    );
    let bench = Bench::new(&token).await;
    let process = bench.start().await;
    process.ready().await;
    let url = format!("http://{}", process.admin());
    let told = bench.run(&["status", "--admin", &url]).await;
    assert_eq!(told.code, 77, "{}", told.stderr);
    let file = bench.folder.path("token");
    let with = [
        "--admin",
        &url,
        "--admin-token-file",
        file.to_str().unwrap(),
    ];
    for arguments in [
        &["status"][..],
        &["retry", "pbx", "--renew"],
        &["log-level", "debug"],
    ] {
        let told = bench.run(&[arguments, &with].concat()).await;
        assert_eq!(
            told.code, 0,
            "{arguments:?}: {}{}",
            told.stdout, told.stderr
        );
        assert!(!told.stdout.contains("admin-token-of-the-story"));
    }
    // A token that is not there is told with where and why, by each of them.
    let none = bench.folder.path("none");
    let with = [
        "--admin",
        &url,
        "--admin-token-file",
        none.to_str().unwrap(),
    ];
    for arguments in [
        &["status"][..],
        &["retry", "pbx"],
        &["log-level", "debug"],
        &["health"],
        &["wait", "--timeout", "300ms"],
        &["shutdown"],
        &["explain", "GET", "/", "--running"],
    ] {
        let told = bench.run(&[arguments, &with].concat()).await;
        assert_ne!(told.code, 0, "{arguments:?}");
        let said = told.stderr + &told.stdout;
        assert!(said.contains("No such file"), "{arguments:?}: {said}");
    }
    // The configuration knows both.
    let config = ["status", "--config", bench.file.to_str().unwrap()];
    assert_eq!(
        bench.run(&config).await.code,
        69,
        "a port of 0 says nothing"
    );
    let text = std::fs::read_to_string(&bench.file).unwrap();
    let bound = process.admin().to_string();
    let text = text.replacen(
        "[admin]\nbind = \"127.0.0.1:0\"",
        &format!("[admin]\nbind = \"{bound}\""),
        1,
    );
    std::fs::write(&bench.file, text).unwrap();
    let told = bench.run(&config).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
}

#[tokio::test]
async fn the_log_is_turned_up_for_a_time_and_back_by_itself() {
    let bench = Bench::new("").await;
    let mut process = bench.start().await;
    process.ready().await;
    let answered = || process.said("call answered");
    client::get(process.app(), "/").await;
    assert_eq!(answered(), 0);
    let told = bench.run(&["log-level", "debug", "--for", "1s"]).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(
        told.stdout.contains("then at info again"),
        "{}",
        told.stdout
    );
    let status = bench.run(&["status", "--output", "json"]).await;
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["log"]["configured"], "info");
    eventually("its end", async || {
        process.said("at its configured level again") > 0
    })
    .await;
    client::get(process.app(), "/").await;

    // A later change replaces an earlier one, and the configured level is the end of it.
    bench.run(&["log-level", "debug", "--for", "1h"]).await;
    client::get(process.app(), "/").await;
    eventually("a line of debug", async || answered() > 0).await;
    let told = bench.run(&["log-level", "info"]).await;
    assert!(told.stdout.contains("as configured"), "{}", told.stdout);
    eventually("the line of the change", async || {
        process.said("changed the level of the log") == 3
    })
    .await;
    client::get(process.app(), "/").await;
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await, Some(0));
    let answered = process.said("call answered");
    assert_eq!(answered, 1, "only while it was turned up");
    let told = bench.run(&["log-level", "loud"]).await;
    assert_eq!(told.code, 64);
}

#[tokio::test]
async fn a_watch_looks_again_and_outlives_a_restart() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let bench = Bench::new("").await;
    let process = bench.start().await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"));
    command.args(["status", "--watch", "--output", "json"]);
    command.env_clear().env("XDG_RUNTIME_DIR", bench.runtime());
    command
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true);
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut seen = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut why = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = async || -> Value {
        let line = seen.next_line().await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    };
    assert_eq!(next().await["credentials"][0]["name"], "pbx");
    assert_eq!(next().await["credentials"][0]["name"], "pbx");
    process.kill().await;
    let line = why.next_line().await.unwrap().unwrap();
    assert!(line.contains("no headset runs here"), "{line}");
    let _again = bench.start().await;
    assert_eq!(next().await["credentials"][0]["name"], "pbx");
}

#[tokio::test]
async fn a_job_waits_for_headset_and_stops_it_at_its_end() {
    let bench = Bench::new("").await;
    // It is waited for before it is started.
    let (told, mut process) = tokio::join!(bench.run(&["wait", "--strict"]), bench.start());
    assert_eq!(told.code, 0, "{}", told.stderr);
    let status = bench.run(&["status", "pbx", "--output", "json"]).await;
    let one: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(one["state"], "live");
    let told = bench.run(&["shutdown"]).await;
    assert_eq!(
        (told.code, told.stdout.as_str()),
        (0, ""),
        "{}",
        told.stderr
    );
    assert_eq!(process.ended().await, Some(0));
    assert_eq!(process.said("POST /shutdown"), 1, "{}", process.logged());
    let told = bench.run(&["shutdown"]).await;
    assert_eq!(told.code, 69, "{}", told.stderr);
    let told = bench.run(&["wait", "--timeout", "300ms"]).await;
    assert_eq!(told.code, 75, "{}", told.stderr);
    assert!(
        told.stderr.contains("no headset runs here"),
        "{}",
        told.stderr
    );
}

#[tokio::test]
async fn over_the_address_only_the_token_stops_it() {
    let bench = Bench::new("socket = \"none\"").await;
    let process = bench.start().await;
    let url = format!("http://{}", process.admin());
    let told = bench.run(&["shutdown", "--admin", &url]).await;
    assert_eq!(told.code, 77, "{}", told.stderr);
    let told = bench.run(&["health", "--admin", &url]).await;
    assert_eq!(told.code, 0, "it still runs");
    drop(process);
}

#[tokio::test]
async fn a_running_headset_explains_a_call() {
    let bench = Bench::new("").await;
    let _process = bench.start().await;
    let asked = [
        "explain",
        "GET",
        "/ameyorestapi/cc?token=hunter2",
        "--running",
    ];
    let told = bench.run(&asked).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(
        told.stdout.contains("credential  pbx (ameyo_session)\n"),
        "{}",
        told.stdout
    );
    let told = bench
        .run(&[&asked[..], &["--output", "json"]].concat())
        .await;
    let one: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(one["path"], "/ameyorestapi/cc");
    let told = bench.run(&["explain", "GET", "what", "--running"]).await;
    assert_eq!(told.code, 64, "{}", told.stderr);
}
