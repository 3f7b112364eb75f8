//! The kind over its whole life, against the simulated contact center: generations,
//! restarts with a store, shutdown, and clocks that lie.

use std::time::Duration;

use prometheus::Registry;

use super::*;
use crate::base::name::Name;
use crate::base::problem::{Place, Problem};
use crate::base::temp_folder::TempFolder;
use crate::base::time::Clock;
use crate::config::url::HttpUrl;
use crate::config::values::{Value, Values};
use crate::config::{CredentialConfig, Roots, UpstreamTls};
use crate::credential::CredentialOrigin;
use crate::credential::identity::Identity;
use crate::credential::metrics::CredentialMetrics;
use crate::credential::slot::{Slot, SlotParts};
use crate::credential::store::file::FileStore;
use crate::credential::store::persistent_mint::persistent;
use crate::credential::store::{NullStore, Store};
use crate::credential::testing::{LoopbackServer, START_MS, answer};
use crate::secret::Secret;
use headset_simulator::{
    Clock as CenterClock, Faults, ListPasswords, Options as Center, Simulator,
};

const HOUR: u64 = 3600;
const STORE_KEY: &str = "0123456789abcdef0123456789abcdef";

/// A contact center, and what headset is told about it.
struct LifeRig {
    center: Simulator,
    folder: TempFolder,
    clock: Clock,
    options: Vec<(&'static str, Value)>,
}

impl LifeRig {
    async fn new() -> LifeRig {
        let clock = Clock::faked(START_MS);
        LifeRig::with_clocks(clock.clone(), clock).await
    }

    async fn with_clocks(clock: Clock, issuers: Clock) -> LifeRig {
        let center = Simulator::start(Center {
            clock: CenterClock::from_fn(move || issuers.now().wall_ms),
            ..Center::default()
        })
        .await
        .unwrap();
        let folder = TempFolder::new();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            std::fs::write(&path, text).unwrap();
            Value::Secret(SecretSource::File(path))
        };
        let url = format!("{}/configuration/basicauth", center.base_url());
        let text = |text: &str| Value::Text(text.into());
        let options = vec![
            ("username", text("crm")),
            ("context", text("ContactCenter")),
            ("context_id", text("1")),
            ("user_role", text("Administrator")),
            ("lifetime", Value::Duration(Duration::from_secs(HOUR))),
            ("password", write("password", "first")),
            (
                "admin_bearer",
                write("bearer", &center.admin_bearer(Duration::from_secs(86_400))),
            ),
            ("url", Value::Url(HttpUrl::parse(&url).unwrap())),
        ];
        LifeRig {
            center,
            folder,
            clock,
            options,
        }
    }

    fn with(mut self, key: &'static str, value: Value) -> LifeRig {
        self.set(key, value);
        self
    }

    fn set(&mut self, key: &'static str, value: Value) {
        self.options.retain(|(known, _)| *known != key);
        self.options.push((key, value));
    }

    fn new_names(self) -> LifeRig {
        self.with("rotation", Value::Text("new_name".into()))
    }

    fn credential(&self) -> CredentialConfig {
        let values = self
            .options
            .iter()
            .map(|(key, value)| (*key, (value.clone(), Place::Flag("--test".into()))));
        CredentialConfig {
            name: Name::parse("cms_key").unwrap(),
            kind: "basicauth",
            values: Values(values.collect()),
            origins: vec![HttpUrl::parse(&self.center.base_url()).unwrap()],
            tls: UpstreamTls {
                roots: Roots::Bundled,
                ..UpstreamTls::default()
            },
        }
    }

    fn try_build(&self) -> Result<Arc<dyn Mint>, Vec<Problem>> {
        build(&KindContext {
            credential: &self.credential(),
            clock: &self.clock,
            mint_limit: Duration::from_secs(10),
            chains: &Default::default(),
            egress: &Default::default(),
        })
    }

