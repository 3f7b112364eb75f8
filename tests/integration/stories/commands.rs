//! The commands that try a credential, as a person or a script runs them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use headset_simulator::{Faults, Kind, Options, Simulator};
use serde_json::Value;

use crate::support::folder::Folder;

const PASSWORD: &str = "customer_manager@123$";

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn headset(arguments: &[&str]) -> Ran {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"));
    command.args(arguments).env_clear().kill_on_drop(true);
    let out = command.output().await.unwrap();
    Ran {
        code: out.status.code().unwrap(),
        stdout: String::from_utf8(out.stdout).unwrap(),
        stderr: String::from_utf8(out.stderr).unwrap(),
    }
}

/// One `basicauth` credential at `base`, in a file.
struct Written {
    folder: Folder,
    file: PathBuf,
    secrets: Vec<String>,
}

fn written(base: &str, bearer: String, tenant: bool) -> Written {
    let folder = Folder::new();
    let password = folder.write("password", PASSWORD);
    let bearer_file = folder.write("bearer", &bearer);
    let (username, context, rule) = match tenant {
        true => (
            "crm_{tenant}",
            "{tenant}",
            "tenant = { header = \"x-context-id\", allow = [\"7\"] }",
        ),
        false => ("crm", "1", ""),
    };
    let mut text = String::new();
    write!(
        text,
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.contacts]\nupstream = \"{base}\"\ncredential = \"cms_key\"\n{rule}\n\
         [credential.cms_key]\nkind = \"basicauth\"\nurl = \"{base}/configuration/basicauth\"\n\
         username = \"{username}\"\ncontext_id = \"{context}\"\nlifetime = \"1h\"\n\
         password = {{ file = {password:?} }}\nadmin_bearer = {{ file = {bearer_file:?} }}\n"
    )
    .unwrap();
    let file = folder.write("headset.toml", &text);
    let signature = bearer.rsplit('.').next().unwrap().to_owned();
    Written {
        folder,
        file,
        secrets: vec![PASSWORD.into(), bearer, signature],
    }
}

impl Written {
    fn before(center: &Simulator, bearer_life: Duration) -> Written {
        written(&center.base_url(), center.admin_bearer(bearer_life), false)
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let mut all = arguments.to_vec();
        all.extend(["--config", self.file.to_str().unwrap()]);
        let ran = headset(&all).await;
        for secret in &self.secrets {
            assert!(!ran.stdout.contains(secret.as_str()), "{}", ran.stdout);
            assert!(!ran.stderr.contains(secret.as_str()), "{}", ran.stderr);
        }
        ran
    }
}

const HOURS: Duration = Duration::from_secs(12 * 3600);

/// A program that hands out a secret may ask somebody, or give each only once.
#[tokio::test]
async fn mint_runs_the_command_of_a_secret_once_and_masks_what_it_printed() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let written = Written::before(&center, HOURS);
    let (count, here) = (
        written.folder.path("count"),
        written.folder.path("password"),
    );
    let script = format!("echo ran >> {}; cat {}", count.display(), here.display());
    let text = std::fs::read_to_string(&written.file).unwrap();
    let text = text.replace(
        &format!("{{ file = {here:?} }}"),
        &format!("{{ command = [\"/bin/sh\", \"-c\", {script:?}] }}"),
    );
    assert!(text.contains("/bin/sh"), "{text}");
    std::fs::write(&written.file, text).unwrap();
    let ran = written.run(&["mint", "cms_key"]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(count).unwrap(), "ran\n");
}

#[tokio::test]
async fn mint_shows_what_was_said_and_heard_with_every_secret_masked() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let ran = Written::before(&center, HOURS)
        .run(&["mint", "cms_key"])
        .await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let post = format!("1. POST {}/configuration/basicauth\n", center.base_url());
    for part in [
        "credential cms_key (basicauth)\n",
        &post,
        "   > authorization: Bearer ***\n",
        "\"password\":\"***\"",
        "\"username\":\"crm\"",
        "   < 200 OK after ",
        "sets authorization: Basic ***, from what the configuration names\n",
        "by request 1, /dateExpiry\n",
        "manual action required by ",
        "obtained after ",
    ] {
        assert!(ran.stdout.contains(part), "{part} in\n{}", ran.stdout);
    }
    assert_eq!(center.state().registrations, 1);
}

