//! `headset check --online`: tries each credential once, one after the other, as
//! `headset mint` does, and warns where manual action is required soon. Where there is a shared
//! store it is asked first, once, whether it lets this headset in; a holder of a fleet then reads
//! what is published.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::app::build::open_stores;
use crate::base::name::Name;
use crate::base::time::{Clock, rfc3339};
use crate::cli::report::{class, ends, outcome_json, span};
use crate::cli::{attempt, exit, process};
use crate::config::{self, Config};
use crate::credential::MintError;
use crate::credential::attempt::Obtained;
use crate::credential::fleet::{Fleet, RecordPlace, StoreDown, fleet_mint};
use crate::credential::minter_factory::{FleetStores, MinterFactory, listed_tenant};
use crate::credential::slot_opener::open_sources;
use crate::credential::store::NullStore;
use crate::net::egress::ProcessContext;

/// A person who must act within this should hear of it now.
const RUNWAY: Duration = Duration::from_secs(14 * 86_400);

/// One credential that was tried.
#[derive(Debug)]
struct TriedCredential {
    name: Name,
    /// The tenant for whom, where each has its own.
    tenant: Option<String>,
    /// `None` where no tenant is listed for whom it could be tried.
    outcome: Option<Result<Obtained, MintError>>,
}

/// All that was tried.
#[derive(Debug, Default)]
pub struct Tried {
    /// The shared store of a fleet, where there is one: its address, and whether it does what
    /// it is asked.
    store: Option<(String, Result<(), StoreDown>)>,
    credentials: Vec<TriedCredential>,
}

/// Tries each credential of `config`, which has been judged.
///
/// # Errors
/// Where the machine refuses a runtime.
pub fn try_all(config: &Config) -> std::io::Result<Tried> {
    let clock = Clock::system();
    // One attempt each, outside any slot: nothing is kept.
    let nowhere = Arc::new(NullStore::new());
    let process = ProcessContext::default();
    let mut factory = MinterFactory::of(config, clock.clone(), process.clone(), nowhere.clone());
    // It was judged a moment ago; a key went away in between.
    if let Ok(stores) = open_stores(config, process) {
        let fleet = stores.given_to(factory.clone()).fleet;
        factory.fleet = fleet.map(|stores| FleetStores {
            copies: nowhere,
            ..stores
        });
    }
    process::runtime()?.block_on(async {
        let mut tried = Tried::default();
        if let Some(stores) = &factory.fleet {
            let shown = stores.fleet.store.shown();
            tried.store = Some((shown, ask_store(&stores.fleet).await));
        }
        for credential in &config.credentials {
            let one = try_one(credential, config, &factory, &clock).await;
            tried.credentials.push(one);
        }
        Ok(tried)
    })
}

async fn try_one(
    credential: &config::CredentialConfig,
    config: &Config,
    factory: &MinterFactory,
    clock: &Clock,
) -> TriedCredential {
    let tenant = match credential.is_per_tenant() {
        true => listed_tenant(credential, config).map(ToOwned::to_owned),
        false => None,
    };
    let mut tried = TriedCredential {
        name: credential.name.clone(),
        tenant,
        outcome: None,
    };
    if credential.is_per_tenant() && tried.tenant.is_none() {
        return tried;
    }
    let tenant = tried.tenant.as_deref();
    let build = || match tenant {
        Some(tenant) => factory.build(&credential.for_tenant(tenant)),
        None => factory.build(credential),
    };
    let shared = build().map(|mint| factory.keeping(mint, credential, tenant));
    if let Ok(shared) = &shared
        && let Err(error) = fleet_mint::opens(&**shared).await
    {
        // With another key it would mint nothing.
        tried.outcome = Some(Err(error));
        return tried;
    }
    let limit = config.timeouts.mint;
    let built = match factory.is_holder {
        true => shared,
        false => build(),
    };
    let sources = open_sources(factory, credential, config).unwrap_or_default();
    tried.outcome = Some(match built {
        Ok(mint) => attempt::once(&mint, sources, limit, clock).await.outcome,
        // It was judged a moment ago; a file went away in between.
        Err(problems) => {
            let each: Vec<&str> = problems.iter().map(|problem| &*problem.why).collect();
            let detail = each.join("; ");
            Err(MintError::Secret { detail })
        }
    });
    tried
}

/// Asks the shared store for something: whether it is there, and lets this replica in.
async fn ask_store(fleet: &Fleet) -> Result<(), StoreDown> {
    let name = format!("{}:{{check}}", fleet.prefix);
    let place = RecordPlace {
        record: format!("{name}:check").into(),
        known: format!("{name}:known").into(),
        identity: "check".into(),
    };
    fleet.store.look(&place).await.map(|_| ())
}

impl Tried {
    /// The exit code of all of it.
    pub fn exit_code(&self) -> u8 {
        let outcomes = self
            .credentials
            .iter()
            .filter_map(|one| one.outcome.as_ref());
        let mut codes: Vec<u8> = outcomes.map(exit::of_attempt).collect();
        if let Some((_, Err(down))) = &self.store {
            codes.push(match down.is_misconfigured {
                true => exit::EX_CONFIG,
                false => exit::EX_UNAVAILABLE,
            });
        }
        exit::worst(&codes)
    }

