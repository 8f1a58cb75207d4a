//! Whose certificates are trusted.

use std::path::Path;

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use step::{Failure, Kind};

/// A client of TLS that trusts the authorities of the system (`SSL_CERT_FILE`, or the usual places), and those of one more file (PEM).
///
/// # Errors
///
/// `usage` for a file that holds no certificates.
pub fn trust(authorities: Option<&Path>) -> Result<SslConnector, Failure> {
    connector(authorities).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot trust the certificates of `--ssl-ca-directory`: {error}"))
            .hint("the file has to hold certificates in PEM form")
    })
}

fn connector(authorities: Option<&Path>) -> Result<SslConnector, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    // an OpenSSL that was built elsewhere looks for them elsewhere
    if let Some(file) = openssl_probe::probe().cert_file.filter(|file| file.is_file()) {
        builder.set_ca_file(file)?;
    }
    if let Some(file) = authorities {
        builder.set_ca_file(file)?;
    }
    Ok(builder.build())
}
