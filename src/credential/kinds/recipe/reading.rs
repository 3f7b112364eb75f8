//! From the options of `kind = "recipe"` to a [`Recipe`], noting every fault at its option.

use std::time::Duration;

use http::{HeaderName, Method};

use crate::base::problem::Problem;
use crate::credential::KeepAlive;
use crate::credential::engine::answer::ValuePlace;
use crate::credential::engine::expiry::{Expiry, TimeForm};
use crate::credential::engine::issuer_request::{BodyTemplate, IssuerRequest, JsonTemplate};
use crate::credential::engine::recipe::{ConfiguredName, OutputField, Recipe, Refresh, TakenValue};
use crate::credential::engine::template::Template;
use crate::credential::engine::verdict::Success;
use crate::credential::kind::KindContext;
use crate::credential::kinds::login_kind::{place, place_in};
use crate::credential::kinds::option_rules::{CONNECTION_FIELDS, username_fault};

/// How long a token lives whose answer does not say: less than any life that the vendor
/// documents.
const DEFAULT_LIFE: Duration = Duration::from_secs(3600);

/// A table of options that is being read.
pub(super) struct Reading<'a> {
    building: &'a KindContext<'a>,
    /// What is wrong with it, so far.
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(building: &'a KindContext<'a>) -> Reading<'a> {
        Reading {
            building,
            problems: Vec::new(),
        }
    }

    fn fault(&mut self, key: &str, why: impl Into<String>, fix: &str) {
        self.problems.push(self.building.problem(key, why, fix));
    }

    /// The recipe as far as it can be read; its faults are noted.
    pub(super) fn recipe(&mut self) -> Option<Recipe> {
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
            if CONNECTION_FIELDS.contains(&output.name.as_str()) {
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

    /// The values of names that the options themselves give.
    pub(super) fn givens(&mut self) -> Vec<(&'static str, ConfiguredName)> {
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
                self.fault(key, why, "correct it, or set body_format = \"form\"");
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
    pub(super) fn judge_names(&mut self, recipe: &Recipe) {
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
