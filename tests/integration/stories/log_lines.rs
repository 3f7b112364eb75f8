//! What a line of the log says, and how.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::PATIENCE;
use crate::support::client;
use crate::support::folder::Folder;
use crate::support::process::Process;

const CONFIG: &str = "[listener.app]\nbind = \"127.0.0.1:0\"\n\
                      [admin]\nbind = \"127.0.0.1:0\"\nsocket = \"none\"\n\
                      [route.a]\nmatch.path = \"/a\"\nupstream = \"http://127.0.0.1:1\"\n";

#[tokio::test]
async fn a_warning_about_a_variable_has_no_empty_key() {
    let folder = Folder::new();
    let config = folder.write("headset.toml", CONFIG);
    let small = [
        ("headset_log__format", "json"),
        ("HEADSET_LOG_FORMTA", "json"),
    ];
    let process = Process::start_with(&config, &small).await;
    let logged = process.logged();
    for name in ["headset_log__format", "HEADSET_LOG_FORMTA"] {
        let mut lines = logged.lines();
        let line = lines.find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name} in {logged}"));
        assert!(line.contains("did you mean HEADSET_LOG_"), "{line}");
        assert!(!line.contains("config.key"), "{line}");
    }
}

#[tokio::test]
async fn for_people_a_value_is_not_quoted_twice() {
    let folder = Folder::new();
    let config = folder.write(
        "headset.toml",
        &format!("{CONFIG}[log]\nformat = \"human\"\n"),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_headset"));
    command.args(["run", "--config"]).arg(&config);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut line_with = async |part: &str| loop {
        let next = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = next.unwrap_or_else(|_| panic!("no line with {part}"));
        let line = line
            .unwrap()
            .unwrap_or_else(|| panic!("no line with {part}"));
        if line.contains(part) {
            return line;
        }
    };
    let listens = line_with("listener.address=").await;
    let (_, address) = listens.split_once("listener.address=").unwrap();
    let address = address.split(' ').next().unwrap().trim_matches('"');
    let request = "GET /\\b%22\"x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = client::raw(address.parse().unwrap(), request).await;
    assert_eq!(answer.unwrap().status, 404);
    let failed = line_with("call failed").await;
    let path = r#" request.path="/\\b%22\"x" "#;
    assert!(failed.contains(path), "{failed}");
}
