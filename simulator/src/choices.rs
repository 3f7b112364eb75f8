//! The choices that faults have: how something breaks, not whether.

use serde::{Deserialize, Serialize};

/// When in a call the connection is reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetAt {
    /// The head was read, nothing was done.
    #[default]
    Head,
    /// The first piece of the body was read too, nothing was done.
    Body,
    /// The call took effect, no byte of the answer is sent.
    Effect,
    /// The call took effect, the head and a part of the answer are sent.
    Answer,
}

/// How the answer to a registration, login or refresh is broken; the status is 200.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokenAs {
    /// A sign-in page, as a balancer gives; nothing was done.
    #[default]
    Garbage,
    /// It says JSON and is none; nothing was done.
    Noise,
    /// `null` as text; nothing was done.
    Null,
    /// No body; nothing was done.
    Empty,
    /// The family's error envelope, which says 500; nothing was done.
    Failure,
    /// It took effect, but the answer stops halfway and the connection is reset.
    Half,
    /// It took effect, and 384 KiB of white space stand before the answer.
    Huge,
    /// It took effect, and the answer comes one byte every `drip_ms`.
    Drip,
}

/// What registering a username that exists does; the vendor does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicate {
    /// 409 with E1.
    #[default]
    Conflict,
    /// The key is replaced, as by PUT.
    Overwrite,
    /// There are two keys of that name then, and both let in.
    Silent,
    /// 400 with E1 saying that it exists.
    BadRequest,
}

/// What the read model's `password` holds; the vendor does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListPasswords {
    /// The password itself.
    #[default]
    Clear,
    /// Something that looks like a bcrypt hash.
    Hashed,
    /// The field is missing.
    Hidden,
}

/// How a call in a dead session is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionDeadAs {
    /// 401 with E2 code 909090, `invalid.authentication.token`.
    #[default]
    Unauthorized,
    /// 403 with E2 code 99999, `message` null and `info` `invalid.session.id`.
    Forbidden,
}

/// How `/ameyowebaccess` refuses; the status is 200.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebAccessFailsAs {
    /// `null` as text.
    #[default]
    Null,
    /// A sign-in page.
    Html,
    /// No body.
    Empty,
    /// `{"status":"error","reason":…}`.
    Error,
}

/// What a token looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenAs {
    /// As the vendor's sample: a JWT for `ccm_token` and `ameyo_jwt`, opaque for all
    /// others.
    #[default]
    Sample,
    /// A JWT, for every kind but `v4_login`.
    Jwt,
    /// A JWT without `exp`, for every kind but `v4_login`.
    JwtWithoutExp,
    /// Base64 of a UUID.
    Opaque,
}

/// What a login tells about the end of its token: `expires_in`, `expires_at`,
/// `jwtTokenExpiryMs` or the second vendor's `expires`. The token itself keeps to its
/// true life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryAs {
    /// The truth.
    #[default]
    Truth,
    /// The field is missing.
    Absent,
    /// `null`.
    Null,
    /// The text `soon`.
    Words,
    /// No life at all.
    Zero,
    /// A minute ago.
    Past,
    /// Ten times the true life.
    Late,
    /// The true end as ms since the epoch, whatever the unit of the field is.
    EpochMs,
}
