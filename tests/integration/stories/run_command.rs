//! headset beside a command: its environment, its signals and its end are the command's own.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use headset_simulator::{Options, Simulator};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::folder::Folder;
use crate::support::process::Process;
use crate::support::{client, eventually};

/// A configuration that asks nobody for anything.
const STATIC: &str = "\
[route.exotel]\nupstream = \"https://api.exotel.com\"\ncredential = \"key\"\n\
[credential.key]\nkind = \"static\"\nbasic = { username = \"k\", password = { env = \"API_TOKEN\" } }\n";

/// `headset run` of the folder's configuration, beside `command`.
fn beside(folder: &Folder, flags: &[&str], command: &[&str]) -> Command {
    let mut headset = Command::new(env!("CARGO_BIN_EXE_headset"));
    headset.arg("run").arg("--config");
    headset.arg(folder.path("headset.toml"));
    headset.args(flags).arg("--").args(command);
    headset
        .env_remove("XDG_RUNTIME_DIR")
        .env("TMPDIR", folder.root());
    headset
        .env_remove("NODE_EXTRA_CA_CERTS")
        .env("API_TOKEN", "s3cret-t0ken")
        .env("OTHER", "kept");
    headset.env("NO_PROXY", "intranet.example,.exotel.com");
    headset.stdin(Stdio::null());
    headset
}

fn run(folder: &Folder, command: &[&str]) -> Output {
    beside(folder, &[], command).output().unwrap()
}

