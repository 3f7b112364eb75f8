//! What a process that is killed leaves to the next one.

use std::time::Duration;

use headset_simulator::{Faults, ListPasswords, Options, Simulator};

use crate::support::client;
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::process::Process;

const PATH: &str = "/configuration/cc/1/process";

async fn center(faults: Faults) -> Simulator {
    let options = Options {
        faults,
        ..Options::default()
    };
    Simulator::start(options).await.unwrap()
}

fn with_password_file(folder: &Folder) -> String {
    let path = folder.write("password", "customer_manager@123$");
    format!("password = {{ file = \"{}\" }}\n", path.display())
}

#[tokio::test]
async fn a_registration_that_still_lives_is_used_again_without_a_word_to_the_issuer() {
    let center = center(Faults::default()).await;
    let folder = Folder::new();
    let config = folder.configure(&center, &with_password_file(&folder));
    let first = Process::start(&config).await;
    first.ready().await;
    first.kill().await;
    let before = center.state();
    assert_eq!(before.registration_attempts, 1);

    // Not even a bearer is needed.
    center.revoke_all_bearers();
    for _ in 0..2 {
        let next = Process::start(&config).await;
        assert_eq!(client::get(next.app(), PATH).await.status, 200);
        next.kill().await;
    }
    let after = center.state();
    assert_eq!(after.registration_attempts, 1);
    assert_eq!(after.lookups, before.lookups);
}

#[tokio::test]
async fn beside_a_store_the_command_of_a_secret_runs_once_a_mint() {
    let center = center(Faults::default()).await;
    let folder = Folder::new();
    let count = folder.path("count");
    let script = format!("echo ran >> {}; echo customer_manager@123", count.display());
    let options = format!("password = {{ command = [\"/bin/sh\", \"-c\", {script:?}] }}\n");
    let process = Process::start(&folder.configure(&center, &options)).await;
    process.ready().await;
    assert_eq!(center.state().registrations, 1);
    assert_eq!(std::fs::read_to_string(count).unwrap(), "ran\n");
    process.kill().await;
}

