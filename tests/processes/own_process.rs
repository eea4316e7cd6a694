//! Scenarios that change a limit of their process: each is run by a process of its own, this program, started once more.

use std::future::Future;

use support::program;

/// Set where the program is to run a scenario.
const SCENARIO: &str = "ACTIX_ACCEPTOR_TEST_SCENARIO";

/// Runs this test once more as a process of its own, where `scenario` is run. `name` is the path of the test.
pub(crate) fn in_own_process(name: &str, scenario: impl Future<Output = ()>) {
    if std::env::var(SCENARIO).is_ok_and(|scenario| scenario == name) {
        return actix::System::new().block_on(scenario);
    }
    let mut command = program(std::env::current_exe().unwrap().to_str().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(SCENARIO, name);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Descriptors and threads of this process. Those of a pool that has ended may be a moment behind its end.
pub(crate) async fn inventory() -> (usize, usize) {
    let count = |directory| std::fs::read_dir(directory).unwrap().count();
    let now = || (count("/proc/self/fd"), count("/proc/self/task"));
    let (mut last, mut same) = (now(), 0);
    while same < 10 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let next = now();
        same = if next == last { same + 1 } else { 0 };
        last = next;
    }
    last
}
