//! Passwords that headset makes itself, from the operating system's random source.
//!
//! Each character is drawn evenly from the alphabet, and every class of characters
//! that the alphabet has (lower case, upper case, digits, others) is in the outcome,
//! since servers ask for that. Nothing here keeps a password.

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// The characters that a password is made of where nobody says otherwise: no quote,
/// blank, colon or backslash, which some programs along the way may mangle.
pub const ALPHABET: &str = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.~";

/// The least number of different characters in an alphabet.
pub const ALPHABET_LEAST: usize = 16;

/// How a password is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    length: usize,
    alphabet: Vec<u8>,
}

/// Why a policy makes no good passwords: why, and how to mend it.
pub type Weak = (String, String);

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandom;

impl Policy {
    /// Passwords of `length` characters out of `alphabet`.
    ///
    /// # Errors
    /// Where the alphabet is not printable ASCII, repeats a character or has fewer
    /// than 16, or where `length` is under 16 or over 256.
    pub fn new(length: usize, alphabet: &str) -> Result<Policy, Weak> {
        if !(16..=256).contains(&length) {
            return Err((
                format!("a password cannot have {length} characters"),
                "write a length from 16 to 256".into(),
            ));
        }
        let bytes = alphabet.as_bytes();
        let refuse = |why: &str| {
            let fix = "write at least 16 different letters, digits and signs";
            Err((why.to_owned(), fix.to_owned()))
        };
        if !bytes.iter().all(u8::is_ascii_graphic) {
            return refuse("a password is made of printable ASCII without spaces");
        }
        let mut seen = [false; 128];
        for byte in bytes {
            if std::mem::replace(&mut seen[usize::from(*byte)], true) {
                return refuse("a character is in the alphabet twice");
            }
        }
        if bytes.len() < ALPHABET_LEAST {
            return refuse("the alphabet is too small");
        }
        Ok(Policy {
            length,
            alphabet: bytes.to_vec(),
        })
    }

    /// A new password.
    ///
    /// # Errors
    /// Where the machine has no random bytes to give.
    pub fn make(&self) -> Result<Zeroizing<String>, NoRandom> {
        let random = SystemRandom::new();
        // One in a few draws of the shortest policy lacks a class.
        loop {
            let password = self.draw(&random)?;
            let has = |class: fn(&u8) -> bool| password.as_bytes().iter().any(class);
            let lacks = |class: fn(&u8) -> bool| self.alphabet.iter().any(class) && !has(class);
            if !CLASSES.into_iter().any(lacks) {
                return Ok(password);
            }
        }
    }

    fn draw(&self, random: &SystemRandom) -> Result<Zeroizing<String>, NoRandom> {
        let size = self.alphabet.len();
        // What lies above is thrown away, so that each character is as likely.
        let even = 256 - 256 % size;
        let mut password = Zeroizing::new(String::with_capacity(self.length));
        let mut octets = Zeroizing::new([0u8; 64]);
        while password.len() < self.length {
            random.fill(octets.as_mut_slice()).map_err(|_| NoRandom)?;
            let drawn = octets.iter().map(|octet| usize::from(*octet));
            for octet in drawn.filter(|octet| *octet < even) {
                if password.len() == self.length {
                    break;
                }
                password.push(char::from(self.alphabet[octet % size]));
            }
        }
        Ok(password)
    }
}

const CLASSES: [fn(&u8) -> bool; 4] = [
    u8::is_ascii_lowercase,
    u8::is_ascii_uppercase,
    u8::is_ascii_digit,
    u8::is_ascii_punctuation,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn passwords_have_the_length_every_class_and_nothing_else() {
        let policy = Policy::new(16, ALPHABET).unwrap();
        let mut seen = HashSet::new();
        for _ in 0..500 {
            let password = policy.make().unwrap();
            assert_eq!(password.len(), 16);
            assert!(password.chars().all(|c| ALPHABET.contains(c)));
            for class in CLASSES {
                assert!(password.as_bytes().iter().any(class));
            }
            assert!(seen.insert(password.to_string()), "the same one twice");
        }
    }

    #[test]
    fn every_character_is_about_as_likely() {
        let policy = Policy::new(256, ALPHABET).unwrap();
        let mut counts = [0u32; 128];
        for _ in 0..400 {
            for byte in policy.make().unwrap().bytes() {
                counts[usize::from(byte)] += 1;
            }
        }
        let mean = (256 * 400 / ALPHABET.len()) as f64;
        for byte in ALPHABET.bytes() {
            let share = f64::from(counts[usize::from(byte)]) / mean;
            // Eight standard deviations.
            assert!((0.8..1.2).contains(&share), "{}: {share}", char::from(byte));
        }
    }

    #[test]
    fn a_weak_policy_is_refused() {
        assert!(Policy::new(15, ALPHABET).is_err());
        assert!(Policy::new(257, ALPHABET).is_err());
        for alphabet in [
            "abcdef",
            "abcdefghijklmnop qrst",
            "aabcdefghijklmnopqrst",
            "äbcdefghijklmnopqrst",
            "",
        ] {
            assert!(Policy::new(32, alphabet).is_err(), "{alphabet}");
        }
        assert!(Policy::new(32, "0123456789abcdef").is_ok());
    }
}
