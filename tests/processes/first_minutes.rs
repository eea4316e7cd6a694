//! What a new user sees first: the examples, and their errors.

use std::net::TcpListener;
use std::process::{Command, Output};

use super::example::{program_of, Example};

/// An example that does not start.
fn failed(name: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program_of(name)).args(arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!((status.code(), &*stdout), (Some(1), ""), "{name}: {stderr}");
    stderr
}

#[test]
fn examples_print_an_error_for_people_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = &*taken.local_addr().unwrap().to_string();
    for name in ["echo", "chat", "counter", "ping", "pubsub", "reagent", "metrics", "websocket", "with_actix_web"] {
        let error = failed(name, &[address]);
        let expected = format!("Error: cannot set up {address} (pass another address, or stop the program that uses");
        assert!(error.starts_with(&expected), "{name}: {error}");
        assert!(error.contains("in use") && error.lines().count() == 1, "{name}: {error}");
    }
    let error = failed("echo", &["localhost"]);
    assert!(error.contains("expected a host and a port, such as 127.0.0.1:7878"), "{error}");
    assert_eq!(failed("config", &[]), "Error: usage: config FILE.toml; the file has the addresses\n");
    assert_eq!(failed("tls_echo", &[]), "Error: usage: tls_echo CERTIFICATE.pem KEY.pem [ADDRESS]\n");
    let error = failed("config", &["/no/such/file.toml"]);
    assert!(error.starts_with("Error: /no/such/file.toml: cannot read the file: "), "{error}");
}

#[test]
fn each_example_takes_its_addresses() {
    let address = "127.0.0.1:0";
    for (name, arguments) in [
        ("echo", &[address][..]),
        ("chat", &[address]),
        ("counter", &[address]),
        ("ping", &[address]),
        ("pubsub", &[address]),
        ("reagent", &[address, address]),
        ("metrics", &[address, address]),
        ("websocket", &[address, address]),
        ("with_actix_web", &[address, address]),
    ] {
        let line = Example::start(name, arguments).line();
        assert_eq!(line.matches("127.0.0.1:").count(), arguments.len(), "{name}: {line}");
        assert!(!line.contains(":7878") && !line.contains(":7879"), "{name}: {line}");
    }
}
