//! `docs/tutorial.md`, line by line as it is written there; only the ports are free ones.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::client;
use crate::support::eventually;
use crate::support::folder::Folder;

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The blocks of `page` in that language, in their order.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let parts = page.split(&fence).skip(1);
    parts
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// A shell in `folder` that runs `block`, with the headset that was built on its path.
fn shell(folder: &Folder, block: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_headset")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    command.args(["-euc", block]).current_dir(folder.path("."));
    command.env("PATH", format!("{}:{path}", program.display()));
    command.env("XDG_RUNTIME_DIR", folder.root());
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// The same for a block that goes on until it is ended: it becomes the program itself.
fn lasting(folder: &Folder, block: &str) -> Command {
    shell(folder, &format!("exec {}", block.trim()))
}

#[tokio::test]
async fn the_example_of_check_is_what_check_says() {
    let folder = Folder::new();
    let readme = page("README.md");
    let mut text = blocks(&readme, "toml")[0].to_owned();
    for (good, faulty) in [
        ("\"127.0.0.1:8080\"", "\"0.0.0.0:8080\""),
        ("\"crm_sync\"", "\"crm:sync\""),
        ("lifetime", "lifetme"),
    ] {
        assert!(text.contains(good), "{good}");
        text = text.replacen(good, faulty, 1);
    }
    folder.write("headset.toml", &text);
    let tutorial = page("docs/tutorial.md");
    let command = "$ headset check --config headset.toml\n";
    let shown: Vec<&str> = blocks(&tutorial, "")
        .into_iter()
        .filter_map(|block| block.strip_prefix(command))
        .collect();
    let out = shell(&folder, command.trim_start_matches("$ "));
    let out = { out }.output().await.unwrap();
    assert_eq!(out.status.code(), Some(78));
    assert_eq!(shown, [String::from_utf8(out.stderr).unwrap()]);
}

/// The contact center of the first block, and its URL.
async fn simulate(folder: &Folder, block: &str) -> (Child, String) {
    let block = format!("{} --bind 127.0.0.1:0", block.trim());
    let mut center = lasting(folder, &block)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut greeting = BufReader::new(center.stdout.take().unwrap()).lines();
    let first = greeting.next_line().await.unwrap().unwrap();
    let (_, url) = first.split_once(" on ").unwrap();
    // Whoever says more must be read.
    tokio::spawn(async move { while let Ok(Some(_)) = greeting.next_line().await {} });
    (center, url.to_owned())
}

fn free() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

#[tokio::test]
async fn the_tutorial_leads_to_an_answer_in_the_lines_that_it_gives() {
    let tutorial = page("docs/tutorial.md");
    let [install, center, prepare, run, call, without, operate] = blocks(&tutorial, "sh")[..]
    else {
        panic!("the tutorial has other blocks now");
    };
    assert!(install.starts_with("cargo install "));
    let folder = Folder::new();
    let (_center, url) = simulate(&folder, center).await;
    let (app, admin) = (free(), free());
    let moved = |block: &str| {
        block
            .replace("http://127.0.0.1:9900", &url)
            .replace("127.0.0.1:8080", &app.to_string())
            .replace("127.0.0.1:9464", &admin.to_string())
    };

    let binds = format!("headset init --bind {app} --admin-bind {admin} ");
    let prepare = moved(prepare).replace("headset init ", &binds);
    let out = shell(&folder, &prepare).output().await.unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(
        said.contains("credential cms_key: basicauth\nok ("),
        "{said}"
    );

    let _serving = lasting(&folder, run).stderr(Stdio::null()).spawn().unwrap();
    eventually("headset", async || {
        tokio::net::TcpStream::connect(admin).await.is_ok()
            && client::get(admin, "/startupz").await.status == 200
    })
    .await;
    let out = shell(&folder, &moved(call)).output().await.unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(said.contains("\"http_code\":200"), "{said}");
    let out = shell(&folder, &moved(without)).output().await.unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    let out = shell(&folder, &moved(operate)).output().await.unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    for part in ["cms_key", "\"state\":\"live\"", "headset_requests_total"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}
