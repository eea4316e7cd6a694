//! Files of credentials, for servers that trust an operator: the operator signs accounts, and an account signs its users.

use actix_acceptor_cluster::{Cluster, ConnectError};
use nkeys::KeyPair;
use support::Folder;

use crate::nats_server::NatsServer;
use crate::security::{joins, refused};
use crate::settings::error_of;

/// Base64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        text.extend((0..=chunk.len()).map(|digit| char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize])));
    }
    text
}

/// A token about `subject`, signed by `issuer`. `claims` are those of its type.
fn token(issuer: &KeyPair, subject: &KeyPair, claims: &str) -> String {
    let (issued_by, about) = (issuer.public_key(), subject.public_key());
    let body =
        format!(r#"{{"jti":"1","iat":1700000000,"iss":"{issued_by}","name":"n","sub":"{about}","nats":{{{claims}}}}}"#);
    let signed = format!("{}.{}", base64(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#), base64(body.as_bytes()));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", base64(&signature))
}

fn credentials(account: &KeyPair, user: &KeyPair) -> String {
    let token = token(account, user, r#""pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2"#);
    format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed().unwrap()
    )
}

#[actix::test]
async fn a_node_authenticates_with_a_file_of_credentials() {
    let (operator, system, account) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let limits = r#""subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1"#;
    let storage = r#""mem_storage":-1,"disk_storage":-1,"streams":-1,"consumer":-1"#;
    let of_system = token(&operator, &system, &format!(r#""limits":{{{limits}}},"type":"account","version":2"#));
    let of_account =
        token(&operator, &account, &format!(r#""limits":{{{limits},{storage}}},"type":"account","version":2"#));
    let server = NatsServer::with_config(&format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{ {}: {of_system}, {}: {of_account} }}\n",
        token(&operator, &operator, r#""type":"operator","version":2"#),
        system.public_key(),
        system.public_key(),
        account.public_key(),
    ));
    let folder = Folder::create();
    let file = folder.path("node.creds");
    std::fs::write(&file, credentials(&account, &KeyPair::new_user())).unwrap();
    joins(Cluster::nats(&server.url).credentials_file(&file)).await;
    refused(Cluster::nats(&server.url)).await;
    // Of an account that the operator has not signed.
    let other = KeyPair::new_user();
    std::fs::write(&file, credentials(&KeyPair::new_account(), &other)).unwrap();
    refused(Cluster::nats(&server.url).credentials_file(&file)).await;
    // A file without a key. The error has the path, and nothing of the file.
    std::fs::write(&file, format!("{}\n", other.seed().unwrap())).unwrap();
    let error = error_of(Cluster::nats(&server.url).credentials_file(&file)).await;
    let text = format!("{error}: {error:?}");
    assert!(matches!(error, ConnectError::InvalidSetting { setting: "credentials_file", .. }), "{text}");
    assert!(text.contains("node.creds") && !text.contains(&other.seed().unwrap()), "{text}");
}
