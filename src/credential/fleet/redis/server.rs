//! A Redis of a test's own: on a port and in a folder of its own, ended with the test.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::base::temp_folder::TempFolder;

/// See the module.
pub(super) struct RedisServer {
    pub(super) port: u16,
    pub(super) folder: TempFolder,
    arguments: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// Starts one with `arguments`; `None`, and a line that says so, where this machine has no
    /// `redis-server`, which is a failure where `CI` is set.
    pub(super) fn start(arguments: &[&str]) -> Option<RedisServer> {
        let folder = TempFolder::new();
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
        let child = run(port, &folder, &arguments)?;
        let server = RedisServer {
            port,
            folder,
            arguments,
            child,
        };
        server.wait();
        Some(server)
    }

    /// Ends it at once, as a crash does.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, with what is in its folder.
    pub(super) fn restart(&mut self) {
        self.kill();
        self.child = run(self.port, &self.folder, &self.arguments).unwrap();
        self.wait();
    }

    fn wait(&self) {
        // A minute at most.
        for _ in 0..6000 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not listen");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(port: u16, folder: &TempFolder, arguments: &[String]) -> Option<Child> {
    for program in ["redis-server", "valkey-server"] {
        let started = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(folder.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        if let Ok(child) = started {
            return Some(child);
        }
    }
    let skipped =
        "SKIPPED: there is no redis-server here; Debian has it in the package redis-server";
    assert!(std::env::var_os("CI").is_none(), "{skipped}");
    eprintln_skip(skipped);
    None
}

#[allow(clippy::print_stderr, reason = "a test that was skipped says so")]
fn eprintln_skip(text: &str) {
    eprintln!("{text}");
}
