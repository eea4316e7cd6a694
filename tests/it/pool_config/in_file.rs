//! A configuration that is a part of a file of the program.

use actix_acceptor::{pool_config::PoolConfig, AcceptorPool, Framing};
use support::pki::Pki;
use support::{in_time, Echo, Folder, Peer};

#[actix::test]
async fn relative_paths_of_a_part_refer_to_its_file() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let folder = Folder::create();
    std::fs::copy(cert, folder.path("cert.pem")).unwrap();
    std::fs::copy(key, folder.path("key.pem")).unwrap();
    let listener = serde_json::json!({
        "address": "tls://127.0.0.1:0",
        "tls": { "cert": "cert.pem", "key": "key.pem" },
    });
    let chat: PoolConfig = serde_json::from_value(serde_json::json!({ "listeners": [listener] })).unwrap();
    let start =
        |config: &PoolConfig| AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).config(config).start();
    let error = in_time(start(&chat)).await.unwrap_err();
    assert!(error.to_string().contains("cert.pem"), "{error}");
    let pool = in_time(start(&chat.clone().in_file(folder.path("chat.toml")))).await.unwrap();
    let tcp = support::connect(&pool).await.0;
    Peer(pki.connect(tcp, "localhost").await.unwrap()).echo("hello").await;
    in_time(pool.stop(None)).await;
    // The file is named whether the path is absolute or not.
    let absent = chat.in_file(folder.path("absent/chat.toml"));
    let error = in_time(start(&absent)).await.unwrap_err().to_string();
    assert!(error.contains("absent/chat.toml") && error.contains("listeners[0].tls"), "{error}");
}