#[tokio::test]
async fn two_processes_never_share_a_store_and_the_end_of_one_frees_it() {
    let center = center(Faults::default()).await;
    let folder = Folder::new();
    let config = folder.configure(&center, &with_password_file(&folder));
    let first = Process::start(&config).await;
    first.ready().await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_headset"))
        .args(["run", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(69), "{said}");
    assert!(said.contains("another headset keeps its"), "{said}");
    assert!(said.contains("a folder of its own"), "{said}");
    assert_eq!(client::get(first.app(), PATH).await.status, 200);
    first.kill().await;
    let next = Process::start(&config).await;
    assert_eq!(client::get(next.app(), PATH).await.status, 200);
}

#[tokio::test]
async fn a_damaged_store_is_refused_with_one_line_and_obtained_anew() {
    let center = center(Faults::default()).await;
    let folder = Folder::new();
    let config = folder.configure(&center, &with_password_file(&folder));
    let first = Process::start(&config).await;
    first.ready().await;
    first.kill().await;
    let mut damaged = 0;
    for entry in std::fs::read_dir(folder.path("store")).unwrap() {
        let path = entry.unwrap().path();
        // The admin socket may stand there too.
        if path.ends_with(".lock") || !path.is_file() {
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        damaged += 1;
    }
    assert_eq!(damaged, 1, "the ledger");
    let next = Process::start(&config).await;
    next.ready().await;
    assert_eq!(client::get(next.app(), PATH).await.status, 200);
    let logged = next.logged();
    let refusals = logged.matches("is refused: obtaining it anew").count();
    assert_eq!(refusals, 1, "{logged}");
    // It found its own registration by its password.
    assert_eq!(center.state().keys.len(), 1);
}

#[tokio::test]
async fn a_refused_login_is_tried_once_across_restarts_until_its_secret_changes() {
    let center = center(Faults::default()).await;
    let folder = Folder::new();
    let config = folder.configure(&center, &with_password_file(&folder));
    center.revoke_all_bearers();
    for restart in 0..4 {
        let process = Process::start(&config).await;
        eventually("the refusal", async || {
            client::get(process.app(), PATH).await.status == 503
                && process.logged().contains("credential refused")
        })
        .await;
        assert_eq!(center.state().registration_attempts, 1, "start {restart}");
        process.kill().await;
    }

    let process = Process::start(&config).await;
    eventually("the refusal", async || {
        process.logged().contains("credential refused")
    })
    .await;
    // The same bearer again is no change.
    let bearer = std::fs::read_to_string(folder.path("bearer")).unwrap();
    folder.write("bearer", &bearer);
    assert_eq!(client::get(process.app(), PATH).await.status, 503);
    let fresh = center.admin_bearer(Duration::from_secs(3600));
    folder.write("bearer", &fresh);
    let changed = tokio::time::Instant::now();
    eventually("recovery", async || {
        client::get(process.app(), PATH).await.status == 200
    })
    .await;
    let took = changed.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(center.state().registration_attempts, 2);
}

const GENERATED: &str = "password = { generate = true }\nrotation = \"new_name\"\n\
                         probe = \"/configuration/cc/1/process\"\n";

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So many milliseconds after it listens.
    After(u64),
    /// The issuer has the request, and has not acted on it.
    Asked,
    /// It has acted.
    Registered,
    /// It has acted, and its answer was lost.
    Lost,
    /// The probe was answered 401.
    Probing,
}

const MOMENTS: [Moment; 14] = [
    Moment::After(0),
    Moment::Asked,
    Moment::After(20),
    Moment::Registered,
    Moment::After(60),
    Moment::Lost,
    Moment::After(120),
    Moment::Probing,
    Moment::After(200),
    Moment::After(300),
    Moment::After(400),
    Moment::After(600),
    Moment::After(900),
    Moment::Asked,
];

/// Lets the moment come about, and notes what it will be seen by: before whatever
/// brings it is started, or it may be over when it is first looked for.
fn expect(moment: Moment, center: &Simulator) -> headset_simulator::State {
    if let Moment::Lost = moment {
        center.faults(Faults {
            registration_lost_next: 1,
            ..center.current_faults()
        });
    }
    center.state()
}

async fn wait_for(moment: Moment, center: &Simulator, before: headset_simulator::State) {
    let came = |test: fn(&headset_simulator::State, &headset_simulator::State) -> bool| {
        let before = before.clone();
        async move {
            eventually("the moment to kill", async || {
                test(&center.state(), &before)
            })
            .await;
        }
    };
    match moment {
        Moment::After(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Moment::Asked => {
            came(|now, then| now.registration_attempts > then.registration_attempts).await
        }
        Moment::Registered | Moment::Lost => {
            came(|now, then| now.registrations > then.registrations).await
        }
        Moment::Probing => came(|now, then| now.unauthorised > then.unauthorised).await,
    }
}

#[tokio::test]
async fn killed_at_any_moment_of_a_first_registration_nothing_is_lost_and_nothing_orphaned() {
    let slow = Faults {
        registration_delay_ms: 150,
        propagation_ms: 300,
        ..Faults::default()
    };
    for (at, moment) in MOMENTS.into_iter().enumerate() {
        let center = center(Faults {
            // What the list says of passwords must not matter.
            list_passwords: [
                ListPasswords::Clear,
                ListPasswords::Hashed,
                ListPasswords::Hidden,
            ][at % 3],
            ..slow.clone()
        })
        .await;
        let folder = Folder::new();
        let config = folder.configure(&center, GENERATED);
        let before = expect(moment, &center);
        let doomed = Process::start(&config).await;
        wait_for(moment, &center, before).await;
        doomed.kill().await;

        let next = Process::start(&config).await;
        eventually("a call that is let in", async || {
            client::get(next.app(), PATH).await.status == 200
        })
        .await;
        let state = center.state();
        let names: Vec<&str> = state.keys.iter().map(|key| key.username.as_str()).collect();
        assert_eq!(
            names,
            ["customer_manager-1"],
            "{moment:?}\n{}",
            next.logged()
        );
        assert_eq!(state.registrations, 1, "{moment:?}");
        assert!(state.registration_attempts <= 2, "{moment:?}: {state:?}");
        for entry in std::fs::read_dir(folder.path("store")).unwrap() {
            let path = entry.unwrap().path();
            // The admin socket may stand there too.
            let bytes = if path.is_file() {
                std::fs::read(path).unwrap()
            } else {
                Vec::new()
            };
            assert!(!String::from_utf8_lossy(&bytes).contains("customer_manager"));
        }
    }
}

#[tokio::test]
async fn killed_at_any_moment_of_a_rotation_nothing_is_lost_and_nothing_orphaned() {
    let center = center(Faults {
        registration_delay_ms: 100,
        propagation_ms: 200,
        ..Faults::default()
    })
    .await;
    center.register_foreign("customer_manager-x", "theirs");
    center.register_foreign("customer_manager_2", "theirs");
    let folder = Folder::new();
    // Renewed after 1.5 to 2.25 s.
    let options = format!("{GENERATED}lifetime = \"3s\"\n");
    let config = folder.configure(&center, &options);
    let moments = [
        Moment::Asked,
        Moment::Registered,
        Moment::Lost,
        Moment::Probing,
        Moment::After(1700),
        Moment::After(1900),
        Moment::After(2100),
        Moment::Asked,
        Moment::Registered,
        Moment::After(2300),
    ];
    for moment in moments {
        let doomed = Process::start(&config).await;
        doomed.ready().await;
        let before = expect(moment, &center);
        wait_for(moment, &center, before).await;
        doomed.kill().await;
    }

    let last = Process::start(&config).await;
    last.ready().await;
    let ours = || {
        let keys = center.state().keys;
        let ours = keys.into_iter().filter(|key| {
            let number = key.username.strip_prefix("customer_manager-");
            number.is_some_and(|number| number.parse::<u64>().is_ok())
        });
        ours.collect::<Vec<_>>()
    };
    eventually("one name of ours alone", async || ours().len() == 1).await;
    assert_eq!(client::get(last.app(), PATH).await.status, 200);
    let state = center.state();
    // Each number was registered at most once, and no number was wasted.
    let highest = ours()
        .iter()
        .filter_map(|key| key.username.rsplit('-').next()?.parse::<u64>().ok())
        .max()
        .unwrap();
    assert!(state.registrations <= highest, "{state:?}");
    let foreign = state.keys.iter().filter(|key| {
        ["customer_manager-x", "customer_manager_2"].contains(&key.username.as_str())
    });
    assert_eq!(foreign.count(), 2, "{state:?}");
}

#[tokio::test]
async fn on_shutdown_the_registration_is_deleted_after_the_last_call() {
    let center = center(Faults::default()).await;
    let folder = Folder::new();
    let options = format!("{}on_shutdown = \"revoke\"\n", with_password_file(&folder));
    let config = folder.configure(&center, &options);
    let process = Process::start(&config).await;
    process.ready().await;
    assert_eq!(center.state().keys.len(), 1);
    center.faults(Faults {
        delay_ms: 1500,
        ..Faults::default()
    });
    let app = process.app();
    let calls = center.state().calls;
    let slow = tokio::spawn(async move { client::get(app, PATH).await.status });
    eventually("the slow call", async || center.state().calls > calls).await;
    let stopping = tokio::spawn(process.terminate());
    assert_eq!(slow.await.unwrap(), 200);
    assert_eq!(stopping.await.unwrap(), Some(0));
    let state = center.state();
    assert_eq!((state.keys.len(), state.revocations), (0, 1));

    // And the next process starts anew.
    center.faults(Faults::default());
    let next = Process::start(&config).await;
    next.ready().await;
    assert_eq!(client::get(next.app(), PATH).await.status, 200);
}
