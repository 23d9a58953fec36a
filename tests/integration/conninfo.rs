//! Connection strings, service files, password files and variables: the same to us as to psql.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use serde_json::Value;
use triplecheck_testbed::{Installation, Server, ServerOptions};

use crate::psql;

/// A password with everything that some syntax or other takes for its own.
const PASSWORD: &str = r"se:cr\et &=%@/'ü";
const PASSWORD_IN_URI: &str = "se%3Acr%5Cet%20%26%3D%25%40%2F%27%C3%BC";
const PASSWORD_IN_QUOTES: &str = r"'se:cr\\et &=%@/\'ü'";
const PASSWORD_IN_FILE: &str = r"se\:cr\\et &=%@/'ü";
/// Comparisons under way at once: a core each for psql and for us.
const AT_ONCE: usize = 3;

/// A connection string, the variables around it, and what comes of it.
struct Case {
    conninfo: &'static str,
    variables: &'static [(&'static str, &'static str)],
    /// The first libpq that knows it.
    since: u16,
    expected: &'static str,
}

const fn case(conninfo: &'static str, expected: &'static str) -> Case {
    Case { conninfo, variables: &[], since: 12, expected }
}

const fn with(
    variables: &'static [(&'static str, &'static str)],
    conninfo: &'static str,
    expected: &'static str,
) -> Case {
    Case { conninfo, variables, since: 12, expected }
}

const fn since(since: u16, conninfo: &'static str, expected: &'static str) -> Case {
    Case { conninfo, variables: &[], since, expected }
}

