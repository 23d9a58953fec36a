//! What rustls does not look for in a certificate, but libpq does: the common name, and the key of one of version 1.

use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer};
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::{Certificate, attr::AttributeValue};

/// The attribute `commonName` (RFC 4519, section 2.3).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Whether a certificate names the host by its common name, which counts if it has no alternative name of the host's kind
/// (`pgtls_verify_peer_name_matches_certificate_guts` of src/interfaces/libpq/fe-secure-openssl.c).
pub(super) fn common_name_matches(certificate: &CertificateDer<'_>, server_name: &ServerName<'_>) -> bool {
    let Ok(certificate) = Certificate::from_der(certificate) else { return false };
    let certificate = certificate.tbs_certificate;
    let host = match server_name {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
        _ => return false,
    };
    let by_address = matches!(server_name, ServerName::IpAddress(_));
    let of_its_kind = |name: &GeneralName| match name {
        GeneralName::DnsName(_) => !by_address,
        GeneralName::IpAddress(_) => by_address,
        _ => false,
    };
    match certificate.get::<SubjectAltName>() {
        Ok(Some((_, names))) if names.0.iter().any(of_its_kind) => return false,
        Ok(_) => {}
        Err(_) => return false,
    }
    let first = certificate.subject.0.iter().flat_map(|names| names.0.iter()).find(|name| name.oid == COMMON_NAME);
    first.and_then(|name| text(&name.value)).is_some_and(|pattern| matches(&pattern, &host))
}

fn text(value: &AttributeValue) -> Option<String> {
    use x509_cert::der::Tag;
    match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::TeletexString => value.decode_as::<TeletexStringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        _ => None,
    }
}

/// The name itself in any case, or `*.` for one label at its beginning (`wildcard_certificate_match` of fe-secure-common.c).
fn matches(pattern: &str, host: &str) -> bool {
    if pattern.contains('\0') {
        return false;
    }
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(rest) = pattern.strip_prefix('*').filter(|rest| rest.len() > 1 && rest.starts_with('.')) else {
        return false;
    };
    let Some(at) = host.len().checked_sub(rest.len()).filter(|&at| at > 0) else { return false };
    match (host.get(..at), host.get(at..)) {
        (Some(label), Some(domain)) => !label.contains('.') && domain.eq_ignore_ascii_case(rest),
        _ => false,
    }
}

/// The public key of a certificate of any version.
pub(super) fn public_key(certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let key = certificate.tbs_certificate.subject_public_key_info.to_der().ok()?;
    Some(SubjectPublicKeyInfoDer::from(key))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(common_name: &str, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_common_name_counts_where_no_other_does() {
        let cases: [(&str, &[&str], &str, bool); 9] = [
            ("db.test", &[], "db.test", true),
            ("DB.Test", &[], "db.test", true),
            ("db.test", &[], "db.test.evil", false),
            ("*.test", &[], "db.test", true),
            ("db.test", &["other.test"], "db.test", false),
            ("db.test", &["10.0.0.1"], "db.test", true),
            ("10.0.0.1", &[], "10.0.0.1", true),
            ("10.0.0.1", &["db.test"], "10.0.0.1", true),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.1", false),
        ];
        for (common_name, names, host, expected) in cases {
            let server_name = ServerName::try_from(host).unwrap();
            let found = common_name_matches(&certificate(common_name, names), &server_name);
            assert_eq!(found, expected, "{common_name} {names:?} {host}");
        }
        let garbage = CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]);
        assert!(!common_name_matches(&garbage, &ServerName::try_from("a").unwrap()));
        assert!(public_key(&garbage).is_none());
        assert!(public_key(&certificate("a", &[])).is_some());
    }

    #[test]
    fn a_star_stands_for_one_label() {
        for (pattern, host, expected) in [
            ("*.test", "db.test", true),
            ("*.TEST", "db.test", true),
            ("*.test", "a.db.test", false),
            ("*.test", ".test", false),
            ("*.test", "test", false),
            ("*", "test", false),
            ("*.", "test.", false),
            ("d*.test", "db.test", false),
            ("db.test\0", "db.test", false),
            ("*.ü", "aü", false),
        ] {
            assert_eq!(matches(pattern, host), expected, "{pattern} {host}");
        }
    }
}
