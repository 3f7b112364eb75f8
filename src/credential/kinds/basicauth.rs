//! `kind = "basicauth"`: the mission. Registers a user name and password at the
//! contact center until `dateExpiry` and renders the Basic pair for calls.
//!
//! A registration is renewed under its name (`basicauth/in_place.rs`) or under the
//! next one (`new_name.rs`). What is ours stands in a ledger (`ledger.rs`), which
//! outlives a restart where there is a store; only names in it are ever deleted
//! (`sweep.rs`), and a foreign one is taken over only where it is provably ours or
//! `adopt` allows it, since overwriting somebody's registration locks them out.
//!
//! Contract: `POST /configuration/basicauth` and the vendor's generated schema for
//! the rest; no success code is documented, so any 2xx is one, whatever its body.
//! `registrar.rs` holds what both rotations share, `calls.rs` the calls.

mod calls;
mod earlier;
mod in_place;
mod ledger;
mod ledger_store;
#[cfg(test)]
mod life_tests;
mod list;
mod mark;
mod memory;
mod new_name;
mod options;
mod probe;
mod registered;
mod registrar;
mod response;
mod sweep;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::Arc;

use http::header::AUTHORIZATION;

use self::options::{Options, Rotation};
use self::registrar::Registrar;
use crate::credential::chain::Bearer;
use crate::credential::kind::{BuiltMint, Kind, KindContext};
use crate::credential::store::StoreScope;
use crate::credential::{Change, Facts, Fresh, Mint, MintError, MintFuture, Rejection, Revocation};
use crate::secret::SecretSource;

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "basicauth",
    summary: "registers a user name and password at the contact center until dateExpiry",
    example: options::EXAMPLE,
    keys: options::KEYS,
    build,
};

struct BasicAuth(Arc<Registrar>);

fn build(building: &KindContext<'_>) -> BuiltMint {
    let options = options::read(building)?;
    let registrar = Registrar::new(building, facts(&options), options);
    Ok(Arc::new(BasicAuth(Arc::new(registrar))))
}

impl Mint for BasicAuth {
    fn facts(&self) -> &Facts {
        &self.0.facts
    }

    fn mint(&self) -> MintFuture<'_, Result<Fresh, MintError>> {
        Box::pin(self.0.attempt())
    }

    fn revoke(&self, what: Revocation) -> MintFuture<'_, Result<(), MintError>> {
        Box::pin(self.0.revoke(what))
    }

    fn change(&self) -> Change {
        self.0.change()
    }

    fn rejected(&self, _what: Rejection) {
        self.0.known().rejected = true;
    }

    fn use_store(&self, scope: StoreScope) {
        // Once only, as it is promised.
        let _ = self.0.keep.set(scope);
    }

    fn store_changed(&self) {
        self.0.known().loaded = false;
    }

    fn resume(&self, _stored: Option<Fresh>) -> MintFuture<'_, Option<Fresh>> {
        Box::pin(self.0.resume())
    }

    fn follow(&self, before: &dyn Mint, same: bool) {
        if let Some(before) = (before as &dyn Any).downcast_ref::<BasicAuth>() {
            self.0.follow(&before.0, same);
        }
    }
}

/// What the options make true of its credentials.
fn facts(options: &Options) -> Facts {
    let bearer = &options.admin_bearer;
    let password = std::iter::once(&options.password);
    let sources = password.chain(bearer.secret()).cloned().collect();
    // What a program prints is its own affair.
    let is_tended = match bearer {
        Bearer::Secret(source) => !matches!(source, SecretSource::Command(_)),
        Bearer::Chained(_) => false,
    };
    let person_does = match bearer.is_chained() {
        true => format!("repair {bearer}, which supplies the admin bearer"),
        false => format!(
            "log in to the contact center in the browser as its admin and put a fresh bearer \
             into {bearer}"
        ),
    };
    Facts {
        issuer_urls: vec![options.url.clone()],
        also_watched: options.previous_password.clone(),
        person_renews: is_tended.then_some(options.lifetime),
        person_does,
        revokes_on_shutdown: options.revoke,
        // A new name that nobody would find again, since no ledger outlives the attempt.
        leaves_a_trace: options.rotation == Rotation::NewName,
        leans_on_another: bearer.is_chained(),
        keeps_itself: true,
        ..Facts::new(&[AUTHORIZATION], sources)
    }
}
