//! The examples whose connections send to each other: `chat` and `pubsub`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use support::TIME_LIMIT;

use super::example::Example;

/// A client that sends and reads lines.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        Client(BufReader::new(stream))
    }

    fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.strip_suffix('\n').expect("a whole line").to_owned()
    }

    #[track_caller]
    fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    #[track_caller]
    fn ask(&mut self, line: &str, answer: &str) {
        self.send(line);
        self.expect(answer);
    }
}

/// A guest of the chat with this name.
fn guest(address: SocketAddr, name: &str) -> Client {
    let mut guest = Client::connect(address);
    let welcome = guest.line();
    assert!(welcome.starts_with("you are guest-") && welcome.contains("/quit"), "{welcome}");
    guest.ask(&format!("/nick {name}"), &format!("you are {name}"));
    guest
}

/// Skips the lines that say how another guest of the room came by its name.
fn meet(guest: &mut Client, name: &str) {
    assert!(guest.line().ends_with(" joined"));
    assert!(guest.line().ends_with(&format!(" is now {name}")));
}

#[test]
fn chat_has_rooms_names_and_private_messages() {
    let mut example = Example::start("chat", &["127.0.0.1:0"]);
    let address = example.address();
    let mut ann = guest(address, "ann");
    let mut bob = guest(address, "bob");
    meet(&mut ann, "bob");
    bob.ask("/nick ann", "that name is taken");
    bob.ask("/nick guest-1", "/join ROOM, /nick NAME, /tell NAME TEXT, /who, /quit");
    bob.ask("/who", "ann bob");
    ann.send("hello");
    bob.expect("ann: hello");
    bob.send("/tell ann a b");
    ann.expect("bob tells you: a b");
    bob.ask("/tell carl a b", "no such guest");

    bob.ask("/join attic", "you are in attic");
    ann.expect("* bob left");
    ann.send("to an empty lobby");
    ann.send("/tell bob here");
    bob.expect("ann tells you: here");
    ann.ask("/join attic", "you are in attic");
    bob.expect("* ann joined");

    // Without `/quit`: the example has nothing to clean up.
    drop(ann);
    bob.expect("* ann left");
    bob.ask("/nick ann", "you are ann");
    bob.send("/quit");
    assert_eq!(bob.0.read(&mut [0]).unwrap(), 0);
}

#[test]
fn chat_loses_no_line_of_a_burst() {
    let mut example = Example::start("chat", &["127.0.0.1:0"]);
    let address = example.address();
    let mut ann = guest(address, "ann");
    let mut bob = guest(address, "bob");
    let mut carl = guest(address, "carl");
    meet(&mut ann, "bob");
    meet(&mut ann, "carl");
    meet(&mut bob, "carl");
    let burst: String = (0..2_000).map(|n| format!("{n}\n")).collect();
    ann.0.get_mut().write_all(burst.as_bytes()).unwrap();
    for n in 0..2_000 {
        bob.expect(&format!("ann: {n}"));
        carl.expect(&format!("ann: {n}"));
    }
}

#[test]
fn pubsub_delivers_what_is_published() {
    let mut example = Example::start("pubsub", &["127.0.0.1:0"]);
    let address = example.address();
    let [mut one, mut other, mut publisher] = [(); 3].map(|()| Client::connect(address));
    one.ask("SUB news", "ok");
    one.ask("SUB news", "ok");
    other.ask("SUB news", "ok");
    other.ask("SUB sports", "ok");
    publisher.ask("PUB news rain tomorrow", "2");
    publisher.ask("PUB sports 3:1", "1");
    publisher.ask("PUB arts -", "0");
    one.expect("news rain tomorrow");
    other.expect("news rain tomorrow");
    other.expect("sports 3:1");
    other.ask("UNSUB news", "ok");
    other.ask("UNSUB news", "ok");
    publisher.ask("PUB news sun", "1");
    one.expect("news sun");
    other.ask("SUB news", "ok");

    for wrong in ["", "SUB", "PUB news", "SUB a b", "HELP"] {
        publisher.ask(wrong, "error: SUB topic, UNSUB topic or PUB topic text");
    }
    for n in 2..100 {
        other.ask(&format!("SUB {n}"), "ok");
    }
    other.ask("SUB 100", "error: too many topics");
    other.ask("UNSUB 99", "ok");
    other.ask("SUB 100", "ok");
    drop(other);
    while {
        publisher.send("PUB sports x");
        publisher.line() != "0"
    } {}
}

#[test]
fn pubsub_delivers_a_burst_to_every_subscriber() {
    let mut example = Example::start("pubsub", &["127.0.0.1:0"]);
    let address = example.address();
    let mut subscribers: Vec<Client> = (0..100).map(|_| Client::connect(address)).collect();
    subscribers.iter_mut().for_each(|subscriber| subscriber.ask("SUB news", "ok"));
    let mut publisher = Client::connect(address);
    let burst: String = (0..500).map(|n| format!("PUB news {n}\n")).collect();
    publisher.0.get_mut().write_all(burst.as_bytes()).unwrap();
    (0..500).for_each(|_| publisher.expect("100"));
    for subscriber in &mut subscribers {
        (0..500).for_each(|n| subscriber.expect(&format!("news {n}")));
    }
}
