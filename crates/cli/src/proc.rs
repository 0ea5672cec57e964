//! What `/proc` knows of processes and of who listens where.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// Clock ticks of `/proc/PID/stat` in a second: fixed by Linux for all programs.
const TICKS_PER_SECOND: u64 = 100;
/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// A process that holds what we want.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// The arguments of a process; `None` when it is gone.
pub(crate) fn arguments(pid: u32) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let arguments: Vec<String> =
        text.split('\0').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    (!arguments.is_empty()).then_some(arguments)
}

/// A process by its id and command line.
pub(crate) fn holder(pid: u32) -> Option<Holder> {
    Some(Holder { pid, command: arguments(pid)?.join(" ") })
}

/// How long a process has been running.
pub(crate) fn uptime(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let now: f64 = uptime.split(' ').next()?.parse().ok()?;
    let now = Duration::try_from_secs_f64(now).ok()?;
    now.checked_sub(started_at(&stat)?)
}

/// True while a process is stopped by SIGSTOP.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| after_name(&stat).next() == Some("T"))
}

/// Field 22 of `stat`, as a time since the machine started.
fn started_at(stat: &str) -> Option<Duration> {
    let ticks: u64 = after_name(stat).nth(19)?.parse().ok()?;
    Some(Duration::from_millis(ticks.checked_mul(1_000 / TICKS_PER_SECOND)?))
}

/// The fields from the third on. The second is the name in brackets, and may hold anything.
fn after_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

/// Who listens on `address`, where that can be seen.
pub(crate) fn listener(address: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening(&table, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let pids = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| has_open(*pid, &inodes)).and_then(holder)
}

fn has_open(pid: u32, targets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| targets.iter().any(|it| it == target)))
}

/// Inodes of the sockets of a table that listen where `address` would.
fn listening(table: &str, address: SocketAddr) -> Vec<u64> {
    let rows = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = socket(fields.get(1)?)?;
        let is_hit = *fields.get(3)? == LISTENING
            && crate::topology::elements::address::collide(local, address);
        is_hit.then_some(fields.get(9)?.parse().ok()?)
    });
    rows.collect()
}

/// `0100007F:1F90` is 127.0.0.1:8080: each word in the machine's byte order.
fn socket(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..ip.len() / 8)
        .map(|word| {
            let digits = ip.get(word * 8..word * 8 + 8)?;
            Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
        })
        .collect();
    let ip = match words?.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        words @ [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_by_address() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 42 1
   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 43 1
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 44 1
";
        let at = |text: &str| listening(table, text.parse().unwrap());
        assert_eq!(at("127.0.0.1:8080"), [42]);
        assert_eq!(at("0.0.0.0:8080"), [42]);
        assert_eq!(at("127.0.0.1:80"), [44]);
        assert!(at("127.0.0.1:81").is_empty());
    }

    #[test]
    fn both_families_are_read() {
        let six = "00000000000000000000000001000000:1F90";
        assert_eq!(socket(six), Some("[::1]:8080".parse().unwrap()));
        for bad in ["", "0100007F", "01:02:03", "0100007F:FFFFF", "zz00007F:1F90"] {
            assert_eq!(socket(bad), None, "{bad}");
        }
    }

    #[test]
    fn our_own_listener_is_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = super::listener(listener.local_addr().unwrap()).unwrap();
        assert_eq!(holder.pid, std::process::id());
    }

    #[test]
    fn the_name_of_a_process_may_hold_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 250 0";
        assert_eq!(started_at(stat), Some(Duration::from_millis(2_500)));
        assert!(uptime(std::process::id()).is_some());
        assert!(!is_stopped(std::process::id()));
    }
}
