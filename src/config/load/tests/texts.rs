//! One fault is one problem, and these are the very texts.

use super::*;

/// `GOOD` with `from` written as `to`, read with variables and flags: one problem, which
/// is this text.
struct MutationCase {
    from: &'static str,
    to: &'static str,
    variables: &'static [(&'static str, &'static str)],
    flags: &'static [(&'static str, &'static str, &'static str)],
    text: &'static str,
}

const fn told(from: &'static str, to: &'static str, text: &'static str) -> MutationCase {
    MutationCase {
        from,
        to,
        variables: &[],
        flags: &[],
        text,
    }
}

const fn told_of(
    variables: &'static [(&'static str, &'static str)],
    text: &'static str,
) -> MutationCase {
    MutationCase {
        from: "",
        to: "",
        variables,
        flags: &[],
        text,
    }
}

#[test]
fn one_fault_is_one_problem_and_this_is_its_text() {
    const UPSTREAM: &str = "upstream = \"https://cms.example.com:8443\"";
    for case in [
        // A typing error is not also a missing key or table.
        told(
            "upstream =",
            "upstrem =",
            "h.toml:6:1: route.contacts.upstrem: there is no such key; did you mean route.contacts.upstream?",
        ),
        told(
            "[route.contacts]",
            "[rout.contacts]",
            "h.toml:4:2: rout: there is no such key; did you mean route?",
        ),
        told(
            "[listener.app]",
            "[listenr.app]",
            "h.toml:2:2: listenr: there is no such key; did you mean listener?",
        ),
        told(
            "kind = \"basicauth\"",
            "knd = \"basicauth\"",
            "h.toml:9:1: credential.cms_key.knd: there is no such key; did you mean credential.cms_key.kind?",
        ),
        told(
            "[route.contacts]",
            "[route.Contacts]",
            "h.toml:4:8: route.Contacts: this is not a name: lower-case letters and digits, a letter first, \
             words joined by single underscores; write \"contacts\"",
        ),
        // Nothing is expanded, and nothing is unquoted outside a file.
        told(
            "{ file = \"/p\" }",
            "{ file = \"~/p\" }",
            "h.toml:12:14: credential.cms_key.password.file: nothing in a path is expanded: a ~ is taken as \
             written; write the whole path, such as \"/etc/headset/password\"",
        ),
        told(
            "{ file = \"/p\" }",
            "{ file = \"${HOME}/p\" }",
            "h.toml:12:14: credential.cms_key.password.file: nothing in a path is expanded: a $ and the name \
             after it are taken as written; write the whole path, such as \"/etc/headset/password\"",
        ),
        told(
            "{ file = \"/p\" }",
            "{ command = [\"~/bin/p\"] }",
            "h.toml:12:14: credential.cms_key.password.command: nothing in a path is expanded: a ~ is taken as \
             written; write the whole path, such as \"/etc/headset/password\"",
        ),
        told(
            "[route.contacts]",
            "[upstream_tls]\nca = \"$CA/x.pem\"\n[route.contacts]",
            "h.toml:5:1: upstream_tls.ca: nothing in a path is expanded: a $ and the name after it are taken \
             as written; write the whole path, such as \"/etc/headset/password\"",
        ),
        told(
            "127.0.0.1:8080",
            "unix:~/h.sock",
            "h.toml:3:1: listener.app.bind: nothing in a path is expanded: a ~ is taken as written; write the \
             whole path, such as \"/etc/headset/password\"",
        ),
        told_of(
            &[(
                "HEADSET_ROUTE__CONTACTS__UPSTREAM",
                "\"https://cms.example.com\"",
            )],
            "variable HEADSET_ROUTE__CONTACTS__UPSTREAM: route.contacts.upstream: the quotes (\") around it are a \
             part of the value here; write it without quotes",
        ),
        told_of(
            &[("HEADSET_CREDENTIAL__CMS_KEY__PASSWORD__FILE", "'/p'")],
            "variable HEADSET_CREDENTIAL__CMS_KEY__PASSWORD__FILE: credential.cms_key.password.file: the quotes (') \
             around it are a part of the value here; write it without quotes",
        ),
        told_of(
            &[(
                "HEADSET_LISTENER__APP__HOSTS",
                "[\"a.example\", \"b.example\"]",
            )],
            "variable HEADSET_LISTENER__APP__HOSTS: listener.app.hosts: brackets and quotes are a part of the value \
             here; write the items with commas between them, without brackets and quotes",
        ),
        // A near miss takes the place of what it was to set.
        MutationCase {
            from: UPSTREAM,
            to: "",
            variables: &[("HEADSET_ROUTE_CONTACTS_UPSTREAM", "https://cms.example.com")],
            flags: &[],
            text: "variable HEADSET_ROUTE_CONTACTS_UPSTREAM: it sets nothing, since two underscores separate \
                   levels; did you mean HEADSET_ROUTE__CONTACTS__UPSTREAM?",
        },
        // Flags make tables of their own, and do not change those of the file.
        MutationCase {
            from: "",
            to: "",
            variables: &[],
            flags: &[("route.default.upstream", "https://b.example", "--upstream")],
            text: "flag --upstream: route.default.upstream: it would make route.default beside what the file has \
                   (contacts); write upstream below [route.contacts] in the file, or set \
                   HEADSET_ROUTE__CONTACTS__UPSTREAM",
        },
        told_of(
            &[
                ("HEADSET_REGISTER_URL", "https://b.example/x"),
                ("HEADSET_CONTEXT_ID", "1"),
            ],
            "variable HEADSET_REGISTER_URL: credential.default.url: it would make credential.default beside what \
             the file has (cms_key); write url below [credential.cms_key] in the file, or set \
             HEADSET_CREDENTIAL__CMS_KEY__URL",
        ),
        // A choice is told in one sentence, with the one that was meant.
        told(
            "[route.contacts]",
            "[log]\nlevel = \"loud\"\n[route.contacts]",
            "h.toml:5:1: log.level: \"loud\" is not a choice here; write one of error, warn, info, debug, trace",
        ),
        told(
            "[route.contacts]",
            "[log]\nlevel = \"warning\"\n[route.contacts]",
            "h.toml:5:1: log.level: \"warning\" is not a choice here; did you mean \"warn\"?",
        ),
        // A table that was written as the text in it, and a key of another table or kind.
        told(
            "match = { path = \"/v1/cc-list\", host = \"CMS.Local\" }",
            "match = \"/v1\"",
            "h.toml:5:1: route.contacts.match: this is text where a table is expected; write match.path = \"/v1\"",
        ),
        told(
            "[route.contacts]",
            "[route.contacts]\ncontext_id = \"1\"",
            "h.toml:5:1: route.contacts.context_id: there is no such key; there is such a key at \
             credential.*.context_id where kind is \"basicauth\"",
        ),
        // A pattern, an exception that would never match.
        told(
            "path = \"/v1/cc-list\"",
            "path = \"/v1/*\"",
            "h.toml:5:11: route.contacts.match.path: * is a pattern, and a route matches a plain path and all below \
             it; write \"/v1\"",
        ),
        told(
            "[route.contacts]",
            "[egress]\nproxy = \"env\"\nno_proxy = [\"10.0.0.0/33\"]\n[route.contacts]",
            "h.toml:6:1: egress.no_proxy: \"10.0.0.0/33\" is not a network; write a host, .domain, address, \
             network such as \"10.0.0.0/8\", or \"*\"",
        ),
        // The place of a default is that of the nearest table that somebody wrote.
        told(
            "[listener.app]\nbind = \"127.0.0.1:8080\"",
            "[listener.app]\nbind = \"127.0.0.1:9464\"",
            "h.toml:1:1: admin.bind: 127.0.0.1:9464 is taken by listener.app.bind already; give one of the two \
             another port",
        ),
        told(
            "[listener.app]\nbind = \"127.0.0.1:8080\"",
            "",
            "h.toml:1:1: listener: there is none, so no application can call in; write [listener.app] with \
             bind = \"127.0.0.1:8080\" in a file for --config; or start the application by \
             `headset run --config FILE -- COMMAND`, which needs none",
        ),
    ] {
        assert!(GOOD.contains(case.from), "{}", case.from);
        let text = GOOD.replacen(case.from, case.to, usize::from(!case.from.is_empty()));
        let outcome = load_with(&text, case.variables, case.flags);
        assert_eq!(shown(outcome), [case.text]);
    }
}
