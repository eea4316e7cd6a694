//! Settings as they are read from a file, with the feature `serde`.

use std::time::Duration;

use actix_acceptor::{
    limits::{AtLimit, BacklogPolicy, PeerPrefix, Rate, Rule},
    Active, Settings,
};
use serde_json::{json, Value};

/// Every setting, each other than its default.
fn everything() -> (Value, Settings) {
    let text = json!({
        "acceptors": 3,
        "max_restarts": 7,
        "restart_window": "1m",
        "grace": "never",
        "backlog_on_close": "refuse",
        "max_connections": 100,
        "at_limit": { "hold": "1s 500ms" },
        "refusal_message": "full\n",
        "max_per_peer": 4,
        "peer_prefix": { "v4": 24, "v6": 56 },
        "peer_rate": { "burst": 10, "per": "1s" },
        "accept_rate": { "burst": 1000, "per": "1m" },
        "rules": ["deny 10.0.0.0/8", "allow ::1/128"],
        "reserve_descriptor": true,
        "idle_timeout": "1h 30m",
        "packet_timeout": "250ms",
        "send_timeout": "never",
        "max_age": "1day",
        "max_age_jitter": "10m",
        "high_watermark": 1000,
        "low_watermark": 100,
        "half_close": true,
        "active": { "count": 5 },
        "mailbox_capacity": 64,
        "handshake_timeout": "2s",
        "max_handshakes": 7,
        "watchdog": "never",
    });
    let mut settings = Settings::default();
    settings.acceptors = Some(3);
    (settings.max_restarts, settings.restart_window) = (7, Duration::from_secs(60));
    settings.grace = None;
    settings.backlog_on_close = BacklogPolicy::Refuse;
    settings.max_connections = 100;
    settings.at_limit = AtLimit::Hold(Duration::from_millis(1500));
    settings.refusal_message = "full\n".into();
    settings.max_per_peer = Some(4);
    settings.peer_prefix = PeerPrefix::new(24, 56);
    settings.peer_rate = Some(Rate::new(10, Duration::from_secs(1)));
    settings.accept_rate = Some(Rate::new(1000, Duration::from_secs(60)));
    settings.rules = vec![Rule::deny("10.0.0.0/8").unwrap(), Rule::allow("::1").unwrap()];
    settings.reserve_descriptor = true;
    settings.idle_timeout = Some(Duration::from_secs(90 * 60));
    settings.packet_timeout = Some(Duration::from_millis(250));
    settings.send_timeout = None;
    settings.max_age = Some(Duration::from_secs(24 * 60 * 60));
    settings.max_age_jitter = Duration::from_secs(600);
    (settings.high_watermark, settings.low_watermark) = (1000, 100);
    settings.half_close = true;
    settings.active = Active::Count(5);
    settings.mailbox_capacity = 64;
    settings.handshake_timeout = Some(Duration::from_secs(2));
    settings.max_handshakes = 7;
    settings.watchdog = None;
    (text, settings)
}

fn read(text: Value) -> Result<Settings, serde_json::Error> {
    serde_json::from_value(text)
}

#[test]
fn settings_survive_a_round_trip() {
    let (text, settings) = everything();
    assert_eq!(read(text.clone()).unwrap(), settings);
    assert_eq!(serde_json::to_value(&settings).unwrap(), text);
}

#[test]
fn every_setting_is_covered_here() {
    let (text, _) = everything();
    let (text, default) = (text.as_object().unwrap(), serde_json::to_value(Settings::default()).unwrap());
    let default = default.as_object().unwrap();
    assert_eq!(text.keys().collect::<Vec<_>>(), default.keys().collect::<Vec<_>>());
    for (setting, value) in text {
        assert_ne!(value, &default[setting], "{setting} has its default");
    }
}

#[test]
fn missing_settings_have_their_defaults() {
    assert_eq!(read(json!({})).unwrap(), Settings::default());
    let mut settings = Settings::default();
    settings.max_age = Some(Duration::from_secs(10));
    assert_eq!(read(json!({ "max_age": "10s" })).unwrap(), settings);
    let whole = serde_json::to_string(&Settings::default()).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&whole).unwrap(), Settings::default());
}

#[test]
fn enums_are_read_by_variant_name() {
    for (name, choice) in [("wait", AtLimit::Wait), ("close", AtLimit::Close), ("reset", AtLimit::Reset)] {
        assert_eq!(read(json!({ "at_limit": name })).unwrap().at_limit, choice);
    }
    for (name, choice) in
        [("accept", BacklogPolicy::Accept), ("refuse", BacklogPolicy::Refuse), ("drop", BacklogPolicy::Drop)]
    {
        assert_eq!(read(json!({ "backlog_on_close": name })).unwrap().backlog_on_close, choice);
    }
    for (name, choice) in [("always", Active::Always), ("once", Active::Once), ("passive", Active::Passive)] {
        assert_eq!(read(json!({ "active": name })).unwrap().active, choice);
    }
}

#[test]
fn unknown_settings_are_refused_by_name() {
    for (text, named) in [
        (json!({ "max_conections": 5 }), "max_conections"),
        (json!({ "accept_rate": { "burst": 1, "per": "1s", "x": 5 } }), "x"),
        (json!({ "peer_prefix": { "v5": 5 } }), "v5"),
    ] {
        let refused = read(text.clone());
        assert!(refused.as_ref().is_err_and(|error| error.to_string().contains(named)), "{text}: {refused:?}");
    }
}

#[test]
fn invalid_values_are_refused() {
    for text in [
        json!({ "grace": "soon" }),
        json!({ "grace": 5 }),
        json!({ "restart_window": "never" }),
        json!({ "idle_timeout": "10" }),
        json!({ "rules": ["permit 10.0.0.0/8"] }),
        json!({ "rules": ["deny 10.0.0.0/33"] }),
        json!({ "at_limit": "dance" }),
        json!({ "max_connections": -1 }),
    ] {
        assert!(read(text.clone()).is_err(), "{text}");
    }
}
