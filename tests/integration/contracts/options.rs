//! What the options of the kinds must fit together to, and what is said where they
//! do not: the chains between credentials, and recipes.

use headset::app::build::{PlanDraft, kind_keys};
use headset::base::time::Clock;
use headset::config::load::{self, Sources};

use crate::support::folder::Folder;

/// Every problem of a configuration with these credentials; the route names `it`.
fn problems(credentials: &str) -> Vec<String> {
    let folder = Folder::new();
    let toml = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[route.all]\n\
         upstream = \"https://cms.example.com\"\ncredential = \"it\"\n{credentials}\n"
    );
    let sources = Sources {
        file: Some(folder.write("headset.toml", &toml)),
        ..Sources::default()
    };
    let found = match load::load(&sources, &kind_keys()) {
        Ok(config) => {
            assert_eq!(config.warnings, [], "a chained credential is in use");
            PlanDraft::judge(&config, &Clock::system())
        }
        Err(problems) => problems,
    };
    found.iter().map(ToString::to_string).collect()
}

fn key(name: &str, bearer: &str) -> String {
    format!(
        "[credential.{name}]\nkind = \"basicauth\"\nurl = \"https://cms.example.com/configuration/basicauth\"\n\
         username = \"a\"\npassword = {{ file = \"/p\" }}\ncontext_id = \"1\"\nadmin_bearer = {bearer}\n"
    )
}

#[test]
fn a_bearer_comes_from_a_credential_that_logs_in_for_one() {
    let jwt = "[credential.login]\nkind = \"ameyo_jwt\"\nurl = \"https://a.example.com/ameyorestapi/userLogin/login\"\n\
               username = \"a\"\npassword = { file = \"/p\" }\ndomain = \"d\"\n";
    let chained = key("it", "{ credential = \"login\" }");
    assert_eq!(problems(&format!("{chained}{jwt}")), Vec::<String>::new());

    let unknown = problems(&format!("{}{jwt}", key("it", "{ credential = \"logon\" }")));
    assert!(
        unknown[0].contains("did you mean \"login\"?"),
        "{unknown:?}"
    );

    let session = jwt
        .replace("ameyo_jwt", "ameyo_session")
        .replace("domain = \"d\"\n", "");
    let none = problems(&format!("{chained}{session}"));
    assert!(none[0].contains("yields no bearer"), "{none:?}");

    let both = problems(&key("it", "{ credential = \"login\", file = \"/b\" }"));
    assert!(both[0].contains("one source"), "{both:?}");
}

#[test]
fn a_chain_that_comes_back_to_itself_is_refused_at_each_of_its_links() {
    let alone = problems(&key("it", "{ credential = \"it\" }"));
    assert_eq!(alone.len(), 1, "{alone:?}");
    assert!(alone[0].contains("comes back"), "{alone:?}");
    let round = [
        key("it", "{ credential = \"b\" }"),
        key("b", "{ credential = \"c\" }"),
        key("c", "{ credential = \"it\" }"),
    ];
    let round = problems(&round.concat());
    assert_eq!(round.len(), 3, "{round:?}");
}

fn recipe(options: &str) -> Vec<String> {
    problems(&format!(
        "[credential.it]\nkind = \"recipe\"\nurl = \"https://login.example.com/login\"\n{options}\n"
    ))
}

#[test]
fn every_fault_of_a_recipe_is_told_at_once_with_its_key() {
    let found = recipe(
        r#"
body = '{"a":"{username}","b":'
token = "token"
values = ["session"]
expiry = ["minutes /x", "seconds x"]
success_status = ["20x"]
success_when = ["/ok"]
request_headers = ["a b: c"]
headers = ["host: {token}", "x-a: {"]
refresh.url = "https://elsewhere.example.com/refresh"
keep_alive.url = "https://login.example.com/ping"
keep_alive.every = "1ms"
on_shutdown = "revoke"
"#,
    )
    .join("\n");
    for part in [
        "it.body",
        "it.token",
        "it.values",
        "\"minutes\" is no form of a time",
        "it.success_status",
        "it.success_when",
        "it.request_headers",
        "`host` belongs to the connection",
        "mend the braces",
        "another origin",
        "it.keep_alive.every",
        "revoke.url",
    ] {
        assert!(found.contains(part), "{part} is not told in\n{found}");
    }
}

#[test]
fn a_recipe_must_end_some_time_and_name_only_what_there_is() {
    let endless = recipe("token = \"/t\"");
    assert!(endless[0].contains("nothing says when"), "{endless:?}");

    let early = recipe("token = \"/t\"\nmax_age = \"1h\"\nbody = '{\"t\":\"{token}\"}'");
    assert!(early[0].contains("`{token}` names nothing"), "{early:?}");

    let stranger = recipe("token = \"/t\"\nmax_age = \"1h\"\nheaders = [\"x-a: {tokem}\"]");
    assert!(
        stranger[0].contains("`{tokem}` names nothing"),
        "{stranger:?}"
    );

    let whole = recipe(
        "token = \"/t\"\nmax_age = \"1h\"\nvalues = [\"S = /s\"]\nheaders = [\"x-a: {token}{s}\"]",
    );
    assert_eq!(whole, Vec::<String>::new());
}
