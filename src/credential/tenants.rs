//! A credential of which each tenant has its own.
//!
//! The first call of a tenant opens its slot, whose first attempt begins at once;
//! `slots.rs` bounds how many are kept. One tenant's failure is not another's: each
//! slot remembers its own refusals and back-off.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderName;

use super::slot::Slot;
use super::slots::Slots;
use super::{Cause, Mint, MintError, Unavailable};
use crate::base::name::Name;

/// When it is worth trying again to open a slot that could not be opened: what is
/// in the way is a file.
const OPEN_AGAIN: Duration = Duration::from_secs(30);

/// Opens the slot of a tenant. It asks nobody and may read a small file.
///
/// # Errors
/// Where the kind cannot do with this tenant.
pub type OpenSlot = Box<dyn Fn(&str) -> Result<Arc<Slot>, MintError> + Send + Sync>;

/// The slots of one credential, one for each tenant.
pub struct Tenants {
    name: Name,
    header_names: Box<[HeaderName]>,
    slots: Slots,
    making: ArcSwap<Making>,
}

/// What a reload may change.
struct Making {
    example: Arc<dyn Mint>,
    open: OpenSlot,
    capacity: usize,
}

impl Tenants {
    /// Keeps at most about `capacity` slots that no call uses. `example` is the
    /// credential as made for some tenant: it says what all of them have in common.
    pub fn new(name: Name, example: Arc<dyn Mint>, capacity: usize, open: OpenSlot) -> Tenants {
        Tenants {
            name,
            header_names: example.facts().header_names.clone(),
            slots: Slots::new(capacity as u64),
            making: ArcSwap::from_pointee(Making {
                example,
                open,
                capacity,
            }),
        }
    }

    /// Goes on with these; the slots that live are for the caller to tune, afterwards.
    pub fn tune(&self, example: Arc<dyn Mint>, capacity: usize, open: OpenSlot) {
        let before = self.making.swap(Arc::new(Making {
            example,
            open,
            capacity,
        }));
        if before.capacity != capacity {
            self.slots.resize(capacity as u64);
        }
    }

    /// The credential's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The fields that each tenant's credential sets.
    pub fn header_names(&self) -> &[HeaderName] {
        &self.header_names
    }

    /// The minter of an example, whose facts are those of every tenant.
    pub fn example(&self) -> Arc<dyn Mint> {
        self.making.load().example.clone()
    }

    /// The slot of `tenant`, who must have been judged before (`TenantRule::allows`).
    /// One look into a cache for a tenant that was used of late. Does not wait.
    ///
    /// # Errors
    /// Where the slot cannot be opened; the next call tries again.
    pub fn slot(&self, tenant: &str) -> Result<Arc<Slot>, Unavailable> {
        let opened = self
            .slots
            .get_or_start(tenant, || (self.making.load_full().open)(tenant));
        opened.map_err(|error| Unavailable {
            credential: self.name.clone(),
            cause: Arc::new(Cause::Failed(error)),
            retry_after: OPEN_AGAIN,
        })
    }

    /// The slot of `tenant`, where it is alive; opens none.
    pub fn find(&self, tenant: &str) -> Option<Arc<Slot>> {
        self.slots.find(tenant)
    }

    /// Every tenant's slot that is alive, by name: for pages, changed secrets and
    /// what is done at the end.
    pub fn all(&self) -> Vec<(Box<str>, Arc<Slot>)> {
        self.slots.all()
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenants({})", self.name)
    }
}

/// Who holds the credential of a route.
#[derive(Clone, Debug)]
pub enum CredentialHandle {
    /// One slot for every call.
    One(Arc<Slot>),
    /// One for each tenant.
    PerTenant(Arc<Tenants>),
}

impl CredentialHandle {
    /// The credential's name.
    pub fn name(&self) -> &Name {
        match self {
            CredentialHandle::One(slot) => slot.name(),
            CredentialHandle::PerTenant(tenants) => tenants.name(),
        }
    }

    /// The fields that it sets.
    pub fn header_names(&self) -> &[HeaderName] {
        match self {
            CredentialHandle::One(slot) => slot.header_names(),
            CredentialHandle::PerTenant(tenants) => tenants.header_names(),
        }
    }

    /// Its minter, or that of an example: the facts are those of every tenant.
    pub fn mint(&self) -> Arc<dyn Mint> {
        match self {
            CredentialHandle::One(slot) => slot.mint(),
            CredentialHandle::PerTenant(tenants) => tenants.example(),
        }
    }

