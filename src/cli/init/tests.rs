use super::*;
use crate::base::temp_folder::TempFolder;

fn answered(answers: &str, given: &[(&str, &str)]) -> (Vec<Flag>, String) {
    let mut flags: Vec<Flag> = given
        .iter()
        .map(|(name, text)| flag(name, (*text).into()))
        .collect();
    let mut said = Vec::new();
    ask(&mut flags, &mut answers.as_bytes(), &mut said).unwrap();
    (flags, String::from_utf8(said).unwrap())
}

fn loaded(text: &str) -> crate::config::Config {
    let folder = TempFolder::new();
    let sources = Sources {
        file: Some(folder.write("headset.toml", text)),
        ..Sources::default()
    };
    load::load(&sources, &kind_keys()).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

#[test]
fn seven_answers_make_a_file_that_headset_takes() {
    let answers = "https://cms.example.com:8443\n\ncrm_sync\n1\nAgent\n\n/run/bearer\n";
    let (flags, said) = answered(answers, &[]);
    assert!(judge(&flags).is_empty(), "{said}");
    let config = loaded(&written::file(&flags));
    let route = &config.routes[0];
    assert_eq!(route.upstream.to_string(), "https://cms.example.com:8443/");
    assert_eq!(route.credential.as_ref().unwrap().as_str(), "cms_key");
    let text = written::file(&flags);
    for line in [
        "url = \"https://cms.example.com:8443/configuration/basicauth\"",
        "password = { file = \"./password\" }",
        "admin_bearer = { file = \"/run/bearer\" }",
        "context_id = \"1\"",
        "user_role = \"Agent\"",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in\n{text}");
    }
}

#[test]
fn a_bad_answer_is_told_why_and_asked_again() {
    let answers = "cms\nhttps://cms.example.com\n\ncrm:sync\ncrm_sync\n1\n\n\n\n";
    let (flags, said) = answered(answers, &[]);
    assert_eq!(
        super::said(&flags, "upstream"),
        Some("https://cms.example.com")
    );
    assert_eq!(super::said(&flags, "username"), Some("crm_sync"));
    assert_eq!(said.matches("Base URL").count(), 2, "{said}");
    assert!(judge(&flags).is_empty());
}

#[test]
fn no_answer_and_one_that_is_no_file_are_told_why_and_asked_again() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln";
    let answers = format!(
        "\nhttps://cms.example.com\n\ncrm_sync\n1\n\n./one\n./one\nBearer hunter2\n{token}\n./two\n"
    );
    let (flags, said) = answered(&answers, &[]);
    assert_eq!(super::said(&flags, "password-file"), Some("./one"));
    assert_eq!(super::said(&flags, "admin-bearer-file"), Some("./two"));
    for (part, times) in [
        ("nothing can be guessed here", 1),
        ("name another file", 1),
        ("looks like the secret itself", 2),
        ("hunter2", 0),
        (token, 0),
    ] {
        assert_eq!(said.matches(part).count(), times, "{part} in {said}");
    }
    assert!(judge(&flags).is_empty(), "{said}");
}

#[test]
fn what_a_flag_says_is_not_asked() {
    let all = SHORTCUTS.iter().filter(|row| !row.flag.ends_with("-env"));
    let given: Vec<(&str, &str)> = all
        .map(|row| match row.flag {
            "upstream" => (row.flag, "https://cms.example.com"),
            "register-url" => (row.flag, "https://cms.example.com/r"),
            "lifetime" => (row.flag, "7d"),
            "bind" => (row.flag, "127.0.0.1:1"),
            "effect" => (row.flag, "call"),
            "admin-bind" => (row.flag, "127.0.0.1:2"),
            "log-level" => (row.flag, "debug"),
            "log-format" => (row.flag, "json"),
            "workers" => (row.flag, "2"),
            _ => (row.flag, "a\\b"),
        })
        .collect();
    let (flags, said) = answered("", &given);
    assert_eq!(said, "");
    let config = loaded(&written::file(&flags));
    assert_eq!(config.workers, 2);
    assert_eq!(config.admin.bind.to_string(), "127.0.0.1:2");
}

#[test]
fn a_terminal_that_closes_leaves_what_is_missing_as_problems() {
    let (flags, _) = answered("https://cms.example.com\n", &[]);
    let missing: Vec<String> = unanswered(&flags)
        .into_iter()
        .map(|fault| fault.fix)
        .collect();
    assert_eq!(missing.len(), 5);
    assert_eq!(
        missing[3],
        "give --password-file or --password-env, or answer on a terminal"
    );
}
