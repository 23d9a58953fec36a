//! A TCP proxy before a server that stops forwarding when told to: a network that is cut, or slow at the right moment.
//!
//! On threads of its own, so that it forwards whatever the test awaits.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use triplecheck_testbed::Database;

/// What is read at once, in bytes.
const BUFFER_BYTES: usize = 16 << 10;

/// Whether anything passes; and whether the test is over.
#[derive(Default)]
struct Valve {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: bool,
    over: bool,
}

impl Valve {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits until things may pass; false once the test is over.
    fn pass(&self) -> bool {
        let state = self.state.lock().unwrap();
        !self.changed.wait_while(state, |state| state.held && !state.over).unwrap().over
    }
}

/// The proxy. What was held passes when it is dropped, and its connections close.
pub(crate) struct Proxy {
    port: u16,
    valve: Arc<Valve>,
}

impl Proxy {
    /// Listens on a port of its own, before the server of this database.
    pub(crate) fn before(database: &Database) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let valve = Arc::<Valve>::default();
        let (target, gate) = (database.port(), valve.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if gate.state.lock().unwrap().over {
                    return;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let ways = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
                for (from, to) in ways {
                    let (from, to, gate) = (from.unwrap(), to.unwrap(), gate.clone());
                    std::thread::spawn(move || forward(from, to, &gate));
                }
            }
        });
        Self { port, valve }
    }

    /// The same database, through the proxy.
    pub(crate) fn conninfo(&self, database: &Database, user: &str) -> String {
        format!("host=127.0.0.1 port={} user={user} dbname={}", self.port, database.name())
    }

    /// From now on nothing passes, not even the end of a connection.
    pub(crate) fn hold(&self) {
        self.valve.set(|state| state.held = true);
    }

    /// What was held passes.
    pub(crate) fn release(&self) {
        self.valve.set(|state| state.held = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.valve.set(|state| state.over = true);
        // Wakes the listener, which then ends.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, valve: &Valve) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(read) = from.read(&mut buffer) {
        if !valve.pass() || read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // Whatever ended this way ends the other one.
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
