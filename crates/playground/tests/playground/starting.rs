//! Valid and invalid options.

use std::net::TcpListener;

use crate::process::{playground, run};

#[test]
fn an_invalid_option_is_named_with_exit_code_2() {
    for (options, named) in [
        ("--bogus", "--bogus"),
        ("--acceptors 0", "--acceptors"),
        ("--handler unknown", "--handler"),
        ("--framing len3", "--framing"),
        ("--framing len1 --max-frame 0", "--max-frame"),
        ("--restarts 5", "--restarts"),
        ("--restarts 5/0", "--restarts"),
        ("--idle-timeout soon", "--idle-timeout"),
        ("--idle-timeout -1", "--idle-timeout"),
        ("--on-packet-timeout shout", "--on-packet-timeout"),
        ("--listen tcp://127.0.0.1", "--listen"),
        ("--listen tcp://127.0.0.1:65536", "--listen"),
        ("--listen udp://127.0.0.1:0", "--listen"),
        ("--listen unix:relative", "--listen"),
        ("--listen unix://relative", "--listen"),
        ("--listen unix:///", "--listen"),
        ("--listen unix:@", "--listen"),
        ("--max-connections 0", "--max-connections"),
        ("--at-limit queue", "--at-limit"),
        ("--max-per-ip=0", "--max-per-ip"),
        ("--accept-rate 5", "--accept-rate"),
        ("--accept-rate 0/1", "--accept-rate"),
        ("--deny localhost", "--deny"),
        ("--allow 10.0.0.0/33", "--allow"),
        ("--console nowhere", "--console"),
        ("--grace", "--grace"),
        ("--handshake-timeout soon", "--handshake-timeout"),
        ("--listen tls://127.0.0.1:0", "--tls-cert"),
        ("--listen tls://127.0.0.1", "--listen"),
        ("--tls-cert a.pem", "--tls-key"),
        ("--tls-key a.pem", "--tls-cert"),
        ("--tls-cert nowhere.pem --tls-key nowhere.key", "nowhere.pem"),
        ("--tls-backend openssl", "--tls-backend"),
        ("--sni name=a.pem", "--sni"),
        ("--proxy-protocol require", "--trusted-proxy"),
        ("--proxy-protocol optional", "--trusted-proxy"),
        ("--proxy-protocol maybe", "--proxy-protocol"),
        ("--proxy-protocol require --trusted-proxy 10.0.0.0/33", "--trusted-proxy"),
    ] {
        let ended = run(options.split_whitespace());
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{options}");
        assert!(ended.stderr.contains(named), "{options}: {}", ended.stderr);
    }
}

#[test]
fn a_text_too_long_for_a_packet_is_refused() {
    let long = "x".repeat(256);
    for option in ["--greeting", "--goodbye"] {
        let ended = run(["--framing", "len1", option, &long]);
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains(option), "{}", ended.stderr);
    }
}

#[test]
fn an_address_in_use_is_named_with_the_system_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for options in [
        ["--listen", &format!("tcp://{taken}"), "--console", "127.0.0.1:0"],
        ["--listen", "tcp://127.0.0.1:0", "--console", &taken],
    ] {
        let ended = run(options);
        assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{options:?}");
        assert!(ended.stderr.contains(&taken) && ended.stderr.contains("in use"), "{}", ended.stderr);
    }
}

#[test]
fn acceptors_default_to_one_per_core() {
    let cores = std::thread::available_parallelism().unwrap().get();
    for (options, acceptors) in [("--acceptors 3", 3), ("", cores)] {
        let info = playground(options).json("info");
        assert_eq!(info["acceptors"].as_array().unwrap().len(), acceptors);
    }
}
