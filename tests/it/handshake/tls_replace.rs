//! Certificates that change while a pool runs: in memory, at the same time, and in files that cannot be read for a while.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use actix_acceptor::{
    tls::{Tls, TlsBackend, TlsError},
    AcceptorPool, Listener,
};
use support::pki::Pki;
use support::{connect, eventually, in_time, logs, Echo, Folder, Peer};

const BACKENDS: [TlsBackend; 2] = [TlsBackend::Native, TlsBackend::Rustls];

/// When a certificate expires tells which one it is.
fn at(days: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000 + days * 86_400)
}

fn read(pair: &(PathBuf, PathBuf)) -> (Vec<u8>, Vec<u8>) {
    (fs::read(&pair.0).unwrap(), fs::read(&pair.1).unwrap())
}

fn install(from: &(PathBuf, PathBuf), to: &(PathBuf, PathBuf)) {
    fs::copy(&from.0, &to.0).unwrap();
    fs::copy(&from.1, &to.1).unwrap();
}

#[actix::test]
async fn certificates_in_memory_are_replaced() {
    let pki = Pki::generate();
    let first = read(&pki.issue_until("localhost", at(1)));
    let second = read(&pki.issue_until("localhost", at(2)));
    for backend in BACKENDS {
        let tls = Tls::builder(backend).pem(&*first.0, &*first.1).build().unwrap();
        let pool = AcceptorPool::with_protocol(|_| Echo).listener(Listener::tcp("127.0.0.1:0").tls(tls.clone()));
        let pool = pool.start().await.unwrap();
        let mut old = Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap());
        old.echo(b"before").await;
        // Rejected: the current ones stay.
        let error = tls.replace(Tls::builder(backend).pem(&*second.0, &*first.1)).unwrap_err();
        assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
        assert_eq!(tls.expires(), Some(at(1)));

        tls.replace(Tls::builder(backend).pem(&*second.0, &*second.1)).unwrap();
        assert_eq!(pool.listeners()[0].certificate_expires, Some(at(2)));
        let new = pki.connect(connect(&pool).await.0, "localhost").await.unwrap();
        let shown = new.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        drop(new);
        tls.reload().unwrap();
        assert_eq!(tls.expires(), Some(at(2)), "a reload reads the new ones");
        let fresh = Tls::builder(backend).der([shown], &*second.1).build().unwrap();
        assert_eq!(fresh.expires(), Some(at(2)), "it is the second one that was shown");
        old.echo(b"live connections keep theirs").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn sni_certificates_in_memory_are_replaced() {
    let pki = Pki::generate();
    let default = read(&pki.issue_until("localhost", at(9)));
    let builder = |certificate: &(Vec<u8>, Vec<u8>)| {
        Tls::rustls().pem(&*default.0, &*default.1).sni_certificate_pem("inside", &*certificate.0, &*certificate.1)
    };
    let tls = builder(&read(&pki.issue_until("inside", at(1)))).build().unwrap();
    assert_eq!(tls.expires(), Some(at(1)));
    tls.replace(builder(&read(&pki.issue_until("inside", at(2))))).unwrap();
    assert_eq!(tls.expires(), Some(at(2)));
    let listener = Listener::tcp("127.0.0.1:0").tls(tls);
    let pool = AcceptorPool::with_protocol(|_| Echo).listener(listener).start().await.unwrap();
    Peer(pki.connect(connect(&pool).await.0, "inside").await.unwrap()).echo(b"inside").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_reload_that_fails_is_retried_without_another_event() {
    logs::listen();
    for backend in BACKENDS {
        let (pki, elsewhere) = (Pki::generate(), Folder::create());
        // The files are in a directory that is not watched: only their links are in one that is.
        let target = (elsewhere.path("certificate"), elsewhere.path("key"));
        install(&pki.issue_until("localhost", at(1)), &target);
        let links = (pki.file("link.pem"), pki.file("link.key"));
        std::os::unix::fs::symlink(&target.0, &links.0).unwrap();
        std::os::unix::fs::symlink(&target.1, &links.1).unwrap();
        let tls = Tls::builder(backend).files(&links.0, &links.1).watch().build().unwrap();
        assert_eq!(tls.expires(), Some(at(1)));

        fs::remove_file(&target.0).unwrap();
        fs::write(pki.file("an event"), "").unwrap();
        let name = links.0.display().to_string();
        let failed = |line: &logs::Line| {
            line.message().starts_with("certificate reload failed")
                && line.fields.get("error").is_some_and(|error| error.contains(&name))
        };
        eventually(|| !logs::lines(failed).is_empty()).await;
        assert_eq!(tls.expires(), Some(at(1)), "the old ones stay");
        let second = Pki::generate();
        install(&second.issue_until("localhost", at(2)), &target);
        eventually(|| tls.expires() == Some(at(2))).await;
        assert_eq!(logs::lines(failed).len(), 1, "the same error is logged once");
    }
}

#[actix::test]
async fn a_directory_that_was_removed_is_watched_again() {
    logs::listen();
    for backend in BACKENDS {
        let (pki, folder) = (Pki::generate(), Folder::create());
        let directory = folder.path("live");
        let pair = (directory.join("certificate"), directory.join("key"));
        fs::create_dir(&directory).unwrap();
        install(&pki.issue_until("localhost", at(1)), &pair);
        let tls = Tls::builder(backend).files(&pair.0, &pair.1).watch().build().unwrap();

        fs::remove_dir_all(&directory).unwrap();
        let name = pair.0.display().to_string();
        let failed = |line: &logs::Line| line.fields.get("error").is_some_and(|error| error.contains(&name));
        eventually(|| !logs::lines(failed).is_empty()).await;
        // It is back in one step, so that no reload fails in between.
        let prepared = folder.path("prepared");
        fs::create_dir(&prepared).unwrap();
        install(&pki.issue_until("localhost", at(2)), &(prepared.join("certificate"), prepared.join("key")));
        fs::rename(&prepared, &directory).unwrap();
        eventually(|| tls.expires() == Some(at(2))).await;

        install(&pki.issue_until("localhost", at(3)), &pair);
        eventually(|| tls.expires() == Some(at(3))).await;
    }
}

#[actix::test]
async fn of_concurrent_reloads_the_later_wins() {
    for backend in BACKENDS {
        let pki = Pki::generate();
        let (old, new) = (pki.issue_until("old", at(1)), pki.issue_until("new", at(2)));
        let current = (pki.file("current.pem"), pki.file("current.key"));
        install(&old, &current);
        let tls = Tls::builder(backend).files(&current.0, &current.1).build().unwrap();
        for _ in 0..50 {
            install(&old, &current);
            let earlier = tls.clone();
            let reloading = std::thread::spawn(move || drop(earlier.reload()));
            install(&new, &current);
            tls.reload().unwrap();
            reloading.join().unwrap();
            assert_eq!(tls.expires(), Some(at(2)), "{backend:?}");
        }
    }
}

/// What the error says, and what puts such a file at a path.
type Put = (&'static str, fn(&PathBuf));

#[actix::test]
async fn a_certificate_file_that_cannot_be_read_is_named() {
    let pki = Pki::generate();
    let good = pki.issue("localhost");
    let other = pki.issue("other");
    let path = pki.file("file");
    let puts: [Put; 6] = [
        ("cannot read", |_| {}),
        ("cannot read", |path| fs::create_dir(path).unwrap()),
        ("it is empty", |path| fs::write(path, "").unwrap()),
        ("cannot read", |path| fs::File::create(path).unwrap().set_len(1 << 32).unwrap()),
        ("cannot read", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
        ("", |path| fs::write(path, "-----BEGIN CERTIFICATE-----\nhalf of").unwrap()),
    ];
    for backend in BACKENDS {
        for (why, put) in puts {
            put(&path);
            for files in [(&path, &good.1), (&good.0, &path)] {
                let error = Tls::builder(backend).files(files.0, files.1).build().unwrap_err();
                let text = error.to_string();
                assert!(text.contains(&*path.to_string_lossy()) && text.contains(why), "{text}: {why}");
                let has_reason = std::error::Error::source(&error).is_some();
                assert_eq!(has_reason, matches!(error, TlsError::File { .. }), "{error:?}");
            }
            let _ = fs::remove_dir(&path);
            let _ = fs::remove_file(&path);
        }
        let error = Tls::builder(backend).files(&good.0, &other.1).build().unwrap_err();
        assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
    }
}

#[actix::test]
async fn an_expired_certificate_is_reported() {
    logs::listen();
    let pki = Pki::generate();
    let expired = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_007);
    let files = pki.issue_until("localhost", expired);
    for backend in BACKENDS {
        let tls = Tls::builder(backend).files(&files.0, &files.1).build().unwrap();
        assert_eq!(tls.expires(), Some(expired));
    }
    let about = |line: &logs::Line| line.message().starts_with("a certificate has expired");
    assert!(logs::lines(about).len() >= BACKENDS.len());
}
