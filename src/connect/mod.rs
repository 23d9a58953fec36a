//! Sessions: one connection each, to a proven server, with every setting pinned that could change what is read.

mod address;
mod certificate;
mod copy;
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
mod tap;
mod trust;
mod wire;

pub use address::{Address, Endpoint};
pub use copy::CopyStream;
pub use pinned::{ClientEncoding, SessionSettings};
pub use proofs::same_database;
pub use session::{CancelToken, Imported, Rows, Session};