/// `{A}` is the port of the server, `{DIR}` the folder of its socket, `{URIDIR}` the same for a URI, `{OS}` the user of this
/// process, `{RUNNER}` that of the server, `{HOME}` the home directory, `{SILENT}` a port that accepts and says nothing.
const CASES: &[Case] = &[
    // Keywords and values.
    case("host={DIR} port={A} user={OS} dbname=shop", "{OS} shop {A}"),
    case("host={DIR} port={A} user={OS}", "{OS} {OS} {A}"),
    case("host={DIR} port={A}", "{OS} {OS} {A}"),
    case("host={DIR} port={A} user= dbname= application_name=x", "no password"),
    case("host={DIR} port={A} user='' dbname=''", "{OS} {OS} {A}"),
    case("  host = 127.0.0.1 port={A}\tuser =\npostgres dbname=shop ", "postgres shop {A}"),
    case("host=127.0.0.1 port={A} user=postgres dbname='my shop'", "postgres my shop {A}"),
    case(r"host=127.0.0.1 port={A} user=postgres dbname=my\ shop", "postgres my shop {A}"),
    case("host='127.0.0.1'port={A} user=postgres dbname='a=b'", "postgres a=b {A}"),
    case("host=127.0.0.1 port={A} user=postgres dbname=none dbname=shop", "postgres shop {A}"),
    case("host=127.0.0.1 port={A} user=postgres dbname=none", "no such database"),
    case("host=127.0.0.1 port={A} user=ann dbname=shop password={QUOTED}", "ann shop {A}"),
    case("host=127.0.0.1 port={A} user=ann dbname=shop password=wrong", "wrong password"),
    case("host=127.0.0.1 port={A} user=ann dbname=shop", "no password"),
    case("host=127.0.0.1 port={A} user=ann dbname=shop password=''", "no password"),
    case("host=127.0.0.1 port=1 user=postgres dbname=shop", "unreachable"),
    case("host=/nowhere user=postgres dbname=shop", "unreachable"),
    case("host=127.0.0.1 port=' {A} ' user=postgres dbname=shop", "postgres shop {A}"),
    case("host=127.0.0.1 port=0 user=postgres", "malformed"),
    case("host=127.0.0.1 port=65536 user=postgres", "malformed"),
    case("host=127.0.0.1 port=five user=postgres", "malformed"),
    case("host=127.0.0.1 foo=1", "malformed"),
    case("Host=127.0.0.1", "malformed"),
    case("host=127.0.0.1 shop", "malformed"),
    case("host=127.0.0.1 password='open", "malformed"),
    // URIs.
    case("postgresql://{OS}@{URIDIR}:{A}/shop", "{OS} shop {A}"),
    case("postgres:///shop?host={DIR}&port={A}&user={OS}", "{OS} shop {A}"),
    case("postgres://?host={DIR}&port={A}&", "{OS} {OS} {A}"),
    case("postgresql://postgres@127.0.0.1:{A}/my%20shop", "postgres my shop {A}"),
    case("postgresql://postgres@localhost:{A}/a%3Db?application_name=x", "postgres a=b {A}"),
    case("postgres://ann:{URI}@127.0.0.1:{A}/shop", "ann shop {A}"),
    case("postgres://ann:wrong@127.0.0.1:{A}/shop?password={URI}", "ann shop {A}"),
    case("postgres://ann:@127.0.0.1:{A}/shop", "no password"),
    case("postgres://ann:wrong@127.0.0.1:{A}/shop", "wrong password"),
    case("postgres://ann:a%zzb@127.0.0.1:{A}/shop", "malformed"),
    case("postgres://ann:a%00b@127.0.0.1:{A}/shop", "malformed"),
    case("postgres://[::1/shop", "malformed"),
    case("postgres://[]/shop", "malformed"),
    case("postgres://[::1]x/shop", "malformed"),
    case("postgres://127.0.0.1/shop?foo=1", "malformed"),
    case("postgres://127.0.0.1/shop?user", "malformed"),
    case("postgres://127.0.0.1/shop?user=a=b", "malformed"),
    case("postgres://127.0.0.1/shop?user=a&&port=1", "malformed"),
    // Several hosts, addresses.
    case("host=127.0.0.1,127.0.0.1 port=1,{A} user=postgres dbname=shop", "postgres shop {A}"),
    case("postgres://postgres@127.0.0.1:1,127.0.0.1:{A}/shop", "postgres shop {A}"),
    case("host=/nowhere,{DIR} port={A} user={OS} dbname=shop", "{OS} shop {A}"),
    case("host=/nowhere,127.0.0.1 port=1 user=postgres", "unreachable"),
    case("host=/nowhere,{DIR} port={A},{A},{A}", "malformed"),
    case("host=no.such.invalid hostaddr=127.0.0.1 port={A} user=postgres dbname=shop", "postgres shop {A}"),
    case("host=a,b hostaddr=127.0.0.1 port={A}", "malformed"),
    case("hostaddr=localhost port={A}", "malformed"),
    case("host=127.0.0.1,127.0.0.1 port={A} user=ann dbname=shop password=wrong", "wrong password"),
    case("host=127.0.0.1 port={SILENT} user=postgres connect_timeout=1", "silent"),
    case("host=127.0.0.1,{DIR} port={SILENT},{A} user={OS} dbname=shop connect_timeout=2", "{OS} shop {A}"),
    case("host=127.0.0.1 port={A} user=postgres dbname=shop target_session_attrs=read-only", "wrong kind of server"),
    case("host=127.0.0.1 port={A} user=postgres dbname=shop target_session_attrs=read-write", "postgres shop {A}"),
    since(14, "host=127.0.0.1 port={A} user=postgres dbname=shop target_session_attrs=standby", "wrong kind of server"),
    since(
        14,
        "host=127.0.0.1 port={A} user=postgres dbname=shop target_session_attrs=prefer-standby",
        "postgres shop {A}",
    ),
    case("host=127.0.0.1 port={A} target_session_attrs=master", "malformed"),
    since(
        16,
        "host=127.0.0.1,127.0.0.1 port={A} user=postgres dbname=shop load_balance_hosts=random",
        "postgres shop {A}",
    ),
    // Other keys.
    case("host=127.0.0.1 port={A} user=postgres dbname=shop options='-c geqo=off'", "postgres shop {A}"),
    case("host=127.0.0.1 port={A} user=postgres dbname=shop options='-c no_such_setting=1'", "bad option"),
    case("postgres://postgres@127.0.0.1:{A}/shop?options=-c%20no_such_setting%3D1", "bad option"),
    case("host=127.0.0.1 port={A} user=postgres dbname=shop keepalives=0 tcp_user_timeout=1500", "postgres shop {A}"),
    case(
        "host=127.0.0.1 port={A} user=postgres dbname=shop keepalives_idle=9 keepalives_interval=3 keepalives_count=2",
        "postgres shop {A}",
    ),
    case("host=127.0.0.1 port={A} user=postgres dbname=shop tcp_user_timeout=30s", "malformed"),
    case("host=127.0.0.1 port={A} user=postgres dbname=shop connect_timeout=soon", "malformed"),
    case(
        "host=127.0.0.1 port={A} user=postgres dbname=shop gssencmode=disable channel_binding=disable",
        "postgres shop {A}",
    ),
    case("host=127.0.0.1 port={A} user=postgres dbname=shop requiressl=0", "postgres shop {A}"),
    case("host=127.0.0.1 port={A} user=postgres dbname=shop requiressl=1", "no TLS"),
    case("host=127.0.0.1 port={A} user=postgres dbname=shop sslmode=sometimes", "malformed"),
    case("host=127.0.0.1 port={A} user=postgres dbname=shop sslmode=", "malformed"),
    case("host={DIR} port={A} user={OS} dbname=shop sslmode=verify-full", "{OS} shop {A}"),
    case("host={DIR} port={A} user={OS} dbname=shop requirepeer={RUNNER}", "{OS} shop {A}"),
    case("host={DIR} port={A} user={OS} dbname=shop requirepeer=somebody", "peer"),
    since(17, "host=127.0.0.1 port={A} user=postgres dbname=shop sslnegotiation=direct", "malformed"),
    // Variables.
    with(
        &[("PGHOST", "{DIR}"), ("PGPORT", "{A}"), ("PGUSER", "{OS}"), ("PGDATABASE", "shop")],
        "postgresql://",
        "{OS} shop {A}",
    ),
    with(&[("PGHOST", "{DIR}"), ("PGPORT", "{A}"), ("PGDATABASE", "none")], "shop", "{OS} shop {A}"),
    with(
        &[("PGHOST", "/nowhere"), ("PGPORT", "1"), ("PGUSER", "nobody")],
        "host={DIR} port={A} user={OS}",
        "{OS} {OS} {A}",
    ),
    with(
        &[("PGHOSTADDR", "127.0.0.1")],
        "host=no.such.invalid port={A} user=postgres dbname=shop",
        "postgres shop {A}",
    ),
    with(&[("PGPASSWORD", PASSWORD)], "host=127.0.0.1 port={A} user=ann dbname=shop", "ann shop {A}"),
    with(&[("PGPASSWORD", PASSWORD)], "host=127.0.0.1 port={A} user=ann dbname=shop password=wrong", "wrong password"),
    with(&[("PGOPTIONS", "-c no_such_setting=1")], "host=127.0.0.1 port={A} user=postgres dbname=shop", "bad option"),
    with(
        &[("PGOPTIONS", "-c no_such_setting=1")],
        "host=127.0.0.1 port={A} user=postgres dbname=shop options=''",
        "postgres shop {A}",
    ),
    with(
        &[("PGTARGETSESSIONATTRS", "read-only")],
        "host=127.0.0.1 port={A} user=postgres dbname=shop",
        "wrong kind of server",
    ),
    with(&[("PGREQUIRESSL", "1")], "host=127.0.0.1 port={A} user=postgres dbname=shop", "no TLS"),
    with(
        &[("PGREQUIRESSL", "1"), ("PGSSLMODE", "allow")],
        "host=127.0.0.1 port={A} user=postgres dbname=shop",
        "postgres shop {A}",
    ),
    with(&[("PGSSLMODE", "")], "host=127.0.0.1 port={A} user=postgres dbname=shop", "malformed"),
    with(&[("PGPORT", "")], "host=127.0.0.1 user=postgres dbname=shop port={A}", "postgres shop {A}"),
    // Password files.
    with(&[("PGPASSFILE", "{HOME}/pass")], "host=127.0.0.1 port={A} user=ann dbname=shop", "ann shop {A}"),
    case("host=127.0.0.1 port={A} user=ann dbname=shop passfile={HOME}/pass", "ann shop {A}"),
    case("host=127.0.0.1 port={A} user=ann dbname='a=b' passfile={HOME}/pass", "wrong password"),
    case("host={DIR} port={A} user=ann dbname=shop passfile={HOME}/pass", "ann shop {A}"),
    case("hostaddr=127.0.0.1 port={A} user=ann dbname=shop passfile={HOME}/pass", "ann shop {A}"),
    case("host=other.name hostaddr=127.0.0.1 port={A} user=ann dbname=shop passfile={HOME}/pass", "no password"),
    case("host=by.name hostaddr=127.0.0.1 port={A} user=ann dbname=shop passfile={HOME}/pass", "ann shop {A}"),
    case("host=/nowhere,127.0.0.1 port={A} user=ann dbname=shop passfile={HOME}/pass", "ann shop {A}"),
    case(
        "host=other.name,127.0.0.1 hostaddr=127.0.0.1,127.0.0.1 port={A} user=ann dbname=shop passfile={HOME}/pass",
        "no password",
    ),
    case("host=127.0.0.1 port={A} user=ann dbname=shop password=wrong passfile={HOME}/pass", "wrong password"),
    case("host=127.0.0.1 port={A} user=ann dbname=shop passfile={HOME}/pass.open", "no password"),
    case("host=127.0.0.1 port={A} user=ann dbname=shop passfile={HOME}/none", "no password"),
    with(&[("HOME", "{HOME}/second")], "host=127.0.0.1 port={A} user=ann dbname=shop", "ann shop {A}"),
    // Service files.
    with(&[("PGSERVICEFILE", "{HOME}/services")], "service=shop", "postgres shop {A}"),
    with(&[("PGSERVICEFILE", "{HOME}/services")], "postgres:///my%20shop?service=shop", "postgres my shop {A}"),
    with(
        &[("PGSERVICEFILE", "{HOME}/services"), ("PGSERVICE", "shop"), ("PGHOST", "/nowhere")],
        "user=postgres",
        "postgres shop {A}",
    ),
    with(&[("PGSERVICEFILE", "{HOME}/services"), ("PGDATABASE", "shop")], "service=bare", "postgres shop {A}"),
    with(&[("PGSERVICEFILE", "{HOME}/services")], "service=secret", "ann shop {A}"),
    with(&[("PGSERVICEFILE", "{HOME}/services")], "service=unknown", "service"),
    with(&[("PGSERVICEFILE", "{HOME}/services")], "service=spaced", "service"),
    with(&[("PGSERVICEFILE", "{HOME}/services")], "service=nested", "service"),
    with(&[("PGSERVICEFILE", "{HOME}/services")], "service=foreign", "service"),
    with(&[("PGSERVICEFILE", "{HOME}/none")], "service=shop", "service"),
    with(&[("HOME", "{HOME}/second")], "service=home", "postgres shop {A}"),
    with(&[("PGSYSCONFDIR", "{HOME}/second/system")], "service=system", "postgres shop {A}"),
    with(&[("HOME", "{HOME}/second"), ("PGSYSCONFDIR", "{HOME}/second/system")], "service=both", "postgres shop {A}"),
    with(&[("PGSERVICE", "")], "host=127.0.0.1 port={A} user=postgres dbname=shop", "service"),
    since(18, "service=shop servicefile={HOME}/services", "postgres shop {A}"),
];

