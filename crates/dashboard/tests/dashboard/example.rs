//! The example `chat` as a program, operated with curl.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{json, Value};
use support::{example, program, BlockingPeer};

/// Ended when it is dropped, also by a panic.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the status and the body.
fn curl(arguments: &[&str]) -> (String, String) {
    let output = program("curl").args(["-s", "--max-time", "20", "-w", "\n%{http_code}"]).args(arguments).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

#[test]
fn a_chat_is_operated_with_curl() {
    let mut command = Command::new(example("crates/dashboard/examples/chat.rs"));
    command.args(["127.0.0.1:0", "127.0.0.1:0"]).env("DASHBOARD_TOKEN", crate::client::TOKEN);
    let mut chat = Program(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(chat.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (address, url) = line.trim().strip_prefix("chat on ").unwrap().split_once(", dashboard on ").unwrap();
    let mut ann = BlockingPeer::connect(address.parse().unwrap());
    ann.expect("you are guest-1; /nick NAME, /join ROOM\n");
    ann.send("/nick ann\n");
    ann.expect("you are ann\n");

    assert_eq!(curl(&[url]).0, "303");
    assert_eq!(curl(&[&format!("{url}api/pools")]).0, "401");
    let bearer = format!("Authorization: Bearer {}", crate::client::TOKEN);
    let connections = curl(&["-H", &bearer, &format!("{url}api/pools/chat/connections?filter=ann")]);
    let connections: Value = serde_json::from_str(&connections.1).unwrap();
    assert_eq!((&connections["matching"], &connections["connections"][0]["label"]), (&json!(1), &json!("ann")));
    let act = |path: &str, body: Value| {
        let (url, body) = (format!("{url}api/pools/chat/{path}"), body.to_string());
        let headers = ["-H", &bearer, "-H", "X-Dashboard: 1", "-H", "Content-Type: application/json"];
        curl(&[&headers[..], &["-d", &body, &url]].concat())
    };
    let sent = act("send", json!({"text": "maintenance at noon", "to": {"topic": "lobby"}}));
    assert_eq!(sent, ("200".to_owned(), r#"{"delivered":1,"full":0}"#.to_owned()));
    ann.expect("maintenance at noon\n");
    assert_eq!(act("drain", json!({"grace": 0})).0, "202");
    ann.read_to_end();
    // The dashboard outlives the chat.
    let report = || {
        let pool = curl(&["-H", &bearer, &format!("{url}api/pools/chat")]);
        serde_json::from_str::<Value>(&pool.1).unwrap()["drain"]["report"].clone()
    };
    support::eventually_blocking(|| report()["asked"] == 1);
}
