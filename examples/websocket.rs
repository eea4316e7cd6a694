//! A chat room for TCP and WebSocket clients: actix-web accepts the WebSockets, and the pool adopts them as byte streams.
//! Try it: `cargo run -p actix-acceptor-examples --example websocket`, then `nc 127.0.0.1 7878` in a terminal, and in the
//! console of a browser:
//!
//! ```js
//! ws = new WebSocket("ws://127.0.0.1:7879/ws"); ws.onmessage = (message) => console.log(message.data); ws.onopen = () => ws.send("hello")
//! ```
//!
//! Two arguments replace the addresses.

use actix_acceptor::prelude::*;
use actix_acceptor::transport::Address;
use actix_web::{error::ErrorServiceUnavailable, web, App, HttpRequest, HttpResponse, HttpServer};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Session};
use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{split, AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

/// The maximum length of a line, in bytes.
const MAX_LINE: usize = 4096;

struct Guest;

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let lobby = conn.pool().topic("lobby");
        conn.join(&lobby);
        Next::send(format!("welcome, guest {} of {}", conn.id(), lobby.len()))
    }

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let line = format!("{}: {}", conn.peer(), String::from_utf8_lossy(&line));
        conn.pool().topic("lobby").publish_except(conn.id(), line);
        Next::Continue
    }
}

type Guests = Pool<Connection<Guest>>;

/// Accepts a WebSocket and hands it over to the pool, which counts, limits, lists and drains it like its own connections.
async fn websocket(
    request: HttpRequest,
    body: web::Payload,
    pool: web::Data<Guests>,
) -> actix_web::Result<HttpResponse> {
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    let messages = messages.max_frame_size(MAX_LINE).aggregate_continuations().max_continuation_size(MAX_LINE);
    let (local, stream) = tokio::io::duplex(64 * 1024);
    let peer = request.peer_addr().map_or(Address::Other("unknown".into()), Address::from);
    pool.adopt(stream, peer).await.map_err(ErrorServiceUnavailable)?;
    actix_web::rt::spawn(forward(session, messages, local));
    Ok(response)
}

/// Forwards between a WebSocket and a byte stream, in both directions at the same time: a text message is a line.
async fn forward(mut session: Session, mut messages: AggregatedMessageStream, stream: DuplexStream) {
    let (lines, mut stream) = split(stream);
    let mut lines = BufReader::new(lines).lines();
    let mut replies = session.clone();
    let from_peer = async {
        while let Some(Ok(message)) = messages.next().await {
            let forwarded = match message {
                AggregatedMessage::Text(text) => {
                    let line = text.replace('\n', " ") + "\n";
                    stream.write_all(line.as_bytes()).await.is_ok()
                }
                AggregatedMessage::Ping(payload) => session.pong(&payload).await.is_ok(),
                AggregatedMessage::Pong(_) => true,
                AggregatedMessage::Binary(_) | AggregatedMessage::Close(_) => false,
            };
            if !forwarded {
                break;
            }
        }
    };
    let to_peer = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if replies.text(line).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = from_peer => {}
        () = to_peer => {}
    }
    // The pool sees the end of the stream, whose two halves are dropped.
    let _ = session.close(None).await;
}

#[actix_web::main]
async fn main() -> Result<(), MainError> {
    let mut arguments = std::env::args().skip(1);
    let chat = arguments.next().unwrap_or("127.0.0.1:7878".to_owned());
    let http = arguments.next().unwrap_or("127.0.0.1:7879".to_owned());
    let pool = AcceptorPool::with_protocol(|_| Guest)
        .framing(Framing::lines().with_max_frame(MAX_LINE))
        .idle_timeout(None)
        .bind(chat)
        .await?;
    let data = web::Data::new(pool.clone());
    let server = HttpServer::new(move || App::new().app_data(data.clone()).route("/ws", web::get().to(websocket)));
    let server = server.disable_signals().bind(http)?;
    println!("chat on {}, websockets on {}", pool.name(), server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    pool.drain_on_signal(Drain::grace(std::time::Duration::from_secs(5))).await?;
    handle.stop(true).await;
    Ok(())
}
