//! A browser, driven by chromedriver.
//!
//! WebDriver is JSON over HTTP on the loopback address, of which these tests need a few commands. The crates for it bring an HTTP
//! client with TLS (`thirtyfour`), or a licence that `deny.toml` does not allow (`webdriver`, which `fantoccini` needs).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

/// How long a condition may take, also on a machine with much else to do.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The key of an element's number, as the standard defines it.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How many browsers may run at the same time: more only slow each other down.
const MAX_BROWSERS: usize = 3;

static RUNNING: Mutex<usize> = Mutex::new(0);
static HAS_ENDED: Condvar = Condvar::new();

/// A place among the browsers that may run. Given back when it is dropped.
struct Slot;

impl Slot {
    fn take() -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let running = HAS_ENDED.wait_while(running, |running| *running >= MAX_BROWSERS);
        *running.unwrap_or_else(PoisonError::into_inner) += 1;
        Slot
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        HAS_ENDED.notify_one();
    }
}

/// chromedriver with one browser. Both end with it.
pub(crate) struct Browser {
    process: Child,
    port: u16,
    session: String,
    profile: PathBuf,
    _slot: Slot,
}

/// An element of the page.
#[derive(Clone, Debug)]
pub(crate) struct Element(String);

impl Browser {
    /// A browser with a window of this size, and with a profile of its own.
    pub(crate) fn start(width: u32, height: u32) -> Self {
        let slot = Slot::take();
        // It ends if the port that it has chosen for IPv4 is in use for IPv6.
        let started = (0..10).find_map(|_| start_driver());
        let (process, port) = started.expect("chromedriver starts");
        let profile = std::env::temp_dir().join(format!("dashboard-browser-{}", process.id()));
        let mut browser = Browser { process, port, session: String::new(), profile, _slot: slot };
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--no-proxy-server".to_owned(),
            format!("--user-data-dir={}", browser.profile.display()),
            format!("--window-size={width},{height}"),
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": 60_000},
        }}});
        let session = browser.send("POST", "/session", &capabilities).expect("a browser starts");
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser.resize(width, height);
        browser
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let text = |error: std::io::Error| format!("chromedriver, {method} {path}: {error}");
        let stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(text)?;
        stream.set_read_timeout(Some(LIMIT * 2)).map_err(text)?;
        let mut stream = BufReader::new(stream);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat()).map_err(text)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).map_err(text)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap_or_default();
                }
                _ if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut content = vec![0; length];
        stream.read_exact(&mut content).map_err(text)?;
        let answer: Value = serde_json::from_slice(&content).map_err(|error| format!("{method} {path}: {error}"))?;
        match answer["value"].get("error") {
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].clone()),
        }
    }

    fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.send("POST", &format!("/session/{}/{path}", self.session), &body)
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("url", json!({"url": url})).expect("the page opens");
    }

    pub(crate) fn reload(&self) {
        self.post("refresh", json!({})).expect("the page opens");
    }

    /// Runs a script, which may use `arguments` and `return`.
    pub(crate) fn run(&self, script: &str, arguments: Value) -> Value {
        self.try_run(script, arguments).unwrap_or_else(|error| panic!("{error}\n{script}"))
    }

    pub(crate) fn try_run(&self, script: &str, arguments: Value) -> Result<Value, String> {
        self.post("execute/sync", json!({"script": script, "args": arguments}))
    }

    /// Runs a script that calls the last one of its `arguments` with the result.
    pub(crate) fn run_async(&self, script: &str, arguments: Value) -> Value {
        let result = self.post("execute/async", json!({"script": script, "args": arguments}));
        result.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A command of the Chrome DevTools protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.post("goog/cdp/execute", body).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    pub(crate) fn resize(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Sets the theme of the system.
    pub(crate) fn prefer(&self, theme: &str) {
        let feature = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": feature}));
    }

    /// The first element of an XPath expression that is shown.
    pub(crate) fn find(&self, xpath: &str) -> Option<Element> {
        let found = self.post("elements", json!({"using": "xpath", "value": xpath})).ok()?;
        let ids = found.as_array()?.iter().filter_map(|element| element[ELEMENT].as_str());
        let mut elements = ids.map(|id| Element(id.to_owned()));
        elements.find(|element| {
            let path = format!("/session/{}/element/{}/displayed", self.session, element.0);
            self.send("GET", &path, &Value::Null) == Ok(Value::Bool(true))
        })
    }

    /// Clicks where a person would: fails if something else is in the way.
    pub(crate) fn try_click(&self, element: &Element) -> Result<(), String> {
        self.post(&format!("element/{}/click", element.0), json!({})).map(drop)
    }

    /// Replaces the text of a field by typing.
    pub(crate) fn fill(&self, element: &Element, text: &str) {
        let reference = json!({ELEMENT: element.0});
        self.run("arguments[0].select ? arguments[0].select() : 0; arguments[0].focus()", json!([reference]));
        if text.is_empty() {
            self.press("\u{E017}");
            return;
        }
        self.post(&format!("element/{}/value", element.0), json!({"text": text})).expect("the field takes a text");
    }

    /// Presses and releases a key: a character, or a code of the standard.
    pub(crate) fn press(&self, key: &str) {
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let keyboard = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.post("actions", keyboard).expect("a key is pressed");
    }

    /// What the console shows, such as errors of scripts and violations of the policy, without advice and responses with
    /// an error status.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", json!({"type": "browser"})).expect("the console is readable");
        let entries = entries.as_array().cloned().unwrap_or_default();
        let entries = entries.into_iter().filter(|entry| entry["source"] != "network" && entry["level"] != "DEBUG");
        entries.map(|entry| entry.to_string()).collect()
    }

    /// A picture of the window, as base64 of a PNG.
    pub(crate) fn screenshot(&self) -> String {
        let path = format!("/session/{}/screenshot", self.session);
        self.send("GET", &path, &Value::Null).expect("a picture").as_str().unwrap_or_default().to_owned()
    }
}

/// Starts chromedriver, and returns its port. `None` if it has ended.
fn start_driver() -> Option<(Child, u16)> {
    let mut process = Command::new("chromedriver")
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is installed: run `.ci/run test_page`");
    let output = BufReader::new(process.stdout.take().expect("the output is piped"));
    let port = output.lines().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    if port.is_none() {
        let _ = process.kill();
        let _ = process.wait();
    }
    Some((process, port?))
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.send("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        // A browser that the session has not ended, such as after a crash of chromedriver.
        for id in processes_of(&self.profile) {
            let _ = Command::new("kill").args(["-KILL", &id]).stderr(Stdio::null()).status();
        }
        // The last of its processes may write to the profile once more.
        let mut absent = 0;
        for _ in 0..100 {
            let _ = std::fs::remove_dir_all(&self.profile);
            absent = if self.profile.exists() { 0 } else { absent + 1 };
            if absent == 6 {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The processes whose command line names the profile.
fn processes_of(profile: &std::path::Path) -> Vec<String> {
    let argument = format!("--user-data-dir={}", profile.display());
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let ids = ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
    let is_of_profile = |id: &String| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|part| part == argument.as_bytes())
    };
    ids.filter(is_of_profile).collect()
}

/// Waits until a condition holds.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
