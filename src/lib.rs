//! headset stands beside an application, takes its plain calls to a contact
//! center and sends them on with a valid credential.
//!
//! The floors, each importing only from those before it:
//! `base` ← `h1` ← `secret` ← `config` ← `net` ← `credential` ← `gateway` ←
//! {`modes`, `admin`} ← `app` ← `cli`. The simulated contact center is a crate of its
//! own, `headset-simulator`, which only `cli` and the tests import.
//! `ARCHITECTURE.md` states these as invariants.

pub mod admin;
pub mod app;
pub mod base;
pub mod cli;
pub mod config;
pub mod credential;
pub mod gateway;
pub mod h1;
pub mod modes;
pub mod net;
pub mod secret;