fn configured() -> Folder {
    let folder = Folder::new();
    folder.write("headset.toml", STATIC);
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What is left of the folders of runs.
fn left(folder: &Folder) -> usize {
    let names = std::fs::read_dir(folder.root()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name());
    let of_run = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("headset-run-");
    names.filter(of_run).count()
}

#[test]
fn its_exit_code_is_that_of_the_command_or_says_why_there_was_none() {
    let folder = configured();
    for (command, code) in [
        (&["/bin/sh", "-c", "exit 0"][..], 0),
        (&["/bin/sh", "-c", "exit 7"], 7),
        (&["/bin/sh", "-c", "kill -TERM $$"], 143),
        (&["no-such-program-of-anybody"], 127),
        (&["/etc/passwd"], 126),
    ] {
        let out = run(&folder, command);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{command:?}: {said}");
        if code == 127 || code == 126 {
            assert!(said.contains("cannot be started"), "{said}");
        }
        assert_eq!(left(&folder), 0, "{command:?}");
    }
}

#[test]
fn its_environment_leads_through_headset_and_holds_no_secret_but_the_password_of_the_run() {
    let folder = configured();
    let script =
        "env; echo BUNDLE; cat \"$SSL_CERT_FILE\"; echo EXTRA; cat \"$NODE_EXTRA_CA_CERTS\"";
    let out = run(&folder, &["/bin/sh", "-c", script]);
    let said = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let variable = |name: &str| {
        let start = format!("{name}=");
        said.lines().find_map(|line| line.strip_prefix(&start))
    };
    let proxy = variable("HTTPS_PROXY").unwrap();
    assert!(proxy.starts_with("http://headset:"), "{proxy}");
    for name in ["HTTP_PROXY", "http_proxy", "https_proxy"] {
        assert_eq!(variable(name), Some(proxy), "{name}");
    }
    assert_eq!(variable("API_TOKEN"), None);
    assert!(!said.contains("s3cret-t0ken"));
    assert_eq!(variable("OTHER"), Some("kept"));
    let exceptions = variable("NO_PROXY").unwrap();
    assert_eq!(exceptions, "localhost,127.0.0.1,::1,intranet.example");
    assert!(text(&out.stderr).contains("NO_PROXY would lead past headset"));
    let (_, certificates) = said.split_once("BUNDLE\n").unwrap();
    let (bundle, extra) = certificates.split_once("EXTRA\n").unwrap();
    assert_eq!(extra.matches("BEGIN CERTIFICATE").count(), 1);
    assert!(bundle.starts_with(extra), "the local authority comes first");
    let file = variable("SSL_CERT_FILE").unwrap();
    assert!(!std::path::Path::new(file).exists(), "it went with the run");

    let mut kept = beside(
        &folder,
        &["--keep-env", "API_TOKEN"],
        &["/bin/sh", "-c", "env"],
    );
    let said = text(&kept.output().unwrap().stdout);
    assert!(said.contains("API_TOKEN=s3cret-t0ken"));
}

/// A run whose command says `up` and then waits for what `stdin` brings.
fn started(
    folder: &Folder,
    flags: &[&str],
    script: &str,
) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut headset = beside(folder, flags, &["/bin/sh", "-c", script]);
    headset.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = headset.spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn line(out: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn signals_are_passed_on_once_each() {
    let folder = configured();
    let script = "trap 'echo usr' USR1; trap 'echo hup' HUP; trap 'echo term; exit 9' TERM; echo up; \
                  while :; do read -r x || sleep 0.05; done";
    let (mut child, mut out) = started(&folder, &[], script);
    assert_eq!(line(&mut out), "up");
    let pid = Pid::from_child(&child);
    for (signal, said) in [
        (Signal::USR1, "usr"),
        (Signal::HUP, "hup"),
        (Signal::TERM, "term"),
    ] {
        kill_process(pid, signal).unwrap();
        assert_eq!(line(&mut out), said);
    }
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "nothing came twice");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(left(&folder), 0);
}

#[test]
fn nobody_uses_the_listener_of_a_run_without_its_password() {
    let folder = configured();
    let asked = |flags: &[&str], fields: &str| {
        let (mut child, mut out) = started(&folder, flags, "echo $HTTPS_PROXY; read -r x");
        let proxy = line(&mut out);
        let address = proxy.rsplit(['@', '/']).next().unwrap().to_owned();
        let mut stream = TcpStream::connect(address).unwrap();
        let head = "CONNECT api.exotel.com:443 HTTP/1.1\r\nHost: api.exotel.com:443\r\n";
        write!(stream, "{head}{fields}\r\n").unwrap();
        let status = line(&mut BufReader::new(stream));
        // The end of its input ends the command.
        drop(child.stdin.take());
        child.wait().unwrap();
        status
    };
    let status = asked(&[], "");
    assert!(status.starts_with("HTTP/1.1 407 "), "{status}");
    let status = asked(&[], "Proxy-Authorization: Basic aGVhZHNldDpndWVzcw==\r\n");
    assert!(status.starts_with("HTTP/1.1 407 "), "{status}");
    let status = asked(&["--dangerous-no-password"], "");
    assert!(status.starts_with("HTTP/1.1 200 "), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_not_started_where_a_credential_is_refused() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let folder = Folder::new();
    folder.configure(&center, "password = { env = \"API_TOKEN\" }");
    folder.write("bearer", "a-bearer-that-nobody-issued");
    let marker = folder.path("started");
    let touch = format!("touch {}", marker.display());
    let out = tokio::task::spawn_blocking(move || {
        let out = run(&folder, &["/bin/sh", "-c", &touch]);
        (out, folder)
    });
    let (out, folder) = out.await.unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(77), "{said}");
    assert!(said.contains("the command was not started"), "{said}");
    assert!(!marker.exists());
    assert_eq!(left(&folder), 0);
    center.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_stays_shows_its_authority_and_takes_up_the_next_one() {
    let folder = Folder::new();
    let (cert, key) = (folder.path("ca.pem"), folder.path("ca.key"));
    let config = folder.write(
        "headset.toml",
        &format!(
            "[listener.proxy]\nbind = \"127.0.0.1:0\"\nmode = \"forward\"\n\
             ca = {{ cert = {cert:?}, key = {{ file = {key:?} }} }}\n\
             [admin]\nbind = \"127.0.0.1:0\"\n{STATIC}"
        ),
    );
    let ca = |action: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headset"));
        command.args(["ca", action, "--config"]).arg(&config);
        let out = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    };
    ca("init");
    let variables = [("API_TOKEN", "s3cret-t0ken")];
    let process = Process::start_with(&config, &variables).await;
    let admin = process.admin();
    let shown = client::get(admin, "/ca.pem").await.body;
    assert_eq!(shown, std::fs::read(&cert).unwrap());
    let status: serde_json::Value =
        serde_json::from_slice(&client::get(admin, "/status").await.body).unwrap();
    let told = &status["local_cas"][0];
    assert_eq!(told["listener"], "proxy");
    assert_eq!(told["hosts"][0], "api.exotel.com");
    assert_eq!(told["of_this_run"], false);
    ca("rotate");
    let after = std::fs::read(&cert).unwrap();
    eventually("the new authority signs", async || {
        client::get(admin, "/ca.pem").await.body == after
    })
    .await;
}

#[test]
fn an_authority_is_made_shown_and_replaced_without_a_moment_for_all() {
    let folder = Folder::new();
    let headset = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headset"));
        command.args(arguments).env_clear().stdin(Stdio::null());
        command.current_dir(folder.path(".")).output().unwrap()
    };
    folder.write(
        "headset.toml",
        &format!(
            "[listener.proxy]\nbind = \"127.0.0.1:0\"\nmode = \"forward\"\n\
             ca = {{ cert = \"ca.pem\", key = {{ file = \"ca.key\" }} }}\n{STATIC}"
        ),
    );
    let out = headset(&["check", "-c", "headset.toml", "--offline-secrets"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let out = headset(&["ca", "show", "-c", "headset.toml"]);
    assert_eq!(out.status.code(), Some(78));
    assert!(text(&out.stderr).contains("headset ca init"));
    let out = headset(&["ca", "init", "-c", "headset.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let read = |name: &str| std::fs::read_to_string(folder.path(name)).unwrap();
    let (cert, key) = (read("ca.pem"), read("ca.key"));
    let secret = key.lines().nth(1).unwrap();
    assert!(!text(&out.stderr).contains(secret) && out.stdout.is_empty());
    let out = headset(&["ca", "init", "-c", "headset.toml"]);
    assert_eq!(out.status.code(), Some(64), "it is there already");
    assert_eq!(
        (read("ca.pem"), read("ca.key")),
        (cert.clone(), key.clone())
    );
    let shown = text(&headset(&["ca", "show", "-c", "headset.toml"]).stdout);
    for part in [
        "signs for    api.exotel.com\n",
        "(in 36",
        "SHA-256",
        "NODE_EXTRA_CA_CERTS=ca.pem",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    let out = headset(&["ca", "rotate", "-c", "headset.toml", "--days", "30"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let (bundle, new) = (read("ca.pem"), read("ca.key"));
    assert_ne!(new, key);
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 3);
    assert!(
        bundle.ends_with(&cert),
        "those who trust the old one still find it"
    );
    // Who trusts the first alone would believe no third.
    let out = headset(&["ca", "rotate", "-c", "headset.toml"]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(75), "{said}");
    for part in [
        "ca.pem is not replaced again",
        "--force",
        "CN=headset local CA",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!((read("ca.pem"), read("ca.key")), (bundle, new.clone()));
    let out = headset(&["ca", "rotate", "-c", "headset.toml", "--force"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_ne!(read("ca.key"), new);
    let out = headset(&[
        "ca",
        "init",
        "--host",
        "a.example",
        "--cert",
        "other.pem",
        "--key",
        "-",
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(!text(&out.stderr).contains("PRIVATE"));
}

#[test]
fn a_secret_that_cannot_be_read_is_told_and_the_command_not_started() {
    let folder = configured();
    let missing = folder.path("mistyped");
    let text_of = STATIC.replace("env = \"API_TOKEN\"", &format!("file = {missing:?}"));
    folder.write("headset.toml", &text_of);
    let out = run(&folder, &["/bin/sh", "-c", "touch \"$TMPDIR/started\""]);
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(78), "{said}");
    for part in ["mistyped", "the command was not started"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!folder.path("started").exists());
    assert_eq!(left(&folder), 0);
}
