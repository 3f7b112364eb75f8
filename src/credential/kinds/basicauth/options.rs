//! The options of the `basicauth` kind, and what of them the table of keys cannot see.

use std::sync::Arc;
use std::time::Duration;

use crate::base::problem::Problem;
use crate::config::key::{ConfigKey, Fallback, ValueType, key};
use crate::config::url::HttpUrl;
use crate::credential::chain::Bearer;
use crate::credential::issuer_client::IssuerClient;
use crate::credential::kind::KindContext;
use crate::credential::kinds::option_rules::{username_fault, username_rule};
use crate::net::connect::Connector;
use crate::secret::SecretSource;
use crate::secret::generate::{self, Policy};

use super::probe::Probe;

pub(super) const EXAMPLE: &str = r#"[credential.cms_key]
kind = "basicauth"
url = "https://cms.example.com:8443/configuration/basicauth"
username = "crm_sync"
password = { file = "/run/secrets/headset/password" }
context_id = "1"
admin_bearer = { file = "/run/secrets/headset/admin-bearer" }
"#;

const NEW_NAME: &str = "new_name";
const REVOKE: &str = "revoke";

#[rustfmt::skip]
pub(super) const KEYS: &[ConfigKey] = &[
    key("url", ValueType::Url, Fallback::Required, r#""https://cms.example.com:8443/configuration/basicauth""#,
        "Where to register, as a whole URL; headset derives nothing from a host name."),
    key("username", ValueType::Text, Fallback::Required, r#""crm_sync""#,
        "The name to register, without a `:`; give each installation a name of its own.")
        .checked(username_rule),
    key("password", ValueType::OwnSecret, Fallback::Required, r#"{ file = "/run/secrets/headset/password" }"#,
        "The password to register. A changed one is registered at once. `{ generate = true }` makes a new one for each generation: it needs `rotation = \"new_name\"` and a `[store]`."),
    key("previous_password", ValueType::Secret, Fallback::Absent, r#"{ file = "/run/secrets/headset/previous-password" }"#,
        "The password before the last change. It proves that a registration of this name is headset's own where neither the present password nor the mark in its `dateExpiry` does. It may be absent while it is not needed.")
        .in_place(),
    key("context", ValueType::Text, Fallback::Text("ContactCenter"), r#""ContactCenter""#,
        "The vendor's `context`."),
    key("context_id", ValueType::Text, Fallback::Required, r#""1""#,
        "The vendor's `contextId`: the number of the contact center, as text."),
    key("user_role", ValueType::Text, Fallback::Text("Administrator"), r#""Administrator""#,
        "The vendor's `userRole`; choose the least role that works."),
    key("lifetime", ValueType::Duration, Fallback::Text("30d"), r#""30d""#,
        "How long each registration lives, from 1s to 3650d. Where the bearer is another credential, the default is 12h."),
    key("admin_bearer", ValueType::Bearer, Fallback::Required, r#"{ file = "/run/secrets/headset/admin-bearer" }"#,
        "The bearer of a contact-center admin, from a login in the browser. A fresh one extends the registration. Or `{ credential = \"…\" }`: another credential, of a kind that logs in for a token."),
    key("adopt", ValueType::Bool, Fallback::Text("false"), "false",
        "Whether headset may overwrite a registration of this name that it cannot prove to be its own, which locks out its owner.").in_place(),
    key("rotation", ValueType::Choice(&["in_place", NEW_NAME]), Fallback::Text("in_place"), r#""new_name""#,
        "How to renew: `in_place` keeps the name; `new_name` registers USERNAME-1, USERNAME-2 and so on, probes each, switches to it, and deletes the previous one after its last call."),
    key("probe", ValueType::Text, Fallback::Absent, r#""/v1/cc-list""#,
        "With `rotation = \"new_name\"`: a path on the first origin. headset switches to the new pair after a GET with it was answered 2xx there, and retries after a 401 for as long as `timeouts.mint` allows.").in_place(),
    key("generate.length", ValueType::Integer { min: 16, max: 256 }, Fallback::Text("32"), "32",
        "The length of a generated password, in characters.").in_place(),
    key("generate.alphabet", ValueType::Text, Fallback::Absent, r#""abcdefghijkmnpqrstuvwxyz23456789""#,
        "The characters of a generated password: printable ASCII, at least 16. Every password has each class among them (lower case, upper case, digits, others). Default: letters and digits that cannot be mistaken for each other, and `-_.~`.").in_place(),
    key("on_shutdown", ValueType::Choice(&["keep", REVOKE]), Fallback::Text("keep"), r#""keep""#,
        "Whether to keep the registration when headset stops, or to delete it after the last call.").in_place(),
];

/// Nobody has to tend it, so it need not outlive a few days of neglect.
const LIFETIME_CHAINED: Duration = Duration::from_secs(12 * 3600);
const LIFETIME_LEAST: Duration = Duration::from_secs(1);
const LIFETIME_MOST: Duration = Duration::from_secs(3650 * 86_400);

/// How a registration is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// Under its name.
    InPlace,
    /// Under the next name.
    NewName,
}

