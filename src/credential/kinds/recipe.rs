//! `kind = "recipe"`: the engine itself, in TOML; the next vendor without a release.
//!
//! A place in an answer is a JSON Pointer (`/data/token`), `header:NAME` or
//! `cookie:NAME`. Texts may name values in braces: `{username}`, `{password}`,
//! `{basic}` (both, as RFC 7617 joins them), each of `secrets`, `{token}` and each of
//! `values`; `{{` is a brace. All its calls go to the origin of `url`.

use std::time::Duration;

use http::{HeaderName, Method};

use super::login_kind::{built, place, place_in};
use super::option_rules::{life_rule, username_fault};
use super::static_credential;
use crate::base::problem::Problem;
use crate::config::key::{ConfigKey, Fallback, ValueType, key};
use crate::config::url::HttpUrl;
use crate::credential::KeepAlive;
use crate::credential::engine::answer::ValuePlace;
use crate::credential::engine::expiry::{Expiry, TimeForm};
use crate::credential::engine::issuer_request::{BodyTemplate, IssuerRequest, JsonTemplate};
use crate::credential::engine::template::Template;
use crate::credential::engine::verdict::Success;
use crate::credential::engine::{ConfiguredName, Engine, OutputField, Recipe, Refresh, TakenValue};
use crate::credential::kind::{BuiltMint, Kind, KindContext};

/// The entry in the list.
pub const KIND: Kind = Kind {
    name: "recipe",
    summary: "logs in as described here; the response yields values for headers",
    example: EXAMPLE,
    keys: KEYS,
    build,
};

const EXAMPLE: &str = r#"[credential.acme]
kind = "recipe"
url = "https://login.acme.example/v2/sessions"
username = "crm_sync"
password = { file = "/run/secrets/headset/acme-password" }
body = '{"client":"{username}","secret":"{password}"}'
token = "header:x-acme-token"
expiry = ["epoch_seconds header:x-acme-expires"]
headers = ["authorization: Bearer {token}"]
"#;

const METHODS: ValueType = ValueType::Choice(&["POST", "GET", "PUT", "DELETE"]);
const FORMATS: ValueType = ValueType::Choice(&["json", "form"]);
const HEADERS: &str = r#"["x-app: crm"]"#;

