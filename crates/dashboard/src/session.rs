//! The token, and the sessions of viewers that have signed in with it.
//!
//! A session is stateless: its cookie contains the end, the number and an HMAC of both. Only sessions that were ended before are kept.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::header::{HeaderMap, COOKIE};
use actix_web::HttpRequest;
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use sha2::Sha256;

/// The name of the cookie. Cookies do not depend on the port, so it contains that of the server: the dashboards of two programs on
/// one machine do not replace each other's.
pub(crate) fn cookie_name(request: &HttpRequest) -> String {
    format!("dashboard-{}", request.app_config().local_addr().port())
}

/// How long a session lasts.
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// How many sessions that have been ended are known. Only viewers that know the token make sessions.
const MAX_ENDED: usize = 1_024;

/// A session: its number, and its end in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) number: u64,
    pub(crate) expires_ms: u64,
}

/// Checks tokens and cookies.
pub(crate) struct Keys {
    key: [u8; 32],
    token: Option<Vec<u8>>,
    ended: Mutex<Ended>,
}

/// The sessions that were ended before their time.
#[derive(Default)]
struct Ended {
    sessions: VecDeque<Session>,
    /// Sessions up to this time are over, too: one of them has been forgotten.
    up_to_ms: u64,
}

impl Keys {
    /// # Panics
    /// If the system has no random numbers.
    pub(crate) fn new() -> Self {
        Keys { key: random(), token: None, ended: Mutex::default() }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Keys { key: self.key, token: Some(token.as_bytes().to_vec()), ended: Mutex::default() }
    }

    pub(crate) fn requires_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether this is the token. The time that it takes depends on the length of the given one only.
    pub(crate) fn is_token(&self, given: &[u8]) -> bool {
        let Some(token) = &self.token else { return false };
        self.mac(b"token", given).verify(&self.mac(b"token", token).finalize().into_bytes()).is_ok()
    }

    /// A new session, and the value of its cookie.
    pub(crate) fn open(&self) -> (Session, String) {
        let number = u64::from_ne_bytes(random());
        let session = Session { number, expires_ms: now_ms() + LIFETIME.as_millis() as u64 };
        let text = session.text();
        let mac = self.mac(b"session", text.as_bytes()).finalize().into_bytes();
        (session, format!("{text}.{}", hex(&mac)))
    }

    /// Ends a session. If too many have been ended, the oldest one is forgotten, and all that are as old end with it.
    pub(crate) fn end(&self, session: Session) {
        let (mut ended, now) = (self.ended.lock(), now_ms());
        ended.sessions.retain(|session| session.expires_ms > now);
        if ended.sessions.len() == MAX_ENDED
            && let Some(forgotten) = ended.sessions.pop_front()
        {
            ended.up_to_ms = ended.up_to_ms.max(forgotten.expires_ms);
        }
        ended.sessions.push_back(session);
    }

    pub(crate) fn is_valid(&self, session: Session) -> bool {
        let ended = self.ended.lock();
        session.expires_ms > now_ms().max(ended.up_to_ms) && !ended.sessions.contains(&session)
    }

    /// The session that the cookie of a request names.
    pub(crate) fn session(&self, headers: &HeaderMap, name: &str) -> Option<Session> {
        let cookies =
            headers.get_all(COOKIE).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
        let mut values = cookies.filter_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='));
        values.find_map(|value| self.read(value))
    }

    fn read(&self, cookie: &str) -> Option<Session> {
        let (text, mac) = cookie.rsplit_once('.')?;
        self.mac(b"session", text.as_bytes()).verify_slice(&bytes_of_hex(mac)?).ok()?;
        let (number, expires) = text.split_once('.')?;
        let number = u64::from_str_radix(number, 16).ok()?;
        Some(Session { number, expires_ms: expires.parse().ok()? }).filter(|session| self.is_valid(*session))
    }

    fn mac(&self, purpose: &[u8], text: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("an HMAC takes a key of any length");
        mac.update(purpose);
        mac.update(b"\0");
        mac.update(text);
        mac
    }
}

impl Session {
    fn text(self) -> String {
        format!("{:016x}.{}", self.number, self.expires_ms)
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

/// A number that differs after each start of the program.
pub(crate) fn boot() -> String {
    hex(&random::<8>())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn keys() -> Keys {
        Keys::new().with_token("correct horse battery")
    }

    fn headers(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(cookie).expect("a header"));
        headers
    }

    #[test]
    fn only_the_token_is_the_token() {
        let keys = keys();
        assert!(keys.is_token(b"correct horse battery"));
        for wrong in ["", "correct horse batter", "correct horse batterY", "correct horse battery "] {
            assert!(!keys.is_token(wrong.as_bytes()), "{wrong}");
        }
        assert!(!Keys::new().is_token(b""));
    }

    #[test]
    fn a_cookie_names_its_session_until_it_ends() {
        let keys = keys();
        let (session, cookie) = keys.open();
        let headers = headers(&format!("theme=dark; dashboard-80=no; dashboard-8080={cookie}"));
        assert_eq!(keys.session(&headers, "dashboard-8080"), Some(session));
        keys.end(session);
        assert_eq!(keys.session(&headers, "dashboard-8080"), None);
    }

    #[test]
    fn sessions_that_were_ended_stay_ended() {
        let keys = keys();
        let session = |n| Session { number: n, expires_ms: now_ms() + 60_000 + n };
        let ended: Vec<_> = (0..2 * MAX_ENDED as u64).map(session).collect();
        ended.iter().for_each(|session| keys.end(*session));
        assert!(ended.iter().all(|session| !keys.is_valid(*session)));
        assert_eq!(keys.ended.lock().sessions.len(), MAX_ENDED);
        assert!(keys.is_valid(keys.open().0));
    }

    #[test]
    fn a_forged_cookie_names_no_session() {
        let (ours, other) = (keys(), keys());
        let (_, cookie) = ours.open();
        let later = cookie.replacen('.', ".9", 1);
        let foreign = other.open().1;
        for forged in [&later, &foreign, &cookie[..cookie.len() - 2], "", "..", &format!("{cookie}0"), "ü.1.2"] {
            assert_eq!(ours.read(forged), None, "{forged}");
        }
        assert!(ours.read(&cookie).is_some());
    }
}
