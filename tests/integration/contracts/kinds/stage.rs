//! One kind before its issuer.

use std::sync::Arc;
use std::time::Duration;

use headset::app::build::kind_keys;
use headset::base::time::Clock;
use headset::config::load::{self, Sources};
use headset::credential::Minted;
use headset::credential::chain::Chains;
use headset::credential::kind::KindContext;
use headset::credential::kinds;
use headset::credential::metrics::CredentialMetrics;
use headset::credential::slot::{Slot, SlotParts, SlotState};

use super::{Contract, NEW_PASSWORD, PASSWORD, START_MS, TOKEN};
use crate::contracts::issuer::{Issuer, Mood};
use crate::support::eventually;
use crate::support::folder::Folder;

/// The kind, and what stands around it.
pub struct Stage {
    pub contract: Contract,
    pub issuer: Issuer,
    pub folder: Folder,
    pub clock: Clock,
    pub slot: Arc<Slot>,
}

impl Stage {
    pub async fn set(contract: Contract, mood: Mood) -> Stage {
        Stage::set_within(contract, mood, Duration::from_secs(10)).await
    }

    pub async fn set_within(contract: Contract, mood: Mood, mint_limit: Duration) -> Stage {
        let clock = Clock::faked(START_MS);
        let issuer = Issuer::start(contract.good, clock.clone()).await;
        issuer.is(mood);
        let folder = Folder::new();
        folder.write("password", PASSWORD);
        folder.write("bearer", &format!("{TOKEN}-bearer"));
        let options = contract.options.replace("{base}", &issuer.base());
        let options = options.replace("{folder}", folder.root());
        let toml = format!(
            "[listener.app]\nbind = \"127.0.0.1:0\"\n[route.all]\nupstream = \"http://127.0.0.1:9\"\n\
             credential = \"it\"\n[credential.it]\nkind = \"{}\"\n{options}\n",
            contract.kind
        );
        let sources = Sources {
            file: Some(folder.write("headset.toml", &toml)),
            ..Sources::default()
        };
        let config = load::load(&sources, &kind_keys()).unwrap_or_else(|problems| {
            let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("{}\n{toml}", list.join("\n"))
        });
        let credential = &config.credentials[0];
        let building = KindContext {
            credential,
            clock: &clock,
            mint_limit,
            chains: &Chains::default(),
            egress: &Default::default(),
        };
        let kind = kinds::named(contract.kind).expect("a kind of that name");
        let mint = (kind.build)(&building).unwrap_or_else(|problems| panic!("{problems:?}"));
        let registry = prometheus::Registry::new();
        let metrics = CredentialMetrics::register(&registry).unwrap();
        let slot = Slot::start(SlotParts {
            meter: metrics.of(&credential.name),
            name: credential.name.clone(),
            mint,
            clock: clock.clone(),
            credential_wait: Duration::from_secs(20),
            mint_limit,
            runtime: tokio::runtime::Handle::current(),
        });
        Stage {
            contract,
            issuer,
            folder,
            clock,
            slot,
        }
    }

    pub async fn obtain(&self) -> Arc<Minted> {
        match self.slot.obtain().await {
            Ok(minted) => minted,
            Err(error) => panic!("{error}"),
        }
    }

    /// The failure that calls meet now.
    pub async fn failure(&self) -> String {
        let error = self.slot.obtain().await.expect_err("it fails");
        let all = format!("{error} {error:?} {:?}", self.slot.snapshot());
        for secret in [PASSWORD, NEW_PASSWORD, TOKEN] {
            assert!(!all.contains(secret), "an error shows a secret: {all}");
        }
        error.to_string()
    }

    pub fn logins(&self) -> usize {
        let asked = self.issuer.asked();
        let login = self.contract.login;
        asked.iter().filter(|asked| asked.path == login).count()
    }

    pub fn carries(&self, minted: &Minted, n: usize) {
        let got: Vec<String> = minted
            .headers
            .iter()
            .map(|(name, value)| {
                assert!(value.is_sensitive(), "{name} is not marked sensitive");
                format!("{name}: {}", value.to_str().unwrap())
            })
            .collect();
        assert_eq!(got, (self.contract.carries)(n));
    }

    /// Hours pass; then the keeper looks at the clock again.
    pub fn pass(&self, time: Duration) {
        self.clock.sleep_machine(time);
        self.slot.secret_changed();
    }

    pub async fn recovers(&self) {
        self.issuer.is(Mood::Good);
        self.pass(Duration::from_secs(61));
        let slot = &self.slot;
        eventually("recovery", async || slot.obtain().await.is_ok()).await;
        assert_eq!(slot.snapshot().state, SlotState::Live);
    }

    /// Within the margin before its end, where it has one.
    pub fn near_the_end(&self, minted: &Minted) {
        let left = minted.expires.remaining(self.clock.now());
        self.pass(left - Duration::from_secs(20));
    }
}