    /// One life of the process, with the store in `folder`.
    fn stored_in(&self, folder: &std::path::Path) -> Arc<dyn Mint> {
        let key = Secret::new(STORE_KEY.to_owned(), "test");
        let store = FileStore::open(folder, &key).unwrap();
        let keep = self.scope(Arc::new(store));
        persistent(self.try_build().ok().unwrap(), keep, self.clock.clone())
    }

    fn scope(&self, store: Arc<dyn Store>) -> StoreScope {
        let credential = self.credential();
        let spec = Identity::of(&credential).digest();
        StoreScope::new(store, &credential.name, None, spec)
    }

    fn stored(&self) -> Arc<dyn Mint> {
        self.stored_in(&self.folder.path().join("store"))
    }

    fn unstored(&self) -> Arc<dyn Mint> {
        let keep = self.scope(Arc::new(NullStore::new()));
        persistent(self.try_build().ok().unwrap(), keep, self.clock.clone())
    }

    fn slot(&self, mint: Arc<dyn Mint>) -> Arc<Slot> {
        let name = Name::parse("cms_key").unwrap();
        let metrics = CredentialMetrics::register(&Registry::new()).unwrap();
        Slot::start(SlotParts {
            meter: metrics.of(&name),
            name,
            mint,
            clock: self.clock.clone(),
            credential_wait: Duration::from_secs(5),
            mint_limit: Duration::from_secs(10),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    fn names(&self) -> Vec<String> {
        let keys = self.center.state().keys;
        keys.into_iter().map(|key| key.username).collect()
    }

    async fn eventually_named(&self, expected: &[&str]) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while self.names() != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{:?}, not {expected:?}", self.names());
    }

    /// What is left of the first key by the issuer's own clock, in ms.
    fn left_there(&self) -> i64 {
        let state = self.center.state();
        let expiry: jiff::Timestamp = state.keys[0].date_expiry.parse().unwrap();
        expiry.as_millisecond() - state.now_ms
    }

    fn left_here(&self, fresh: &Fresh) -> i64 {
        let left = fresh.expires.remaining(self.clock.now());
        i64::try_from(left.as_millis()).unwrap()
    }
}

fn reason(error: &MintError) -> &'static str {
    error.labels().1
}

#[tokio::test]
async fn an_old_name_is_deleted_when_its_last_use_has_ended_and_not_before() {
    let rig = LifeRig::new().await.new_names();
    let mint = rig.unstored();
    let first = mint.mint().await.unwrap();
    // A call that goes on carries a clone of the header, not of anything of ours.
    let on_a_call = first.headers[0].1.clone();
    drop(first);
    let second = mint.mint().await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(rig.names(), ["crm-1", "crm-2"]);
    drop(on_a_call);
    rig.eventually_named(&["crm-2"]).await;
    drop(second);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        rig.names(),
        ["crm-2"],
        "the one in use is not for the sweeper"
    );
}

#[tokio::test]
async fn what_cannot_be_deleted_stays_in_the_ledger_across_a_restart() {
    let rig = LifeRig::new().await.new_names();
    let first = rig.stored();
    drop(first.mint().await.unwrap());
    let fresh = first.mint().await.unwrap();
    // Gone before the sweeper has looked: as if the process had died.
    drop((first, fresh));
    assert_eq!(rig.names(), ["crm-1", "crm-2"]);
    let second = rig.stored();
    second.mint().await.unwrap();
    rig.eventually_named(&["crm-2"]).await;
    assert_eq!(rig.center.state().registrations, 2);
}

#[tokio::test]
async fn a_lost_answer_sends_the_same_generated_pair_again() {
    for list_passwords in [ListPasswords::Clear, ListPasswords::Hidden] {
        let rig = LifeRig::new()
            .await
            .new_names()
            .with("password", Value::Secret(SecretSource::Generate));
        rig.center.faults(Faults {
            registration_lost_next: 1,
            list_passwords,
            ..Faults::default()
        });
        let mint = rig.stored();
        let error = mint.mint().await.unwrap_err();
        assert_eq!(reason(&error), "connect");
        let first = mint.mint().await.unwrap();
        assert_eq!(rig.names(), ["crm-1"]);
        assert_eq!(rig.center.state().registrations, 1);
        let second = mint.mint().await.unwrap();
        assert_ne!(first.headers[0].1, second.headers[0].1);
        assert_eq!(rig.names(), ["crm-1", "crm-2"]);
    }
}

