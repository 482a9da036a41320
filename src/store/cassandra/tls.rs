//! Encrypted connections: from PEM files to what the driver takes.
//!
//! Comes in: paths. Goes out: a client's side of TLS, or the file that is wrong. Certificates of nodes must name the
//! addresses that they are reached by.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Tls;
use crate::store::StoreError;

/// The client's side; `None` where no authority is named.
///
/// # Errors
/// A file cannot be read, or holds something else.
pub(super) fn client(tls: &Tls) -> Result<Option<Arc<ClientConfig>>, StoreError> {
    let Some(ca) = &tls.ca else {
        return match (&tls.cert, &tls.key) {
            (None, None) => Ok(None),
            _ => Err(refused("cassandra.tls.ca is missing: without it no connection is encrypted")),
        };
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("cassandra.tls.ca", ca)? {
        roots.add(certificate).map_err(|error| bad("cassandra.tls.ca", ca, &error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&format!("TLS cannot be used: {error}")))?
        .with_root_certificates(roots);
    let config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let of_key =
                PrivateKeyDer::from_pem_file(key).map_err(|error| bad("cassandra.tls.key", key, &error))?;
            let chain = certificates("cassandra.tls.cert", cert)?;
            builder
                .with_client_auth_cert(chain, of_key)
                .map_err(|error| bad("cassandra.tls.cert", cert, &error))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            return Err(refused(
                "cassandra.tls.cert and cassandra.tls.key go together: one of them is missing",
            ));
        }
    };
    Ok(Some(Arc::new(config)))
}

fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(bad(setting, path, &"it has no certificate")),
        Err(error) => Err(bad(setting, path, &error)),
    }
}

fn bad(setting: &str, path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    refused(&format!("{setting}: {}: {error}", path.display()))
}

fn refused(text: &str) -> StoreError {
    StoreError::Refused(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_wrong_is_named_with_its_setting() {
        let at = |name: &str| Some(Path::new("/nowhere").join(name));
        let text = |tls: Tls| client(&tls).expect_err("is refused").to_string();
        assert!(text(Tls { ca: at("ca"), ..Tls::default() }).starts_with("cassandra.tls.ca: /nowhere/ca: "));
        assert!(text(Tls { cert: at("a"), ..Tls::default() }).starts_with("cassandra.tls.ca is missing"));
        assert!(client(&Tls::default()).expect("is plain").is_none());
    }
}
