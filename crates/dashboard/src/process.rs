//! The numbers of the process: memory, descriptors, processor time.

use serde::Serialize;

/// The numbers of the process. `None` if the system does not report them.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ProcessReport {
    pub(crate) pid: u32,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) descriptors: Option<u64>,
    pub(crate) max_descriptors: Option<u64>,
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) threads: Option<u64>,
}

impl ProcessReport {
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn read() -> Self {
        ProcessReport { pid: std::process::id(), ..Self::default() }
    }

    /// Reads `/proc/self`.
    #[cfg(target_os = "linux")]
    pub(crate) fn read() -> Self {
        use rustix::process::{getrlimit, Resource};

        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name of the program is in parentheses, and may contain both spaces and parentheses.
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, fields)| fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).copied();
        let (ticks, page) = (rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64);
        ProcessReport {
            pid: std::process::id(),
            resident_bytes: field(24).map(|pages| pages * page),
            descriptors: descriptors(),
            max_descriptors: getrlimit(Resource::Nofile).current,
            cpu_seconds: field(14).zip(field(15)).map(|(user, system)| (user + system) as f64 / ticks as f64),
            threads: field(20),
        }
    }
}

/// The number of open descriptors. Since Linux 6.2 it is the size of the directory, so that it need not be read.
#[cfg(target_os = "linux")]
fn descriptors() -> Option<u64> {
    let size = std::fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return Some(size);
    }
    // Without the descriptor that reads the directory.
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_this_process() {
        let before = ProcessReport::read();
        assert_eq!(before.pid, std::process::id());
        assert!(before.resident_bytes.is_some_and(|bytes| bytes > 100_000 && bytes < 1 << 40), "{before:?}");
        assert!(before.threads.is_some_and(|threads| threads >= 1) && before.cpu_seconds.is_some(), "{before:?}");
        let files: Vec<_> = (0..100).filter_map(|_| std::fs::File::open("/dev/null").ok()).collect();
        let after = ProcessReport::read().descriptors;
        assert!(after >= before.descriptors.map(|before| before + 80), "{after:?} {before:?}");
        drop(files);
    }
}