    /// The slot, where one serves every call.
    pub fn one(&self) -> Option<&Arc<Slot>> {
        match self {
            CredentialHandle::One(slot) => Some(slot),
            CredentialHandle::PerTenant(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::base::time::Clock;
    use crate::credential::slot::SlotState;
    use crate::credential::testing::{START_MS, ScriptedAct, ScriptedMint, slot, unavailable};

    /// A mint for each tenant, and those who share it.
    struct SharedMint {
        tenants: Arc<Tenants>,
        mints: Arc<Mutex<Vec<Arc<ScriptedMint>>>>,
    }

    fn shared(
        capacity: usize,
        script: impl Fn() -> Arc<ScriptedMint> + Send + Sync + 'static,
    ) -> SharedMint {
        let clock = Clock::faked(START_MS);
        let mints: Arc<Mutex<Vec<Arc<ScriptedMint>>>> = Arc::default();
        let made = mints.clone();
        let tenants = Arc::new(Tenants::new(
            Name::parse("cms_key").unwrap(),
            script(),
            capacity,
            Box::new(move |_| {
                let mint = script();
                made.lock().unwrap().push(mint.clone());
                Ok(slot(&mint, &clock))
            }),
        ));
        SharedMint { tenants, mints }
    }

    fn logins(shared: &SharedMint) -> usize {
        shared.mints.lock().unwrap().iter().map(|m| m.calls()).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_callers_of_fifty_tenants_make_fifty_logins() {
        let shared = shared(1000, || {
            let mint = ScriptedMint::lives(3600);
            *mint.takes.lock().unwrap() = Duration::from_secs(2);
            mint
        });
        let callers: Vec<_> = (0..10_000)
            .map(|caller| {
                let tenants = shared.tenants.clone();
                tokio::spawn(async move {
                    let slot = tenants.slot(&format!("t{}", caller % 50)).unwrap();
                    slot.obtain().await.unwrap().generation
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), 1);
        }
        assert_eq!(logins(&shared), 50);
        assert_eq!(shared.tenants.all().len(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_of_more_tenants_than_are_kept_still_share_each_flight() {
        let shared = shared(4, || {
            let mint = ScriptedMint::lives(3600);
            *mint.takes.lock().unwrap() = Duration::from_secs(2);
            mint
        });
        let callers: Vec<_> = (0..2_000)
            .map(|caller| {
                let tenants = shared.tenants.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(caller % 7 * 250)).await;
                    let slot = tenants.slot(&format!("t{}", caller % 50)).unwrap();
                    slot.obtain().await.unwrap()
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(logins(&shared), 50, "the cache holds four of them");
    }

    /// A login that is down for a minute, under 500 calls a second.
    #[tokio::test(start_paused = true)]
    async fn a_login_that_is_down_is_asked_within_the_back_off_and_found_within_one_step() {
        let clock = Clock::faked(START_MS);
        let mint = ScriptedMint::new([ScriptedAct::Fails(unavailable(None))]);
        *mint.takes.lock().unwrap() = Duration::from_millis(10);
        let slot = slot(&mint, &clock);
        let slowest = Arc::new(Mutex::new(Duration::ZERO));
        let answered = Arc::new(AtomicUsize::new(0));
        let mut callers = Vec::new();
        let mut call = || {
            let (slot, slowest, answered) = (slot.clone(), slowest.clone(), answered.clone());
            callers.push(tokio::spawn(async move {
                let asked = tokio::time::Instant::now();
                let outcome = slot.obtain().await;
                let mut most = slowest.lock().unwrap();
                *most = (*most).max(asked.elapsed());
                answered.fetch_add(1, Ordering::SeqCst);
                outcome.is_ok()
            }));
        };
        for _ in 0..60 * 500 {
            call();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let attempts = mint.calls();
        // No wait is under a second; on average they double to 30 s.
        assert!((3..=25).contains(&attempts), "{attempts} attempts in 60 s");
        assert_eq!(answered.load(Ordering::SeqCst), 30_000);

        // It is up again; the wait that is running is the last.
        let promised = slot.snapshot().retries_ms.unwrap();
        assert!(promised <= clock.now().wall_ms + 60_000);
        mint.script.lock().unwrap()[0] = ScriptedAct::Lives(Duration::from_secs(3600));
        while slot.snapshot().state != SlotState::Live {
            assert!(clock.now().wall_ms <= promised + 100, "{attempts}");
            call();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(mint.calls(), attempts + 1);
        let slowest = *slowest.lock().unwrap();
        assert!(slowest < Duration::from_millis(50), "{slowest:?}");
        let mut served = 0;
        call();
        for caller in callers {
            served += usize::from(caller.await.unwrap());
        }
        assert_eq!(served, 1, "none before it was back, the last one after");
    }

    #[tokio::test(start_paused = true)]
    async fn one_tenants_trouble_is_not_anothers() {
        let first = AtomicUsize::new(0);
        let shared = shared(10, move || match first.fetch_add(1, Ordering::SeqCst) {
            1 => ScriptedMint::new([ScriptedAct::Fails(unavailable(None))]),
            _ => ScriptedMint::lives(3600),
        });
        let slot = |tenant: &str| shared.tenants.slot(tenant).unwrap();
        slot("bad").obtain().await.unwrap_err();
        slot("good").obtain().await.unwrap();
        assert!(slot("bad").peek().is_none());
        let names: Vec<_> = shared.tenants.all().into_iter().map(|(t, _)| t).collect();
        assert_eq!(names, ["bad".into(), "good".into()] as [Box<str>; 2]);
    }

    #[tokio::test]
    async fn a_tenant_that_cannot_be_opened_is_unavailable_and_tried_again() {
        let clock = Clock::faked(START_MS);
        let tries = AtomicUsize::new(0);
        let tenants = Tenants::new(
            Name::parse("cms_key").unwrap(),
            ScriptedMint::lives(60),
            10,
            Box::new(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
                0 => Err(MintError::Secret {
                    detail: "the CA file is gone".into(),
                }),
                _ => Ok(slot(&ScriptedMint::lives(60), &clock)),
            }),
        );
        let error = tenants.slot("1").unwrap_err();
        assert!(error.to_string().contains("CA file is gone"), "{error}");
        tenants.slot("1").unwrap();
    }
}
