//! A Redis on a port and in a folder of its own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// It ends with the value, and so does its folder.
pub struct RedisServer {
    pub port: u16,
    folder: PathBuf,
    child: Child,
}

impl RedisServer {
    pub fn start(folder: PathBuf) -> RedisServer {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let child = run(port, &folder);
        RedisServer {
            port,
            folder,
            child,
        }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again, with the dump that lies in its folder.
    pub fn again(&mut self) {
        self.child = run(self.port, &self.folder);
    }

    /// Keeps what it has now; [`RedisServer::bring_back`] puts that where it starts from.
    pub fn keep(&self) {
        self.ask(&["SAVE"]);
        let kept = std::fs::copy(self.dump(), self.folder.join("kept.rdb"));
        kept.expect("it has saved");
    }

    pub fn bring_back(&self) {
        let kept = std::fs::copy(self.folder.join("kept.rdb"), self.dump());
        kept.expect("it was kept");
    }

    fn dump(&self) -> PathBuf {
        self.folder.join("dump.rdb")
    }

    pub fn ask(&self, command: &[&str]) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("Redis listens");
        let mut text = format!("*{}\r\n", command.len());
        for part in command {
            text.push_str(&format!("${}\r\n{part}\r\n", part.len()));
        }
        text.push_str("*1\r\n$4\r\nQUIT\r\n");
        socket.write_all(text.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer
    }

    /// The name of the one record.
    pub fn record(&self) -> Option<String> {
        let keys = self.ask(&["KEYS", "headset:{cms_key}:*"]);
        let mut names = keys.lines().filter(|line| line.starts_with("headset:"));
        let is_record = |line: &&str| {
            line.rsplit(':')
                .next()
                .is_some_and(|last| last.len() == 16 && last.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        names.find(is_record).map(str::to_owned)
    }

    /// The published generation; 0 for none.
    pub fn published(&self) -> u64 {
        let Some(record) = self.record() else {
            return 0;
        };
        let answer = self.ask(&["HGET", &record, "g"]);
        let number = answer.lines().nth(1).and_then(|line| line.parse().ok());
        number.unwrap_or(0)
    }

    /// How many scripts it ran since it started: all that replicas ask of records.
    pub fn scripts(&self) -> u64 {
        let answer = self.ask(&["INFO", "commandstats"]);
        let line = answer
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_eval:calls="));
        line.and_then(|line| line.split(',').next()?.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn run(port: u16, folder: &Path) -> Child {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--maxclients", "20000"])
        .arg("--dir")
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is there (Debian: redis-server)");
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = child.try_wait().expect("it is ours");
        assert!(ended.is_none(), "redis-server ended: {ended:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}
