//! CPU time per request beside nginx, in one run on one core.
//!
//! An nginx answers 1 KB from memory; before it stand, in turn, headset and nginx as
//! a proxy that sets the same `Authorization`. The proxy under test has core 0, load
//! and upstream have core 1. Rounds are interleaved and medians reported, so that a
//! noisy minute hits both alike. What counts is CPU time of the proxy's process per
//! request done, from `/proc/PID/stat`: unlike requests per second it does not
//! depend on what the load generator can take.
//!
//! `cargo bench --bench beside_nginx -- --help` tells the options. It needs Linux,
//! two cores, nginx, wrk, taskset (util-linux), and h2load for `--scenario h2c`. It
//! opens loopback ports that were free a moment ago and ends what it started.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that measures time and prints a table"
)]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use anyhow::{Context, Result, anyhow, bail};

const HELP: &str = "\
CPU time per request of headset beside nginx, in one run.

Usage: cargo bench --bench beside_nginx -- [OPTIONS]

  --scenario NAME   keepalive  64 connections kept alive (default)
                    close      a new connection for each request
                    h2c        2 connections of 32 streams, HTTP/2 without TLS
                    all        each of them
  --rounds N        interleaved rounds, of which the median counts (default 7)
  --seconds N       length of a round (default 4)
  --headset PATH    another headset binary (default: the one this bench built)
  --peers A,B       who is measured: headset, nginx, and nginx2, a second nginx that
                    shows the noise of the method (default headset,nginx)
  --quick           3 rounds of 1 second: shows that it works, measures little
";

const PROXY_CORE: &str = "0";
const LOAD_CORE: &str = "1";
const CONNECTIONS: u32 = 64;
const USERNAME: &str = "bench";
const PASSWORD: &str = "bench-password";
/// `bench:bench-password` in base64 (RFC 7617).
const BASIC: &str = "Basic YmVuY2g6YmVuY2gtcGFzc3dvcmQ=";

fn main() -> ExitCode {
    match Told::parse(env::args().skip(1)).and_then(|told| match told {
        Some(told) => run(&told),
        None => {
            print!("{HELP}");
            Ok(())
        }
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("beside_nginx: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Told {
    scenarios: Vec<Scenario>,
    rounds: usize,
    seconds: u64,
    headset: PathBuf,
    peers: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    KeepAlive,
    Close,
    H2c,
}

impl Scenario {
    fn title(self) -> &'static str {
        match self {
            Scenario::KeepAlive => "HTTP/1.1, 64 connections kept alive",
            Scenario::Close => "HTTP/1.1, a new connection for each request",
            Scenario::H2c => "HTTP/2 without TLS, 2 connections of 32 streams",
        }
    }
}

impl Told {
    /// `None` asks for help.
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Told>> {
        let mut told = Told {
            scenarios: vec![Scenario::KeepAlive],
            rounds: 7,
            seconds: 4,
            headset: PathBuf::from(env!("CARGO_BIN_EXE_headset")),
            peers: vec!["headset".into(), "nginx".into()],
        };
        let mut arguments = arguments;
        while let Some(flag) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .with_context(|| format!("{flag} needs a value"))
            };
            match flag.as_str() {
                // cargo adds it.
                "--bench" => {}
                "--help" | "-h" => return Ok(None),
                "--quick" => (told.rounds, told.seconds) = (3, 1),
                "--rounds" => told.rounds = value()?.parse().context("--rounds")?,
                "--seconds" => told.seconds = value()?.parse().context("--seconds")?,
                "--headset" => told.headset = value()?.into(),
                "--peers" => told.peers = value()?.split(',').map(str::to_owned).collect(),
                "--scenario" => {
                    told.scenarios = match value()?.as_str() {
                        "keepalive" => vec![Scenario::KeepAlive],
                        "close" => vec![Scenario::Close],
                        "h2c" => vec![Scenario::H2c],
                        "all" => vec![Scenario::KeepAlive, Scenario::Close, Scenario::H2c],
                        other => bail!("no scenario is called {other}; see --help"),
                    }
                }
                other => bail!("unknown option {other}; see --help"),
            }
        }
        if told.rounds == 0 || told.seconds == 0 {
            bail!("--rounds and --seconds are at least 1");
        }
        Ok(Some(told))
    }
}

