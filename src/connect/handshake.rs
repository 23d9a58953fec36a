//! Preparing a TLS handshake: versions, the client's own certificate, the name of the server.
//!
//! Source of the rules: `initialize_SSL` of src/interfaces/libpq/fe-secure-openssl.c.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Address, Endpoint};
use super::trust;
use super::wire::Handshake;
use crate::config::{ConnectOptions, NamedFile, SslMode, TlsOptions, Versions};
use crate::error::{Error, ErrorKind, Result};

/// The protocol that is announced where TLS begins at once (PostgreSQL manual, "Direct TLS": ALPN).
const ALPN: &[u8] = b"postgresql";
/// Permissions that a key may not have: of others; where root owns it, the group may read it.
const OTHERS: u32 = 0o077;
const OTHERS_THAN_GROUP_READ: u32 = 0o037;

/// Reads the files of TLS and prepares a handshake with one server.
pub(super) fn prepare(options: &ConnectOptions, endpoint: &Endpoint) -> Result<Handshake> {
    let tls = options.tls();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = trust::verifier(tls, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(tls.versions()))
        .map_err(|error| usage("no version of TLS is left").with_source(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own_certificate(tls)? {
        None => builder.with_no_client_auth(),
        Some((chain, key, path)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| usage(format!("the certificate {path} and its key cannot be used")).with_source(error))?,
    };
    config.enable_sni = tls.server_name();
    config.resumption = Resumption::disabled();
    if tls.direct() {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    Ok(Handshake {
        connector: MakeRustlsConnect::new(config),
        server_name: server_name(endpoint, tls.mode()),
        direct: tls.direct(),
    })
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

fn versions(versions: Versions) -> Vec<&'static SupportedProtocolVersion> {
    let known = [(versions.tls13, &rustls::version::TLS13), (versions.tls12, &rustls::version::TLS12)];
    known.into_iter().filter(|(wanted, _)| *wanted).map(|(_, version)| version).collect()
}

/// The host as it was given. Where nobody verifies it, a name that cannot stand in a certificate gives way to the address.
fn server_name(endpoint: &Endpoint, mode: SslMode) -> String {
    match &endpoint.address {
        Address::Ip(ip) if mode != SslMode::VerifyFull && ServerName::try_from(endpoint.host.as_str()).is_err() => {
            ip.to_string()
        }
        _ => endpoint.host.clone(),
    }
}

type OwnCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String);

/// The client's certificate with its chain and key; `None` if its file does not exist.
fn own_certificate(tls: &TlsOptions) -> Result<Option<OwnCertificate>> {
    let Some(NamedFile { path, asked_for }) = tls.certificate() else { return Ok(None) };
    let shown = path.display();
    let unreadable = || usage(format!("cannot read the certificate file {shown}"));
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) => {
            if *asked_for {
                tracing::warn!("certificate file \"{shown}\" does not exist: connecting without one, as libpq does");
            }
            return Ok(None);
        }
        Err(error) => return Err(unreadable().with_source(error)),
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable().with_source(error))?;
    if chain.is_empty() {
        return Err(usage(format!("the certificate file {shown} holds no certificate in PEM format")));
    }
    let key = tls.key().ok_or_else(|| usage(format!("certificate {shown} present, but no private key file")))?;
    Ok(Some((chain, own_key(key)?, shown.to_string())))
}

/// Whether libpq would take it that a file is not there.
pub(super) fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn own_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| {
        usage(format!("certificate present, but not private key file \"{shown}\"")).with_source(error)
    })?;
    if !metadata.is_file() {
        return Err(usage(format!("private key file \"{shown}\" is not a regular file")));
    }
    let forbidden = if metadata.uid() == 0 { OTHERS_THAN_GROUP_READ } else { OTHERS };
    if metadata.mode() & forbidden != 0 {
        return Err(usage(format!("private key file \"{shown}\" has group or world access")).with_hint(
            "file must have permissions u=rw (0600) or less if owned by the current user, or permissions u=rw,g=r (0640) or less if owned by root",
        ));
    }
    let bytes =
        std::fs::read(path).map_err(|error| usage(format!("cannot read the key {shown}")).with_source(error))?;
    // The cause is not told: it could quote the file.
    PrivateKeyDer::from_pem_slice(&bytes).or_else(|_| PrivateKeyDer::try_from(bytes)).map_err(|_| {
        usage(format!("the private key file \"{shown}\" holds no unencrypted key"))
            .with_hint("encrypted keys are not read: store it decrypted (openssl pkey -in KEY -out NEW), mode 0600")
    })
}
