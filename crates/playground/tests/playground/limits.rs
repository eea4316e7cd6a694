//! Limits: set by options, changed at the console, counted in `info`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::process::{eventually, playground, playground_with_descriptors, Playground};
use crate::HANDLERS;

/// How long a test waits to see that nothing happens.
const A_WHILE: Duration = Duration::from_millis(100);

/// A client that has sent `hello` and waits for its answer.
fn newcomer(playground: &Playground) -> Client {
    let mut client = playground.connect();
    client.send("hello");
    client
}

fn fill(playground: &Playground, count: usize) -> Vec<Client> {
    (0..count).map(|_| playground.greeted()).collect()
}

impl Playground {
    /// Waits until `count` peers have been refused, all for this reason. Then checks that the counters add up.
    #[track_caller]
    fn has_refused(&self, reason: &str, count: u64) {
        eventually(|| self.json("info")["refused"][reason].as_u64().unwrap() >= count);
        let info = self.json("info");
        let total = |counts: &str| -> u64 {
            info[counts].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
        };
        assert_eq!(info["refused"][reason], json!(count), "{reason}");
        let connections = info["connections"].as_u64().unwrap();
        assert_eq!(info["accepted"].as_u64().unwrap(), total("refused") + connections + total("closed"), "{info}");
    }

    fn has(&self, connections: u64) {
        eventually(|| self.json("info")["connections"] == json!(connections));
    }
}

#[test]
fn at_limit_wait_queues_new_peers() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --max-connections 10"));
        let mut clients = fill(&playground, 10);
        let mut eleventh = newcomer(&playground);
        assert!(eleventh.is_silent_for(A_WHILE), "{handler}");
        let info = playground.json("info");
        assert_eq!((&info["connections"], &info["max_connections"]), (&json!(10), &json!(10)));
        assert_eq!(info["accepted"], json!(10), "{handler}");
        clients.pop();
        eleventh.expect(&["hello"]);
        playground.has_refused("limit", 0);
    }
}

#[test]
fn at_limit_close_closes_new_peers() {
    let playground = playground("--framing lines --max-connections 10 --at-limit close");
    let mut clients = fill(&playground, 10);
    for round in 1..=3 {
        assert!(playground.connect().is_closed_in_order());
        playground.has_refused("limit", round);
    }
    clients.pop();
    playground.has(9);
    clients.push(playground.greeted());
    playground.has_refused("limit", 3);
}

#[test]
fn at_limit_reset_resets_new_peers() {
    let playground = playground("--framing lines --max-connections 10 --at-limit reset");
    let _clients = fill(&playground, 10);
    for round in 1..=3 {
        assert!(playground.resets());
        playground.has_refused("limit", round);
    }
}

#[test]
fn max_changes_the_connection_limit() {
    let playground = playground("--framing lines --max-connections 2");
    let mut clients = fill(&playground, 2);
    let mut waiting: Vec<_> = (0..3).map(|_| newcomer(&playground)).collect();
    assert!(waiting[0].is_silent_for(A_WHILE));
    assert_eq!(playground.command("max 4"), "ok");
    waiting[0].expect(&["hello"]);
    waiting[1].expect(&["hello"]);
    assert!(waiting[2].is_silent_for(A_WHILE));
    assert_eq!(playground.command("max 1"), "ok");
    for client in clients.iter_mut().chain(&mut waiting[..2]) {
        assert_eq!(client.ask("still open"), "still open");
    }
    clients.clear();
    playground.has(2);
    assert!(waiting[2].is_silent_for(A_WHILE));
    waiting.remove(0);
    playground.has(1);
    assert!(waiting[1].is_silent_for(A_WHILE));
    waiting.remove(0);
    waiting[0].expect(&["hello"]);
    assert_eq!(playground.json("info")["max_connections"], json!(1));
    // The same by the name of the option.
    assert_eq!(playground.command("set max-connections 2"), "ok");
    playground.greeted();
}

#[test]
fn the_limit_policy_changes_at_the_console() {
    let playground = playground("--framing lines --max-connections 1");
    let _client = playground.greeted();
    let mut waiting = newcomer(&playground);
    assert!(waiting.is_silent_for(A_WHILE));
    assert_eq!(playground.command("set at-limit close"), "ok");
    assert_eq!(waiting.until_gone(), "");
    assert_eq!(playground.command("set at-limit reset"), "ok");
    assert!(playground.resets());
    playground.has_refused("limit", 2);
}