fn run(told: &Told) -> Result<()> {
    let mut needed = vec![
        ("nginx", "nginx-light"),
        ("wrk", "wrk"),
        ("taskset", "util-linux"),
    ];
    if told.scenarios.contains(&Scenario::H2c) {
        needed.push(("h2load", "nghttp2-client"));
    }
    for (program, package) in needed {
        if which(program).is_none() {
            bail!("{program} is missing; on Debian: apt-get install {package}");
        }
    }
    if thread::available_parallelism()?.get() < 2 {
        bail!("two cores are needed: one for the proxy, one for load and upstream");
    }

    let folder = env::temp_dir().join(format!("headset-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = measure(told, &folder);
    // What the processes wrote is only worth keeping where something failed.
    if outcome.is_ok() {
        let _ = fs::remove_dir_all(&folder);
    } else {
        eprintln!("beside_nginx: all output is in {}", folder.display());
    }
    outcome
}

fn measure(told: &Told, folder: &Path) -> Result<()> {
    let upstream_port = free_port()?;
    let _upstream = Server::nginx(
        "upstream",
        folder,
        LOAD_CORE,
        upstream_port,
        &upstream(upstream_port),
    )?;

    let mut peers = Vec::new();
    for name in &told.peers {
        let port = free_port()?;
        let server = match name.as_str() {
            "headset" => Server::headset(folder, &told.headset, port, upstream_port)?,
            "nginx" | "nginx2" => {
                // nginx 1.22 speaks either version on a plain port, so h2c has one of its own.
                let h2_port = free_port()?;
                let text = proxy(port, h2_port, upstream_port);
                let mut server = Server::nginx(name, folder, PROXY_CORE, port, &text)?;
                server.h2_port = h2_port;
                server
            }
            other => bail!("no peer is called {other}; see --help"),
        };
        check(&server)?;
        peers.push(server);
    }

    println!(
        "{} rounds of {} s, interleaved; medians. Proxy on core {PROXY_CORE}, load and upstream on core {LOAD_CORE}.",
        told.rounds, told.seconds
    );
    for server in &peers {
        println!("{:8} {}", server.name, server.version);
    }
    for scenario in &told.scenarios {
        let mut samples: Vec<Vec<Sample>> = peers.iter().map(|_| Vec::new()).collect();
        // One round for nobody: connections, caches, clocks of the processor.
        for server in &peers {
            round(*scenario, server, 1)?;
        }
        for turn in 0..told.rounds {
            for step in 0..peers.len() {
                // Who goes first changes, so that nobody always follows the same one.
                let which = (turn + step) % peers.len();
                samples[which].push(round(*scenario, &peers[which], told.seconds)?);
            }
        }
        print!("{}", table(*scenario, &peers, &samples));
    }
    Ok(())
}

/// What one round showed.
struct Sample {
    requests_a_second: f64,
    /// Microseconds of CPU per request.
    cpu: f64,
    resident_kib: u64,
}

fn round(scenario: Scenario, server: &Server, seconds: u64) -> Result<Sample> {
    let before = server.cpu()?;
    let begun = Instant::now();
    let requests = match scenario {
        Scenario::KeepAlive => wrk(server, seconds, &[])?,
        Scenario::Close => wrk(server, seconds, &["--header", "Connection: close"])?,
        Scenario::H2c => h2load(server, seconds)?,
    };
    let took = begun.elapsed();
    let cpu = server.cpu()? - before;
    if requests == 0 {
        bail!("{} answered nothing", server.name);
    }
    Ok(Sample {
        requests_a_second: requests as f64 / took.as_secs_f64(),
        cpu: cpu.as_secs_f64() * 1e6 / requests as f64,
        resident_kib: server.resident_kib()?,
    })
}

fn wrk(server: &Server, seconds: u64, extra: &[&str]) -> Result<u64> {
    let said = pinned(LOAD_CORE, "wrk")
        .args(["--threads", "1", "--connections", &CONNECTIONS.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .args(extra)
        .arg(format!("http://127.0.0.1:{}/1k", server.port))
        .output()?;
    let text = String::from_utf8_lossy(&said.stdout);
    // A proxy that refuses is fast: only good answers count.
    if let Some(line) = text.lines().find(|line| line.contains("Non-2xx")) {
        bail!("{}: {}", server.name, line.trim());
    }
    // "  301023 requests in 4.00s, 350.12MB read"
    text.lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .ok_or_else(|| anyhow!("wrk said: {text}{}", String::from_utf8_lossy(&said.stderr)))
}

fn h2load(server: &Server, seconds: u64) -> Result<u64> {
    let said = pinned(LOAD_CORE, "h2load")
        .args([
            "--clients",
            "2",
            "--max-concurrent-streams",
            "32",
            "--threads",
            "1",
        ])
        .args(["--duration", &seconds.to_string()])
        .arg(format!("http://127.0.0.1:{}/1k", server.h2_port))
        .output()?;
    let text = String::from_utf8_lossy(&said.stdout);
    // "status codes: 97923 2xx, 0 3xx, 0 4xx, 0 5xx"
    let counts: Vec<u64> = text
        .lines()
        .find_map(|line| line.strip_prefix("status codes: "))
        .ok_or_else(|| {
            anyhow!(
                "h2load said: {text}{}",
                String::from_utf8_lossy(&said.stderr)
            )
        })?
        .split(", ")
        .filter_map(|part| part.split(' ').next()?.parse().ok())
        .collect();
    match counts[..] {
        [good, 0, 0, 0] => Ok(good),
        _ => bail!("{}: not only good answers: {counts:?}", server.name),
    }
}

fn table(scenario: Scenario, peers: &[Server], samples: &[Vec<Sample>]) -> String {
    let median = |of: &dyn Fn(&Sample) -> f64, which: usize| {
        let mut values: Vec<f64> = samples[which].iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        }
    };
    let named = peers.iter().position(|server| server.name == "nginx");
    let base = named.map(|which| median(&|sample| sample.cpu, which));
    let mut text = format!(
        "\n{}\n{:8} {:>10} {:>15} {:>9} {:>9} {:>15}\n",
        scenario.title(),
        "",
        "req/s",
        "us CPU/request",
        "x nginx",
        "RSS MiB",
        "us CPU, range",
    );
    for (which, server) in peers.iter().enumerate() {
        let cpu = median(&|sample| sample.cpu, which);
        let ratio = base.map_or("-".into(), |base| format!("{:.2}", cpu / base));
        let all = samples[which].iter().map(|sample| sample.cpu);
        let least = all.clone().fold(f64::INFINITY, f64::min);
        let most = all.fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "{:8} {:>10.0} {:>15.2} {:>9} {:>9.1} {:>15}",
            server.name,
            median(&|sample| sample.requests_a_second, which),
            cpu,
            ratio,
            median(&|sample| sample.resident_kib as f64, which) / 1024.0,
            format!("{least:.2}-{most:.2}"),
        );
    }
    text
}

/// A process under measurement; it ends with this value.
struct Server {
    name: String,
    version: String,
    child: Child,
    /// The process that does the work: nginx's worker, headset itself.
    worker: u32,
    port: u16,
    h2_port: u16,
}

impl Server {
    fn nginx(name: &str, folder: &Path, core: &str, port: u16, text: &str) -> Result<Server> {
        let home = folder.join(name);
        fs::create_dir_all(&home)?;
        let config = home.join("nginx.conf");
        fs::write(&config, text)?;
        let mut command = pinned(core, "nginx");
        command.arg("-p").arg(&home).arg("-c").arg(&config);
        command.arg("-e").arg(home.join("error.log"));
        let mut server = Server {
            name: name.into(),
            version: first_line("nginx", "-v")?,
            child: spawn(command, &home)?,
            worker: 0,
            port,
            h2_port: port,
        };
        server.wait_until_it_listens(&home)?;
        let master = server.child.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        server.worker = match children.split_whitespace().collect::<Vec<_>>()[..] {
            [one] => one.parse()?,
            _ => bail!("nginx has not one worker but {children:?}"),
        };
        Ok(server)
    }

    fn headset(folder: &Path, binary: &Path, port: u16, upstream: u16) -> Result<Server> {
        let home = folder.join("headset");
        fs::create_dir_all(&home)?;
        let password = home.join("password");
        fs::write(&password, PASSWORD)?;
        let config = home.join("headset.toml");
        let admin = free_port()?;
        fs::write(
            &config,
            format!(
                r#"[listener.app]
bind = "127.0.0.1:{port}"
[admin]
bind = "127.0.0.1:{admin}"
[route.bench]
match = {{ path = "/" }}
upstream = "http://127.0.0.1:{upstream}"
credential = "key"
[credential.key]
kind = "static"
basic = {{ username = "{USERNAME}", password = {{ file = "{}" }} }}
[log]
level = "warn"
"#,
                password.display()
            ),
        )?;
        let mut command = pinned(PROXY_CORE, &binary.to_string_lossy());
        command.arg("run").arg("--config").arg(&config);
        let mut server = Server {
            name: "headset".into(),
            version: first_line(&binary.to_string_lossy(), "version")?,
            child: spawn(command, &home)?,
            worker: 0,
            port,
            h2_port: port,
        };
        server.worker = server.child.id();
        server.wait_until_it_listens(&home)?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self, home: &Path) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > end {
                let said = fs::read_to_string(home.join("output")).unwrap_or_default();
                bail!("{} does not listen on {}: {said}", self.name, self.port);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The CPU time of all its threads so far (proc(5), fields 14 and 15 of stat).
    fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.worker))?;
        // The name in parentheses may hold spaces.
        let after = stat.rsplit_once(')').context("an odd /proc/PID/stat")?.1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        // USER_HZ is 100 on every Linux that headset is built for.
        Ok(Duration::from_millis(ticks * 10))
    }

    fn resident_kib(&self) -> Result<u64> {
        fs::read_to_string(format!("/proc/{}/status", self.worker))?
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .context("no VmRSS")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx's master ends its workers on SIGTERM; on SIGKILL it could not.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Each proxy must set the same credential, or they do not do the same work.
fn check(server: &Server) -> Result<()> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET /seen HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
        server.port
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.contains(&format!("seen={BASIC};")) {
        Ok(())
    } else {
        bail!("{} does not attach the credential: {answer}", server.name)
    }
}

/// 1 KB from memory, and `/seen` tells which credential arrived.
fn upstream(port: u16) -> String {
    format!(
        r#"daemon off; worker_processes 1; pid nginx.pid; {user}
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 300s;
    {temporary}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /1k {{ return 200 "{body}"; }}
        location = /seen {{ return 200 "seen=$http_authorization;"; }}
    }}
}}
"#,
        user = user(),
        temporary = temporary(),
        body = "x".repeat(1024),
    )
}

