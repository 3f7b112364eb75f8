//! HTTP/1.1 (RFC 9112), without sockets, clocks or tasks.
//!
//! Each part is a function of bytes and its own few fields. Towards upstreams
//! [`request`] writes heads and [`response`] reads them; towards callers [`request_head`]
//! reads and [`response_head`] writes. Both roles share [`body`], which takes a body out of
//! the bytes that came, [`outgoing`], which frames the one that leaves, and [`spelling`],
//! which keeps the letter case of names, and whole lines that concern nobody (`untouched`).
//!
//! What leaves has one reading, and what comes is refused where careful readers could
//! differ on it, but for what `docs/http.md` lists as tolerated. Every limit is a parameter
//! or a named constant, and the work is linear in the bytes, however they are cut.
//!
//! It knows nothing of connections: who reads, writes, waits and gives up is
//! `gateway/upstream/conn.rs` towards upstreams.

pub mod body;
mod head_store;
mod located;
pub mod outgoing;
pub mod request;
pub mod request_head;
pub mod response;
pub mod response_head;
pub mod spare;
pub mod spelling;
mod untouched;
