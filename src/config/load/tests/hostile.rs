//! No text at all makes the loader panic.

use proptest::prelude::*;

use super::*;

/// Text that is near enough to a configuration to get past the parser.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[listener.app]\n".to_owned()),
        Just("[route.a]\n".to_owned()),
        Just("[route]\n".to_owned()),
        Just("[[route]]\n".to_owned()),
        Just("[credential.a]\nkind = \"static\"\n".to_owned()),
        Just("[credential.b]\nkind = \"basicauth\"\n".to_owned()),
        Just("[timeouts]\n".to_owned()),
        Just("[limits]\n".to_owned()),
        ("[a-z_.]{1,12}", "[ -~]{0,16}").prop_map(|(key, text)| format!("{key} = {text:?}\n")),
        (
            prop::sample::select(crate::config::keys::KEYS),
            prop_oneof![
                "\\PC{0,12}".prop_map(|text| format!("{text:?}")),
                "[0-9]{1,22}[a-zµ.]{0,3}( [0-9]{1,21}ns)?".prop_map(|text| format!("{text:?}")),
                any::<i64>().prop_map(|n| n.to_string()),
                Just("[1, [\"x\"], {}]".to_owned()),
                Just("{ file = \"a\", env = 1 }".to_owned()),
                Just("true".to_owned()),
                "[\\x20-\\x7e\u{201c}é]{0,10}",
            ]
        )
            .prop_map(|(key, text)| {
                let (_, _, rest) = crate::config::keys::split(key.path);
                format!("{rest} = {text}\n")
            }),
        "\\PC{0,20}\n?",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_can_panic_the_loader(text in nearly(), value in "\\PC{0,20}", name in "[A-Z_]{0,20}") {
        let name = format!("HEADSET_{name}");
        let environment = [(name.as_str(), value.as_str()), ("HEADSET_TIMEOUTS__IDLE", value.as_str())];
        if let Err(problems) = load_with(&text, &environment, &[]) {
            prop_assert!(!problems.is_empty());
        }
    }
}
