//! What every process can find out about itself, whatever its role.

use super::beat::SelfCheck;
use crate::pulse;
use std::{fs, path::Path};
use stdx::Moment;

/// Milliseconds that the slowest worker may be behind.
const LAG_WARN_MS: u64 = 1_000;
const LAG_FAIL_MS: u64 = 5_000;
/// Percent of the files that the process may have open.
const FILES_WARN: u64 = 80;
const FILES_FAIL: u64 = 95;
/// Percent of the machine's memory that the process uses.
const MEMORY_WARN: u64 = 70;
const MEMORY_FAIL: u64 = 90;
/// Percent of the disk that is in use.
const DISK_WARN: u64 = 90;
const DISK_FAIL: u64 = 99;

/// All of them; `folder` is where the node keeps something, if it does.
pub(super) fn checks(now: Moment, folder: Option<&Path>) -> Vec<SelfCheck> {
    let lag = u64::try_from(pulse::lag(now).as_millis()).unwrap_or(u64::MAX);
    let mut out = vec![SelfCheck::limit("loop", lag, LAG_WARN_MS, LAG_FAIL_MS, "ms behind")];
    // What cannot be found out on this system is not judged.
    out.extend(files().map(|it| SelfCheck::limit("files", it, FILES_WARN, FILES_FAIL, "% open")));
    let memory = memory();
    out.extend(
        memory
            .map(|it| SelfCheck::limit("memory", it, MEMORY_WARN, MEMORY_FAIL, "% of the machine")),
    );
    let disk = folder.and_then(disk);
    out.extend(disk.map(|it| SelfCheck::limit("disk", it, DISK_WARN, DISK_FAIL, "% full")));
    out
}

fn files() -> Option<u64> {
    let open = u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    percent(open, limit)
}

fn memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let machine = fs::read_to_string("/proc/meminfo").ok()?;
    percent(kilobytes(&status, "VmRSS:")?, kilobytes(&machine, "MemTotal:")?)
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|it| it.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn disk(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    percent(stat.f_blocks.checked_sub(stat.f_bavail)?, stat.f_blocks)
}

fn percent(part: u64, whole: u64) -> Option<u64> {
    u64::try_from(u128::from(part) * 100).ok()?.checked_div(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn this_process_is_well() {
        let checks = checks(clock::now(), Some(&std::env::temp_dir()));
        let names: Vec<&str> = checks.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["loop", "files", "memory", "disk"]);
    }

    #[test]
    fn numbers_are_read_as_the_kernel_writes_them() {
        assert_eq!(kilobytes("A: 1 kB\nVmRSS:\t  123 kB\n", "VmRSS:"), Some(123));
        assert_eq!(kilobytes("", "VmRSS:"), None);
        assert_eq!((percent(1, 3), percent(1, 0)), (Some(33), None));
    }
}