/// What somebody would write who wants the same from nginx.
fn proxy(port: u16, h2_port: u16, upstream: u16) -> String {
    format!(
        r#"daemon off; worker_processes 1; pid nginx.pid; {user}
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 100000000; keepalive_timeout 300s;
    {temporary}
    upstream contact_center {{
        server 127.0.0.1:{upstream};
        keepalive 128; keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{h2_port} http2 backlog=4096;
        location / {{
            proxy_pass http://contact_center;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "{BASIC}";
        }}
    }}
}}
"#,
        user = user(),
        temporary = temporary(),
    )
}

/// As root nginx gives its worker to another user, who could not reach the folder.
fn user() -> &'static str {
    let root = fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(1) == Some("0"))
    });
    if root { "user root;" } else { "" }
}

/// Where Debian's nginx would want folders under /var.
fn temporary() -> &'static str {
    "client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; \
     uwsgi_temp_path tmp; scgi_temp_path tmp;"
}

fn pinned(core: &str, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", core, program]);
    command.stdin(Stdio::null());
    command
}

fn spawn(mut command: Command, home: &Path) -> Result<Child> {
    let output = fs::File::create(home.join("output"))?;
    command.stdout(output.try_clone()?).stderr(output);
    command.spawn().with_context(|| format!("{command:?}"))
}

fn first_line(program: &str, argument: &str) -> Result<String> {
    let said = Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("{program} {argument}"))?;
    let text = [said.stdout, said.stderr].concat();
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or("")
        .to_owned())
}

fn which(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
