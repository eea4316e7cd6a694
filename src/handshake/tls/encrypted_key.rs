//! Keys that are encrypted with a password: PKCS#8, in PEM or DER.

use std::fmt;

use pkcs8::der::zeroize::Zeroizing;
use pkcs8::{pkcs5, EncryptedPrivateKeyInfo};
use x509_parser::pem::Pem;

use super::pem::is_pem;
use super::{PemSource, TlsError};

/// The password of the keys. Not shown by `Debug`, and overwritten when it is dropped.
#[derive(Clone)]
pub(super) struct Password(Zeroizing<String>);

impl Password {
    pub(super) fn new(text: String) -> Self {
        Password(text.into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The label of an encrypted key in PEM.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// The header of a key in the format that OpenSSL used before PKCS#8 (RFC 1421).
const TRADITIONAL: &[u8] = b"Proc-Type: 4,ENCRYPTED";

impl PemSource {
    /// The content of a key, decrypted to DER if it is encrypted.
    pub(super) fn key(&self, password: Option<&Password>) -> Result<Vec<u8>, TlsError> {
        let bytes = self.bytes()?;
        if is_pem(&bytes) && bytes.windows(TRADITIONAL.len()).any(|part| part == TRADITIONAL) {
            let why = "the key is encrypted in OpenSSL's traditional format; convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc`";
            return Err(self.invalid(why));
        }
        let Some(encrypted) = encrypted(&bytes) else { return Ok(bytes) };
        let Some(password) = password else { return Err(TlsError::PasswordMissing { key: self.to_string() }) };
        let invalid = |error: pkcs8::Error| self.invalid(format!("not an encrypted key in PKCS#8: {error}"));
        let info = EncryptedPrivateKeyInfo::try_from(&*encrypted).map_err(invalid)?;
        match info.decrypt(password.as_bytes()) {
            Ok(key) => Ok(key.as_bytes().to_vec()),
            Err(pkcs8::Error::EncryptedPrivateKey(
                error @ (pkcs5::Error::UnsupportedAlgorithm { .. }
                | pkcs5::Error::NoPbes1CryptSupport
                | pkcs5::Error::AlgorithmParametersInvalid { .. }),
            )) => Err(self.invalid(format!("{error}; encrypt it with `openssl pkcs8 -topk8 -v2 aes-256-cbc`"))),
            // With another password the result is usually not padded as it should be, and otherwise not a key.
            Err(error) => Err(TlsError::PasswordWrong { key: self.to_string(), source: error.into() }),
        }
    }
}

/// The encrypted key in DER, if the content is one.
fn encrypted(bytes: &[u8]) -> Option<Vec<u8>> {
    if is_pem(bytes) {
        let mut blocks = Pem::iter_from_buffer(bytes).map_while(Result::ok);
        blocks.find(|block| block.label == ENCRYPTED).map(|block| block.contents)
    } else {
        EncryptedPrivateKeyInfo::try_from(bytes).is_ok().then(|| bytes.to_vec())
    }
}
