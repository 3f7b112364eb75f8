//! Texts with `{names}` in them, and the values that the names stand for.
//!
//! A value is put in as it is and never looked at for names again, so neither a
//! password nor an issuer's answer can name another value. `{{` and `}}` are braces.

use zeroize::Zeroizing;

use crate::credential::render::without_scheme;

/// A text with names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

impl Template {
    /// Reads `text`.
    ///
    /// # Errors
    /// Why its braces will not do.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '{' | '}' if rest.peek() == Some(&c) => {
                    rest.next();
                    plain.push(c);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some(c) if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                                name.push(c.to_ascii_lowercase());
                            }
                            _ => {
                                return Err("after `{` a name and `}` are expected; \
                                            a brace itself is written `{{`"
                                    .into());
                            }
                        }
                    }
                    if name.is_empty() {
                        return Err("`{}` names nothing".into());
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Name(name));
                }
                '}' => return Err("a `}` that closes nothing is written `}}`".into()),
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template(parts))
    }

    /// `text` as it stands: a brace in it is a brace.
    pub fn literal(text: &str) -> Template {
        Template(vec![Part::Text(text.to_owned())])
    }

    /// The names in it, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with every name replaced; `None` where a name has no value. A
    /// `Bearer` that the value brings along is not doubled.
    pub fn render(&self, scope: &Scope<'_>) -> Option<Zeroizing<String>> {
        let room = self.room(scope);
        // Growing would leave copies behind that nobody zeroes.
        let mut text = Zeroizing::new(String::with_capacity(room));
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Name(name) => {
                    let value = scope.value(name)?;
                    let doubles = text.eq_ignore_ascii_case("bearer ");
                    text.push_str(if doubles {
                        without_scheme(value)
                    } else {
                        value
                    });
                }
            }
        }
        Some(text)
    }

    /// The bytes that the text may take.
    pub fn room(&self, scope: &Scope<'_>) -> usize {
        let room = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Name(name) => scope.value(name).map_or(0, str::len),
        };
        self.0.iter().map(room).sum()
    }
}

/// Values by name, zeroed when dropped.
#[derive(Clone, Default)]
pub struct TemplateValues(Vec<(String, Zeroizing<String>)>);

impl TemplateValues {
    /// Sets `name`, in place of an earlier value.
    pub fn set(&mut self, name: &str, value: Zeroizing<String>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value));
    }

    /// The value of `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        Some(found.1.as_str())
    }

    /// Every name and value, in no promised order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every value, in no promised order.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, value)| value.as_str())
    }
}

impl std::fmt::Debug for TemplateValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// What names may stand for: what was configured, and what an issuer gave.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// What was configured.
    pub given: &'a TemplateValues,
    /// What an issuer gave; empty before it did.
    pub found: &'a TemplateValues,
}

impl<'a> Scope<'a> {
    fn value(&self, name: &str) -> Option<&'a str> {
        self.given.value(name).or_else(|| self.found.value(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pairs: &[(&str, &str)]) -> TemplateValues {
        let mut held = TemplateValues::default();
        for (name, value) in pairs {
            held.set(name, Zeroizing::new((*value).to_owned()));
        }
        held
    }

    fn rendered(template: &str, pairs: &[(&str, &str)]) -> Option<String> {
        let scope = Scope {
            given: &held(pairs),
            found: &TemplateValues::default(),
        };
        let template = Template::parse(template).unwrap();
        Some(template.render(&scope)?.to_string())
    }

    #[test]
    fn names_are_replaced_once_and_values_are_never_read_for_names() {
        let pairs = [("user", "{password}"), ("password", "p}{$")];
        assert_eq!(
            rendered("{{{user}:{password}}}", &pairs).unwrap(),
            "{{password}:p}{$}"
        );
        assert_eq!(rendered("{nobody}", &pairs), None);
        for bad in ["{", "}", "{a", "{}", "{a b}", "a}b"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bearer_is_never_doubled() {
        for token in ["abc", "Bearer abc", "bearer  abc"] {
            assert_eq!(
                rendered("Bearer {token}", &[("token", token)]).unwrap(),
                "Bearer abc"
            );
        }
        assert_eq!(
            rendered("{token}", &[("token", "Bearer abc")]).unwrap(),
            "Bearer abc"
        );
    }

    #[test]
    fn debug_shows_names_and_no_value() {
        let held = held(&[("password", "hunter2")]);
        assert_eq!(format!("{held:?}"), "[\"password\"]");
    }
}