/// The places of this run, for the names in the cases.
struct Places {
    names: Vec<(&'static str, String)>,
    home: PathBuf,
}

impl Places {
    fn fill(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn write(&self, name: &str, mode: u32, text: &str) {
        let path = self.home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, self.fill(text)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn own_user() -> String {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn owner_of(path: &Path) -> String {
    let output = std::process::Command::new("stat").args(["-c", "%U"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Puts other rules in force for who may log in how; this crate's own sessions keep theirs.
pub(crate) async fn set_hba(server: &Server, lines: &str) {
    let text = format!("local all postgres trust\n{lines}\n");
    fs::write(server.data_dir().join("pg_hba.conf"), &text).unwrap();
    server.database("postgres").sql("SELECT pg_reload_conf()").await.unwrap();
    let wanted = text.lines().filter(|line| !line.is_empty()).count().to_string();
    crate::harness::wait_for(
        &server.database("postgres"),
        "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL",
        &wanted,
    )
    .await;
}

/// A server with databases and roles for the cases, and a peer to compare it with.
async fn server(os: &str) -> (Server, String) {
    let server = Server::start_with(Installation::find_any().unwrap(), ServerOptions::default()).await.unwrap();
    for name in ["shop", "my shop", "a=b", os, "peer"] {
        let extra = if name == "postgres" { continue } else { "" };
        let database = server.create_database(name, extra).await.unwrap();
        database.sql("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    }
    let quoted = PASSWORD.replace('\'', "''");
    let postgres = server.database("postgres");
    postgres.sql(&format!("CREATE ROLE ann LOGIN PASSWORD '{quoted}'")).await.unwrap();
    if os != "postgres" {
        postgres.sql(&format!("CREATE ROLE \"{os}\" LOGIN")).await.unwrap();
    }
    postgres.sql(&format!("GRANT pg_read_all_data, pg_monitor TO ann, \"{os}\"")).await.unwrap();
    set_hba(
        &server,
        &format!(
            "local all \"{os}\" trust\nhost all postgres 127.0.0.1/32 trust\nlocal all all scram-sha-256\n\
             host all all 127.0.0.1/32 scram-sha-256"
        ),
    )
    .await;
    let peer = format!(
        "{} hostaddr='' password=x options='' target_session_attrs=any sslmode=disable",
        server.conninfo("peer")
    );
    (server, peer)
}

/// What `plan` finds on the publisher's side: who it is where, or the class of the error.
async fn ours(conninfo: &str, peer: &str, home: &Path, variables: &[(String, String)]) -> String {
    let mut command = psql::clean(env!("CARGO_BIN_EXE_triplecheck"), home, variables);
    command.args(["plan", "--format", "json", "--gate", "none", "--publisher", conninfo, "--subscriber", peer]);
    let output = command.output().await.unwrap();
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{conninfo}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
    if !output.status.success() {
        assert_eq!(output.status.code(), Some(2), "{conninfo}: {json}");
        let shown = format!("{json}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!shown.contains("cr\\et") && !shown.contains("cr%5Cet"), "{conninfo} shows the password: {shown}");
        return psql::class(json["error"]["message"].as_str().unwrap());
    }
    let text = |field: &str| json["publisher"][field].as_str().unwrap().to_owned();
    format!("{} {} {}", text("user"), text("database"), json["publisher"]["port"])
}

#[tokio::test]
async fn psql_and_we_find_the_same() {
    let os = own_user();
    let (server, peer) = server(&os).await;
    // It is never accepted: the backlog takes the connection, and nobody answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let directory = server.socket_dir().to_str().unwrap().to_owned();
    let places = Places {
        names: vec![
            ("{A}", server.port().to_string()),
            ("{URIDIR}", directory.replace('/', "%2F")),
            ("{DIR}", directory),
            ("{RUNNER}", owner_of(&server.data_dir())),
            ("{OS}", os),
            ("{SILENT}", silent.local_addr().unwrap().port().to_string()),
            ("{HOME}", folder.path().to_str().unwrap().to_owned()),
            ("{URI}", PASSWORD_IN_URI.to_owned()),
            ("{QUOTED}", PASSWORD_IN_QUOTES.to_owned()),
            ("{FILE}", PASSWORD_IN_FILE.to_owned()),
        ],
        home: folder.path().to_owned(),
    };
    let lines = "# 127.0.0.1:{A}:shop:ann:commented\nshort\n127.0.0.1:{A}:shop:bob:other\n127.0.0.1:{A}:a\\=b:ann:wrong\n\
                 127.0.0.1:*:shop:ann:{FILE}\n127.0.0.1:*:shop:ann:second\n{DIR}:{A}:*:ann:{FILE}\nby.name:{A}:shop:*:{FILE}\n\
                 /nowhere:*:*:*:unused\n";
    places.write("pass", 0o600, lines);
    places.write("pass.open", 0o644, lines);
    places.write("second/.pgpass", 0o600, "*:*:*:ann:{FILE}\r\n");
    let reachable = "host=127.0.0.1\nport={A}\n";
    places.write(
        "services",
        0o644,
        &format!(
            "# services\n[bare]\n{reachable}user=postgres\n\n[shop]\n  {reachable}dbname=shop  \nuser=postgres\nuser=ann\n\
             [secret]\n{reachable}user=ann\ndbname=shop\npassword={PASSWORD}\n[spaced]\nhost = x\n\
             [nested]\nservice=shop\n[foreign]\nfoo=1\n"
        ),
    );
    let as_postgres = format!("{reachable}user=postgres\ndbname=");
    places.write("second/.pg_service.conf", 0o644, &format!("[home]\n{as_postgres}shop\n[both]\n{as_postgres}shop\n"));
    places.write(
        "second/system/pg_service.conf",
        0o644,
        &format!("[both]\n{as_postgres}none\n[system]\n{as_postgres}shop\n"),
    );

    let wrong: Vec<String> = futures::stream::iter(CASES)
        .map(|case| {
            let (places, peer) = (&places, &peer);
            async move {
                let conninfo = places.fill(case.conninfo);
                let variables: Vec<_> =
                    case.variables.iter().map(|(name, value)| ((*name).to_owned(), places.fill(value))).collect();
                let expected = places.fill(case.expected);
                let theirs = match psql::major() {
                    Some(major) if major >= case.since => psql::outcome(&conninfo, &places.home, &variables).await,
                    _ => expected.clone(),
                };
                let ours = ours(&conninfo, peer, &places.home, &variables).await;
                (ours != expected || theirs != expected).then(|| {
                    format!("{conninfo} {variables:?}\n  expected {expected}\n  psql     {theirs}\n  we       {ours}")
                })
            }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    assert!(CASES.len() >= 60);
}
