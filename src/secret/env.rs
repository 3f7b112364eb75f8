//! Secrets in environment variables.
//!
//! An unset variable is an error, never an empty string. The process's own copy of
//! the environment cannot be zeroed; a file is the better place.

use zeroize::Zeroizing;

use super::fault::SecretFault;

/// The value of the variable called `name`.
pub(super) fn read(name: &str) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
    let value = std::env::var_os(name).ok_or(SecretFault::Unset)?;
    Ok(Zeroizing::new(value.into_encoded_bytes()))
}

#[cfg(test)]
mod tests {
    use crate::secret::SecretSource;

    #[test]
    fn a_variable_is_read_as_it_is() {
        // cargo sets it for every test.
        let secret = SecretSource::Env("CARGO_PKG_NAME".into()).fetch().unwrap();
        assert_eq!(secret.expose(), "headset");
        assert_eq!(secret.source(), "variable CARGO_PKG_NAME");
    }
}
