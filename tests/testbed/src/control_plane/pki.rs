//! The certificates of one control plane: an authority of its own, good for a day.

use anyhow::Result;
use openssl::{
    asn1::{Asn1Integer, Asn1Time},
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    x509::{
        X509, X509Builder, X509Name,
        extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName},
    },
};

/// A certificate with its key, both PEM.
pub(super) struct Pair {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// A certificate authority.
pub(super) struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

impl Authority {
    pub(super) fn new() -> Result<Self> {
        let key = new_key()?;
        let subject = name("testbed", &[])?;
        let mut builder = builder(&subject, &subject, &key)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().digital_signature().build()?)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Self { certificate: builder.build(), key })
    }

    /// The authority's certificate, PEM.
    pub(super) fn pem(&self) -> Result<Vec<u8>> {
        Ok(self.certificate.to_pem()?)
    }

    /// A certificate of a server on this machine.
    pub(super) fn server(&self) -> Result<Pair> {
        self.issue(&name("kube-apiserver", &[])?, |builder| {
            builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
            let context = builder.x509v3_context(Some(&self.certificate), None);
            let names = SubjectAlternativeName::new()
                .ip("127.0.0.1")
                .dns("localhost")
                .dns("kubernetes.default.svc")
                .dns(crate::virt_api::NAME)
                .build(&context)?;
            Ok(builder.append_extension(names)?)
        })
    }

    /// A client's certificate: Kubernetes takes the common name as user and the organisations as groups.
    pub(super) fn client(&self, user: &str, groups: &[&str]) -> Result<Pair> {
        self.issue(&name(user, groups)?, |builder| {
            Ok(builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?)
        })
    }

    fn issue(&self, subject: &X509Name, extend: impl FnOnce(&mut X509Builder) -> Result<()>) -> Result<Pair> {
        let key = new_key()?;
        let mut builder = builder(subject, self.certificate.subject_name(), &key)?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        extend(&mut builder)?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok(Pair { certificate: builder.build().to_pem()?, key: key.private_key_to_pem_pkcs8()? })
    }
}

/// A key that signs the tokens of service accounts, PEM.
pub(super) fn token_key() -> Result<Vec<u8>> {
    Ok(new_key()?.ec_key()?.private_key_to_pem()?)
}

fn new_key() -> Result<PKey<Private>> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(EcKey::generate(&group)?)?)
}

fn name(common: &str, organisations: &[&str]) -> Result<X509Name> {
    let mut name = X509Name::builder()?;
    for organisation in organisations {
        name.append_entry_by_nid(Nid::ORGANIZATIONNAME, organisation)?;
    }
    name.append_entry_by_nid(Nid::COMMONNAME, common)?;
    Ok(name.build())
}

fn builder(
    subject: &openssl::x509::X509NameRef,
    issuer: &openssl::x509::X509NameRef,
    key: &PKey<Private>,
) -> Result<X509Builder> {
    let mut serial = BigNum::new()?;
    serial.rand(120, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_pubkey(key)?;
    // An hour back, for a clock that another process sees a little behind.
    builder.set_not_before(&*Asn1Time::from_unix(now()? - 3600)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(1)?)?;
    Ok(builder)
}

fn now() -> Result<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_secs())?)
}