/// The options, judged.
pub(super) struct Options {
    pub(super) url: HttpUrl,
    pub(super) login: IssuerClient,
    pub(super) username: String,
    pub(super) context: String,
    pub(super) context_id: String,
    pub(super) user_role: String,
    pub(super) password: SecretSource,
    pub(super) previous_password: Option<SecretSource>,
    pub(super) admin_bearer: Bearer,
    pub(super) policy: Policy,
    pub(super) lifetime: Duration,
    pub(super) adopt: bool,
    pub(super) rotation: Rotation,
    pub(super) probe: Option<Probe>,
    pub(super) revoke: bool,
}

/// Reads the options.
pub(super) fn read(building: &KindContext<'_>) -> Result<Options, Vec<Problem>> {
    let mut problems = Vec::new();
    for key in ["url", "username", "password", "context_id", "admin_bearer"] {
        if building.value(key).is_none() {
            problems.push(building.missing(key));
        }
    }
    if let Some((why, fix)) = building.text("username").and_then(username_fault) {
        problems.push(building.problem("username", why, fix));
    }
    let bearer = building.bearer("admin_bearer");
    let chained = bearer.as_ref().is_some_and(Bearer::is_chained);
    let lifetime = match building.duration("lifetime") {
        Some(_) if chained && !building.credential.values.is_set("lifetime") => LIFETIME_CHAINED,
        lifetime => lifetime.unwrap_or(Duration::from_secs(30 * 86_400)),
    };
    if !(LIFETIME_LEAST..=LIFETIME_MOST).contains(&lifetime) {
        problems.push(building.problem(
            "lifetime",
            "a registration must live at least a second and at most 3650 days",
            "write something like \"30d\"",
        ));
    }
    let rotation = match building.text("rotation") {
        Some(NEW_NAME) => Rotation::NewName,
        _ => Rotation::InPlace,
    };
    if building.secret("password") == Some(&SecretSource::Generate) && rotation != Rotation::NewName
    {
        problems.push(building.problem(
            "password",
            "a generated password under the same name would lock out calls that carry the old one",
            "write rotation = \"new_name\"",
        ));
    }
    let policy = policy(building).map_err(|problem| problems.push(problem));
    let login = building.url("url").and_then(|url| {
        login(building, url)
            .map_err(|problem| problems.push(problem))
            .ok()
    });
    let probe = probe(building, rotation).map_err(|problem| problems.push(problem));
    let made = (|| {
        let text = |key, default: &str| building.text(key).unwrap_or(default).to_owned();
        Some(Options {
            url: building.url("url")?.clone(),
            login: login?,
            username: building.text("username")?.to_owned(),
            context: text("context", "ContactCenter"),
            context_id: building.text("context_id")?.to_owned(),
            user_role: text("user_role", "Administrator"),
            password: building.secret("password")?.clone(),
            previous_password: building.secret("previous_password").cloned(),
            admin_bearer: bearer?,
            policy: policy.ok()?,
            lifetime,
            adopt: building.flag("adopt").unwrap_or(false),
            rotation,
            probe: probe.ok()?,
            revoke: building.text("on_shutdown") == Some(REVOKE),
        })
    })();
    match made {
        Some(made) if problems.is_empty() => Ok(made),
        _ => Err(problems),
    }
}

fn policy(building: &KindContext<'_>) -> Result<Policy, Problem> {
    let length = building.integer("generate.length").unwrap_or(32);
    let alphabet = building
        .text("generate.alphabet")
        .unwrap_or(generate::ALPHABET);
    Policy::new(usize::try_from(length).unwrap_or(usize::MAX), alphabet)
        .map_err(|(why, fix)| building.problem("generate.alphabet", why, fix))
}

fn login(building: &KindContext<'_>, url: &HttpUrl) -> Result<IssuerClient, Problem> {
    let tls = &building.credential.tls;
    let limit = building.mint_limit;
    let egress = building.egress.clone();
    let connector = Connector::new(url.origin.clone(), tls, limit, egress).map_err(|error| {
        let table = format!("credential.{}.tls", building.credential.name);
        error.problem(&table)
    })?;
    Ok(IssuerClient::new(connector, building.clock.clone(), limit))
}

fn probe(building: &KindContext<'_>, rotation: Rotation) -> Result<Option<Probe>, Problem> {
    let Some(path) = building.text("probe") else {
        return Ok(None);
    };
    let refuse = |why: &str, fix: &str| Err(building.problem("probe", why, fix));
    if rotation != Rotation::NewName {
        return refuse(
            "only a new name is probed before it is used",
            "remove it, or write rotation = \"new_name\"",
        );
    }
    if !path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err() {
        return refuse("this is not a path", "write something like \"/v1/cc-list\"");
    }
    let Some(origin) = building.credential.origins.first() else {
        return refuse(
            "no route names this credential, so there is no origin to probe",
            "name it in a route, or write origins",
        );
    };
    let prefix = origin.path.trim_end_matches('/');
    let below = path.strip_prefix(prefix);
    if !below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?'])) {
        return Err(building.problem(
            "probe",
            format!("the credential may only go to {origin}, and this path is not below it"),
            "write a whole path below it",
        ));
    }
    Ok(Some(Probe {
        login: login(building, origin)?,
        path: Arc::from(path),
    }))
}
