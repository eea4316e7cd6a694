//! Unix sockets.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::process::{eventually, playground_at, run};
use crate::support::{start_program, PATIENCE};

/// A path for the socket of one test. Dropping it removes the file.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        Place(std::env::temp_dir().join(format!("playground-{}-{name}.sock", std::process::id())))
    }

    fn url(&self) -> String {
        format!("unix://{}", self.0.display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Sends lines with netcat and returns the answer.
fn netcat(place: &str, lines: &str) -> String {
    let mut nc = Command::new("nc");
    nc.args(["-N", "-U", place]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut nc = start_program(&mut nc);
    nc.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    String::from_utf8(nc.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_socket_file_is_served_listed_and_removed() {
    let place = Place::new("served");
    let playground = playground_at(&place.url(), "--framing lines");
    let path = place.0.to_str().unwrap();
    assert_eq!(netcat(path, "hello\n!peer\n!id\n"), "hello\nunnamed\n1\n");
    assert_eq!(playground.json("info")["listeners"], serde_json::json!([place.url()]));
    assert_eq!(playground.command("suspend"), "ok");
    assert!(!place.0.exists(), "gone with refuse");
    assert_eq!(playground.command("resume"), "ok");
    assert_eq!(netcat(path, "again\n"), "again\n");
    playground.command("drain 1000");
    assert_eq!(playground.ended().code, Some(0));
    assert!(!place.0.exists(), "gone at the end");
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let place = Place::new("killed");
    drop(playground_at(&place.url(), ""));
    eventually(|| place.0.exists());
    let _second = playground_at(&place.url(), "");
    let third = run(["--listen", &place.url()]);
    assert_eq!(third.code, Some(1));
    assert!(third.stderr.contains("in use") && third.stderr.contains(place.0.to_str().unwrap()), "{}", third.stderr);
    assert_eq!(netcat(place.0.to_str().unwrap(), "the second"), "the second");
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_is_served() {
    use std::io::Read;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};

    let name = format!("@playground-test-{}", std::process::id());
    let _playground = playground_at(&format!("unix:{name}"), "");
    let address = SocketAddr::from_abstract_name(&name[1..]).unwrap();
    let mut client = UnixStream::connect_addr(&address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"by name").unwrap();
    let mut echo = [0; 7];
    client.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"by name");
}