#[tokio::test]
async fn a_generated_password_that_cannot_be_sealed_is_not_sent() {
    let rig = LifeRig::new()
        .await
        .new_names()
        .with("password", Value::Secret(SecretSource::Generate));
    // A file is in the way of the folder.
    let blocked = rig.folder.path().join("password/store");
    let error = rig.stored_in(&blocked).mint().await.unwrap_err();
    assert_eq!(reason(&error), "store");
    assert_eq!(rig.center.state().registration_attempts, 0);

    // One from a file is not lost with us, so it is sent all the same.
    let rig = LifeRig::new().await.new_names();
    let blocked = rig.folder.path().join("password/store");
    rig.stored_in(&blocked).mint().await.unwrap();
    assert_eq!(rig.names(), ["crm-1"]);
}

#[tokio::test]
async fn a_restart_serves_what_lives_and_renews_soon_what_is_outdated() {
    let mut rig = LifeRig::new().await.new_names();
    let first = rig.stored().mint().await.unwrap();
    let again = rig.stored().mint().await.unwrap();
    assert_eq!(again.headers, first.headers);
    assert_eq!(again.expires.wall_ms(), first.expires.wall_ms());
    let soon = |fresh: &Fresh| fresh.origin == CredentialOrigin::Outdated;
    assert_eq!(
        (first.origin, again.origin),
        (CredentialOrigin::Issued, CredentialOrigin::Reused)
    );
    assert!(!soon(&again));

    let file = |name: &str| rig.folder.path().join(name);
    std::fs::write(file("password"), "second").unwrap();
    let outdated = rig.stored().mint().await.unwrap();
    assert_eq!(outdated.headers, first.headers);
    assert!(soon(&outdated));
    std::fs::write(file("password"), "first").unwrap();
    assert!(!soon(&rig.stored().mint().await.unwrap()));
    // A password that cannot be read is no reason to stop serving.
    std::fs::remove_file(file("password")).unwrap();
    assert!(!soon(&rig.stored().mint().await.unwrap()));
    std::fs::write(file("password"), "first").unwrap();
    let fresh = rig.center.admin_bearer(Duration::from_secs(90_000));
    std::fs::write(file("bearer"), fresh).unwrap();
    assert!(soon(&rig.stored().mint().await.unwrap()));
    assert_eq!(rig.center.state().registration_attempts, 1);

    rig.set("user_role", Value::Text("Agent".into()));
    let next = rig.stored();
    assert!(soon(&next.mint().await.unwrap()));
    next.mint().await.unwrap();
    rig.eventually_named(&["crm-2"]).await;
}

#[tokio::test]
async fn a_change_of_the_rotation_takes_the_old_name_along() {
    let mut rig = LifeRig::new().await;
    drop(rig.stored().mint().await.unwrap());
    assert_eq!(rig.names(), ["crm"]);
    for (rotation, name) in [
        ("new_name", "crm-1"),
        ("in_place", "crm"),
        ("new_name", "crm-2"),
    ] {
        rig.set("rotation", Value::Text(rotation.into()));
        let mint = rig.stored();
        drop(mint.mint().await.unwrap());
        let _fresh = mint.mint().await.unwrap();
        rig.eventually_named(&[name]).await;
    }
}

