//! Sessions: one connection each, to a proven server, with every setting pinned that could change what is read.

mod copy;
mod failure;
mod nonce;
mod open;
mod pinned;
mod proofs;
mod session;
mod socket;
mod tap;

pub use copy::CopyStream;
pub use failure::server_error;
pub use open::{Address, Endpoint};
pub use pinned::{ClientEncoding, SessionSettings};
pub use proofs::same_database;
pub use session::{CancelToken, Imported, Rows, Session};
