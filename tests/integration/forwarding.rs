//! headset as a forward proxy: absolute-form calls and CONNECT on one listener.

mod calls;
mod opened;
mod targets;
mod tunnels;

use crate::support::client::Answer;
use crate::support::folder::Folder;
use crate::support::headset::Headset;
use crate::support::recorder::Recorder;

/// Upstreams of stories are on loopback, at whichever port there was.
const ELSEWHERE: &str = "private_networks = [\"127.0.0.0/8\"]\ntunnel_ports = [\"*\"]";

/// A forward listener with these further keys, before `routes`.
fn listening(folder: Folder, keys: &str, routes: &str) -> Headset {
    Headset::start(
        folder,
        &format!(
            "[admin]\nbind = \"127.0.0.1:0\"\n\
             [listener.app]\nbind = \"127.0.0.1:0\"\nmode = \"forward\"\n{keys}\n{routes}"
        ),
    )
}

/// The same with the static credential `robot`, which sends `STATIC`.
fn forward(folder: Folder, keys: &str, routes: &str) -> Headset {
    folder.write("password", "hunter2");
    let robot = "[credential.robot]\nkind = \"static\"\nbasic.username = \"robot\"\n\
                 basic.password = { file = \"{folder}/password\" }\n";
    listening(folder, keys, &format!("{routes}{robot}"))
}

/// The same with one route to `cms`, which carries it.
fn keyed(cms: &Recorder, keys: &str) -> Headset {
    keyed_in(Folder::new(), cms, keys)
}

fn keyed_in(folder: Folder, cms: &Recorder, keys: &str) -> Headset {
    let url = cms.url();
    let route = format!("[route.key]\nupstream = \"{url}\"\ncredential = \"robot\"\n");
    forward(folder, keys, &route)
}

/// A CONNECT to `target`, with `fields`.
fn connect(target: &str, fields: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n")
}

/// The code of a refusal, which says that headset refused.
fn refused_of(answer: &Answer) -> String {
    let proxy_status = answer.field("proxy-status").unwrap_or_default();
    assert!(proxy_status.starts_with("headset"), "{answer:?}");
    answer.json()["code"].as_str().unwrap().to_owned()
}
