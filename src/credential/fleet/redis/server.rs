//! A Redis of a test's own: on a port and in a folder of its own, ended with the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

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
        let mut all = vec!["--save", "", "--appendonly", "no"];
        all.extend(arguments);
        RedisServer::begin(TempFolder::new(), &all)
    }

    /// A Sentinel that watches the server on `port` under the name `service`, and takes it for
    /// dead when `quorum` of them miss it for half a second.
    pub(super) fn sentinel(service: &str, port: u16, quorum: u8) -> Option<RedisServer> {
        let folder = TempFolder::new();
        let text = format!(
            "sentinel monitor {service} 127.0.0.1 {port} {quorum}\n\
             sentinel down-after-milliseconds {service} 500\n\
             sentinel failover-timeout {service} 2000\n"
        );
        let config = folder.write("sentinel.conf", &text);
        RedisServer::begin(folder, &[&config.to_string_lossy(), "--sentinel"])
    }

    /// A node of a cluster that has no slots yet.
    pub(super) fn node(arguments: &[&str]) -> Option<RedisServer> {
        let bus = free_port().to_string();
        let mut all = vec!["--cluster-enabled", "yes", "--cluster-port", &bus];
        all.extend(["--cluster-node-timeout", "1000"]);
        all.extend(arguments);
        RedisServer::start(&all)
    }

    fn begin(folder: TempFolder, arguments: &[&str]) -> Option<RedisServer> {
        let port = free_port();
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

    /// The port of its bus, where it is a node of a cluster.
    pub(super) fn bus(&self) -> &str {
        let at = self
            .arguments
            .iter()
            .position(|one| one == "--cluster-port");
        &self.arguments[at.unwrap() + 1]
    }

    /// What it answers to `words`: a line, or the text of a bulk string.
    pub(super) fn say(&self, words: &[&str]) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        socket.write_all(text.as_bytes()).unwrap();
        let mut reader = BufReader::new(socket);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some(length) = line.strip_prefix('$').and_then(|it| it.trim().parse().ok()) else {
            return line;
        };
        let mut text = vec![0; length];
        reader.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Waits until what it answers to `words` is `good`.
    pub(super) fn until(&self, words: &[&str], good: impl Fn(&str) -> bool) {
        let mut said = String::new();
        // A minute at most.
        for _ in 0..1200 {
            said = self.say(words);
            if good(&said) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{words:?}: {said}");
    }

    /// Ends it at once, as a crash does.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// It answers nothing from now on, and ends no connection; until [`RedisServer::wake`].
    pub(super) fn sleep(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub(super) fn wake(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
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

pub(super) fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

fn run(port: u16, folder: &TempFolder, arguments: &[String]) -> Option<Child> {
    for program in ["redis-server", "valkey-server"] {
        // A configuration comes first, where there is one.
        let started = Command::new(program)
            .args(arguments)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .arg("--dir")
            .arg(folder.path())
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
