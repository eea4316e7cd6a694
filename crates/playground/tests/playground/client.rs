//! A blocking client with one of the framings.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::link::Link;
use crate::process::PATIENCE;

/// The framing on the wire. A second implementation, to compare with that of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Raw,
    Lines,
    Length(usize),
}

impl Wire {
    /// The framing of the options.
    pub fn of(options: &str) -> Wire {
        let after = |name: &str| options.split_whitespace().skip_while(|word| *word != name).nth(1);
        match (after("--framing"), after("--handler")) {
            (Some("lines"), _) | (None, Some("chat")) => Wire::Lines,
            (None, Some("ping")) => Wire::Length(2),
            (Some(length), _) if length.starts_with("len") => Wire::Length(length[3..].parse().unwrap()),
            _ => Wire::Raw,
        }
    }

    fn encode(self, packet: &[u8]) -> Vec<u8> {
        match self {
            Wire::Raw => packet.to_vec(),
            Wire::Lines => [packet, b"\n"].concat(),
            Wire::Length(bytes) => [&packet.len().to_be_bytes()[8 - bytes..], packet].concat(),
        }
    }
}

/// A connection with a time limit on every step.
pub fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, PATIENCE).map(bounded)
}

fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub struct Client {
    stream: Box<dyn Link>,
    wire: Wire,
}

impl Client {
    pub fn connect(address: SocketAddr, wire: Wire) -> Self {
        Self::try_connect(address, wire).unwrap()
    }

    /// Fails if the server resets the connection at once.
    pub fn try_connect(address: SocketAddr, wire: Wire) -> io::Result<Self> {
        Ok(Self::over(tcp(address)?, wire))
    }

    pub fn over(stream: impl Link + 'static, wire: Wire) -> Self {
        Client { stream: Box::new(stream), wire }
    }

    /// Connects from 127.0.0.`last`.
    pub fn connect_from(last: u8, address: SocketAddr, wire: Wire) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::over(bounded(socket.into()), wire)
    }

    pub fn wire(&self) -> Wire {
        self.wire
    }

    pub fn address(&self) -> SocketAddr {
        self.stream.tcp().local_addr().unwrap()
    }

    /// Sends bytes without framing.
    pub fn send_wire(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The same, ignoring a closed connection.
    pub fn try_send_wire(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends packets in one write.
    pub fn send_all(&mut self, packets: &[&str]) {
        let wire: Vec<u8> = packets.iter().flat_map(|packet| self.wire.encode(packet.as_bytes())).collect();
        self.send_wire(&wire);
    }

    pub fn send(&mut self, packet: &str) {
        self.send_all(&[packet]);
    }

    pub fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Receives the next packet; with `raw` the next bytes.
    pub fn receive(&mut self) -> String {
        let packet = match self.wire {
            Wire::Raw => {
                let mut bytes = [0; 4096];
                let length = self.stream.read(&mut bytes).unwrap();
                assert_ne!(length, 0, "the connection has ended");
                bytes[..length].to_vec()
            }
            Wire::Lines => {
                let mut line = Vec::new();
                while line.last() != Some(&b'\n') {
                    line.extend(self.read(1));
                }
                line.pop();
                line
            }
            Wire::Length(bytes) => {
                let length = self.read(bytes).into_iter().fold(0, |length, byte| length << 8 | usize::from(byte));
                self.read(length)
            }
        };
        String::from_utf8(packet).unwrap()
    }

    /// Sends a packet and receives a line. `None` if the connection has ended.
    pub fn try_ask(&mut self, packet: &str) -> Option<String> {
        self.try_send_wire(&self.wire.encode(packet.as_bytes()));
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(1) if byte != *b"\n" => line.extend(byte),
                Ok(1) => return String::from_utf8(line).ok(),
                Ok(_) => return None,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                    return None;
                }
            }
        }
    }

    #[track_caller]
    pub fn expect(&mut self, packets: &[&str]) {
        for expected in packets {
            assert_eq!(self.receive(), *expected);
        }
    }

    pub fn ask(&mut self, packet: &str) -> String {
        self.send(packet);
        self.receive()
    }

    /// Shuts down the sending side.
    pub fn finish(&mut self) {
        self.stream.finish();
    }

    /// Resets the connection.
    pub fn reset(self) {
        socket2::SockRef::from(self.stream.tcp()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads until the connection ends, orderly or by a reset.
    pub fn until_gone(&mut self) -> String {
        let mut rest = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        String::from_utf8(rest).unwrap()
    }

    /// Reads until the connection ends orderly: by FIN, or with TLS by `close_notify`.
    #[track_caller]
    pub fn until_the_end(&mut self) -> String {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        String::from_utf8(rest).unwrap()
    }

    /// Reads until the connection ends in any way.
    pub fn until_gone_somehow(&mut self) -> String {
        let mut rest = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        }
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Counts the bytes until the connection ends in any way, up to `most`.
    pub fn counted(&mut self, most: usize) -> usize {
        let (mut came, mut bytes) = (0, [0; 16 * 1024]);
        while came < most {
            match self.stream.read(&mut bytes) {
                Ok(length) if length > 0 => came += length,
                _ => break,
            }
        }
        came
    }

    /// Whether an answer arrives before the connection ends.
    pub fn is_answered(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(length) => length > 0,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                false
            }
        }
    }

    /// Whether the connection ends orderly without another byte.
    pub fn is_closed_in_order(&mut self) -> bool {
        self.stream.read(&mut [0]).is_ok_and(|length| length == 0)
    }

    /// Whether the connection is reset.
    pub fn is_reset(&mut self) -> bool {
        self.stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    }

    /// The TCP stream, for example to start TLS on it.
    pub fn into_tcp(self) -> TcpStream {
        self.stream.tcp().try_clone().unwrap()
    }

    /// Whether nothing arrives for `time`.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        let began = Instant::now();
        self.stream.tcp().set_read_timeout(Some(time)).unwrap();
        let outcome = self.stream.read(&mut [0]);
        self.stream.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
        outcome.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
            && began.elapsed() >= time
    }
}