#[tokio::test]
async fn revoking_deletes_every_name_of_ours_and_none_of_others_and_ends_registering() {
    for rotation in ["in_place", "new_name"] {
        let rig = LifeRig::new()
            .await
            .with("rotation", Value::Text(rotation.into()))
            .with("on_shutdown", Value::Text("revoke".into()));
        rig.center.register_foreign("crm-x", "theirs");
        rig.center.register_foreign("crm-1", "theirs");
        let mint = rig.unstored();
        assert!(mint.facts().revokes_on_shutdown);
        let first = mint.mint().await.unwrap();
        let second = mint.mint().await.unwrap();
        assert!(rig.names().len() > 2);
        mint.revoke(Revocation::Configured).await.unwrap();
        assert_eq!(rig.names(), ["crm-x", "crm-1"], "{rotation}");
        mint.mint().await.unwrap_err();
        assert_eq!(rig.names(), ["crm-x", "crm-1"]);
        mint.revoke(Revocation::Configured).await.unwrap();
        drop((first, second));
    }
}

#[tokio::test]
async fn a_process_that_stops_does_not_delete_what_another_has_written_since() {
    for list_passwords in [
        ListPasswords::Clear,
        ListPasswords::Hashed,
        ListPasswords::Hidden,
    ] {
        let rig = LifeRig::new()
            .await
            .with("on_shutdown", Value::Text("revoke".into()));
        rig.center.faults(Faults {
            list_passwords,
            ..Faults::default()
        });
        let password = |text| std::fs::write(rig.folder.path().join("password"), text).unwrap();
        let old = rig.unstored();
        drop(old.mint().await.unwrap());
        password("second");
        let new = rig.unstored();
        drop(new.mint().await.unwrap());
        assert_eq!(rig.center.state().replacements, 1, "taken by its mark");
        old.revoke(Revocation::Configured).await.unwrap();
        assert_eq!(rig.names(), ["crm"], "{list_passwords:?}");

        // The other way round: the newer one stops, and the older has taken it back.
        password("third");
        let newest = rig.unstored();
        drop(newest.mint().await.unwrap());
        password("second");
        drop(new.mint().await.unwrap());
        newest.revoke(Revocation::Configured).await.unwrap();
        assert_eq!(rig.names(), ["crm"], "{list_passwords:?}");
        // It deletes what it wrote itself.
        new.revoke(Revocation::Configured).await.unwrap();
        assert_eq!(rig.names(), [""; 0], "{list_passwords:?}");
    }
}

#[tokio::test]
async fn what_another_process_has_renewed_with_the_same_password_is_its_own() {
    let rig = LifeRig::new()
        .await
        .with("on_shutdown", Value::Text("revoke".into()));
    let old = rig.unstored();
    drop(old.mint().await.unwrap());
    let new = rig.unstored();
    drop(new.mint().await.unwrap());
    rig.clock.sleep_machine(Duration::from_secs(120));
    drop(new.mint().await.unwrap());
    assert_eq!(rig.center.state().replacements, 1);
    old.revoke(Revocation::Configured).await.unwrap();
    assert_eq!(rig.names(), ["crm"]);
    new.revoke(Revocation::Configured).await.unwrap();
    assert_eq!(rig.names(), [""; 0]);
}

