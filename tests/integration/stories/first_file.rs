//! A first configuration file, and what tools get from the program about it.

use std::process::{Command, Output, Stdio};

use crate::support::folder::Folder;

fn headset(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headset"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.current_dir(folder.path(".")).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const FLAGS: [&str; 12] = [
    "--upstream",
    "https://cms.example.com:8443",
    "--register-url",
    "https://cms.example.com:8443/configuration/basicauth",
    "--username",
    "crm_sync",
    "--context-id",
    "1",
    "--password-file",
    "./password",
    "--admin-bearer-file",
    "./admin-bearer",
];

#[test]
fn init_writes_what_check_takes_and_never_writes_over_it() {
    let folder = Folder::new();
    let arguments: Vec<&str> = [&["init"], &FLAGS[..]].concat();
    let out = headset(&folder, &arguments);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let said = text(&out.stderr);
    for line in [
        "headset.toml is written",
        "into ./password,",
        "into ./admin-bearer,",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    let check = ["check", "--config", "headset.toml", "--offline-secrets"];
    let out = headset(&folder, &check);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("credential cms_key: basicauth"));

    let before = std::fs::read_to_string(folder.path("headset.toml")).unwrap();
    let out = headset(&folder, &arguments);
    assert_eq!(out.status.code(), Some(64), "it is there already");
    assert_eq!(
        std::fs::read_to_string(folder.path("headset.toml")).unwrap(),
        before
    );
    let forced = [&arguments[..], &["--force", "--lifetime", "7d"]].concat();
    assert_eq!(headset(&folder, &forced).status.code(), Some(0));
    let after = std::fs::read_to_string(folder.path("headset.toml")).unwrap();
    assert!(after.contains("lifetime = \"7d\""), "{after}");
    let to_stdout = [&["init", "-"], &FLAGS[..]].concat();
    assert_eq!(text(&headset(&folder, &to_stdout).stdout), before);
}

#[test]
fn a_file_that_was_not_named_is_pointed_to_and_not_read() {
    let folder = Folder::new();
    let none = headset(&folder, &["check"]);
    assert!(!text(&none.stderr).contains("in this folder"));
    folder.write(
        "headset.toml",
        "[listener.app]\nbind = \"127.0.0.1:8080\"\n",
    );
    for arguments in [&["check"][..], &["explain", "GET", "/x"], &["run"]] {
        let out = headset(&folder, arguments);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(78), "{said}");
        assert!(said.contains("give --config headset.toml"), "{said}");
    }
}

#[test]
fn init_says_everything_that_is_missing_and_writes_nothing() {
    let folder = Folder::new();
    let out = headset(&folder, &["init", "--username", "crm:sync"]);
    assert_eq!(out.status.code(), Some(78));
    let said = text(&out.stderr);
    for part in ["--upstream", "--context-id", "--password-file", "RFC 7617"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!folder.path("headset.toml").exists());
}

#[test]
fn a_shell_and_an_editor_get_what_they_need() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let out = headset(&folder, &["completions", shell]);
        assert!(text(&out.stdout).contains("offline-secrets"), "{shell}");
    }
    let out = headset(&folder, &["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(schema["properties"]["listener"].is_object());
}

#[test]
fn a_call_is_explained_by_a_configuration_alone() {
    let folder = Folder::new();
    let to_file = [&["init"], &FLAGS[..]].concat();
    assert_eq!(headset(&folder, &to_file).status.code(), Some(0));
    let explain = |method: &str, url: &str| {
        let arguments = ["explain", method, url, "--config", "headset.toml"];
        let out = headset(&folder, &arguments);
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, told, _) = explain("POST", "http://localhost:8080/v1/cc-list?token=hunter2");
    assert_eq!(code, Some(0));
    for part in [
        "route       contact_center\n",
        "sent to     https://cms.example.com:8443/v1/cc-list\n",
        "credential  cms_key (basicauth)\n",
        "effect      write (by its method)\n",
        "never      a timeout, a 5xx",
        "first_byte 300 s",
        "replay_body 65536",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    let (code, told, _) = explain("GET", "/configuration/basicauth");
    assert_eq!(code, Some(0));
    assert!(told.contains("refused     403 issuer_target"), "{told}");
    let (code, _, said) = explain("GET", "nonsense");
    assert_eq!(code, Some(64));
    assert!(said.contains("write one such as /v1/contacts"), "{said}");
}

#[test]
fn a_configuration_may_come_from_a_pipe_to_whom_reads_it_once() {
    use std::io::Write as _;
    let folder = Folder::new();
    let piped = |arguments: &[&str], config: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headset"));
        command.args(arguments).args(["-c", "-"]).env_clear();
        command.current_dir(folder.path(".")).stdin(Stdio::piped());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that does not read it may have ended.
        let _ = child.stdin.take().unwrap().write_all(config.as_bytes());
        child.wait_with_output().unwrap()
    };
    let good = "[listener.app]\nbind = \"127.0.0.1:8080\"\n\
                [route.all]\nupstream = \"https://cms.example.com\"\n";
    let out = piped(&["check"], good);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let out = piped(&["explain", "GET", "/a"], good);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("https://cms.example.com/a"));
    let out = piped(&["check"], &good.replace("bind", "bnid"));
    assert_eq!(out.status.code(), Some(78));
    let said = text(&out.stderr);
    for part in ["<stdin>:2:1: listener.app.bnid", "did you mean", "bnid = "] {
        assert!(said.contains(part), "{part} in {said}");
    }
    // Who serves reads it again.
    let out = piped(&["run"], good);
    assert_eq!(out.status.code(), Some(78));
    let said = text(&out.stderr);
    assert!(said.contains("write it into a file"), "{said}");
}

#[test]
fn what_somebody_typed_gives_the_terminal_no_orders() {
    let folder = Folder::new();
    folder.write(
        "headset.toml",
        "[listener.app]\nbind = \"127.0.0.1:8080\"\n\
         [route.all]\nupstream = \"https://cms.example.com\"\n",
    );
    let config = ["-c", "headset.toml"];
    for arguments in [
        &["explain", "GET", "\u{1b}[31mwhat\n", config[0], config[1]][..],
        &["explain", "\u{1b}[31mGET", "/a", config[0], config[1]],
        &["check", "-c", "\u{1b}[31mnosuch.toml"],
        &["explain", "GET", "/", "-c", "\u{1b}[31mnosuch.toml"],
    ] {
        let out = headset(&folder, arguments);
        assert_ne!(out.status.code(), Some(0));
        let said = text(&out.stderr);
        assert!(said.contains(r"\u{1b}[31m"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
    let url = "http://u:hunter2@127.0.0.1:99999/a?token=hunter2";
    let out = headset(&folder, &["explain", "GET", url, config[0], config[1]]);
    assert_eq!(out.status.code(), Some(64));
    let said = text(&out.stderr);
    assert!(
        said.contains("65535") && !said.contains("hunter2"),
        "{said}"
    );
}
