//! Connection strings as libpq reads them.

/// How to reach one server.
#[derive(Debug, Clone)]
pub struct ConnectOptions {}
