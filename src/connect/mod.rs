//! Sessions: one connection each, to a proven server, with every setting pinned that could change what is read.

mod address;
mod certificate;
mod failure;
mod handshake;
mod link;
mod nonce;
mod open;
mod passfile;
mod password;
mod pinned;
mod proofs;
mod session;
mod socket;
mod trust;
mod wire;

pub use address::{Address, Endpoint};
pub use failure::server_error;
pub use pinned::{ClientEncoding, SessionSettings};
pub use proofs::same_database;
pub use session::{CancelToken, Imported, Rows, Session};