const KEYS: &[ConfigKey] = &[
    key(
        "url",
        ValueType::Url,
        Fallback::Required,
        r#""https://login.acme.example/v2/sessions""#,
        "The login, as a whole URL.",
    ),
    key(
        "method",
        METHODS,
        Fallback::Text("POST"),
        r#""POST""#,
        "Its method.",
    ),
    key(
        "username",
        ValueType::Text,
        Fallback::Absent,
        r#""crm_sync""#,
        "The value of `{username}`.",
    ),
    key(
        "password",
        ValueType::Secret,
        Fallback::Absent,
        r#"{ file = "/run/secrets/headset/acme-password" }"#,
        "The value of `{password}`. With `username` it makes `{basic}`.",
    ),
    key(
        "secrets",
        ValueType::SecretHeaders,
        Fallback::Absent,
        r#"{ "client-id" = { file = "/run/secrets/headset/acme-client-id" } }"#,
        "Further secrets, each under the name that texts use, here `{client-id}`.",
    ),
    key(
        "request_headers",
        ValueType::List,
        Fallback::Text(""),
        HEADERS,
        "Fields of the login, each as `name: text`.",
    ),
    key(
        "body",
        ValueType::Text,
        Fallback::Absent,
        r#"'{"client":"{username}","secret":"{password}"}'"#,
        "Its body. A value cannot change its structure: JSON is parsed, and a form split, before values are put in.",
    ),
    key(
        "body_format",
        FORMATS,
        Fallback::Text("json"),
        r#""json""#,
        "What the body is: `json`, or a `form` such as `user={username}&key={password}`.",
    ),
    key(
        "success_status",
        ValueType::List,
        Fallback::Text("2xx"),
        r#"["2xx"]"#,
        "The statuses of a success: `200`, or `2xx`.",
    ),
    key(
        "success_when",
        ValueType::List,
        Fallback::Text(""),
        r#"["/ok = true"]"#,
        "What a success must also say, each as `place = text`: for a 200 that may be a failure.",
    ),
    key(
        "status_at",
        ValueType::List,
        Fallback::Text(""),
        r#"["/code"]"#,
        "Places where the body repeats the status; 400 and above there is a failure.",
    ),
    key(
        "token",
        ValueType::Text,
        Fallback::Required,
        r#""header:x-acme-token""#,
        "Where the response holds the value of `{token}`.",
    ),
    key(
        "values",
        ValueType::List,
        Fallback::Text(""),
        r#"["session = /session/id"]"#,
        "Further values of the response, each as `name = place`.",
    ),
    key(
        "expiry",
        ValueType::List,
        Fallback::Text(""),
        r#"["epoch_seconds header:x-acme-expires"]"#,
        "What says when it expires; the earliest counts. `jwt` (the token's own `exp`), or a form and a place: seconds, milliseconds, epoch_seconds, epoch_milliseconds or iso8601.",
    ),
    key(
        "max_age",
        ValueType::Duration,
        Fallback::Absent,
        r#""12h""#,
        "The longest that it lives; required where nothing else says when it expires.",
    )
    .in_place(),
    key(
        "default_life",
        ValueType::Duration,
        Fallback::Absent,
        r#""1h""#,
        "How long it lives where the response does not say, or says 0; the log warns of it. Default: `max_age`, or else an hour.",
    )
    .checked(life_rule)
    .in_place(),
    key(
        "headers",
        ValueType::List,
        Fallback::Text("authorization: Bearer {token}"),
        r#"["authorization: Bearer {token}"]"#,
        "The fields that calls carry, each as `name: text`. A `Bearer` in the token is not doubled.",
    ),
    key(
        "refresh.url",
        ValueType::Url,
        Fallback::Absent,
        r#""https://login.acme.example/v2/sessions/refresh""#,
        "Where to get a fresh token without a login.",
    ),
    key(
        "refresh.method",
        METHODS,
        Fallback::Text("POST"),
        r#""POST""#,
        "Its method.",
    ),
    key(
        "refresh.request_headers",
        ValueType::List,
        Fallback::Text(""),
        r#"["authorization: Bearer {token}"]"#,
        "As for the login.",
    ),
    key(
        "refresh.body",
        ValueType::Text,
        Fallback::Absent,
        r#"'{"client":"{username}"}'"#,
        "As for the login.",
    ),
    key(
        "refresh.token",
        ValueType::Text,
        Fallback::Absent,
        r#""header:x-acme-token""#,
        "Where its response holds the token; by default where the login's does.",
    ),
    key(
        "keep_alive.url",
        ValueType::Url,
        Fallback::Absent,
        r#""https://login.acme.example/v2/sessions/ping""#,
        "Where to send keep-alive requests. A 401 means that the session is dead.",
    ),
    key(
        "keep_alive.method",
        METHODS,
        Fallback::Text("POST"),
        r#""POST""#,
        "Its method.",
    ),
    key(
        "keep_alive.request_headers",
        ValueType::List,
        Fallback::Text(""),
        r#"["authorization: Bearer {token}"]"#,
        "As for the login.",
    ),
    key(
        "keep_alive.body",
        ValueType::Text,
        Fallback::Absent,
        r#"'{"client":"{username}"}'"#,
        "As for the login.",
    ),
    key(
        "keep_alive.every",
        ValueType::Duration,
        Fallback::Text("20s"),
        r#""20s""#,
        "The interval of keep-alive requests, from 1s.",
    )
    .in_place(),
    key(
        "keep_alive.always",
        ValueType::Bool,
        Fallback::Text("false"),
        "false",
        "Whether to send them also while no call uses the session.",
    )
    .in_place(),
    key(
        "revoke.url",
        ValueType::Url,
        Fallback::Absent,
        r#""https://login.acme.example/v2/sessions/current""#,
        "Where to revoke it.",
    ),
    key(
        "revoke.method",
        METHODS,
        Fallback::Text("DELETE"),
        r#""DELETE""#,
        "Its method.",
    ),
    key(
        "revoke.request_headers",
        ValueType::List,
        Fallback::Text(""),
        r#"["authorization: Bearer {token}"]"#,
        "As for the login.",
    ),
    key(
        "revoke.body",
        ValueType::Text,
        Fallback::Absent,
        r#"'{"client":"{username}"}'"#,
        "As for the login.",
    ),
    key(
        "on_shutdown",
        ValueType::Choice(&["keep", "revoke"]),
        Fallback::Text("keep"),
        r#""keep""#,
        "Whether to keep or revoke it when headset stops.",
    )
    .in_place(),
];

