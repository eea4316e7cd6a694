//! The example `config`: SIGHUP makes it read its file again.

use rustix::process::Signal;
use support::*;

use super::example::Example;

#[test]
fn sighup_reloads_the_config_example() {
    let folder = Folder::create();
    let file = folder.path("echo.toml");
    let write = |port: u16, settings: &str, drain: &str| {
        let text = format!(
            "settings = {{ max_connections = {settings} }}\nlisteners = [{{ address = 'tcp://127.0.0.1:{port}' }}]\n\
             drain.grace = '{drain}'\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write(0, "10", "never");
    let mut example = Example::start("config", &[file.to_str().unwrap()]);
    let address = example.address();
    let mut peer = BlockingPeer::connect(address);
    peer.echo("hello\n");

    write(address.port(), "20", "never");
    example.signal(Signal::HUP);
    assert_eq!(example.line(), "reloaded: max_connections: 10 -> 20");
    write(address.port(), "0", "0s");
    example.signal(Signal::HUP);
    let refused = example.line();
    assert!(refused.starts_with(&format!("not reloaded: {}: settings.max_connections: ", file.display())), "{refused}");
    peer.echo("still there\n");

    write(address.port(), "20", "0s");
    example.signal(Signal::HUP);
    assert_eq!(example.line(), "reloaded: drain: grace never, delay 0s -> grace 0s, delay 0s");
    example.signal(Signal::TERM);
    assert!(example.child.wait().unwrap().success());
}
