//! The connections of one worker to one upstream, at rest and under calls.
//!
//! Below every call: nothing here knows what a call is. `pool.rs` hands out HTTP/1.1
//! connections (`conn.rs`, with the request that they carry: `outgoing_request.rs`) and streams
//! of shared HTTP/2 ones (`h2.rs`); the bodies of answers (`h1_body.rs`, `h2/body.rs`) and tunnels
//! hold what brings them, and give it back.

pub mod conn;
pub mod h1_body;
pub mod h2;
pub mod lifetimes;
pub mod outgoing_request;
pub mod pool;
pub mod tunnel;