#[tokio::test]
async fn where_nobody_may_list_a_name_is_deleted_by_its_id_unless_its_pair_is_refused() {
    let server = |taken: bool| {
        LoopbackServer::start(move |n, seen| match (&seen.method, n) {
            (&http::Method::POST, _) => answer(201, r#"{"id":"7"}"#),
            (&http::Method::GET, _) if seen.header("authorization").starts_with("Basic") => {
                answer(if taken { 401 } else { 403 }, "")
            }
            // This admin may not list either.
            (&http::Method::GET, _) => answer(403, ""),
            _ => answer(204, ""),
        })
    };
    for taken in [false, true] {
        let server = server(taken).await;
        let url = format!("http://127.0.0.1:{}/configuration/basicauth", server.port);
        let rig = LifeRig::new()
            .await
            .with("on_shutdown", Value::Text("revoke".into()))
            .with("url", Value::Url(HttpUrl::parse(&url).unwrap()));
        let mint = rig.unstored();
        drop(mint.mint().await.unwrap());
        mint.revoke(Revocation::Configured).await.unwrap();
        let deleted = server.seen().iter().any(|seen| seen.method == "DELETE");
        assert_eq!(deleted, !taken);
    }
}

#[tokio::test]
async fn one_attempt_outside_a_slot_leaves_nothing_behind_and_touches_nothing() {
    let rig = LifeRig::new().await.new_names();
    let running = rig.unstored();
    let _in_use = running.mint().await.unwrap();
    let alone = rig.try_build().ok().unwrap();
    drop(alone.mint().await.unwrap());
    assert_eq!(rig.names(), ["crm-1", "crm-2"]);
    assert!(alone.facts().leaves_a_trace);
    alone.revoke(Revocation::Configured).await.unwrap();
    assert_eq!(rig.names(), ["crm-1"]);
    // What a slot keeps is not for a mere attempt to end.
    running.revoke(Revocation::Configured).await.unwrap();
    assert_eq!(rig.names(), ["crm-1"]);
}

#[tokio::test]
async fn revoking_waits_for_the_registration_that_is_under_way() {
    let rig = LifeRig::new()
        .await
        .with("on_shutdown", Value::Text("revoke".into()));
    rig.center.faults(Faults {
        registration_delay_ms: 400,
        ..Faults::default()
    });
    let mint = rig.unstored();
    let flight = tokio::spawn({
        let mint = mint.clone();
        async move { mint.mint().await.map(drop) }
    });
    while rig.center.state().registration_attempts == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    mint.revoke(Revocation::Configured).await.unwrap();
    flight.await.unwrap().unwrap();
    assert_eq!(rig.names(), [""; 0]);
    assert_eq!(rig.center.state().revocations, 1);
}

#[tokio::test]
async fn secrets_may_come_from_commands() {
    let rig = LifeRig::new().await;
    let cat = |file: &str| {
        let path = rig.folder.path().join(file).display().to_string();
        Value::Secret(SecretSource::Command(vec!["cat".into(), path].into()))
    };
    let (password, bearer) = (cat("password"), cat("bearer"));
    let rig = rig.with("password", password).with("admin_bearer", bearer);
    let mint = rig.stored();
    mint.mint().await.unwrap();
    assert_eq!(rig.names(), ["crm"]);
    assert_eq!(mint.change(), Change::Nothing);
    assert_eq!(mint.facts().person_renews, None);
    let error = rig
        .with(
            "password",
            Value::Secret(SecretSource::Command(vec!["false".into()].into())),
        )
        .unstored()
        .mint()
        .await
        .unwrap_err();
    assert_eq!(reason(&error), "secret");
    assert!(
        error
            .to_string()
            .starts_with("command false: it ended with")
    );
}

#[tokio::test]
async fn a_probe_asks_the_first_origin_until_the_pair_is_known() {
    let rig = LifeRig::new()
        .await
        .new_names()
        .with("probe", Value::Text("/configuration/cc/1/process".into()));
    rig.center.faults(Faults {
        propagation_ms: 600,
        ..Faults::default()
    });
    let mint = rig.unstored();
    mint.mint().await.unwrap();
    let state = rig.center.state();
    assert!(state.unauthorised >= 2, "{state:?}");
    assert_eq!(state.calls_by_status.get(&200), Some(&1));

    rig.center.faults(Faults {
        server_error_next: 1,
        ..Faults::default()
    });
    let error = mint.mint().await.unwrap_err();
    assert_eq!(reason(&error), "probe");
    assert!(error.to_string().contains("answered 500"), "{error}");
    mint.mint().await.unwrap();
    assert_eq!(
        rig.center.state().registrations,
        2,
        "it was only probed again"
    );
}

#[tokio::test]
async fn options_that_contradict_each_other_are_problems() {
    let problem = |rig: LifeRig| {
        let problems = rig.try_build().err().unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].to_string()
    };
    let generate = || Value::Secret(SecretSource::Generate);
    let probe = |path: &str| Value::Text(path.into());
    let said = problem(LifeRig::new().await.with("password", generate()));
    assert!(said.contains("rotation = \"new_name\""), "{said}");
    let said = problem(LifeRig::new().await.with("probe", probe("/x")));
    assert!(said.contains("only a new name is probed"), "{said}");
    let said = problem(LifeRig::new().await.new_names().with("probe", probe("x y")));
    assert!(said.contains("not a path"), "{said}");
    let short = Value::Text("abc".into());
    let said = problem(LifeRig::new().await.with("generate.alphabet", short));
    assert!(said.contains("too small"), "{said}");
}