#[tokio::test]
async fn mint_as_json_is_one_object_on_stdout() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let written = Written::before(&center, HOURS);
    let ran = written.run(&["mint", "cms_key", "--output", "json"]).await;
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &said["ok"]), (0, &Value::Bool(true)));
    assert_eq!(said["calls"][0]["method"], "POST");
    assert_eq!(said["calls"][0]["answer"]["status"], 200);
    assert_eq!(said["sets"][0]["name"], "authorization");
    assert_eq!(said["expires_by"], "request 1, /dateExpiry");
    assert!(said["human"]["due"].is_string());
}

#[tokio::test]
async fn mint_tells_apart_what_can_be_done_about_a_failure() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let mint = ["mint", "cms_key"];

    let expired = Written::before(&center, Duration::ZERO).run(&mint).await;
    assert_eq!(expired.code, 77, "{}", expired.stderr);
    assert!(
        expired
            .stderr
            .contains("refused: the admin bearer has expired")
    );
    assert_eq!(center.state().registration_attempts, 0);

    let revoked = Written::before(&center, HOURS);
    center.revoke_all_bearers();
    let revoked = revoked.run(&mint).await;
    assert_eq!(revoked.code, 77, "{}", revoked.stderr);
    assert!(
        revoked.stdout.contains("< 401 Unauthorized"),
        "{}",
        revoked.stdout
    );

    center.faults(Faults {
        registration_status: 500,
        registration_status_next: 1,
        ..Faults::default()
    });
    let failing = Written::before(&center, HOURS).run(&mint).await;
    assert_eq!(failing.code, 75, "{}", failing.stderr);

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let bearer = center.admin_bearer(HOURS);
    let unreachable = written(&base, bearer, false).run(&mint).await;
    assert_eq!(unreachable.code, 69, "{}", unreachable.stderr);
    assert!(
        unreachable.stdout.contains("(no connection)"),
        "{}",
        unreachable.stdout
    );

    let missing = Written::before(&center, HOURS);
    std::fs::remove_file(missing.folder.path("password")).unwrap();
    let missing = missing.run(&mint).await;
    assert_eq!(missing.code, 78, "{}", missing.stderr);

    let unknown = Written::before(&center, HOURS).run(&["mint", "cms"]).await;
    assert_eq!(unknown.code, 64);
    assert!(
        unknown.stderr.contains("name one of cms_key"),
        "{}",
        unknown.stderr
    );
}

#[tokio::test]
async fn mint_and_check_try_a_tenant_of_a_credential_that_each_has() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let written = written(&center.base_url(), center.admin_bearer(HOURS), true);
    assert_eq!(written.run(&["mint", "cms_key"]).await.code, 64);
    let foreign = written.run(&["mint", "cms_key", "--tenant", "8"]).await;
    assert_eq!(foreign.code, 64, "{}", foreign.stderr);
    let mine = written.run(&["mint", "cms_key", "--tenant", "7"]).await;
    assert_eq!(mine.code, 0, "{}", mine.stderr);
    assert_eq!(center.state().keys[0].username, "crm_7");
    let checked = written.run(&["check", "--online"]).await;
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let line = "credential cms_key for tenant 7: obtained, expires ";
    assert!(checked.stdout.contains(line), "{}", checked.stdout);
}

#[tokio::test]
async fn check_online_tries_each_credential_once_and_warns_of_a_short_runway() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let written = Written::before(&center, HOURS);
    let offline = written.run(&["check"]).await;
    assert_eq!((offline.code, center.state().registration_attempts), (0, 0));

    let online = written.run(&["check", "--online"]).await;
    assert_eq!(online.code, 0, "{}", online.stderr);
    assert_eq!(center.state().registration_attempts, 1);
    assert!(
        online
            .stdout
            .contains("credential cms_key: obtained, expires ")
    );
    for part in [
        "warning: credential cms_key: manual action required by ",
        ", in 12 hours ",
        "fresh bearer into file",
    ] {
        assert!(online.stderr.contains(part), "{part} in\n{}", online.stderr);
    }

    let long = Written::before(&center, 30 * 2 * HOURS)
        .run(&["check", "--online"])
        .await;
    assert!(!long.stderr.contains("warning"), "{}", long.stderr);
}

#[tokio::test]
async fn check_online_ends_with_what_is_wrong() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let refused = Written::before(&center, HOURS);
    center.revoke_all_bearers();
    let ran = refused.run(&["check", "--online"]).await;
    assert_eq!(ran.code, 77, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("credential cms_key: refused: "),
        "{}",
        ran.stderr
    );
    let ran = refused
        .run(&["check", "--online", "--output", "json"])
        .await;
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &said["ok"]), (77, &Value::Bool(false)));
    assert_eq!(said["online"][0]["exit"], 77);

    let bearer = center.admin_bearer(HOURS);
    let unreachable = written("http://127.0.0.1:1", bearer, false);
    let ran = unreachable.run(&["check", "--online"]).await;
    assert_eq!(ran.code, 69, "{}", ran.stderr);
}

