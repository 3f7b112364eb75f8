//! File, variables, flags and shortcuts: which wins, and what each may not say.

use super::*;

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let path = "route.contacts.upstream";
    let variable = [("HEADSET_ROUTE__CONTACTS__UPSTREAM", "https://env.example")];
    let flag = [(path, "https://flag.example", "--upstream")];
    let upstream = |config: Config| config.routes[0].upstream.origin.host.to_string();
    assert_eq!(upstream(load_text(GOOD).unwrap()), "cms.example.com");
    assert_eq!(
        upstream(load_with(GOOD, &variable, &[]).unwrap()),
        "env.example"
    );
    assert_eq!(
        upstream(load_with(GOOD, &variable, &flag).unwrap()),
        "flag.example"
    );
}

#[test]
fn what_has_no_listener_is_judged_with_the_one_of_a_command_where_that_is_asked_for() {
    let given = |path: &str, text: &str| {
        let spelling = "headset run -- COMMAND".to_owned();
        (format!("listener.run.{path}"), text.to_owned(), spelling)
    };
    let sources = || Sources {
        without_listener: vec![given("bind", "127.0.0.1:0"), given("mode", "forward")],
        ..Sources::default()
    };
    let routes = GOOD.replace("[listener.app]\nbind = \"127.0.0.1:8080\"\n", "");
    let said = shown(load_text(&routes));
    only(&said, &["listener: there is none", "headset run"]);
    for (more, passes) in [
        ("", true),
        ("[listener.run]\nelsewhere = \"refuse\"\n", false),
    ] {
        let config = load_by(&format!("{routes}{more}"), sources()).unwrap();
        let [listener] = &config.listeners[..] else {
            panic!("{:?}", config.listeners);
        };
        assert_eq!(listener.name.as_str(), "run");
        let forward = listener.forward.as_ref().unwrap();
        assert_eq!(forward.passes_elsewhere, passes);
        let warning = config.warnings[0].to_string();
        assert!(warning.contains("headset run -- COMMAND"), "{warning}");
    }
    let config = load_by(GOOD, sources()).unwrap();
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].name.as_str(), "app");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    // Nothing is served that has no routes.
    let said = shown(load_by("[log]\nlevel = \"info\"\n", sources()));
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn a_listener_without_an_address_that_is_nearly_called_as_another_asks_whether_that_was_meant() {
    let given = |path: &str, text: &str| {
        let spelling = "headset run -- COMMAND".to_owned();
        (format!("listener.run.{path}"), text.to_owned(), spelling)
    };
    let routes = GOOD.replace("[listener.app]\nbind = \"127.0.0.1:8080\"\n", "");
    let with = |more: &str, environment: &[(&str, &str)]| {
        let own = vec![given("bind", "127.0.0.1:0"), given("mode", "forward")];
        let environment = environment.iter();
        let environment = environment.map(|(name, value)| ((*name).into(), (*value).into()));
        let environment: Vec<(String, String)> = environment.collect();
        let text = format!("{routes}{more}");
        let judged = Sources {
            without_listener: own.clone(),
            environment: environment.clone(),
            ..Sources::default()
        };
        let run = Sources {
            flags: own,
            environment,
            ..Sources::default()
        };
        [shown(load_by(&text, judged)), shown(load_by(&text, run))]
    };
    for said in with("[listener.runn]\nelsewhere = \"refuse\"\n", &[]) {
        only(&said, &["listener.runn: ", "did you mean listener.run?"]);
    }
    for said in with("", &[("HEADSET_LISTENER__RNU__ELSEWHERE", "refuse")]) {
        only(&said, &["did you mean HEADSET_LISTENER__RUN__ELSEWHERE?"]);
    }
    // One that is called otherwise lacks its address.
    for said in with("[listener.proxy]\nmode = \"forward\"\n", &[]) {
        only(&said, &["listener.proxy.bind", "it is missing"]);
    }
}

#[test]
fn a_variable_of_ours_in_small_letters_is_told_and_sets_nothing() {
    for (name, meant) in [
        ("headset_log__format", "HEADSET_LOG__FORMAT"),
        ("Headset_Log_Format", "HEADSET_LOG_FORMAT"),
    ] {
        let config = load_with(GOOD, &[(name, "json")], &[]).unwrap();
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        only(
            &warnings,
            &[name, "capitals", &format!("did you mean {meant}?")],
        );
        // Some set both.
        let both = [(name, "json"), (meant, "json")];
        assert_eq!(load_with(GOOD, &both, &[]).unwrap().warnings, []);
    }
    for other in [
        "headset_volume",
        "headset_left__ear",
        "headset_log",
        "HEADSET",
    ] {
        let config = load_with(GOOD, &[(other, "json")], &[]).unwrap();
        assert_eq!(config.warnings, [], "{other}");
    }
    // What it was to set is not missing too.
    let routes = GOOD.replace("[listener.app]\nbind = \"127.0.0.1:8080\"\n", "");
    let bind = [("headset_listener__app__bind", "127.0.0.1:8080")];
    only(
        &shown(load_with(&routes, &bind, &[])),
        &["did you mean HEADSET_LISTENER__APP__BIND?"],
    );
}

