//! Authorities, certificates and revocations for servers and clients of the tests.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};
use triplecheck_testbed::{Installation, Server, ServerOptions};

use crate::conninfo::reload;

/// The serial number of certificates that a list of revocations may name.
const SERIAL: u64 = 4711;

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these host names or addresses, in force or expired.
    pub(crate) fn issue(&self, common_name: &str, names: &[&str], expired: bool) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = params(common_name, names);
        params.serial_number = Some(SerialNumber::from(SERIAL));
        params.use_authority_key_identifier_extension = true;
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// A list that revokes the certificate with this serial number.
    pub(crate) fn revoke(&self, serial: u64) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub(crate) fn revoke_all(&self) -> String {
        self.revoke(SERIAL)
    }
}

/// A certificate that vouches for itself and has revoked itself, and its list of revocations.
pub(crate) fn self_revoked(names: &[&str]) -> (Identity, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = params("self", names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serial_number = Some(SerialNumber::from(SERIAL));
    let identity = Identity { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
    let authority = Authority { issuer: Issuer::new(params, key), pem: identity.certificate.clone() };
    let list = authority.revoke_all();
    (identity, list)
}

/// A certificate that vouches for itself, as `openssl req -x509` makes it.
pub(crate) fn self_signed(names: &[&str]) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = params("self", names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Identity { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// A certificate as PostgreSQL's manual has it made, of X.509 version 1, which rcgen does not write any more.
pub(crate) fn version_1() -> Identity {
    Identity { certificate: VERSION_1.to_owned(), key: VERSION_1_KEY.to_owned() }
}

const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBHzCBxwIUCVTb8A+CPx58y9kpTma9Qmdo1qowCgYIKoZIzj0EAwIwEjEQMA4G
A1UEAwwHZGIudGVzdDAgFw0yNjExMjMwODAzNDNaGA8yMTI2MTAzMDA4MDM0M1ow
EjEQMA4GA1UEAwwHZGIudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOoI
7Upr+4LovH6npIg2QVJaiDW4Jr/UwKNPMMGsUtSM1zyyazhXDiivRfxebsp26i7b
c8J5s1rIQh3ovN6YCjEwCgYIKoZIzj0EAwIDRwAwRAIgBrVxGXH/ah+AqpuWn2hJ
YbfksMBqnH8r+muCkgQI/RMCIBTDI15akwQjptrofwOTjI3fPS1mw9leesLWEqDo
jk5d
-----END CERTIFICATE-----
";
const VERSION_1_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZpyUGN9dvDLR0heh
ifLVblTRkJa4QjBUmbaGDpxEL7+hRANCAATqCO1Ka/uC6Lx+p6SINkFSWog1uCa/
1MCjTzDBrFLUjNc8sms4Vw4or0X8Xm7Kduou23PCebNayEId6LzemAox
-----END PRIVATE KEY-----
";

/// Writes a file that only its owner may read.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Switches TLS on in a server.
pub(crate) async fn serve(server: &Server, identity: &Identity, clients: &Authority) {
    let data = server.data_dir();
    let owner = fs::metadata(&data).unwrap();
    for (name, text) in
        [("server.crt", &identity.certificate), ("server.key", &identity.key), ("clients.crt", &clients.pem)]
    {
        let path = write(&data, name, text);
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    server.database("postgres").sql("ALTER SYSTEM SET ssl_ca_file = 'clients.crt'").await.unwrap();
    reload(server, "ssl", "on").await;
}

/// PostgreSQL 15 if it can be had, the newest whose TLS has to be asked for and what the packages of the system have.
pub(crate) fn installation() -> Installation {
    Installation::find(15).or_else(|_| Installation::find_any()).unwrap()
}

/// A small server: nothing is written to it.
pub(crate) fn options() -> ServerOptions {
    let settings = [("shared_buffers", "16MB"), ("max_connections", "60"), ("max_wal_senders", "0")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    ServerOptions { settings, ..ServerOptions::default() }
}
