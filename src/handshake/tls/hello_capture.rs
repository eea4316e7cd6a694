//! What the two sides say in clear before there is TLS, for a library that does not tell it.

use tls_parser::{
    parse_tls_client_hello_extensions, parse_tls_plaintext, parse_tls_server_hello_extensions, TlsExtension,
    TlsMessage, TlsMessageHandshake, TlsVersion,
};

/// The first words of a handshake take no more; of what is longer nothing is told.
const MOST: usize = 16 * 1024;

/// What each side has said first.
#[derive(Debug, Default)]
pub(super) struct HelloCapture {
    pub(super) peer: Vec<u8>,
    pub(super) us: Vec<u8>,
}

impl HelloCapture {
    pub(super) fn take_down(said: &mut Vec<u8>, bytes: &[u8]) {
        said.extend_from_slice(&bytes[..bytes.len().min(MOST.saturating_sub(said.len()))]);
    }

    /// The server name that the peer asked for.
    pub(super) fn server_name(&self) -> Option<String> {
        let Some(TlsMessageHandshake::ClientHello(hello)) = first_word(&self.peer) else { return None };
        let (_, extensions) = parse_tls_client_hello_extensions(hello.ext?).ok()?;
        extensions.into_iter().find_map(|extension| match extension {
            TlsExtension::SNI(names) => String::from_utf8(names.first()?.1.to_vec()).ok(),
            _ => None,
        })
    }

    /// The version that we have chosen, as it is usually written.
    pub(super) fn version(&self) -> Option<&'static str> {
        let Some(TlsMessageHandshake::ServerHello(hello)) = first_word(&self.us) else { return None };
        let extensions = hello.ext.and_then(|bytes| parse_tls_server_hello_extensions(bytes).ok());
        let chosen =
            extensions.into_iter().flat_map(|(_, extensions)| extensions).find_map(|extension| match extension {
                TlsExtension::SupportedVersions(versions) => versions.first().copied(),
                _ => None,
            });
        match chosen.unwrap_or(hello.version) {
            TlsVersion::Tls12 => Some("TLSv1.2"),
            TlsVersion::Tls13 => Some("TLSv1.3"),
            _ => None,
        }
    }
}

fn first_word(said: &[u8]) -> Option<TlsMessageHandshake<'_>> {
    let (_, record) = parse_tls_plaintext(said).ok()?;
    record.msg.into_iter().find_map(|message| match message {
        TlsMessage::Handshake(handshake) => Some(handshake),
        _ => None,
    })
}