/// `check -c <(…)`: what is read twice is empty, or waits without end, the second time.
#[tokio::test]
async fn check_reads_a_pipe_once() {
    let check = |text: String| async move {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_headset"));
        command.args(["check", "--config", "/dev/stdin"]);
        command.env_clear().kill_on_drop(true);
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, text.as_bytes())
            .await
            .unwrap();
        drop(stdin);
        let out = child.wait_with_output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (out.status.code(), text(out.stdout), text(out.stderr))
    };
    let good = "[listener.app]\nbind = \"127.0.0.1:0\"\n\
                [route.a]\nupstream = \"https://cms.example.com\"\n";
    let (code, said, complaints) = check(good.into()).await;
    assert_eq!(code, Some(0), "{complaints}");
    assert!(said.contains("route a: / -> "), "{said}");
    let (code, _, complaints) = check(good.replace("bind", "bnd")).await;
    assert_eq!(code, Some(78));
    assert!(complaints.contains("2 | bnd = …"), "{complaints}");
}

/// A Redis that answers all that it is sent with `answer`, once to each connection.
fn answers(answer: &'static str) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

/// Who only keeps a pace together has no credential that would ask the store.
#[tokio::test]
async fn check_online_asks_the_store_that_only_a_pace_needs_and_tells_whose_fault_it_is() {
    let folder = Folder::new();
    let key = folder.write("key", "0123456789abcdef0123456789abcdef");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    for (address, code, parts) in [
        (answers(wrong), 78, ["fault in [store]: ", "store.password"]),
        (
            "127.0.0.1:1".into(),
            69,
            ["out of reach: ", "is not reached"],
        ),
    ] {
        let text = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [store]\nurl = \"redis://{address}\"\nkey = {{ file = {key:?} }}\n\
             [route.users]\nupstream = \"http://127.0.0.1:1\"\n\
             pace = {{ calls = 50, per = \"1m\", shared = true }}\n"
        );
        let file = folder.write("headset.toml", &text);
        let file = file.to_str().unwrap();
        let ran = headset(&["check", "--online", "--config", file]).await;
        assert_eq!(ran.code, code, "{}", ran.stderr);
        for part in parts {
            assert!(ran.stderr.contains(part), "{part} in {}", ran.stderr);
        }
        let json = headset(&["check", "--online", "--output", "json", "--config", file]).await;
        let said: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(
            (&said["ok"], &said["store"]["ok"]),
            (&false.into(), &false.into())
        );
    }
}

/// `check --online` and then `run` is the order that people are told; a session that the
/// first leaves open bars the second for as long as a refusal is remembered.
#[tokio::test]
async fn a_credential_that_was_tried_does_not_bar_the_next_login_of_its_user() {
    let center = Simulator::start(Options::default()).await.unwrap();
    let base = center.base_url();
    let folder = Folder::new();
    let own = folder.write("password", PASSWORD);
    let password = folder.write("supervisor", "supervisor@123$");
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [route.contacts]\nupstream = \"{base}\"\ncredential = \"cms_key\"\n\
         [credential.cms_key]\nkind = \"basicauth\"\nurl = \"{base}/configuration/basicauth\"\n\
         username = \"crm\"\ncontext_id = \"1\"\npassword = {{ file = {own:?} }}\n\
         admin_bearer = {{ credential = \"login\" }}\n\
         [credential.login]\nkind = \"ameyo_jwt\"\n\
         url = \"{base}/ameyorestapi/userLogin/login\"\nusername = \"supervisor01\"\n\
         domain = \"x\"\npassword = {{ file = {password:?} }}\n"
    );
    let written = Written {
        file: folder.write("headset.toml", &text),
        folder,
        secrets: vec![PASSWORD.into(), "supervisor@123$".into()],
    };
    for arguments in [
        &["check", "--online"][..],
        &["mint", "cms_key"],
        &["mint", "login"],
        &["check", "--online"],
    ] {
        let ran = written.run(arguments).await;
        assert_eq!(ran.code, 0, "{arguments:?} {}", ran.stderr);
        let login = center.state().kinds[&Kind::AmeyoJwt];
        assert_eq!(
            (login.open, login.logins),
            (0, login.logouts),
            "{arguments:?}"
        );
        assert!(login.logins > 0);
    }
}