/// How long a token lives whose answer does not say: less than any life that the vendor
/// documents.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);

fn build(building: &KindContext<'_>) -> BuiltMint {
    let mut reading = Reading {
        building,
        problems: Vec::new(),
    };
    let made = reading.recipe();
    let givens = reading.givens();
    if let Some(recipe) = &made {
        reading.judge_names(recipe);
    }
    let login = building.login(&mut reading.problems);
    let Reading { problems, .. } = reading;
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
    built(made, problems)
}

struct Reading<'a> {
    building: &'a KindContext<'a>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn fault(&mut self, key: &str, why: impl Into<String>, fix: &str) {
        self.problems.push(self.building.problem(key, why, fix));
    }

    /// The recipe as far as it can be read; its faults are noted.
    fn recipe(&mut self) -> Option<Recipe> {
        let building = self.building;
        building.require(&["url", "token"], &mut self.problems);
        let ask = self.ask("", "POST");
        let success = self.success();
        let mut takes = Vec::new();
        let token = place(building, "token", &mut self.problems);
        takes.extend(token.clone().map(|at| TakenValue::at("token", at)));
        takes.extend(self.values());
        let mut expiries = self.expiries();
        let max_age = building.duration("max_age");
        // Where max_age alone says it, that is the life.
        let default_life = building.duration("default_life").or(match max_age {
            Some(_) => None,
            None => Some(DEFAULT_LIFE),
        });
        expiries.extend(max_age.map(Expiry::Fixed));
        if expiries.is_empty() && building.list("expiry").is_empty() {
            self.fault(
                "max_age",
                "nothing says when the credential ends",
                "set max_age, or say in expiry where the answer tells it",
            );
        }
        let outputs: Vec<OutputField> = self
            .headers("headers")
            .into_iter()
            .map(|(name, value)| OutputField {
                name,
                value,
                optional: false,
            })
            .collect();
        if outputs.is_empty() {
            self.fault("headers", "it names no header", "name at least one");
        }
        for output in &outputs {
            if static_credential::FORBIDDEN.contains(&output.name.as_str()) {
                self.fault(
                    "headers",
                    format!(
                        "`{}` belongs to the connection, not to a credential",
                        output.name
                    ),
                    "remove it",
                );
            }
        }
        let refresh = self.beside("refresh", "POST").map(|ask| {
            let own = place(building, "refresh.token", &mut self.problems);
            Refresh {
                ask,
                takes: own
                    .or(token)
                    .map(|at| TakenValue::at("token", at))
                    .into_iter()
                    .collect(),
                expiries: expiries.clone(),
            }
        });
        let keep_alive = self.beside("keep_alive", "POST").map(|ask| {
            let every = building.duration("keep_alive.every");
            let how = KeepAlive {
                every: every.unwrap_or(Duration::from_secs(20)),
                always: building.flag("keep_alive.always").unwrap_or(false),
            };
            (how, ask)
        });
        if keep_alive
            .as_ref()
            .is_some_and(|(how, _)| how.every < Duration::from_secs(1))
        {
            self.fault(
                "keep_alive.every",
                "this is less than a second",
                "write a time such as \"20s\"",
            );
        }
        let end = self.beside("revoke", "DELETE");
        let ends_on_shutdown = building.text("on_shutdown") == Some("revoke");
        if ends_on_shutdown && end.is_none() {
            self.fault(
                "on_shutdown",
                "nothing says how the credential is ended",
                "set revoke.url, or remove this",
            );
        }
        Some(Recipe {
            ask: ask?,
            success,
            takes,
            expiries,
            default_life,
            outputs,
            refresh,
            keep_alive,
            end,
            ends_on_shutdown,
            ..Recipe::default()
        })
    }

    fn givens(&mut self) -> Vec<(&'static str, ConfiguredName)> {
        let building = self.building;
        let mut givens = Vec::new();
        let username = building.text("username");
        let password = building.secret("password");
        if let Some(username) = username {
            givens.push(("username", ConfiguredName::Text(username.to_owned())));
        }
        if let Some(password) = password {
            givens.push(("password", ConfiguredName::Secret(password.clone())));
        }
        if let (Some(username), Some(password)) = (username, password)
            && username_fault(username).is_none()
        {
            let pair = ConfiguredName::Basic(username.to_owned(), password.clone());
            givens.push(("basic", pair));
        }
        givens
    }

    /// A call beside the login, where its `url` is set.
    fn beside(&mut self, table: &str, method: &str) -> Option<IssuerRequest> {
        let key = format!("{table}.url");
        let url = self.building.url(&key)?;
        let home = self.building.url("url")?;
        if url.origin != home.origin {
            self.fault(
                &key,
                "it is on another origin than url, and what was issued goes to its issuer only",
                "write a URL on the origin of url",
            );
        }
        self.ask(&format!("{table}."), method)
    }

    fn ask(&mut self, prefix: &str, method: &str) -> Option<IssuerRequest> {
        let building = self.building;
        let at = |key: &str| format!("{prefix}{key}");
        let method = building.text(&at("method")).unwrap_or(method);
        let headers = self.headers(&at("request_headers"));
        let body = match building.text(&at("body")) {
            None => BodyTemplate::Empty,
            Some(text) if building.text("body_format") == Some("form") => {
                BodyTemplate::Form(self.form(&at("body"), text))
            }
            Some(text) => self.json(&at("body"), text)?,
        };
        Some(IssuerRequest {
            method: Method::from_bytes(method.as_bytes()).ok()?,
            path: building.url(&at("url"))?.path.to_string(),
            headers,
            body,
        })
    }

    fn json(&mut self, key: &str, text: &str) -> Option<BodyTemplate> {
        let read = serde_json::from_str(text).map_err(|error| {
            // The text holds no secret, but it need not be shown for that.
            format!("it is not JSON (at character {})", error.column())
        });
        match read.and_then(JsonTemplate::of) {
            Ok(tree) => Some(BodyTemplate::Json(tree)),
            Err(why) => {
                self.fault(key, why, "mend it, or set body_format = \"form\"");
                None
            }
        }
    }

    fn form(&mut self, key: &str, text: &str) -> Vec<(String, Template)> {
        let mut fields = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let Some(value) = self.template(key, value) {
                fields.push((name.to_owned(), value));
            }
        }
        fields
    }

    fn template(&mut self, key: &str, text: &str) -> Option<Template> {
        Template::parse(text)
            .map_err(|why| self.fault(key, why, "mend the braces"))
            .ok()
    }

    fn headers(&mut self, key: &str) -> Vec<(HeaderName, Template)> {
        let mut headers: Vec<(HeaderName, Template)> = Vec::new();
        for line in self.building.list(key) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let fault = match HeaderName::from_bytes(name.trim().as_bytes()) {
                Err(_) => "is not a header name and a text",
                Ok(name) if headers.iter().any(|(seen, _)| *seen == name) => "is named twice",
                Ok(name) => {
                    if let Some(value) = self.template(key, value.trim()) {
                        headers.push((name, value));
                    }
                    continue;
                }
            };
            let why = format!("`{}` {fault}", name.escape_debug());
            self.fault(key, why, "write each as `name: text`");
        }
        headers
    }

    fn success(&mut self) -> Success {
        let mut statuses = Vec::new();
        for word in self.building.list("success_status") {
            let range = match word.strip_suffix("xx") {
                Some(class) => class
                    .parse()
                    .ok()
                    .map(|class: u16| (class * 100, class * 100 + 99)),
                None => word.parse().ok().map(|status: u16| (status, status)),
            };
            match range.filter(|(from, to)| *from >= 200 && *to <= 599) {
                Some(range) => statuses.push(range),
                None => self.fault(
                    "success_status",
                    format!("{word:?} is not a status"),
                    "write `200` or `2xx`",
                ),
            }
        }
        let equal = self.pairs("success_when", "place = text");
        let equal = equal
            .into_iter()
            .filter_map(|(place, text)| Some((self.place("success_when", &place)?, text)))
            .collect();
        let mut status_at = Vec::new();
        for place in self.building.list("status_at") {
            status_at.extend(self.place("status_at", place));
        }
        Success {
            statuses,
            equal,
            status_at,
        }
    }

    fn values(&mut self) -> Vec<TakenValue> {
        let mut takes = Vec::new();
        for (name, place) in self.pairs("values", "name = place") {
            if let Some(at) = self.place("values", &place) {
                takes.push(TakenValue::at(&name.to_ascii_lowercase(), at));
            }
        }
        takes
    }

    fn expiries(&mut self) -> Vec<Expiry> {
        let mut expiries = Vec::new();
        for text in self.building.list("expiry") {
            if text == "jwt" {
                expiries.push(Expiry::Jwt("token"));
                continue;
            }
            let (form, place) = text.split_once(' ').unwrap_or((text, ""));
            let Some(form) = TimeForm::named(form) else {
                self.fault(
                    "expiry",
                    format!("{form:?} is no form of a time"),
                    &format!("write `jwt`, or one of {} and a place", TimeForm::NAMES),
                );
                continue;
            };
            if let Some(at) = self.place("expiry", place.trim()) {
                expiries.push(Expiry::Found(at, form));
            }
        }
        expiries
    }

    fn pairs(&mut self, key: &str, form: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for text in self.building.list(key) {
            match text.split_once('=') {
                Some((left, right)) if !left.trim().is_empty() => {
                    pairs.push((left.trim().to_owned(), right.trim().to_owned()));
                }
                _ => self.fault(
                    key,
                    format!("`{}` has no `=`", text.escape_debug()),
                    &format!("write each as `{form}`"),
                ),
            }
        }
        pairs
    }

    fn place(&mut self, key: &str, text: &str) -> Option<ValuePlace> {
        place_in(self.building, key, text, &mut self.problems)
    }

    /// A name that nothing stands for would fail every attempt.
    fn judge_names(&mut self, recipe: &Recipe) {
        let mut before: Vec<String> = Vec::new();
        let given = self.givens();
        before.extend(given.iter().map(|(name, _)| (*name).to_owned()));
        let secrets = self.building.secret_headers("secrets").unwrap_or(&[]);
        before.extend(secrets.iter().map(|(name, _)| name.clone()));
        let mut after = before.clone();
        after.extend(recipe.takes.iter().map(|taken| taken.name.clone()));
        let mut strangers: Vec<(&str, String, &Vec<String>)> = Vec::new();
        for name in recipe.ask.names() {
            strangers.push(("body", name.to_owned(), &before));
        }
        for output in &recipe.outputs {
            let names = output.value.names();
            strangers.extend(names.map(|name| ("headers", name.to_owned(), &after)));
        }
        for (key, ask) in [
            (
                "refresh.url",
                recipe.refresh.as_ref().map(|refresh| &refresh.ask),
            ),
            (
                "keep_alive.url",
                recipe.keep_alive.as_ref().map(|(_, ask)| ask),
            ),
            ("revoke.url", recipe.end.as_ref()),
        ] {
            for name in ask.iter().flat_map(|ask| ask.names()) {
                strangers.push((key, name.to_owned(), &after));
            }
        }
        let mut faults = Vec::new();
        for (key, name, known) in strangers {
            if !known.contains(&name) {
                let why = format!("`{{{name}}}` names nothing; there are {}", known.join(", "));
                faults.push((key, why));
            }
        }
        for (key, why) in faults {
            self.fault(key, why, "set what it names, or write `{{` for a brace");
        }
    }
}