#[test]
fn an_exempted_connection_is_not_counted() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --max-connections 1"));
        let mut first = playground.greeted();
        let mut waiting = [newcomer(&playground), newcomer(&playground)];
        assert!(waiting[0].is_silent_for(A_WHILE));
        assert_eq!(playground.command("exempt 1"), "ok");
        waiting[0].expect(&["hello"]);
        assert_eq!(playground.command("exempt 1"), "ok");
        assert!(waiting[1].is_silent_for(A_WHILE), "{handler}");
        assert_eq!(playground.json("info")["connections"], json!(2));
        assert_eq!(playground.command("exempt 9"), "gone");
        assert_eq!(first.ask("alive"), "alive");
    }
}

#[test]
fn each_address_has_a_connection_limit() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --max-per-ip 2"));
        let mut clients = Vec::new();
        for last in 1..=5 {
            for _ in 0..2 {
                let mut client = playground.connect_from(last);
                assert_eq!(client.ask("hello"), "hello");
                clients.push(client);
            }
            assert!(playground.connect_from(last).is_closed_in_order());
            playground.has_refused("per_peer", last.into());
        }
        assert_eq!(playground.command("set max-per-ip 3"), "ok");
        assert_eq!(playground.connect_from(1).ask("one more"), "one more");
    }
}

#[test]
fn a_rate_admits_exactly_its_count() {
    let playground = playground("--framing lines --accept-rate 5/3600");
    fill(&playground, 5);
    for round in 1..=3 {
        assert!(playground.connect().is_closed_in_order());
        playground.has_refused("rate", round);
    }
    // The new bucket may start empty. It is full within a tenth of a second.
    assert_eq!(playground.command("set accept-rate 10/0.1"), "ok");
    let began = Instant::now();
    while !newcomer(&playground).is_answered() {
        assert!(began.elapsed() < Duration::from_secs(5), "the slower rate still holds");
    }
}

#[test]
fn a_rate_can_be_set_at_the_console() {
    let playground = playground("--framing lines");
    fill(&playground, 5);
    assert_eq!(playground.command("set accept-rate 2/3600"), "ok");
    fill(&playground, 2);
    assert!(playground.connect().is_closed_in_order());
    playground.has_refused("rate", 1);
}

#[test]
fn a_packet_rate_slows_a_connection() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --packet-rate 5/0.5"));
        let (mut client, mut other) = (playground.connect(), playground.connect());
        let began = Instant::now();
        for number in 1..=10 {
            assert_eq!(client.ask(&number.to_string()), number.to_string());
        }
        assert!(began.elapsed() >= Duration::from_millis(490), "{handler}: {:?}", began.elapsed());
        assert_eq!(other.ask("not slowed"), "not slowed");
        // What one read brought may be answered at once, and is paid for.
        client.send_all(&["x"; 20]);
        client.expect(&["x"; 20]);
        assert_eq!(client.ask("after"), "after");
        assert!(began.elapsed() >= Duration::from_millis(2_490), "{handler}: {:?}", began.elapsed());
        assert_eq!(playground.json("info")["closed"].get("packet_rate"), None);
    }
}

#[test]
fn a_slowed_connection_is_reached_and_ends_with_its_peer() {
    for handler in HANDLERS {
        let limits = "--packet-rate 1/1 --packet-timeout 300 --idle-timeout 500";
        let playground = playground(&format!("--handler {handler} --framing lines {limits}"));
        let mut client = playground.connect();
        let began = Instant::now();
        assert_eq!(client.ask("!after 200 pushed"), "pushed");
        client.send_wire(b"incomp");
        assert_eq!(playground.command("send 1 through its address"), "ok");
        client.expect(&["through its address"]);
        std::thread::sleep(Duration::from_millis(600).saturating_sub(began.elapsed()));
        client.send_wire(b"lete\n");
        client.expect(&["incomplete"]);
        assert!(began.elapsed() >= Duration::from_millis(990), "{handler}: {:?}", began.elapsed());
        assert!(playground.command("set packet-rate 0/1").starts_with("error: "));
        assert_eq!(playground.command("set packet-rate 1/3600"), "ok");
        let mut gone = playground.greeted();
        gone.finish();
        assert_eq!(gone.until_gone(), "");
        let mut slow = playground.greeted();
        // Neither this one nor the idle timeout takes effect.
        slow.send("never answered");
        assert!(slow.is_silent_for(Duration::from_millis(800)), "{handler}");
        assert_eq!(playground.command("close 3 1000 bye"), "ok");
        assert_eq!(slow.until_gone(), "bye\n");
    }
}