#[test]
fn a_variable_that_nearly_names_a_table_of_the_file_asks_whether_that_was_meant() {
    let part = [("HEADSET_ROUTE__CONTCTS__EFFECT", "call")];
    only(
        &shown(load_with(GOOD, &part, &[])),
        &[
            "variable HEADSET_ROUTE__CONTCTS__",
            "the file has no route.contcts",
            "did you mean HEADSET_ROUTE__CONTACTS__",
        ],
    );
    // A whole one may be meant.
    let whole = [
        ("HEADSET_ROUTE__CONTACTS2__UPSTREAM", "https://two.example"),
        ("HEADSET_ROUTE__CONTACTS2__MATCH__PATH", "/two"),
        ("HEADSET_ROUTE__OTHER__UPSTREAM", "https://three.example"),
        ("HEADSET_ROUTE__OTHER__MATCH__PATH", "/three"),
    ];
    let config = load_with(GOOD, &whole, &[]).unwrap();
    assert_eq!(config.routes.len(), 3);
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    only(
        &warnings,
        &["no route.contacts2", "HEADSET_ROUTE__CONTACTS__"],
    );
}

#[test]
fn lists_are_comma_separated_in_the_environment() {
    let environment = [("HEADSET_LISTENER__APP__HOSTS", "a.example, B.example,")];
    let config = load_with(GOOD, &environment, &[]).unwrap();
    assert_eq!(
        config.listeners[0].hosts,
        ["a.example", "b.example", "cms.local"]
    );
}

