//! Whose certificates are trusted: the verifiers behind the values of `sslmode`.
//!
//! The signature of a handshake is always verified, even where a certificate is not: channel binding stands on it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::certificate::{common_name_matches, public_key};
use super::handshake::is_absent;
use crate::config::{NamedFile, Roots, SslMode, TlsOptions};
use crate::error::{Error, ErrorKind, Result};

const NO_ROOT_HINT: &str = "provide the file, use the system's trusted roots with sslrootcert=system, or change sslmode to disable server certificate verification";

/// How a server's certificate is verified.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    authorities: Option<Authorities>,
    /// Whether the certificate must be for the host.
    name: bool,
}

#[derive(Debug)]
struct Authorities {
    chain: Arc<WebPkiServerVerifier>,
    /// As they stand in the file.
    certificates: Vec<CertificateDer<'static>>,
    /// Whether there are revocation lists.
    revocable: bool,
}

/// The verifier for these settings; reads the files of root certificates and of revocations.
pub(super) fn verifier(tls: &TlsOptions, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let authorities = match certificates(tls)? {
        None => None,
        Some(certificates) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().cloned());
            let mut chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            let revocations = revocations(tls)?;
            let revocable = revocations.is_some();
            if let Some(revocations) = revocations {
                // Of every certificate of the chain it must be known, from a list that is in force, that it is not revoked.
                chain = chain.with_crls(revocations).enforce_revocation_expiration();
            }
            let chain = chain.build().map_err(|error| {
                usage("the root certificates or the revocation lists cannot be used").with_source(error)
            })?;
            Some(Authorities { chain, certificates, revocable })
        }
    };
    let name = tls.mode() == SslMode::VerifyFull;
    Ok(Arc::new(Verifier { provider: Arc::clone(provider), authorities, name }))
}

fn usage(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// The certificates of the authorities; `None` if nothing is to be verified: there is no file, and nothing that insists.
fn certificates(tls: &TlsOptions) -> Result<Option<Vec<CertificateDer<'static>>>> {
    let file = match tls.roots() {
        Roots::System => return system_certificates().map(Some),
        Roots::File(file) => file.as_ref(),
    };
    let insists = tls.mode() >= SslMode::VerifyCa;
    let Some(NamedFile { path, asked_for }) = file else {
        return if insists {
            Err(usage("there is no home directory to look for root certificates in").with_hint(NO_ROOT_HINT))
        } else {
            Ok(None)
        };
    };
    let shown = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) && insists => {
            let message = format!("root certificate file \"{shown}\" does not exist");
            return Err(usage(message).with_hint(NO_ROOT_HINT));
        }
        Err(error) if is_absent(&error) => {
            if *asked_for {
                tracing::warn!("root certificate file \"{shown}\" does not exist: nothing is verified, as in libpq");
            }
            return Ok(None);
        }
        Err(error) => {
            return Err(usage(format!("could not read root certificate file \"{shown}\"")).with_source(error));
        }
    };
    parse_certificates(&bytes, path).map(Some)
}

fn parse_certificates(bytes: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unusable = || usage(format!("could not read root certificate file \"{}\"", path.display()));
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable().with_source(error))?;
    if certificates.is_empty() {
        return Err(unusable().with_hint("it holds no certificate in PEM format"));
    }
    Ok(certificates)
}

fn system_certificates() -> Result<Vec<CertificateDer<'static>>> {
    let loaded = rustls_native_certs::load_native_certs();
    if !loaded.certs.is_empty() {
        return Ok(loaded.certs);
    }
    let error = usage("could not load the system's root certificates")
        .with_hint("install them (often the package ca-certificates), or name a file with sslrootcert");
    Err(match loaded.errors.into_iter().next() {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}

/// The revocation lists. Unlike libpq, which takes a missing file for no list, a file that was asked for must be there.
fn revocations(tls: &TlsOptions) -> Result<Option<Vec<CertificateRevocationListDer<'static>>>> {
    let Some(NamedFile { path, asked_for }) = tls.revocations() else { return Ok(None) };
    let unusable = || usage(format!("could not read certificate revocation list \"{}\"", path.display()));
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if is_absent(&error) && !asked_for => return Ok(None),
        Err(error) => return Err(unusable().with_source(error)),
    };
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable().with_source(error))?;
    if lists.is_empty() {
        return Err(unusable().with_hint("it holds no list in PEM format"));
    }
    Ok(Some(lists))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(Authorities { chain, certificates, revocable }) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(certificate, intermediates, server_name, ocsp_response, now) {
            // The chain is verified before the name is.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name || common_name_matches(certificate, server_name) => Ok(ServerCertVerified::assertion()),
            // An authority's own certificate as the server's, which is what `openssl req -x509` makes. The dates of it have been
            // looked at by then; revocations have not.
            Err(error)
                if !revocable
                    && is(&error, &webpki::Error::CaUsedAsEndEntity)
                    && certificates.iter().any(|trusted| trusted == certificate) =>
            {
                if self.name && !common_name_matches(certificate, server_name) {
                    let certificate = ParsedCertificate::try_from(certificate)?;
                    rustls::client::verify_server_name(&certificate, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match verify_tls13_signature(message, certificate, signed, algorithms) {
            // A certificate of version 1, which only comes so far where it is not verified; its key serves as any other.
            Err(error) if is(&error, &webpki::Error::UnsupportedCertVersion) => match public_key(certificate) {
                Some(key) => verify_tls13_signature_with_raw_key(message, &key, signed, algorithms),
                None => Err(error),
            },
            other => other,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether this is what is wrong with a certificate.
pub(super) fn is(error: &rustls::Error, expected: &webpki::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    other.0.downcast_ref::<webpki::Error>() == Some(expected)
}
