//! What a login left behind, and how it is handed to a later process.
//!
//! In its written form it is a secret: whoever has it goes on with the session. The
//! fingerprint of the secrets that it was made with stays here, since it is salted for this
//! process alone; whoever hands a session on sees to it that the secrets are the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::template::TemplateValues;
use crate::credential::store::Hidden;

/// What a login left behind.
pub struct Session {
    /// What its answer gave, and later refreshes.
    pub values: TemplateValues,
    /// A salted fingerprint of the secrets that it was made with.
    pub print: u64,
    /// How long its first token was to live.
    pub life: Duration,
}

#[derive(Serialize, Deserialize)]
struct StoredSession {
    life: Duration,
    values: Vec<(String, Hidden)>,
}

impl Session {
    /// Its written form.
    pub fn written(&self) -> Option<Hidden> {
        let pairs = self.values.pairs();
        let written = StoredSession {
            life: self.life,
            values: pairs
                .map(|(name, value)| (name.to_owned(), Hidden::new(value.as_bytes())))
                .collect(),
        };
        // Large enough, since growing would leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(16 << 10));
        serde_json::to_writer(&mut *text, &written).ok()?;
        Some(Hidden(text))
    }

    /// Reads what [`Session::written`] wrote, for secrets with the fingerprint `print`.
    pub fn read(text: &[u8], print: u64) -> Option<Session> {
        let written: StoredSession = serde_json::from_slice(text).ok()?;
        let mut values = TemplateValues::default();
        for (name, value) in &written.values {
            values.set(name, Zeroizing::new(value.text()?.to_owned()));
        }
        Some(Session {
            values,
            print,
            life: written.life,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_odd_texts_are_not() {
        let mut values = TemplateValues::default();
        values.set("token", Zeroizing::new("a\"b".to_owned()));
        values.set("id", Zeroizing::new("7".to_owned()));
        let session = Session {
            values,
            print: 1,
            life: Duration::MAX,
        };
        let text = session.written().unwrap();
        let again = Session::read(&text.0, 2).unwrap();
        assert_eq!(again.values.value("token"), Some("a\"b"));
        assert_eq!(again.values.value("id"), Some("7"));
        assert_eq!((again.life, again.print), (Duration::MAX, 2));
        for odd in ["", "{}", "[]", r#"{"life":null,"values":[]}"#] {
            assert!(Session::read(odd.as_bytes(), 2).is_none(), "{odd}");
        }
    }
}
