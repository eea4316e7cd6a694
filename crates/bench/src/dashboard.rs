//! A pool with a dashboard that is mounted and removed while it serves, and a viewer of the dashboard.
//!
//! ```text
//!   load, probe ──18,000 connections──▶ pool ────────┐  one process on one core, with one arbiter
//!   viewer ──3 connections──▶ web server, dashboard ─┘  and one worker of the web server
//! ```
//!
//! The viewer reads what the page reads while it shows the table and one connection: the updates, and with each of them a page
//! of the table and the connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_acceptor::{AcceptorPool, Conn, Connection, Framing, Next, Pool, Protocol};
use actix_acceptor_dashboard::{Dashboard, DashboardPool};
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use bytes::Bytes;
use tokio::sync::mpsc::unbounded_channel;

/// What a line on standard input asks the server for. It answers with the port of the dashboard, or 0.
pub(crate) const MOUNT: &str = "mount";
pub(crate) const REMOVE: &str = "remove";

/// Rooms with as many members each.
const ROOMS: u64 = 100;

/// A guest of a chat, with a label, a name and a room, whose packets come back.
struct Guest;

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let number = conn.id().to_string().parse().unwrap_or(0_u64);
        conn.set_label(format!("guest {number}"));
        conn.register_replacing(format!("guest-{number}"));
        let room = conn.pool().topic(format!("room-{}", number % ROOMS));
        conn.join(&room);
        Next::Continue
    }

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }
}

/// Serves on one arbiter until standard input ends.
pub(crate) async fn serve(announce: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<()> {
    let (sender, mut lines) = unbounded_channel();
    std::thread::spawn(move || io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let pool = AcceptorPool::with_protocol(|_| Guest).framing(Framing::raw()).acceptors(1).max_connections(1_000_000);
    let pool = pool.bind("127.0.0.1:0").await.map_err(io::Error::other)?;
    announce(pool.local_addr().ok_or(io::ErrorKind::AddrNotAvailable)?)?;
    let mut mounted = None;
    while let Some(line) = lines.recv().await {
        if let Some((handle, _)) = mounted.take() {
            ServerHandle::stop(&handle, false).await;
        }
        if line == MOUNT {
            mounted = Some(mount(&pool)?);
        }
        println!("{}", mounted.as_ref().map_or(0, |(_, port)| *port));
        io::stdout().flush()?;
    }
    std::process::exit(0)
}

fn mount(pool: &Pool<Connection<Guest>>) -> io::Result<(ServerHandle, u16)> {
    let dashboard = Dashboard::new(DashboardPool::with_text(pool, Bytes::from));
    let server = HttpServer::new(move || App::new().service(dashboard.clone())).workers(1).disable_signals();
    let server = server.bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = server.addrs()[0].port();
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok((handle, port))
}

/// A thread that reads what a page reads, until it is dropped.
pub(crate) struct Viewer {
    is_over: Arc<AtomicBool>,
    updates: Arc<AtomicUsize>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Viewer {
    /// Reads the updates of the dashboard at that port, and with each of them a page of the table, sorted by idle time and filtered
    /// by a part of the address, for which all addresses are written out, and the connection with that id.
    pub(crate) fn start(port: u16, connection: usize) -> io::Result<Self> {
        let (is_over, updates) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut stream = Http::connect(port)?;
        stream.ask("stream")?;
        let (mut table, mut details) = (Http::connect(port)?, Http::connect(port)?);
        let (ends, counts) = (is_over.clone(), updates.clone());
        let thread = std::thread::spawn(move || {
            let mut line = String::new();
            while !ends.load(Relaxed) {
                line.clear();
                if stream.0.read_line(&mut line)? == 0 {
                    return Err(io::Error::other("the updates ended"));
                }
                if line.starts_with("event: update") {
                    table.ask("api/pools/0/connections?filter=%3A4&sort=idle&order=desc&page=1&limit=50")?;
                    details.ask(&format!("api/pools/0/connections/{connection}"))?;
                    table.answer("\"matching\":")?;
                    details.answer("\"names\":[\"guest-")?;
                    counts.fetch_add(1, Relaxed);
                }
            }
            Ok(())
        });
        Ok(Viewer { is_over, updates, thread: Some(thread) })
    }

    /// Ends it. Returns the number of updates after which everything was read.
    pub(crate) fn end(mut self) -> io::Result<usize> {
        self.is_over.store(true, Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        ended.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| Err(io::Error::other("the viewer panicked")))?;
        Ok(self.updates.load(Relaxed))
    }
}

/// A connection of a browser.
struct Http(BufReader<TcpStream>);

impl Http {
    fn connect(port: u16) -> io::Result<Self> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Http(BufReader::with_capacity(64 * 1024, socket)))
    }

    /// With the headers of a browser.
    fn ask(&mut self, path: &str) -> io::Result<()> {
        let host = self.0.get_ref().peer_addr()?;
        let request = format!(
            "GET /dashboard/{path} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\nAccept: application/json\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36\r\n\
             Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nReferer: http://{host}/dashboard/\r\n\
             Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n"
        );
        self.0.get_mut().write_all(request.as_bytes())
    }

    /// Reads an answer, which contains this text.
    fn answer(&mut self, text: &str) -> io::Result<()> {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            self.0.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body);
        if body.contains(text) {
            Ok(())
        } else {
            Err(io::Error::other(format!("no {text} in {body}")))
        }
    }
}