    /// For stdout: what works, and until when.
    pub fn good(&self) -> impl Iterator<Item = String> {
        let store = match &self.store {
            Some((shown, Ok(()))) => Some(format!("shared store {shown}: reached")),
            _ => None,
        };
        let credentials = self.credentials.iter();
        store
            .into_iter()
            .chain(credentials.filter_map(TriedCredential::good))
    }

    /// For stderr: what is wrong or soon will be.
    pub fn bad(&self) -> impl Iterator<Item = String> {
        let store = match &self.store {
            Some((_, Err(down))) => Some(match down.is_misconfigured {
                true => format!("fault in [store]: {down}"),
                false => format!("out of reach: {down}"),
            }),
            _ => None,
        };
        let credentials = self.credentials.iter();
        store
            .into_iter()
            .chain(credentials.filter_map(TriedCredential::bad))
    }

    /// What came of each credential, as an array.
    pub fn json(&self) -> Json {
        self.credentials.iter().map(TriedCredential::json).collect()
    }

    /// What came of the shared store, as an object; `null` where there is none.
    pub fn store_json(&self) -> Json {
        let Some((shown, outcome)) = &self.store else {
            return Json::Null;
        };
        json!({
            "url": shown,
            "ok": outcome.is_ok(),
            "detail": outcome.as_ref().err().map(ToString::to_string),
        })
    }
}

impl TriedCredential {
    fn who(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("credential {} for tenant {tenant}", self.name),
            None => format!("credential {}", self.name),
        }
    }

    fn good(&self) -> Option<String> {
        match &self.outcome {
            Some(Ok(obtained)) => Some(format!("{}: obtained, {}", self.who(), ends(obtained))),
            _ => None,
        }
    }

    fn bad(&self) -> Option<String> {
        let who = self.who();
        match &self.outcome {
            None => Some(format!(
                "warning: {who}: not tried, because no route lists a tenant; try one with headset mint {} --tenant TENANT",
                self.name
            )),
            Some(Err(error)) => Some(format!("{who}: {}: {error}", class(error))),
            Some(Ok(obtained)) => self.warning(obtained),
        }
    }

    fn warning(&self, obtained: &Obtained) -> Option<String> {
        let left = obtained.runway.filter(|left| *left < RUNWAY)?;
        Some(format!(
            "warning: {}: manual action required by {}, in {}, or calls begin to fail: {}",
            self.who(),
            rfc3339(obtained.human_due_ms?),
            span(left),
            obtained.action
        ))
    }

    fn json(&self) -> Json {
        let mut one = match &self.outcome {
            Some(outcome) => outcome_json(outcome),
            None => json!({ "ok": null }),
        };
        one["name"] = self.name.as_str().into();
        one["tenant"] = self.tenant.clone().into();
        let warning = match &self.outcome {
            Some(Ok(obtained)) => self.warning(obtained),
            _ => None,
        };
        one["warning"] = warning.into();
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{RefusalReason, UnavailableReason};

    fn tried(outcome: Result<Obtained, MintError>) -> TriedCredential {
        TriedCredential {
            name: Name::parse("cms_key").unwrap(),
            tenant: None,
            outcome: Some(outcome),
        }
    }

    fn all(credentials: Vec<TriedCredential>) -> Tried {
        Tried {
            store: None,
            credentials,
        }
    }

    fn obtained(runway: Option<u64>) -> Obtained {
        Obtained {
            sets: Vec::new(),
            ends_ms: None,
            left: Duration::MAX,
            ends_by: None,
            skew_ms: None,
            human_due_ms: runway.map(|_| 1_800_000_000_000),
            action: "do something".into(),
            runway: runway.map(|days| Duration::from_secs(days * 86_400)),
        }
    }

    #[test]
    fn a_runway_under_fourteen_days_is_a_warning_and_no_failure() {
        let warning = tried(Ok(obtained(Some(13)))).bad().unwrap();
        assert!(warning.starts_with("warning: "), "{warning}");
        assert!(
            warning.contains("13 days") && warning.ends_with("do something"),
            "{warning}"
        );
        assert_eq!(tried(Ok(obtained(Some(14)))).bad(), None);
        assert_eq!(tried(Ok(obtained(None))).bad(), None);
        assert_eq!(all(vec![tried(Ok(obtained(Some(1))))]).exit_code(), 0);
    }

    #[test]
    fn a_refusal_outweighs_what_is_out_of_reach() {
        let refused = || MintError::Refused {
            reason: RefusalReason::Refused,
            detail: "no".into(),
        };
        let unavailable = |reason| MintError::Unavailable {
            reason,
            detail: "gone".into(),
            retry_after: None,
        };
        let code = |errors: Vec<MintError>| {
            all(errors.into_iter().map(|error| tried(Err(error))).collect()).exit_code()
        };
        assert_eq!(
            code(vec![unavailable(UnavailableReason::Connect), refused()]),
            77
        );
        assert_eq!(
            code(vec![
                unavailable(UnavailableReason::Status),
                unavailable(UnavailableReason::Connect)
            ]),
            69
        );
        assert_eq!(code(vec![unavailable(UnavailableReason::Status)]), 75);
        assert_eq!(code(vec![]), 0);
    }
}