#[test]
fn the_first_matching_rule_decides() {
    for (rules, may) in [
        ("--deny 127.0.0.2", [true, false, true]),
        ("--allow 127.0.0.2 --deny 127.0.0.0/8", [false, true, false]),
        ("--deny 127.0.0.0/8 --allow 127.0.0.2", [false, false, false]),
        ("--deny 127.0.0.1 --allow 127.0.0.2 --deny 127.0.0.2/31", [false, true, false]),
        ("--allow 127.0.0.1 --deny 127.0.0.3 --allow 127.0.0.2 --deny 0.0.0.0/0", [true, true, false]),
    ] {
        let playground = playground(&format!("--framing lines {rules}"));
        let mut denied = 0;
        for (last, may) in (1..).zip(may) {
            let mut client = playground.connect_from(last);
            if may {
                assert_eq!(client.ask("hello"), "hello", "{rules}: {last}");
            } else {
                assert!(client.is_closed_in_order(), "{rules}: {last}");
                denied += 1;
            }
        }
        playground.has_refused("denied", denied);
    }
}

#[test]
fn rules_set_at_the_console_come_first() {
    let playground = playground("--framing lines --deny 127.0.0.2");
    assert!(playground.connect_from(2).is_closed_in_order());
    assert_eq!(playground.command("set allow 127.0.0.0/30"), "ok");
    let mut second = playground.connect_from(2);
    assert_eq!(second.ask("hello"), "hello");
    assert_eq!(playground.command("set deny 127.0.0.0/8"), "ok");
    for last in 1..=3 {
        assert!(playground.connect_from(last).is_closed_in_order());
    }
    assert_eq!(second.ask("still open"), "still open");
    assert_eq!(playground.command("set allow 127.0.0.3"), "ok");
    assert_eq!(playground.connect_from(3).ask("hello"), "hello");
    assert!(playground.connect_from(1).is_closed_in_order());
    playground.has_refused("denied", 5);
}

#[test]
fn few_descriptors_lower_the_limit_with_a_warning() {
    let playground = playground_with_descriptors(64, "--framing lines --acceptors 2");
    let max = playground.json("info")["max_connections"].as_u64().unwrap();
    assert!((10..64).contains(&max), "{max}");
    let mut clients = fill(&playground, max as usize);
    let mut waiting = newcomer(&playground);
    assert!(waiting.is_silent_for(A_WHILE));
    assert_eq!(playground.json("info")["connections"], json!(max));
    assert_eq!(clients[0].ask("alive"), "alive");
    clients.pop();
    waiting.expect(&["hello"]);
    // A higher value is lowered, too.
    assert_eq!(playground.command("max 1000"), "ok");
    let raised = playground.json("info")["max_connections"].as_u64().unwrap();
    assert!((max - 5..64).contains(&raised), "{raised}");
    assert!(playground.says("connection limit lowered to fit the limit of open files"));
}

#[test]
fn connections_are_served_while_descriptors_are_exhausted() {
    let playground = playground_with_descriptors(64, "--framing lines --acceptors 2");
    let max = playground.json("info")["max_connections"].as_u64().unwrap();
    let mut clients = fill(&playground, max as usize - 5);
    // Console connections are not counted but use descriptors.
    let mut consoles: Vec<_> = (0..60).map(|_| playground.console()).collect();
    let mut waiting: Vec<_> = (0..5).map(|_| newcomer(&playground)).collect();
    assert!(playground.says("accept failed; retrying after a pause"));
    for client in &mut clients {
        assert_eq!(client.ask("still here"), "still here");
    }
    consoles.clear();
    let back = Instant::now();
    waiting.iter_mut().for_each(|client| client.expect(&["hello"]));
    assert!(back.elapsed() < Duration::from_secs(1), "{:?}", back.elapsed());
}
