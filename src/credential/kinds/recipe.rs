//! `kind = "recipe"`: the engine itself, in TOML; the next vendor without a release.
//!
//! A place in an answer is a JSON Pointer (`/data/token`), `header:NAME` or
//! `cookie:NAME`. Texts may name values in braces: `{username}`, `{password}`,
//! `{basic}` (both, as RFC 7617 joins them), each of `secrets`, `{token}` and each of
//! `values`; `{{` is a brace. All its calls go to the origin of `url`.

mod keys;
mod reading;

use self::reading::Reading;
use super::login_kind::built;
use crate::config::url::HttpUrl;
use crate::credential::engine::Engine;
use crate::credential::kind::{BuiltMint, Kind, KindContext};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "recipe",
    summary: "logs in as described here; the response yields values for headers",
    example: keys::EXAMPLE,
    keys: keys::KEYS,
    build,
};

fn build(building: &KindContext<'_>) -> BuiltMint {
    let mut reading = Reading::new(building);
    let made = reading.recipe();
    let givens = reading.givens();
    if let Some(recipe) = &made {
        reading.judge_names(recipe);
    }
    let login = building.login(&mut reading.problems);
    let urls = ["url", "refresh.url", "revoke.url"];
    let urls: Vec<HttpUrl> = urls
        .iter()
        .filter_map(|key| building.url(key).cloned())
        .collect();
    let secrets = building.secret_headers("secrets").unwrap_or(&[]).to_vec();
    let clock = building.clock.clone();
    let made = made
        .zip(login)
        .map(|(recipe, login)| Engine::new(recipe, givens, secrets, urls, login, clock));
    built(made, reading.problems)
}
