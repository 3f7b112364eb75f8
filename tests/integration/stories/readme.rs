//! The README's own examples, run as they are written there; only the ports are free ones.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::client;
use crate::support::eventually;
use crate::support::folder::Folder;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

/// The blocks of `page` in that language, in their order.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let parts = page.split(&fence).skip(1);
    parts
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

fn headset(folder: &Folder, arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headset"));
    command.args(arguments).env_clear().kill_on_drop(true);
    command.current_dir(folder.path("."));
    command
}

/// The arguments of the line `headset …` in `block`, with `more` after them.
fn arguments(block: &str, more: &[&str]) -> Vec<String> {
    let (_, line) = block.split_once("headset ").unwrap();
    let words = line.split_whitespace().filter(|word| *word != "\\");
    words
        .chain(more.iter().copied())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn the_example_of_check_is_what_check_says() {
    let page = readme();
    let folder = Folder::new();
    let mut text = blocks(&page, "toml")[0].to_owned();
    for (good, faulty) in [
        ("\"127.0.0.1:8080\"", "\"0.0.0.0:8080\""),
        ("\"crm_sync\"", "\"crm:sync\""),
        ("lifetime", "lifetme"),
    ] {
        assert!(text.contains(good), "{good}");
        text = text.replacen(good, faulty, 1);
    }
    folder.write("headset.toml", &text);
    let shown = blocks(&page, "").into_iter();
    let command = "$ headset check --config headset.toml\n";
    let said: Vec<&str> = shown
        .filter_map(|block| block.strip_prefix(command))
        .collect();
    let check = ["check", "--config", "headset.toml"].map(str::to_owned);
    let out = headset(&folder, &check).output().await.unwrap();
    assert_eq!(out.status.code(), Some(78));
    assert_eq!(said, [String::from_utf8(out.stderr).unwrap()]);
}

#[tokio::test]
async fn the_way_without_a_contact_center_leads_to_an_answer() {
    let page = readme();
    let (_, section) = page.split_once("### Without a contact center").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let [simulate, run, calls] = blocks(section, "sh")[..] else {
        panic!("three terminals");
    };
    let folder = Folder::new();
    let mut center = headset(&folder, &arguments(simulate, &["--bind", "127.0.0.1:0"]))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut greeting = BufReader::new(center.stdout.take().unwrap()).lines();
    let first = greeting.next_line().await.unwrap().unwrap();
    let (_, url) = first.split_once(" on ").unwrap();

    let (prepare, _) = run.split_once("headset run").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", prepare]).current_dir(folder.path("."));
    assert!(shell.status().await.unwrap().success());
    let free = || {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let (app, admin) = (free(), free());
    let run = run.replace("http://127.0.0.1:9900", url);
    let binds = [app.to_string(), admin.to_string()];
    let more = ["--bind", &binds[0], "--admin-bind", &binds[1]];
    let _serving = headset(&folder, &arguments(&run, &more))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("headset", async || {
        tokio::net::TcpStream::connect(admin).await.is_ok()
            && client::get(admin, "/startupz").await.status == 200
    })
    .await;
    let mut asked = 0;
    for line in calls.lines() {
        let (to, port) = match line.contains(":8080/") {
            true => (app, ":8080"),
            false => (admin, ":9464"),
        };
        let (_, path) = line.split_once(port).unwrap();
        let answer = client::get(to, path).await;
        assert_eq!(answer.status, 200, "{line}: {}", answer.text());
        asked += 1;
    }
    assert_eq!(asked, 2);
}
