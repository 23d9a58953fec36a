//! TLS: every `sslmode` against every kind of server ends as it does for psql.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use triplecheck::config::{ConnectOptions, Environment};
use triplecheck::connect::{Session, SessionSettings};
use triplecheck::error::ErrorKind;
use triplecheck::side::Side;
use triplecheck_testbed::{Installation, Server};

use crate::certificates::{
    Authority, Identity, installation, options, self_revoked, self_signed, serve, version_1, write,
};
use crate::conninfo::set_hba;
use crate::psql::{self, WHO, class};

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// The name that certificates are for, and the way there: nothing resolves it.
const HOST: &str = "host=db.test hostaddr=127.0.0.1";
/// Cells under way at once.
const AT_ONCE: usize = 4;
const TRANSACTION_LIMIT: Duration = Duration::from_secs(60);

/// Servers and files of all tests here.
struct World {
    plain: Server,
    /// With a certificate of the authority.
    private: Server,
    self_signed: Server,
    expired: Server,
    authority: Authority,
    files: PathBuf,
    /// A home directory without anything.
    home: PathBuf,
}

async fn world() -> &'static World {
    static WORLD: OnceCell<World> = OnceCell::const_new();
    WORLD.get_or_init(start).await
}

/// A server with this certificate, or without TLS.
async fn server(identity: Option<&Identity>, authority: &Authority) -> Server {
    let server = Server::start_with(installation(), options()).await.unwrap();
    let database = server.database("postgres");
    database.sql("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    database.sql("CREATE ROLE ann LOGIN; CREATE ROLE tlsonly LOGIN").await.unwrap();
    database.sql("CREATE ROLE scram LOGIN PASSWORD 'sesame'; CREATE ROLE certified LOGIN").await.unwrap();
    let mut rules = "host all scram 127.0.0.1/32 scram-sha-256\nhost all ann 127.0.0.1/32 trust\n\
                     host all postgres 127.0.0.1/32 trust\n"
        .to_owned();
    if let Some(identity) = identity {
        serve(&server, identity, authority).await;
        rules.push_str("hostssl all tlsonly 127.0.0.1/32 trust\nhostssl all certified 127.0.0.1/32 cert\n");
    }
    set_hba(&server, &rules).await;
    server
}

async fn start() -> World {
    let authority = Authority::new("authority");
    let names = ["db.test", "127.0.0.1"];
    let good = authority.issue("db.test", &names, false);
    let old = authority.issue("db.test", &names, true);
    let vouching = self_signed(&names);
    let (plain, private, own, expired) = tokio::join!(
        server(None, &authority),
        server(Some(&good), &authority),
        server(Some(&vouching), &authority),
        server(Some(&old), &authority)
    );
    // Beside the servers' folders, which the testbed removes in the end.
    let files = triplecheck_testbed::run_folder_path().unwrap().join("tls");
    let home = files.join("home");
    fs::create_dir_all(&home).unwrap();
    write(&files, "authority.crt", &authority.pem);
    write(&files, "self.crt", &vouching.certificate);
    write(&files, "other.crt", &Authority::new("other").pem);
    let client = authority.issue("certified", &[], false);
    write(&files, "client.crt", &client.certificate);
    write(&files, "client.key", &client.key);
    World { plain, private, self_signed: own, expired, authority, files, home }
}

impl World {
    fn file(&self, name: &str) -> String {
        self.files.join(name).to_str().unwrap().to_owned()
    }
}

async fn open(conninfo: &str, home: &Path) -> triplecheck::Result<Session> {
    let environment = Environment::of::<&str, &str>([], Some("ann")).with_home(home);
    let options = ConnectOptions::parse(conninfo, &environment)?;
    Session::open(&options, Side::Publisher, "tls", &SessionSettings::control(TRANSACTION_LIMIT), None).await
}

/// What comes of a connection string: who it is where, or the class of the error.
async fn ours(conninfo: &str, home: &Path) -> String {
    match open(conninfo, home).await {
        Ok(session) => {
            let who = session.value(WHO).await.unwrap().unwrap();
            session.close().await;
            who
        }
        Err(error) => class(error.message()),
    }
}

/// Both agree, and what they say.
async fn same(conninfo: &str, home: &Path) -> String {
    let ours = ours(conninfo, home).await;
    if psql::major().is_some() {
        assert_eq!(ours, psql::outcome(conninfo, home, &[]).await, "{conninfo}");
    }
    ours
}

/// A shorter word for an outcome, to fit into a table.
fn word(outcome: &str) -> String {
    match outcome.split(' ').collect::<Vec<_>>().as_slice() {
        [_, "postgres", _, "encrypted"] => "tls".to_owned(),
        [_, "postgres", _] => "plain".to_owned(),
        _ => outcome.replace(' ', "-"),
    }
}

#[tokio::test]
async fn every_mode_against_every_server_ends_as_for_psql() {
    let world = world().await;
    let certificate = format!("sslcert={} sslkey={}", world.file("client.crt"), world.file("client.key"));
    let wrong_host = "host=wrong.test hostaddr=127.0.0.1";
    let situations: [(&str, &Server, &str, &str, &str, &str); 7] = [
        ("no TLS server", &world.plain, "ann", HOST, "authority.crt", ""),
        ("self-signed", &world.self_signed, "ann", HOST, "self.crt", ""),
        ("private authority", &world.private, "ann", HOST, "authority.crt", ""),
        ("wrong host name", &world.private, "ann", wrong_host, "authority.crt", ""),
        ("expired", &world.expired, "ann", HOST, "authority.crt", ""),
        ("certificate wanted", &world.private, "certified", HOST, "authority.crt", ""),
        ("certificate sent", &world.private, "certified", HOST, "authority.crt", &certificate),
    ];
    let mut cells = Vec::new();
    for (name, server, user, host, root, extra) in situations {
        for with_root in [None, Some(root), Some("other.crt")] {
            for mode in MODES {
                let root = with_root.map_or(String::new(), |root| format!("sslrootcert={}", world.file(root)));
                let port = server.port();
                let conninfo = format!("{host} port={port} user={user} dbname=postgres sslmode={mode} {root} {extra}");
                cells.push((format!("{name}, {}", with_root.unwrap_or("no root")), conninfo));
            }
        }
    }
    let outcomes: Vec<(String, String, String)> = futures::stream::iter(cells)
        .map(|(row, conninfo)| async move {
            let ours = ours(&conninfo, &world.home).await;
            let theirs = match psql::major() {
                Some(_) => psql::outcome(&conninfo, &world.home, &[]).await,
                None => ours.clone(),
            };
            let differs = if ours == theirs { String::new() } else { format!("{conninfo}: we {ours}, psql {theirs}") };
            (row, word(&ours), differs)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let differing: Vec<_> = outcomes.iter().map(|(_, _, differs)| differs).filter(|text| !text.is_empty()).collect();
    assert!(differing.is_empty(), "{differing:#?}");
    let table: Vec<String> = outcomes
        .chunks(MODES.len())
        .map(|row| {
            let words: Vec<_> = row.iter().map(|(_, word, _)| word.as_str()).collect();
            format!("{}: {}", row[0].0, words.join(" "))
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    no TLS server, no root: plain plain plain no-TLS no-TLS no-TLS
    no TLS server, authority.crt: plain plain plain no-TLS no-TLS no-TLS
    no TLS server, other.crt: plain plain plain no-TLS no-TLS no-TLS
    self-signed, no root: plain plain tls tls no-root-certificate no-root-certificate
    self-signed, self.crt: plain plain tls tls tls tls
    self-signed, other.crt: plain plain plain not-trusted not-trusted not-trusted
    private authority, no root: plain plain tls tls no-root-certificate no-root-certificate
    private authority, authority.crt: plain plain tls tls tls tls
    private authority, other.crt: plain plain plain not-trusted not-trusted not-trusted
    wrong host name, no root: plain plain tls tls no-root-certificate no-root-certificate
    wrong host name, authority.crt: plain plain tls tls tls not-trusted
    wrong host name, other.crt: plain plain plain not-trusted not-trusted not-trusted
    expired, no root: plain plain tls tls no-root-certificate no-root-certificate
    expired, authority.crt: plain plain plain not-trusted not-trusted not-trusted
    expired, other.crt: plain plain plain not-trusted not-trusted not-trusted
    certificate wanted, no root: no-entry certificate-wanted certificate-wanted certificate-wanted no-root-certificate no-root-certificate
    certificate wanted, authority.crt: no-entry certificate-wanted certificate-wanted certificate-wanted certificate-wanted certificate-wanted
    certificate wanted, other.crt: no-entry not-trusted not-trusted not-trusted not-trusted not-trusted
    certificate sent, no root: no-entry tls tls tls no-root-certificate no-root-certificate
    certificate sent, authority.crt: no-entry tls tls tls tls tls
    certificate sent, other.crt: no-entry not-trusted not-trusted not-trusted not-trusted not-trusted
    ");
}

#[tokio::test]
async fn certificates_of_old() {
    let world = world().await;
    let authority = &world.authority;
    let (bare, old) = (authority.issue("db.test", &[], false), version_1());
    write(&world.files, "version1.crt", &old.certificate);
    let (bare, old) = tokio::join!(server(Some(&bare), authority), server(Some(&old), authority));
    let conninfo = |host: &str, server: &Server, mode: &str, root: &str| {
        let root = if root.is_empty() { String::new() } else { format!("sslrootcert={}", world.file(root)) };
        format!("host={host} hostaddr=127.0.0.1 port={} user=ann dbname=postgres sslmode={mode} {root}", server.port())
    };
    // Without alternative names, the common name counts.
    for (host, expected) in [("db.test", "tls"), ("DB.test", "tls"), ("a.db.test", "not-trusted")] {
        let conninfo = conninfo(host, &bare, "verify-full", "authority.crt");
        assert_eq!(word(&same(&conninfo, &world.home).await), expected, "{host}");
    }
    for mode in ["prefer", "require"] {
        assert_eq!(word(&same(&conninfo("db.test", &old, mode, ""), &world.home).await), "tls", "{mode}");
    }
    let binding = format!("{} password=sesame channel_binding=require", conninfo("db.test", &old, "require", ""));
    assert_eq!(word(&same(&binding.replace("user=ann", "user=scram"), &world.home).await), "tls");
    // What rustls cannot do: psql takes both.
    let trusting = conninfo("db.test", &old, "verify-ca", "version1.crt");
    let error = open(&trusting, &world.home).await.unwrap_err();
    assert!(error.hint().unwrap().contains("X.509 version 3"), "{error:?}");
    let error =
        open(&format!("{} ssl_max_protocol_version=TLSv1.2", conninfo("db.test", &old, "require", "")), &world.home)
            .await
            .unwrap_err();
    assert!(error.hint().unwrap().contains("TLS 1.3"), "{error:?}");
    // A name to verify must be given, for an address is none.
    let nameless = conninfo("''", &bare, "verify-full", "authority.crt");
    assert_eq!(same(&nameless, &world.home).await, "no host name");
}

#[tokio::test]
async fn files_of_the_home_directory_count() {
    let world = world().await;
    let base = |user: &str| format!("{HOST} port={} user={user} dbname=postgres", world.private.port());
    let home = |name: &str, files: &[(&str, &str)]| {
        let home = world.files.join(name);
        for (to, from) in files {
            write(&home.join(".postgresql"), to, &fs::read_to_string(world.files.join(from)).unwrap());
        }
        home
    };
    // With root certificates at hand, require verifies; prefer gives up TLS rather than trust.
    let trusting = home("trusting", &[("root.crt", "authority.crt")]);
    let wary = home("wary", &[("root.crt", "other.crt")]);
    let outcome = |mode: &'static str, home: PathBuf| async move {
        word(&same(&format!("{} sslmode={mode}", base("ann")), &home).await)
    };
    assert_eq!(outcome("require", trusting.clone()).await, "tls");
    assert_eq!(outcome("verify-full", trusting.clone()).await, "tls");
    assert_eq!(outcome("require", wary.clone()).await, "not-trusted");
    assert_eq!(outcome("prefer", wary.clone()).await, "plain");

    let certified = home(
        "certified",
        &[("root.crt", "authority.crt"), ("postgresql.crt", "client.crt"), ("postgresql.key", "client.key")],
    );
    let wanted = format!("{} sslmode=verify-full", base("certified"));
    assert_eq!(word(&same(&wanted, &certified).await), "tls");
    // A key that others may read is not used; where root owns it, its group may read it.
    let key = certified.join(".postgresql/postgresql.key");
    let owned_by_root = fs::metadata(&key).map(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0).unwrap();
    for (mode, usable) in [(0o644, false), (0o640, owned_by_root), (0o660, false), (0o400, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(word(&same(&wanted, &certified).await), if usable { "tls" } else { "key" }, "{mode:o}");
    }
    fs::remove_file(&key).unwrap();
    assert_eq!(same(&wanted, &certified).await, "key");
    let asked = format!("{wanted} sslcert={0} sslkey={0}", world.file("client.crt"));
    let error = open(&asked, &certified).await.unwrap_err();
    assert!(error.message().contains("holds no unencrypted key"), "{error}");
}

#[tokio::test]
async fn bundles_and_the_authorities_of_the_system() {
    let world = world().await;
    let base = format!("{HOST} port={} user=ann dbname=postgres", world.private.port());
    // As Amazon's: a hundred authorities one after the other, with comments.
    let mut bundle: String = (0..100).map(|n| format!("# region {n}\n{}\n", Authority::new("region").pem)).collect();
    let without = write(&world.files, "without.pem", &bundle);
    bundle.push_str(&world.authority.pem);
    let with = write(&world.files, "with.pem", &bundle);
    let outcome = |path: PathBuf| {
        let conninfo = format!("{base} sslmode=verify-full sslrootcert={}", path.display());
        async move { word(&same(&conninfo, &world.home).await) }
    };
    assert_eq!(outcome(with).await, "tls");
    assert_eq!(outcome(without.clone()).await, "not-trusted");
    let empty = write(&world.files, "empty.pem", "no certificate\n");
    assert_eq!(outcome(empty).await, "no-root-certificate");

    // psql before 16 does not know the word.
    let plan = |file: PathBuf| async move {
        let variables = [("SSL_CERT_FILE".to_owned(), file.display().to_string())];
        let mut command = psql::clean(env!("CARGO_BIN_EXE_triplecheck"), &world.home, &variables);
        command.args(["plan", "--gate", "none", "--subscriber", &world.plain.conninfo("postgres"), "--publisher"]);
        let publisher =
            format!("{HOST} port={} user=postgres dbname=postgres sslrootcert=system", world.private.port());
        let output = command.arg(publisher).output().await.unwrap();
        (output.status.code(), class(&String::from_utf8(output.stderr).unwrap()))
    };
    assert_eq!(plan(world.files.join("authority.crt")).await.0, Some(0));
    assert_eq!(plan(without).await, (Some(2), "not trusted".to_owned()));
}

#[tokio::test]
async fn revoked_certificates() {
    let world = world().await;
    let base = format!(
        "{HOST} port={} user=ann dbname=postgres sslmode=verify-full sslrootcert={}",
        world.private.port(),
        world.file("authority.crt")
    );
    let revoked = write(&world.files, "revoked.crl", &world.authority.revoke_all());
    let other = write(&world.files, "other.crl", &world.authority.revoke(1));
    let foreign = write(&world.files, "foreign.crl", &Authority::new("foreign").revoke(1));
    for (list, expected) in [(revoked, "not-trusted"), (other, "tls"), (foreign, "not-trusted")] {
        let conninfo = format!("{base} sslcrl={}", list.display());
        assert_eq!(word(&same(&conninfo, &world.home).await), expected, "{}", list.display());
    }
    // Here we are stricter than libpq: a list that was asked for must be there.
    let error = open(&format!("{base} sslcrl=/nowhere"), &world.home).await.unwrap_err();
    assert!(error.message().contains("could not read certificate revocation list \"/nowhere\""), "{error}");

    // One that trusts itself and has revoked itself. psql lets it pass where no list is given, as we do.
    let (identity, list) = self_revoked(&["db.test"]);
    write(&world.files, "self-revoked.crt", &identity.certificate);
    write(&world.files, "self-revoked.crl", &list);
    let own = server(Some(&identity), &world.authority).await;
    let base = |mode: &str| {
        let root = world.file("self-revoked.crt");
        format!("{HOST} port={} user=ann dbname=postgres sslmode={mode} sslrootcert={root}", own.port())
    };
    assert_eq!(word(&same(&base("verify-full"), &world.home).await), "tls");
    for mode in ["require", "verify-ca", "verify-full"] {
        let listed = format!("{} sslcrl={}", base(mode), world.file("self-revoked.crl"));
        assert_eq!(word(&ours(&listed, &world.home).await), "not-trusted", "{mode}");
        let error = open(&listed, &world.home).await.unwrap_err();
        assert!(error.hint().unwrap().contains("one that signed itself"), "{error:?}");
    }
    // The list counts wherever it lies.
    let home = world.files.join("revoking");
    write(&home.join(".postgresql"), "root.crl", &list);
    assert_eq!(word(&ours(&base("verify-full"), &home).await), "not-trusted");
}

/// A server that answers every request with these bytes and hangs up, and the number of connections that it has had.
async fn answers(bytes: &'static [u8]) -> (u16, Arc<Mutex<Vec<&'static str>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 8];
            if client.read_exact(&mut request).await.is_err() {
                continue;
            }
            let startup = request[4..] == [0, 3, 0, 0];
            noted.lock().unwrap().push(if startup { "startup" } else { "SSLRequest" });
            let _ = client.write_all(bytes).await;
            let _ = client.shutdown().await;
        }
    });
    (port, asked)
}

/// A server that will not say whether it does TLS is not asked in the clear: nobody knows who it is.
#[tokio::test]
async fn an_answer_that_is_none_is_no_reason_to_go_on_in_the_clear() {
    let home = world().await.home.clone();
    let error_response: &[u8] = b"E\0\0\0\x26SFATAL\0C53300\0Mtold before TLS\0\0";
    for (answer, expected) in [
        (error_response, &["SSLRequest"][..]),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", &["SSLRequest"]),
        (b"\0", &["SSLRequest"]),
        (b"", &["SSLRequest"]),
        // A handshake that fails is another matter: libpq asks again without.
        (b"Snonsense", &["SSLRequest", "startup"]),
    ] {
        for mode in ["prefer", "require"] {
            let (port, asked) = answers(answer).await;
            let conninfo = format!("host=127.0.0.1 port={port} user=ann dbname=postgres sslmode={mode}");
            let expected = if mode == "prefer" { expected } else { &["SSLRequest"] };
            let error = open(&conninfo, &home).await.unwrap_err();
            assert_eq!(*asked.lock().unwrap(), expected, "{answer:?} {mode}: {error}");
            // Whoever said that is not authenticated (CVE-2024-10977).
            assert!(!error.message().contains("told before TLS"), "{error}");
            assert_eq!(error.kind(), ErrorKind::Connect);
            if psql::major().is_some() {
                asked.lock().unwrap().clear();
                psql::outcome(&conninfo, &home, &[]).await;
                assert_eq!(*asked.lock().unwrap(), expected, "psql: {answer:?} {mode}");
            }
        }
    }
}

#[tokio::test]
async fn channel_binding_and_versions() {
    let world = world().await;
    let conninfo = |server: &Server, user: &str, rest: &str| {
        format!("{HOST} port={} user={user} dbname=postgres password=sesame {rest}", server.port())
    };
    let cases = [
        (&world.private, "scram", "sslmode=require channel_binding=require", "tls"),
        (&world.private, "scram", "sslmode=require channel_binding=disable", "tls"),
        (&world.private, "scram", "sslmode=disable channel_binding=require", "channel-binding"),
        (&world.private, "ann", "sslmode=require channel_binding=require", "channel-binding"),
        (&world.plain, "scram", "channel_binding=require", "channel-binding"),
        (&world.plain, "scram", "channel_binding=prefer", "plain"),
        (&world.private, "tlsonly", "sslmode=disable", "no-entry"),
        (&world.private, "tlsonly", "sslmode=allow", "tls"),
        (&world.private, "tlsonly", "sslmode=prefer ssl_min_protocol_version=TLSv1.3", "tls"),
        (&world.private, "tlsonly", "sslmode=require ssl_max_protocol_version=TLSv1.2", "tls"),
        (&world.private, "certified", "sslmode=require sslcert=/nowhere", "certificate-wanted"),
    ];
    for (server, user, rest, expected) in cases {
        assert_eq!(word(&same(&conninfo(server, user, rest), &world.home).await), expected, "{user} {rest}");
    }
    let version = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for (rest, expected) in [("", "TLSv1.3"), ("ssl_max_protocol_version=tlsv1.2", "TLSv1.2")] {
        let session = open(&conninfo(&world.private, "tlsonly", rest), &world.home).await.unwrap();
        assert_eq!(session.value(version).await.unwrap().as_deref(), Some(expected));
        session.close().await;
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Opening {
    /// The message before any other: `SSLRequest`, `CancelRequest`, or what else it is.
    asks: &'static str,
    /// Whether the name of the host can be read in what follows.
    names_host: bool,
}

/// Passes connections on to the server, and notes how they begin.
async fn relay(port: u16, openings: Arc<Mutex<Vec<Opening>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let openings = Arc::clone(&openings);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let mut request = [0; 8];
                client.read_exact(&mut request).await.unwrap();
                server.write_all(&request).await.unwrap();
                let asks = match u32::from_be_bytes([request[4], request[5], request[6], request[7]]) {
                    80_877_103 => "SSLRequest",
                    80_877_102 => "CancelRequest",
                    _ => "something else",
                };
                let mut answer = [0; 1];
                server.read_exact(&mut answer).await.unwrap();
                client.write_all(&answer).await.unwrap();
                let mut hello = [0; 4096];
                let length = client.read(&mut hello).await.unwrap();
                let names_host = hello[..length].windows(7).any(|window| window == b"db.test");
                openings.lock().unwrap().push(Opening { asks, names_host });
                server.write_all(&hello[..length]).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    own
}

#[tokio::test]
async fn requests_to_cancel_are_encrypted_as_the_session_is() {
    let world = world().await;
    let openings = Arc::new(Mutex::new(Vec::new()));
    let port = relay(world.private.port(), Arc::clone(&openings)).await;
    let root = world.file("authority.crt");
    let conninfo = |rest: &str| format!("{HOST} port={port} user=tlsonly dbname=postgres sslrootcert={root} {rest}");
    for (rest, names_host) in [("sslmode=verify-full", true), ("sslmode=prefer sslsni=0", false)] {
        openings.lock().unwrap().clear();
        let session = open(&conninfo(rest), &world.home).await.unwrap();
        let token = session.cancel_token();
        let (slept, ()) = tokio::join!(session.batch("SELECT pg_sleep(60)"), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            token.cancel().await.unwrap();
        });
        assert_eq!(slept.unwrap_err().kind(), ErrorKind::Cancelled);
        let encrypted = Opening { asks: "SSLRequest", names_host };
        assert_eq!(*openings.lock().unwrap(), [encrypted.clone(), encrypted], "{rest}");
    }
}

#[tokio::test]
async fn tls_without_asking_for_it() {
    let world = world().await;
    // Servers know it from 17 on.
    let Ok(installation) = Installation::find(17) else { return };
    let server = Server::start_with(installation, options()).await.unwrap();
    let database = server.database("postgres");
    database.sql("CREATE ROLE ann LOGIN").await.unwrap();
    serve(&server, &world.authority.issue("db.test", &["db.test"], false), &world.authority).await;
    set_hba(&server, "hostssl all ann 127.0.0.1/32 trust").await;
    let rest = format!("sslmode=verify-full sslnegotiation=direct sslrootcert={}", world.file("authority.crt"));
    let conninfo = |port: u16| format!("{HOST} port={port} user=ann dbname=postgres {rest}");
    assert_eq!(word(&ours(&conninfo(server.port()), &world.home).await), "tls");
    if world.private.major() < 17 {
        let error = open(&conninfo(world.private.port()), &world.home).await.unwrap_err();
        assert!(error.message().contains("SSL error"), "{error}");
    }
}
