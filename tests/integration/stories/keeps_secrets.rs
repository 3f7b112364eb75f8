//! No secret in anything that the real binary writes: not in logs at any level, not
//! in answers, not in metrics, not in its arguments.

use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use headset_simulator::{Faults, Options, Simulator};
use tokio::io::AsyncReadExt;

use crate::support::client;
use crate::support::folder::Folder;
use crate::support::{PATIENCE, eventually};

fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

#[tokio::test]
async fn nothing_that_the_binary_writes_holds_a_secret() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let folder = Folder::new();
    let bearer = center.admin_bearer(std::time::Duration::from_secs(3600));
    let password = "pa$$word-Äß-4711";
    let password_file = folder.write("password", password);
    let bearer_file = folder.write("bearer", &bearer);
    let base = center.base_url();
    let (app, admin) = (free_port(), free_port());
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"))
        .args(["run", "--upstream", &base])
        .args(["--register-url", &format!("{base}/configuration/basicauth")])
        .args(["--username", "crm_sync", "--context-id", "1"])
        .arg("--password-file")
        .arg(&password_file)
        .arg("--admin-bearer-file")
        .arg(&bearer_file)
        .env("HEADSET_LISTENER__APP__BIND", format!("127.0.0.1:{app}"))
        .env("HEADSET_ADMIN__BIND", format!("127.0.0.1:{admin}"))
        .env("HEADSET_LOG__LEVEL", "trace")
        .env("HEADSET_TIMEOUTS__DRAIN", "5s")
        // What Kubernetes injects for a Service of that name is not ours to read.
        .env("HEADSET_PORT", "tcp://10.0.0.1:80")
        .env("HEADSET_SERVICE_HOST", "10.0.0.1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], admin));
    let app = std::net::SocketAddr::from(([127, 0, 0, 1], app));
    eventually("a live credential", async || {
        tokio::net::TcpStream::connect(admin).await.is_ok()
            && client::get(admin, "/readyz?strict").await.status == 200
    })
    .await;

    let mut written = String::new();
    let fields = [("Authorization", "Basic bWluZTptaW5lLXRvbw==")];
    for target in [
        "/configuration/cc/1/process",
        "/nowhere",
        "/configuration/basicauth",
        "/a/../b",
    ] {
        let answer = client::call(app, "GET", target, &fields, b"").await;
        written.push_str(&format!("{:?}{}", answer.headers, answer.text()));
    }
    center.faults(Faults {
        registration_status: 400,
        registration_status_next: u32::MAX,
        ..Faults::default()
    });
    center.revoke_all_bearers();
    center.forget("crm_sync");
    tokio::time::timeout(PATIENCE, async {
        loop {
            let answer = client::get(app, "/configuration/cc/1/process").await;
            written.push_str(&format!("{:?}{}", answer.headers, answer.text()));
            if center.state().registration_attempts > 1 {
                break;
            }
        }
    })
    .await
    .unwrap();
    for target in ["/metrics", "/", "/readyz?strict", "/startupz"] {
        written.push_str(&client::get(admin, target).await.text());
    }
    let pid = child.id().unwrap();
    for name in ["cmdline", "status"] {
        written
            .push_str(&std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default());
    }
    signal(pid);
    let status = tokio::time::timeout(PATIENCE, child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(0), "a drain ends with 0");
    let mut output = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut output)
        .await
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut output)
        .await
        .unwrap();
    written.push_str(&String::from_utf8_lossy(&output));
    assert!(
        written.contains("cms") || written.contains("default"),
        "something was written"
    );
    assert!(written.contains("listening"), "{written}");

    let pair = format!("crm_sync:{password}");
    let secrets = [password, bearer.as_str(), pair.as_str(), "mine-too"];
    for secret in secrets {
        for form in [
            secret.to_owned(),
            STANDARD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
            percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC)
                .to_string(),
        ] {
            assert!(!written.contains(&form), "{form} in\n{written}");
        }
    }
    // Nor the signature of the bearer alone.
    let signature = bearer.rsplit('.').next().unwrap();
    assert!(!written.contains(signature));
}

fn signal(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[tokio::test]
async fn a_faulty_configuration_ends_with_78_and_the_whole_list() {
    let folder = Folder::new();
    let file = folder.write(
        "bad.toml",
        "[listener.app]\nbind = \"0.0.0.0:8080\"\n[route.a]\nupstrem = \"https://x\"\n\
         credential = \"nobody\"\n[credential.key]\nkind = \"basicaut\"\npassword = \"inline-secret\"\n\
         [credential.fixed]\nkind = \"static\"\nbasic.username = \"crm:sync\"\n\
         basic.password = { env = \"PASSWORD\" }\n",
    );
    for command in ["run", "check"] {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"))
            .args([command, "--config"])
            .arg(&file)
            .output()
            .await
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{stderr}");
        for part in [
            "bad.toml:4:1",
            "upstream",
            "nobody",
            "basicauth",
            "dangerous_allow_any_caller",
            "bad.toml:11:7: credential.fixed.basic.username",
        ] {
            assert!(stderr.contains(part), "{command}: {part} in\n{stderr}");
        }
        assert!(!stderr.contains("inline-secret"), "{stderr}");
    }
}

#[tokio::test]
async fn a_port_in_use_ends_with_69_and_names_the_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"))
        .args(["run", "--upstream", "http://127.0.0.1:1"])
        .env("HEADSET_LISTENER__APP__BIND", &address)
        .env("HEADSET_ADMIN__BIND", "127.0.0.1:0")
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{stderr}");
    assert!(
        stderr.contains("listener.app.bind") && stderr.contains(&address),
        "{stderr}"
    );
}

#[tokio::test]
async fn usage_errors_end_with_64() {
    for arguments in [&["run", "--nonsense"][..], &["fly"], &[]] {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"))
            .args(arguments)
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
    }
}
