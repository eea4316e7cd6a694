//! Settings as they are read from a file, with the feature `serde`.

mod extremes;
mod patch;

use std::time::Duration;

use actix_acceptor::{
    limits::{AtLimit, AtRate, BacklogPolicy, OverRate, PacketRate, PeerPrefix, Rate, RefuseWith, Rule, SlowConsumer},
    Active, Settings, SettingsPatch,
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
        "refuse_with": "reset",
        "at_rate": { "hold": "3s" },
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
        "outbox": 5000,
        "slow_consumer": "drop_newest",
        "half_close": true,
        "active": { "count": 5 },
        "packet_rate": { "burst": 50, "per": "2s", "over": "close" },
        "max_read_buffer": 5000,
        "mailbox_capacity": 64,
        "max_blocking": 9,
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
    settings.refuse_with = RefuseWith::Reset;
    settings.at_rate = AtRate::Hold(Duration::from_secs(3));
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
    (settings.outbox, settings.slow_consumer) = (5000, SlowConsumer::DropNewest);
    settings.half_close = true;
    settings.active = Active::Count(5);
    settings.packet_rate = Some(PacketRate::new(50, Duration::from_secs(2), OverRate::Close));
    settings.max_read_buffer = 5000;
    settings.mailbox_capacity = 64;
    settings.max_blocking = 9;
    settings.handshake_timeout = Some(Duration::from_secs(2));
    settings.max_handshakes = 7;
    settings.watchdog = None;
    (text, settings)
}

/// The settings of a file, over the defaults.
fn read(text: Value) -> Result<Settings, serde_json::Error> {
    let mut settings = Settings::default();
    settings.apply(serde_json::from_value(text)?);
    Ok(settings)
}

#[test]
fn settings_survive_a_round_trip() {
    let (text, settings) = everything();
    assert_eq!(serde_json::from_value::<Settings>(text.clone()).unwrap(), settings);
    assert_eq!(serde_json::to_value(&settings).unwrap(), text);
    assert_eq!(read(text).unwrap(), settings);
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
fn settings_without_every_key_are_refused() {
    let (text, _) = everything();
    for key in text.as_object().unwrap().keys() {
        let mut rest = text.clone();
        rest.as_object_mut().unwrap().remove(key);
        let refused = serde_json::from_value::<Settings>(rest).unwrap_err().to_string();
        assert!(refused.contains(&format!("missing settings: {key};")), "{refused}");
        assert!(refused.contains("SettingsPatch"), "{refused}");
    }
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
    for (name, choice) in [("close", RefuseWith::Close), ("reset", RefuseWith::Reset)] {
        assert_eq!(read(json!({ "refuse_with": name })).unwrap().refuse_with, choice);
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
        (json!({ "peer_prefix": { "v4": 5, "v6": 5, "v5": 5 } }), "v5"),
        (json!({ "max_conections": 5 }), "max_connections"),
    ] {
        let refused = read(text.clone());
        assert!(refused.as_ref().is_err_and(|error| error.to_string().contains(named)), "{text}: {refused:?}");
    }
}

#[test]
fn errors_name_the_key_and_the_value() {
    for (key, value, named) in [
        ("grace", json!("soon"), "soon"),
        ("grace", json!(5), "5"),
        ("restart_window", json!("never"), "never"),
        ("idle_timeout", json!("10"), "10"),
        ("rules", json!(["permit 10.0.0.0/8"]), "permit"),
        ("rules", json!(["deny 10.0.0.0/33"]), "10.0.0.0/33"),
        ("at_limit", json!("dance"), "dance"),
        ("max_connections", json!(-1), "-1"),
        ("max_connections", json!(null), "null"),
        ("max_per_peer", json!("many"), "none"),
        ("max_per_peer", json!(-1), "-1"),
        ("acceptors", json!(true), "true"),
        ("accept_rate", json!({ "burst": 1 }), "per"),
        ("refusal_message", json!(7), "7"),
        // A prefix that is left out would be reset.
        ("peer_prefix", json!({ "v4": 24 }), "v6"),
    ] {
        let refused = serde_json::from_value::<SettingsPatch>(json!({ "half_close": true, key: value })).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains(&format!("{key}: ")) && text.contains(named), "{text}");
    }
    let text = "{ \"half_close\": true,\n \"max_connections\": -1 }";
    let refused = serde_json::from_str::<SettingsPatch>(text).unwrap_err();
    assert_eq!((refused.line(), refused.column()), (2, 22), "{refused}");
    let twice = serde_json::from_str::<SettingsPatch>("{ \"half_close\": true, \"half_close\": false }").unwrap_err();
    assert!(twice.to_string().contains("half_close"), "{twice}");
}