#[tokio::test]
async fn a_machine_that_slept_through_the_expiry_registers_before_it_serves() {
    for rotation in ["in_place", "new_name"] {
        let rig = LifeRig::new()
            .await
            .with("rotation", Value::Text(rotation.into()));
        let slot = rig.slot(rig.stored());
        slot.obtain().await.unwrap();
        rig.clock.sleep_machine(Duration::from_secs(2 * HOUR));
        assert!(slot.peek().is_none());
        let next = slot.obtain().await.unwrap();
        assert_eq!(next.generation, 2);
        drop(next);
        let left = rig.left_there();
        assert!(left <= 0 || left > 3_500_000, "{left}");
        // A process that starts after the sleep does not serve what has ended.
        rig.clock.sleep_machine(Duration::from_secs(2 * HOUR));
        let fresh = rig.stored().mint().await.unwrap();
        assert!(rig.left_here(&fresh) > 3_500_000);
        assert_eq!(
            rig.center.state().registrations + rig.center.state().replacements,
            3
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_live_longer_and_dates_nothing_wrongly() {
    let (ours, issuers) = (Clock::faked(START_MS), Clock::faked(START_MS));
    let rig = LifeRig::with_clocks(ours.clone(), issuers.clone()).await;
    let mint = rig.stored();
    let first = mint.mint().await.unwrap();
    ours.step_wall(-86_400_000);
    let sleep = |time| {
        ours.sleep_machine(time);
        issuers.sleep_machine(time);
    };
    sleep(Duration::from_secs(HOUR - 60));
    assert!(rig.left_here(&first) <= 60_000);
    // dateExpiry is written by the issuer's clock, which nobody has set.
    let second = mint.mint().await.unwrap();
    let (here, there) = (rig.left_here(&second), rig.left_there());
    assert!((3_500_000..=3_602_000).contains(&there), "{there}");
    assert!(here <= there + 1000, "{here} here, {there} there");
    // Nor does a restart lengthen it.
    let third = rig.stored().mint().await.unwrap();
    assert_eq!(third.headers, second.headers);
    assert!(rig.left_here(&third) <= there);
    sleep(Duration::from_secs(HOUR));
    assert!(third.expires.passed(rig.clock.now()));
}

#[tokio::test]
async fn an_issuer_ten_minutes_off_or_drifting_is_never_trusted_beyond_its_own_clock() {
    for skew in [600_000, -600_000] {
        for rotation in ["in_place", "new_name"] {
            let rig = LifeRig::new()
                .await
                .with("rotation", Value::Text(rotation.into()))
                .with("lifetime", Value::Duration(Duration::from_secs(120)));
            let mut faults = Faults {
                clock_skew_ms: skew,
                ..Faults::default()
            };
            rig.center.faults(faults.clone());
            // A bearer by the issuer's clock, as any would be.
            let bearer = rig.center.admin_bearer(Duration::from_secs(86_400));
            std::fs::write(rig.folder.path().join("bearer"), bearer).unwrap();
            let mint = rig.unstored();
            for step in 0..8 {
                let fresh = mint.mint().await.unwrap();
                let newest = rig.center.state().keys.into_iter().max_by_key(|key| key.id);
                let end: jiff::Timestamp = newest.unwrap().date_expiry.parse().unwrap();
                let there = end.as_millisecond() - rig.center.state().now_ms;
                let here = rig.left_here(&fresh);
                assert!(here > 30_000, "{skew} {rotation} {step}: {here} here");
                assert!(
                    here <= there + 1000,
                    "{skew} {rotation} {step}: {here} here, {there} there"
                );
                // It drifts, and time goes on.
                faults.clock_skew_ms += 7_000;
                rig.center.faults(faults.clone());
                rig.clock.sleep_machine(Duration::from_secs(60));
            }
        }
    }
}

#[tokio::test]
async fn the_mark_in_date_expiry_comes_back_from_the_list_and_shows_whose_the_name_is() {
    let rig = LifeRig::new().await;
    drop(rig.unstored().mint().await.unwrap());
    let there = rig.center.state().keys[0].date_expiry.clone();
    let ends: jiff::Timestamp = there.parse().unwrap();
    let marked = |username| mark::Marked {
        username,
        context: "ContactCenter",
        context_id: "1",
        lifetime: Duration::from_secs(HOUR),
    };
    assert!(marked("crm").is_on(ends.as_millisecond()), "{there}");
    assert!(!marked("crm2").is_on(ends.as_millisecond()));

    rig.center.faults(Faults {
        list_passwords: ListPasswords::Hidden,
        ..Faults::default()
    });
    std::fs::write(rig.folder.path().join("password"), "second").unwrap();
    drop(rig.unstored().mint().await.unwrap());
    let state = rig.center.state();
    assert_eq!((state.registrations, state.replacements), (1, 1));
}

/// A full disk, a read-only one and a folder that vanished look alike from here; and a
/// process that is killed leaves what it had on disk.
#[tokio::test]
async fn a_generated_password_that_is_not_on_disk_is_never_sent() {
    let rig = LifeRig::new()
        .await
        .new_names()
        .with("password", Value::Secret(SecretSource::Generate));
    let store = rig.folder.path().join("store");
    let block = || std::fs::write(&store, "no folder").unwrap();
    let free = || std::fs::remove_file(&store).unwrap();
    let mint = rig.stored();
    block();
    for _ in 0..3 {
        let error = mint.mint().await.err().unwrap();
        assert_eq!(reason(&error), "store");
        assert_eq!(rig.center.state().registration_attempts, 0);
    }
    // Killed: the next process knows of nothing, and there is nothing.
    drop(mint);
    free();

    let mint = rig.stored();
    rig.center.faults(Faults {
        registration_lost_next: 1,
        ..Faults::default()
    });
    mint.mint().await.err().unwrap();
    assert_eq!(rig.names(), ["crm-1"]);
    // The answer was lost; what is sent again must be on disk, too.
    let asked = rig.center.state().registration_attempts;
    let kept = rig.folder.path().join("kept");
    std::fs::rename(&store, &kept).unwrap();
    block();
    rig.center.forget("crm-1");
    for _ in 0..3 {
        let error = mint.mint().await.err().unwrap();
        assert_eq!(reason(&error), "store");
    }
    assert_eq!(rig.center.state().registration_attempts, asked);
    drop(mint);
    free();
    std::fs::rename(&kept, &store).unwrap();
    let _fresh = rig.stored().mint().await.unwrap();
    assert_eq!(rig.names(), ["crm-1"], "the pair that was on disk");
}

/// A folder that was removed is made again, before anything is sent.
#[tokio::test]
async fn a_store_that_vanished_is_made_again_before_a_name_is_sent() {
    let rig = LifeRig::new()
        .await
        .new_names()
        .with("password", Value::Secret(SecretSource::Generate));
    let store = rig.folder.path().join("store");
    rig.center.faults(Faults {
        registration_lost_next: 1,
        ..Faults::default()
    });
    let mint = rig.stored();
    mint.mint().await.err().unwrap();
    std::fs::remove_dir_all(&store).unwrap();
    rig.center.forget("crm-1");
    rig.center.faults(Faults {
        registration_lost_next: 1,
        ..Faults::default()
    });
    mint.mint().await.err().unwrap();
    // Killed right after the send: the next process has the pair.
    drop(mint);
    let _fresh = rig.stored().mint().await.unwrap();
    assert_eq!(rig.names(), ["crm-1"]);
    assert_eq!(rig.center.state().registrations, 2);
}
