//! The servers that are compared. Each server sets `TCP_NODELAY` and runs on one thread.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use actix::io::{FramedWrite, WriteHandler};
use actix::{Actor, ActorContext, AsyncContext, Context, Running, StreamHandler};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{BytesCodec, Decoder, Encoder, Framed, FramedRead, LengthDelimitedCodec};

use crate::broadcast::{self, Writes};
use crate::cluster::{self, Program};
use crate::members::Dialect;
use crate::shared::{self, Home};
use crate::tls::{self, Backend};
use crate::topics::{self, Form};
use crate::{dashboard, operator, ours, process};

/// What a server treats as a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// The bytes of one read.
    Raw,
    /// A packet with a length prefix of 2 bytes.
    Packets,
}

impl Wire {
    /// `count` messages of `len` bytes, one after the other.
    pub(crate) fn burst(self, len: u16, count: usize) -> Vec<u8> {
        let prefix = match self {
            Wire::Raw => Vec::new(),
            Wire::Packets => len.to_be_bytes().to_vec(),
        };
        let message: Vec<u8> = prefix.into_iter().chain((0..len).map(|n| n as u8)).collect();
        message.repeat(count)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// An accept loop and one task per connection with a buffer of 8 KiB.
    Tokio,
    /// The same with tokio-util's `Framed`: the stream is forwarded into the sink.
    Framed,
    /// One actor per connection, as in the examples of actix.
    Idiom(Wire),
    /// This library.
    Ours(Wire),
    /// This library with every limit, alarm and observer switched on.
    AllOn,
    /// [`Server::Tokio`] with TLS.
    TokioTls(Backend),
    /// This library, measuring the calls of an operator.
    Operator,
    /// This library with a dashboard.
    Dashboard,
    /// This library with TLS.
    OursTls(Backend),
    /// [`Server::Tokio`] with a topic.
    Broadcast(Writes),
    /// This library with a topic.
    Topics(Form),
    /// This library, counting packets.
    Shared(Home),
    /// The example `pubsub`.
    Pubsub,
    /// redis-server.
    Redis,
    /// A node of a cluster.
    Cluster(Program),
}

impl Server {
    const ALL: [Server; 26] = [
        Server::Tokio,
        Server::Framed,
        Server::Idiom(Wire::Raw),
        Server::Idiom(Wire::Packets),
        Server::Ours(Wire::Raw),
        Server::Ours(Wire::Packets),
        Server::AllOn,
        Server::Operator,
        Server::Dashboard,
        Server::TokioTls(Backend::Rustls),
        Server::TokioTls(Backend::Native),
        Server::OursTls(Backend::Rustls),
        Server::OursTls(Backend::Native),
        Server::Broadcast(Writes::EachLine),
        Server::Broadcast(Writes::AllLines),
        Server::Topics(Form::Plain),
        Server::Topics(Form::Dropping),
        Server::Topics(Form::Arbiters),
        Server::Shared(Home::Connection),
        Server::Shared(Home::Arbiter),
        Server::Shared(Home::Atomic),
        Server::Shared(Home::Mutex),
        Server::Shared(Home::Actor),
        Server::Shared(Home::OtherArbiter),
        Server::Cluster(Program::Node),
        Server::Cluster(Program::Plain),
    ];

    pub(crate) fn wire(self) -> Wire {
        match self {
            Server::Tokio | Server::AllOn | Server::Operator | Server::TokioTls(_) | Server::OursTls(_) => Wire::Raw,
            Server::Dashboard => Wire::Raw,
            Server::Broadcast(_) | Server::Topics(_) | Server::Pubsub | Server::Redis | Server::Cluster(_) => Wire::Raw,
            Server::Framed | Server::Shared(_) => Wire::Packets,
            Server::Idiom(wire) | Server::Ours(wire) => wire,
        }
    }

    /// How its peers join a topic and publish, if it has one.
    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Server::Pubsub => Dialect::Pubsub,
            Server::Redis => Dialect::Redis,
            _ => Dialect::Verbs,
        }
    }

    /// Whether its peers use TLS.
    pub(crate) fn is_secure(self) -> bool {
        matches!(self, Server::TokioTls(_) | Server::OursTls(_))
    }

    /// The argument that selects the server in a new process.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Server::Tokio => "tokio",
            Server::Framed => "framed",
            Server::Idiom(Wire::Raw) => "idiom-raw",
            Server::Idiom(Wire::Packets) => "idiom-packets",
            Server::Ours(Wire::Raw) => "ours-raw",
            Server::Ours(Wire::Packets) => "ours-packets",
            Server::AllOn => "all-on",
            Server::Operator => "operator",
            Server::Dashboard => "dashboard",
            Server::TokioTls(Backend::Rustls) => "tokio-rustls",
            Server::TokioTls(Backend::Native) => "tokio-native-tls",
            Server::OursTls(Backend::Rustls) => "ours-rustls",
            Server::OursTls(Backend::Native) => "ours-native-tls",
            Server::Broadcast(Writes::EachLine) => "broadcast-each-line",
            Server::Broadcast(Writes::AllLines) => "broadcast-all-lines",
            Server::Topics(Form::Plain) => "topics",
            Server::Topics(Form::Dropping) => "topics-dropping",
            Server::Topics(Form::Arbiters) => "topics-arbiters",
            Server::Shared(Home::Connection) => "shared-connection",
            Server::Shared(Home::Arbiter) => "shared-arbiter",
            Server::Shared(Home::Atomic) => "shared-atomic",
            Server::Shared(Home::Mutex) => "shared-mutex",
            Server::Shared(Home::Actor) => "shared-actor",
            Server::Shared(Home::OtherArbiter) => "shared-other-arbiter",
            Server::Pubsub => "pubsub",
            Server::Redis => "redis",
            Server::Cluster(program) => program.name(),
        }
    }

    /// The name in the table.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Server::Tokio | Server::TokioTls(_) => "tokio",
            Server::Framed => "framed",
            Server::Idiom(_) => "actix idiom",
            Server::Ours(_) | Server::OursTls(_) | Server::Operator | Server::Topics(_) | Server::Pubsub => "ours",
            Server::Broadcast(Writes::EachLine) => "tokio",
            Server::Broadcast(Writes::AllLines) => "tokio, drains",
            Server::Shared(Home::Connection) => "connection",
            Server::Shared(Home::Arbiter) => "arbiter",
            Server::Shared(Home::Atomic) => "atomic",
            Server::Shared(Home::Mutex) => "mutex",
            Server::Shared(Home::Actor) => "actor",
            Server::Shared(Home::OtherArbiter) => "other thread",
            Server::Redis => "redis-server",
            Server::Dashboard => "ours",
            Server::Cluster(Program::Node) => "ours",
            Server::Cluster(Program::Plain) => "async-nats",
            Server::AllOn => "all on",
        }
    }
}

