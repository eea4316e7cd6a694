//! Captures the first bytes of both sides of a TLS handshake, for a library that does not report the fields in them.
//!
//! The hello messages are sent in plaintext. The parser reads three fields: the server name in a ClientHello (RFC 6066,
//! section 3), and the version and the cipher suite in a ServerHello (RFC 8446, section 4.1.3). Everything else is skipped by
//! its length.

/// The maximum number of bytes captured per side. A longer hello is not parsed.
const MAX_CAPTURE: usize = 16 * 1024;

/// The content type of a record that carries handshake messages (RFC 8446, section 5.1).
pub(super) const CONTENT_HANDSHAKE: u8 = 22;
/// The longest plaintext of a record (RFC 8446, section 5.1).
const MAX_RECORD: usize = 1 << 14;

/// The types of the two messages (RFC 8446, section 4).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// The types of the two extensions (RFC 8446, section 4.2).
const SERVER_NAME: u16 = 0;
const SUPPORTED_VERSIONS: u16 = 43;

/// The type of a server name that is a host name (RFC 6066, section 3).
const HOST_NAME: u8 = 0;

/// The first bytes of both sides.
#[derive(Debug, Default)]
pub(super) struct HelloCapture {
    pub(super) received: Vec<u8>,
    pub(super) sent: Vec<u8>,
}

impl HelloCapture {
    /// Appends bytes to one side, up to the limit.
    pub(super) fn record(side: &mut Vec<u8>, bytes: &[u8]) {
        side.extend_from_slice(&bytes[..bytes.len().min(MAX_CAPTURE.saturating_sub(side.len()))]);
    }

    /// The server name that the peer requested.
    pub(super) fn server_name(&self) -> Option<String> {
        server_name(&first_message(&self.received, CLIENT_HELLO)?)
    }

    /// The version that the server chose, as it is usually written.
    pub(super) fn version(&self) -> Option<&'static str> {
        version(&first_message(&self.sent, SERVER_HELLO)?)
    }

    /// The number of the cipher suite that the server chose.
    pub(super) fn cipher_suite(&self) -> Option<u16> {
        cipher_suite(&first_message(&self.sent, SERVER_HELLO)?)
    }
}

/// The body of the first handshake message, if it has this type and is complete.
///
/// A message may span several records.
fn first_message(captured: &[u8], message_type: u8) -> Option<Vec<u8>> {
    let (mut records, mut message) = (Reader(captured), Vec::new());
    loop {
        if let Some(body) = complete_message(&message, message_type)? {
            return Some(body.to_vec());
        }
        let content_type = records.u8()?;
        let _legacy_version = records.u16()?;
        let length = usize::from(records.u16()?);
        if content_type != CONTENT_HANDSHAKE || length == 0 || length > MAX_RECORD {
            return None;
        }
        // The capture may end within the record but after the message.
        message.extend_from_slice(records.take(length.min(records.0.len()))?);
    }
}

/// `None`: the message has another type. `Some(None)`: more bytes are needed.
fn complete_message(bytes: &[u8], message_type: u8) -> Option<Option<&[u8]>> {
    match bytes {
        [found, ..] if *found != message_type => None,
        [_, high, middle, low, rest @ ..] => {
            let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
            Some(rest.get(..length))
        }
        _ => Some(None),
    }
}

fn server_name(hello: &[u8]) -> Option<String> {
    let mut hello = Reader(hello);
    let _legacy_version_and_random = hello.take(2 + 32)?;
    let _legacy_session_id = hello.vector_u8()?;
    let _cipher_suites = hello.vector_u16()?;
    let _legacy_compression_methods = hello.vector_u8()?;
    let mut names = Reader(Reader(extension(&mut hello, SERVER_NAME)?).vector_u16()?);
    loop {
        let (name_type, name) = (names.u8()?, names.vector_u16()?);
        if name_type == HOST_NAME {
            return std::str::from_utf8(name).ok().filter(|name| !name.is_empty()).map(str::to_owned);
        }
    }
}

fn cipher_suite(hello: &[u8]) -> Option<u16> {
    let mut hello = Reader(hello);
    let _legacy_version_and_random = hello.take(2 + 32)?;
    let _legacy_session_id_echo = hello.vector_u8()?;
    hello.u16()
}

