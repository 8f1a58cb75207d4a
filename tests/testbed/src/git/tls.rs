//! A certificate authority and a server certificate, made afresh for each server.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};

/// What a TLS server needs, and the authority that its clients have to trust.
pub(super) struct Identity {
    pub(super) acceptor: SslAcceptor,
    pub(super) ca_pem: String,
}

impl Identity {
    /// A certificate for `address`, the loopback address and `localhost`, valid for a day.
    pub(super) fn new(address: IpAddr) -> Result<Self> {
        let (ca_key, key) = (key()?, key()?);
        let ca = {
            let mut builder = builder("testbed authority", &ca_key)?;
            builder.set_issuer_name(&*name("testbed authority")?)?;
            builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
            builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
            builder.sign(&ca_key, MessageDigest::sha256())?;
            builder.build()
        };
        let mut builder = builder("testbed server", &key)?;
        builder.set_issuer_name(ca.subject_name())?;
        let mut names = SubjectAlternativeName::new();
        names.dns("localhost").ip(&address.to_string());
        if address != IpAddr::V4(Ipv4Addr::LOCALHOST) {
            names.ip("127.0.0.1");
        }
        let names = names.build(&builder.x509v3_context(Some(&ca), None))?;
        builder.append_extension(names)?;
        builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
        builder.sign(&ca_key, MessageDigest::sha256())?;
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        acceptor.set_private_key(&key)?;
        acceptor.set_certificate(&builder.build())?;
        Ok(Self { acceptor: acceptor.build(), ca_pem: String::from_utf8(ca.to_pem()?)? })
    }
}

fn key() -> Result<PKey<Private>> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(EcKey::generate(&group)?)?)
}

fn name(common: &str) -> Result<X509Name> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common)?;
    Ok(name.build())
}

fn builder(subject: &str, key: &PKey<Private>) -> Result<X509Builder> {
    let mut builder = X509::builder()?;
    let mut serial = BigNum::new()?;
    serial.rand(120, MsbOption::ONE, false)?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&*name(subject)?)?;
    builder.set_pubkey(key)?;
    // from the day before: clocks of a cluster's nodes differ
    builder.set_not_before(&*Asn1Time::from_unix(now()? - 86_400)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(1)?)?;
    Ok(builder)
}

fn now() -> Result<i64> {
    Ok(i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())?)
}