/// Runs the server until standard input ends. Prints its port as the only line.
pub(crate) fn run(name: &str, core: Option<usize>) -> io::Result<()> {
    let server = Server::ALL.into_iter().find(|server| server.name() == name);
    let server = server.ok_or_else(|| io::Error::other(format!("unknown server {name:?}")))?;
    process::pin(core);
    match server {
        // They read standard input themselves.
        Server::Operator => return on_actix(operator::serve(announce)),
        Server::Dashboard => return on_actix(dashboard::serve(announce)),
        Server::Topics(Form::Arbiters) => return on_actix(topics::serve(Form::Arbiters, announce)),
        _ => {}
    }
    std::thread::spawn(|| {
        // A read error ends the process, too.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    match server {
        Server::Operator | Server::Dashboard | Server::Pubsub | Server::Redis => Ok(()),
        Server::Broadcast(writes) => on_tokio(async { accept(broadcast::server(writes)).await }),
        Server::Topics(form) => on_actix(topics::serve(form, announce)),
        Server::Shared(home) => on_actix(shared::serve(home, announce)),
        Server::Cluster(Program::Node) => on_actix(cluster::node::serve(announce)),
        Server::Cluster(Program::Plain) => on_tokio(cluster::plain::serve(announce)),
        Server::Tokio => on_tokio(accept(echo)),
        Server::Framed => on_tokio(accept(forward)),
        Server::Idiom(Wire::Raw) => on_actix(accept(|stream| idiom(stream, BytesCodec::new))),
        Server::Idiom(Wire::Packets) => on_actix(accept(|stream| idiom(stream, two_bytes))),
        Server::Ours(wire) => on_actix(ours::serve(ours::plain(wire), ours::plaintext(), announce)),
        Server::AllOn => on_actix(ours::serve(ours::all_on(), ours::plaintext(), announce)),
        Server::TokioTls(backend) => on_tokio(accept(tls::tokio(backend)?)),
        Server::OursTls(backend) => on_actix(ours::serve(ours::plain(Wire::Raw), tls::ours(backend)?, announce)),
    }
}

fn on_tokio(server: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build()?.block_on(server)
}

fn on_actix(server: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    actix_rt::System::new().block_on(server)
}

fn announce(addr: SocketAddr) -> io::Result<()> {
    println!("{}", addr.port());
    io::stdout().flush()
}

async fn accept(serve: impl Fn(TcpStream)) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    announce(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        serve(stream);
    }
}

fn echo(mut stream: TcpStream) {
    tokio::spawn(async move {
        let mut buffer = vec![0; 8 * 1024];
        loop {
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                return io::Result::Ok(());
            }
            stream.write_all(&buffer[..read]).await?;
        }
    });
}

fn two_bytes() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().length_field_length(2).new_codec()
}

fn forward(stream: TcpStream) {
    let (sink, stream) = Framed::new(stream, two_bytes()).split();
    tokio::spawn(stream.map_ok(BytesMut::freeze).forward(sink));
}

/// A codec of byte packets.
trait Codec: Decoder<Item = BytesMut, Error = io::Error> + Encoder<Bytes, Error = io::Error> {}
impl<C: Decoder<Item = BytesMut, Error = io::Error> + Encoder<Bytes, Error = io::Error>> Codec for C {}

/// A connection as in the examples of actix.
struct Idiom<C: Codec + Unpin + 'static> {
    out: FramedWrite<Bytes, WriteHalf<TcpStream>, C>,
}

fn idiom<C: Codec + Unpin + 'static>(stream: TcpStream, codec: fn() -> C) {
    Idiom::create(|ctx| {
        let (read, write) = tokio::io::split(stream);
        ctx.add_stream(FramedRead::new(read, codec()));
        Idiom { out: FramedWrite::new(write, codec(), ctx) }
    });
}

impl<C: Codec + Unpin + 'static> Actor for Idiom<C> {
    type Context = Context<Self>;
}

impl<C: Codec + Unpin + 'static> StreamHandler<io::Result<BytesMut>> for Idiom<C> {
    fn handle(&mut self, packet: io::Result<BytesMut>, ctx: &mut Self::Context) {
        match packet {
            Ok(packet) => self.out.write(packet.freeze()),
            Err(_) => ctx.stop(),
        }
    }
}

impl<C: Codec + Unpin + 'static> WriteHandler<io::Error> for Idiom<C> {
    fn error(&mut self, _: io::Error, _: &mut Self::Context) -> Running {
        Running::Stop
    }
}
