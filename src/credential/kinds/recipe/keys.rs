//! The options of `kind = "recipe"`, and an example of them.

use crate::config::key::{ConfigKey, Fallback, ValueType, key};
use crate::credential::kinds::option_rules::life_rule;

pub(super) const EXAMPLE: &str = r#"[credential.acme]
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

pub(super) const KEYS: &[ConfigKey] = &[
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
