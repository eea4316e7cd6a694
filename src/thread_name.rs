//! The names of a pool's threads. Linux keeps 15 bytes of a name.

use std::net::SocketAddr;

/// The bytes of a name that Linux keeps.
const MAX: usize = 15;

/// The name of a thread of this pool: `chat` and `acc-0` make `chat-acc-0`.
///
/// A long pool name is truncated. Of an address, which is the default name of a pool, only the port is used.
pub(crate) fn thread_name(pool: &str, role: &str) -> String {
    let pool = match pool.parse::<SocketAddr>() {
        Ok(address) => format!(":{}", address.port()),
        Err(_) => pool.replace(char::is_control, "?"),
    };
    let mut end = pool.len().min(MAX.saturating_sub(role.len() + 1));
    while !pool.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{role}", &pool[..end])
}

/// Names the current thread, on systems that allow it after the start of a thread: Linux and Android.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn name_current_thread(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn name_current_thread(_: &str) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_name_fits_and_tells_pools_apart() {
        for (pool, role, name) in [
            ("chat", "acc-0", "chat-acc-0"),
            ("a long name of a pool", "acc-0", "a long na-acc-0"),
            ("a long name of a pool", "acc-1023", "a long-acc-1023"),
            ("127.0.0.1:7878", "acc-12", ":7878-acc-12"),
            ("[::1]:65535", "acc-1023", ":65535-acc-1023"),
            ("/run/chat.sock", "watch", "/run/chat-watch"),
            ("zwölfzeichen", "acc-12", "zwölfze-acc-12"),
            ("größe der", "acc-1023", "größ-acc-1023"),
            ("a\0b\n", "acc-0", "a?b?-acc-0"),
            ("", "acc-0", "-acc-0"),
        ] {
            assert_eq!(thread_name(pool, role), name);
            assert!(name.len() <= MAX, "{name}");
        }
    }
}