fn version(hello: &[u8]) -> Option<&'static str> {
    let mut hello = Reader(hello);
    let legacy_version = hello.u16()?;
    let _random = hello.take(32)?;
    let _legacy_session_id_echo = hello.vector_u8()?;
    let _cipher_suite_and_compression = hello.take(2 + 1)?;
    let version = match extension(&mut hello, SUPPORTED_VERSIONS) {
        Some(selected) => Reader(selected).u16()?,
        None => legacy_version,
    };
    match version {
        0x0303 => Some("TLSv1.2"),
        0x0304 => Some("TLSv1.3"),
        _ => None,
    }
}

/// The content of the first extension of this type. A hello of TLS 1.2 may end without a list of extensions.
fn extension<'a>(hello: &mut Reader<'a>, wanted: u16) -> Option<&'a [u8]> {
    let mut extensions = Reader(hello.vector_u16()?);
    loop {
        let (found, content) = (extensions.u16()?, extensions.vector_u16()?);
        if found == wanted {
            return Some(content);
        }
    }
}

/// Reads from the front of a slice; `None` where it is too short.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector with a length of one byte (RFC 8446, section 3.4).
    fn vector_u8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A vector with a length of two bytes.
    fn vector_u16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector_u16(content: &[u8]) -> Vec<u8> {
        [&(content.len() as u16).to_be_bytes(), content].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector_u16(content)].concat()
    }

    fn name(kind: u8, name: &[u8]) -> Vec<u8> {
        [&[kind][..], &vector_u16(name)].concat()
    }

    fn names(names: &[Vec<u8>]) -> Vec<u8> {
        extension(SERVER_NAME, &vector_u16(&names.concat()))
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
    }

    fn record(fragment: &[u8]) -> Vec<u8> {
        [&[CONTENT_HANDSHAKE, 3, 1][..], &vector_u16(fragment)].concat()
    }

    /// A ClientHello with a session, three cipher suites, and these extensions.
    fn client_hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let fixed = [&[3, 3][..], &[7; 32], &[4], &[9; 4], &[0, 6], &[0x13; 6], &[1, 0]].concat();
        message(CLIENT_HELLO, &[fixed, vector_u16(&extensions.concat())].concat())
    }

    fn server_hello(extensions: Option<&[Vec<u8>]>) -> Vec<u8> {
        let fixed = [&[3, 3][..], &[7; 32], &[0], &[0x13, 1], &[0]].concat();
        let extensions = extensions.map(|extensions| vector_u16(&extensions.concat())).unwrap_or_default();
        message(SERVER_HELLO, &[fixed, extensions].concat())
    }

    fn with_name() -> Vec<u8> {
        let other = extension(10, &[0, 2, 0, 29]);
        client_hello(&[other.clone(), names(&[name(HOST_NAME, b"echo.example.org")]), other])
    }

    fn name_in(received: &[u8]) -> Option<String> {
        let mut capture = HelloCapture::default();
        // As it arrives: in pieces.
        received.chunks(5).for_each(|piece| HelloCapture::record(&mut capture.received, piece));
        capture.server_name()
    }

    fn version_in(sent: &[u8]) -> Option<&'static str> {
        HelloCapture { sent: sent.to_vec(), ..HelloCapture::default() }.version()
    }

    #[test]
    fn the_cipher_suite_is_that_of_the_server() {
        let capture = |sent| HelloCapture { sent, ..HelloCapture::default() };
        let hello = record(&server_hello(None));
        assert_eq!(capture(hello.clone()).cipher_suite(), Some(0x1301));
        for end in 0..hello.len() {
            assert_eq!(capture(hello[..end].to_vec()).cipher_suite(), None, "{end} bytes");
        }
        assert_eq!(capture(record(&with_name())).cipher_suite(), None);
    }

    #[test]
    fn the_server_name_is_found_in_one_record() {
        assert_eq!(name_in(&record(&with_name())).as_deref(), Some("echo.example.org"));
        let behind = [record(&with_name()), vec![20, 3, 3, 0, 1, 1]].concat();
        assert_eq!(name_in(&behind).as_deref(), Some("echo.example.org"));
        let second = client_hello(&[names(&[name(7, b"other"), name(HOST_NAME, b"host")])]);
        assert_eq!(name_in(&record(&second)).as_deref(), Some("host"));
    }

    #[test]
    fn a_hello_without_a_host_name_has_none() {
        let hellos = [
            client_hello(&[]),
            client_hello(&[extension(10, &[0, 2, 0, 29])]),
            client_hello(&[names(&[])]),
            client_hello(&[names(&[name(7, b"other")])]),
            client_hello(&[names(&[name(HOST_NAME, b"")])]),
            client_hello(&[names(&[name(HOST_NAME, &[0xFF, 0xFE])])]),
            message(CLIENT_HELLO, &[&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat()),
            server_hello(Some(&[names(&[name(HOST_NAME, b"host")])])),
        ];
        for hello in hellos {
            assert_eq!(name_in(&record(&hello)), None, "{hello:02x?}");
        }
    }

    #[test]
    fn a_hello_may_span_records_cut_at_every_position() {
        let hello = with_name();
        for first in 1..hello.len() {
            let two = [record(&hello[..first]), record(&hello[first..])].concat();
            assert_eq!(name_in(&two).as_deref(), Some("echo.example.org"), "cut at {first}");
        }
        let bytes: Vec<u8> = hello.iter().flat_map(|byte| record(&[*byte])).collect();
        assert_eq!(name_in(&bytes).as_deref(), Some("echo.example.org"));
        for end in 0..bytes.len() {
            assert_eq!(name_in(&bytes[..end]), None, "{end} bytes");
        }
    }

    #[test]
    fn a_truncated_hello_has_neither_name_nor_version() {
        let client = record(&with_name());
        for end in 0..client.len() {
            assert_eq!(name_in(&client[..end]), None, "{end} bytes");
        }
        let server = record(&server_hello(Some(&[extension(SUPPORTED_VERSIONS, &[3, 4])])));
        for end in 0..server.len() {
            assert_eq!(version_in(&server[..end]), None, "{end} bytes");
        }
        // The message itself ends early, at every position of its body.
        let body = &with_name()[4..];
        for end in 0..body.len() {
            let _ = name_in(&record(&message(CLIENT_HELLO, &body[..end])));
        }
    }

    #[test]
    fn a_hello_longer_than_the_capture_has_no_name() {
        let padding = extension(21, &vec![0; MAX_CAPTURE]);
        let hello = client_hello(&[padding, names(&[name(HOST_NAME, b"host")])]);
        let records: Vec<u8> = hello.chunks(MAX_RECORD).flat_map(record).collect();
        assert_eq!(name_in(&records), None);
    }

    #[test]
    fn the_version_is_that_of_the_extension_else_that_of_the_message() {
        let selected = |version: [u8; 2]| {
            let extensions = [extension(51, &[0, 29]), extension(SUPPORTED_VERSIONS, &version)];
            version_in(&record(&server_hello(Some(&extensions))))
        };
        assert_eq!(selected([3, 4]), Some("TLSv1.3"));
        assert_eq!(selected([3, 3]), Some("TLSv1.2"));
        assert_eq!(selected([3, 5]), None);
        assert_eq!(version_in(&record(&server_hello(Some(&[])))), Some("TLSv1.2"));
        assert_eq!(version_in(&record(&server_hello(None))), Some("TLSv1.2"));
        // Another message follows in the same record, which the capture may cut.
        let followed = record(&[server_hello(None), vec![0; 100]].concat());
        assert_eq!(version_in(&followed[..followed.len() - 50]), Some("TLSv1.2"));
        assert_eq!(version_in(&record(&with_name())), None);
    }

    #[test]
    fn other_records_and_garbage_have_no_name() {
        let hello = with_name();
        for content_type in (0..=255).filter(|content_type| *content_type != CONTENT_HANDSHAKE) {
            let other = [&[content_type, 3, 1][..], &vector_u16(&hello)].concat();
            assert_eq!(name_in(&other), None);
        }
        assert_eq!(name_in(&record(&[])), None);
        for length in 0..600_usize {
            for seed in 0..8_u32 {
                let mut state = seed;
                let mut next = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                };
                let garbage: Vec<u8> = (0..length).map(|_| next()).collect();
                let _ = (name_in(&garbage), version_in(&garbage));
                let _ = (name_in(&record(&garbage)), version_in(&record(&garbage)));
                let _ = name_in(&record(&message(CLIENT_HELLO, &garbage)));
                let _ = version_in(&record(&message(SERVER_HELLO, &garbage)));
            }
        }
        // Every byte of a good hello changed, to values that make its lengths wrong.
        let good = record(&hello);
        for at in 0..good.len() {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = name_in(&bad);
            }
        }
    }
}