#[test]
fn a_variable_that_matches_no_key_is_an_error_with_the_one_that_was_meant() {
    let environment = [
        ("HEADSET_ROUTE__CONTACTS__UPSTREEM", "x"),
        ("HEADSET_ROUT__CONTACTS__UPSTREAM", "x"),
        ("HEADSET_LIMITS__CONECTIONS", "5"),
        ("HEADSET_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    let shown = shown(load_with(GOOD, &environment, &[]));
    assert_eq!(shown.len(), 3, "{shown:#?}");
    for (name, meant) in [
        (
            "HEADSET_ROUTE__CONTACTS__UPSTREEM",
            "did you mean HEADSET_ROUTE__CONTACTS__UPSTREAM?",
        ),
        (
            "HEADSET_ROUT__CONTACTS__UPSTREAM",
            "did you mean HEADSET_ROUTE__CONTACTS__UPSTREAM?",
        ),
        (
            "HEADSET_LIMITS__CONECTIONS",
            "did you mean HEADSET_LIMITS__CONNECTIONS?",
        ),
    ] {
        let hit =
            |line: &String| line.starts_with(&format!("variable {name}: ")) && line.contains(meant);
        assert!(shown.iter().any(hit), "{name}: {shown:#?}");
    }
}

const QUICK: &[(&str, &str)] = &[
    ("HEADSET_UPSTREAM", "https://cms.example.com:8443"),
    (
        "HEADSET_REGISTER_URL",
        "https://cms.example.com:8443/configuration/basicauth",
    ),
    ("HEADSET_USERNAME", "crm_sync"),
    ("HEADSET_PASSWORD_FILE", "/p"),
    ("HEADSET_CONTEXT_ID", "00912"),
    ("HEADSET_ADMIN_BEARER_FILE", "/b"),
];

#[test]
fn the_shortcuts_make_one_route_without_a_file() {
    let config = load_with("", QUICK, &[]).unwrap();
    assert_eq!(config.listeners[0].bind.to_string(), "127.0.0.1:8080");
    assert_eq!(config.listeners[0].name.as_str(), "app");
    assert_eq!(config.routes[0].name.as_str(), "default");
    assert_eq!(
        config.routes[0].credential.as_ref().unwrap().as_str(),
        "default"
    );
    let credential = &config.credentials[0];
    assert_eq!(credential.kind, "basicauth");
    assert_eq!(credential.values.need_text("context_id"), "00912");
    assert_eq!(config.warnings, []);

    let flags = [("listener.app.bind", "127.0.0.1:9999", "--bind")];
    let config = load_with("", QUICK, &flags).unwrap();
    assert_eq!(config.listeners[0].bind.to_string(), "127.0.0.1:9999");
}

#[test]
fn a_route_without_credential_needs_one_flag() {
    let flags = [("route.default.upstream", "http://127.0.0.1:9", "--upstream")];
    let config = load_with("", &[], &flags).unwrap();
    assert!(config.routes[0].credential.is_none() && config.credentials.is_empty());
}

#[test]
fn an_incomplete_shortcut_says_which_key_is_missing() {
    let shown = shown(load_with("", &QUICK[..5], &[]));
    only(&shown, &["credential.default.admin_bearer", "missing"]);
}

#[test]
fn nothing_at_all_says_what_to_write() {
    let shown = shown(load_with("", &[], &[]));
    assert_eq!(shown.len(), 2, "{shown:#?}");
    assert!(shown.join("\n").contains("--upstream"));
}

#[test]
fn without_a_file_what_is_missing_is_told_by_its_flag() {
    let flags = |names: &[&str]| -> Vec<(&str, &str, &str)> {
        let all = [
            (
                "route.default.upstream",
                "https://cms.example.com",
                "--upstream",
            ),
            (
                "credential.default.url",
                "https://cms.example.com/b",
                "--register-url",
            ),
            ("credential.default.username", "crm_sync", "--username"),
            ("credential.default.password.file", "/p", "--password-file"),
            ("credential.default.context_id", "1", "--context-id"),
            (
                "credential.default.admin_bearer.file",
                "/b",
                "--admin-bearer-file",
            ),
        ];
        let wanted = all.into_iter().filter(|(_, _, flag)| !names.contains(flag));
        wanted.collect()
    };
    for (without, text) in [
        (
            "--admin-bearer-file",
            "flag --register-url: credential.default.admin_bearer: it is missing and has no default; give \
             --admin-bearer-file FILE or --admin-bearer-env VARIABLE, or set HEADSET_ADMIN_BEARER_FILE or \
             HEADSET_ADMIN_BEARER_ENV",
        ),
        (
            "--context-id",
            "flag --register-url: credential.default.context_id: it is missing and has no default; give \
             --context-id ID, or set HEADSET_CONTEXT_ID",
        ),
    ] {
        assert_eq!(shown(load_with("", &[], &flags(&[without]))), [text]);
    }
    let alone = [("credential.default.context_id", "1", "--context-id")];
    let told = shown(load_with("", &[], &alone)).join("\n");
    assert!(told.contains("give --admin-bearer-file FILE"), "{told}");
    assert!(!told.contains("default:"), "{told}");
}

#[test]
fn a_variable_that_misses_its_key_by_a_hair_is_a_warning() {
    let warned = |names: &[&str], text: &str| -> Vec<String> {
        let environment: Vec<(&str, &str)> = names.iter().map(|name| (*name, "x")).collect();
        let config = load_with(text, &environment, &[]).unwrap();
        config.warnings.iter().map(Problem::to_string).collect()
    };
    for (name, meant) in [
        (
            "HEADSET_ROUTE_CONTACTS_MATCH_PATH",
            "HEADSET_ROUTE__CONTACTS__MATCH__PATH",
        ),
        (
            "HEADSET_ROUTE_MY_ROUTE_UPSTREAM",
            "HEADSET_ROUTE__MY_ROUTE__UPSTREAM",
        ),
        ("HEADSET_TIMEOUTS_DRAIN", "HEADSET_TIMEOUTS__DRAIN"),
        (
            "HEADSET_CREDENTIAL_CMS_KEY_USERNAME",
            "HEADSET_CREDENTIAL__CMS_KEY__USERNAME",
        ),
        (
            "HEADSET_CREDENTIAL_CMS_KEY_PASSWORD_FILE",
            "HEADSET_CREDENTIAL__CMS_KEY__PASSWORD__FILE",
        ),
    ] {
        let why = "it sets nothing, since two underscores separate levels";
        let text = format!("variable {name}: {why}; did you mean {meant}?");
        assert_eq!(warned(&[name], GOOD), [text]);
    }
    assert_eq!(
        warned(&["HEADSET_UPSTREM", "HEADSET_LOGLEVEL"], GOOD),
        [
            "variable HEADSET_LOGLEVEL: it sets nothing; did you mean HEADSET_LOG_LEVEL?",
            "variable HEADSET_UPSTREM: it sets nothing; did you mean HEADSET_UPSTREAM?",
        ]
    );
    // What Kubernetes sets, and what a secret is taken from.
    let ignored = [
        "HEADSET_PORT",
        "HEADSET_SERVICE_HOST",
        "HEADSET_SERVICE_PORT_HTTP",
        "HEADSET_PORT_8080_TCP_ADDR",
        "HEADSET_ADMIN_PORT_9464_TCP_ADDR",
        "HEADSET_ADMIN_SERVICE_PORT",
        "HEADSET_VERSION",
        "HEADSET_CONFIG",
        "HEADSET_ADMIN_TOKEN_FILE",
    ];
    let text = GOOD.replace("\"BEARER\"", "\"HEADSET_ADMIN_TOKEN_FILE\"");
    assert_eq!(warned(&ignored, &text), [] as [&str; 0]);
}
