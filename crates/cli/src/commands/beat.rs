//! `tollgate beat`: runs a command and reports its start, its exit status and the end of its output
//! to a monitor.

use super::Outcome;
use crate::{
    args,
    data::{Data, random_id, read_key},
    error::CliError,
    http::{self, Failure},
    terminal::tell,
    topology::elements::{role::RoleName, url::HttpUrl},
};
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use monitor::core::reading::{METRICS_MAX, Number};
use net::tls::ClientTls;
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// How much of the end of the output goes with the last beat: what a monitor keeps.
const OUTPUT_BYTES_MAX: usize = 10_000;
/// How long a beat may take. A command is never held up for longer, and never fails for it.
const BEAT_TIME_MAX: Duration = Duration::from_secs(5);
/// Attempts at the last beat.
const ATTEMPTS_MAX: u32 = 3;
/// How much is read of the numbers that a command writes down.
const METRICS_BYTES_MAX: u64 = 8 * 1024;
/// What a shell adds to the number of the signal that ended a command.
const SIGNAL_BASE: i32 = 128;
/// What a shell says of a command that cannot be run.
const NOT_RUN: u8 = 127;

/// Runs the command; its exit status is ours.
pub(super) fn beat(args: &args::Beat, data: &Path) -> Outcome {
    let place = Place::read(args, &Data::at(data))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::io("cannot send beats", &error))?;
    let run = run_id()?;
    let send = |action: &str, query: &str, body: Vec<u8>| {
        runtime.block_on(place.send(action, &format!("{query}rid={run}"), body))
    };
    let mut told = String::new();
    report(send("/start", "", Vec::new()), &mut told);
    let numbers = std::env::temp_dir().join(format!("tollgate-beat-{run}"));
    let (status, output) = match run_command(&args.command, &numbers) {
        Ok((status, output)) => (code(status), output),
        Err(error) => {
            tell!("cannot run {}: {error}", args.command[0].to_string_lossy());
            (NOT_RUN, error.to_string().into_bytes())
        }
    };
    let metrics = metrics(&args.metric, &numbers);
    for attempt in 1..=ATTEMPTS_MAX {
        let sent = send(&format!("/{status}"), &metrics, output.clone());
        let is_sent = sent.is_ok();
        if is_sent || attempt == ATTEMPTS_MAX {
            report(sent, &mut told);
        }
        if is_sent {
            break;
        }
    }
    Ok(ExitCode::from(status))
}

/// The numbers of the arguments and those that the command has written down, as part of a query. The
/// file goes.
fn metrics(given: &[Number], told: &Path) -> String {
    let mut text = String::new();
    if let Ok(file) = std::fs::File::open(told) {
        // What is no text was written by nobody who meant a number.
        drop(file.take(METRICS_BYTES_MAX).read_to_string(&mut text));
        drop(std::fs::remove_file(told));
    }
    let mut numbers = given.to_vec();
    for line in text.lines().filter(|it| !it.trim().is_empty()) {
        match args::parse_metric(line) {
            Ok(number) => numbers.push(number),
            Err(why) => tell!("{line:?} in $TOLLGATE_METRICS: {why}"),
        }
    }
    if METRICS_MAX < numbers.len() {
        tell!("{} numbers: only the first {METRICS_MAX} are sent", numbers.len());
    }
    let some = numbers.iter().take(METRICS_MAX);
    some.map(|it| format!("metric={}:{}&", it.name, it.value)).collect()
}

/// Says why a beat was not taken; what was told last is not told again.
fn report(sent: Result<(), String>, told: &mut String) {
    if let Err(why) = sent
        && why != *told
    {
        tell!("the beat was not taken: {why}");
        *told = why;
    }
}

/// Where the beats of one check go.
struct Place {
    url: HttpUrl,
    /// Without the action.
    path: String,
    query: &'static str,
    tls: Option<ClientTls>,
}

impl Place {
    fn read(args: &args::Beat, data: &Data) -> Result<Place, CliError> {
        let text = &args.url;
        if text.starts_with("http") {
            let place = Place::of_url(text).ok_or_else(|| {
                CliError::usage(format!("{text}: want http(s)://HOST:PORT/ping/… or a slug"))
            })?;
            let tls = http::trust(&place.url, args.ca.as_deref())?;
            return Ok(Place { tls, ..place });
        }
        let tree = data.require_up()?;
        let monitor = tree.nodes.iter().find(|it| it.role == RoleName::Monitor.text());
        let addr = monitor.and_then(|it| it.http);
        let addr = addr.ok_or_else(|| CliError::failed("this tree has no monitor"))?;
        let url = HttpUrl::plain(addr.ip().to_string(), addr.port());
        let key = read_key(&data.ping_key())?;
        Ok(Place { url, path: format!("/ping/{key}/{text}"), query: "create=1&", tls: None })
    }

    fn of_url(text: &str) -> Option<Place> {
        let (scheme, rest) = text.split_once("://")?;
        let (authority, path) = rest.split_once('/')?;
        let url = crate::topology::elements::url::parse(&format!("{scheme}://{authority}")).ok()?;
        let is_clean = path.bytes().all(|it| it.is_ascii_graphic() && it != b'?');
        let path = format!("/{}", path.trim_end_matches('/'));
        is_clean.then_some(Place { url, path, query: "", tls: None })
    }

    /// What it means that there is nothing, and what to do. Names no key: it may end up in a mail.
    fn unknown(&self) -> String {
        let at = &self.url;
        let parts: Vec<&str> = self.path.split('/').skip(1).collect();
        match parts[..] {
            ["ping", uuid] => format!(
                "the monitor at {at} has no check {uuid} (404)\n\n\
                 hint: its checks: curl {at}/v1/checks; a new one, whose answer has its address: \
                 POST {at}/api/v3/checks/ with the API key as X-Api-Key"
            ),
            // It would have been made.
            ["ping", _, slug] if !self.query.is_empty() => format!(
                "the monitor at {at} does not take the ping key of this data folder for check {slug} \
                 (404)\n\nhint: the key is that of the file that ping_key names in the topology file"
            ),
            ["ping", _, slug] => format!(
                "the monitor at {at} has no check {slug}, or its ping key is another (404)\n\n\
                 hint: its checks: curl {at}/v1/checks; a new one: curl -X POST \
                 '{at}/ping/KEY/{slug}?create=1' with its ping key, or where its data folder is, \
                 tollgate beat {slug} -- CMD"
            ),
            _ => format!(
                "{at} takes no beats at this path (404)\n\nhint: want {at}/ping/UUID or \
                 {at}/ping/KEY/SLUG"
            ),
        }
    }

    async fn send(&self, action: &str, query: &str, body: Vec<u8>) -> Result<(), String> {
        let request = Request::post(format!("{}{action}?{}{query}", self.path, self.query))
            .header("host", format!("{}:{}", self.url.host, self.url.port))
            .header("content-type", "text/plain")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        match http::call(&self.url, self.tls.as_ref(), request, BEAT_TIME_MAX).await {
            Ok(reply) if reply.status < 300 => Ok(()),
            Ok(reply) if reply.status == 404 => Err(self.unknown()),
            Ok(reply) => Err(format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body))),
            Err(Failure::Unsent(why) | Failure::Unanswered(why)) => Err(why),
        }
    }
}

/// A random UUID: names this run.
fn run_id() -> Result<String, CliError> {
    let id = random_id().map_err(|error| CliError::io("cannot make a run id", &error))?;
    let bits = wire::id::parse_base32(&id).unwrap_or_default();
    Ok(monitor::book::uuid_text(monitor::book::make_uuid(bits)))
}

/// Runs a command whose output goes where ours goes; its end is kept.
fn run_command(command: &[std::ffi::OsString], told: &Path) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .env("TOLLGATE_METRICS", told)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let kept = Arc::new(Mutex::new(VecDeque::new()));
    let copies = [
        child.stdout.take().map(|from| copy(from, io::stdout(), Arc::clone(&kept))),
        child.stderr.take().map(|from| copy(from, io::stderr(), Arc::clone(&kept))),
    ];
    let status = child.wait()?;
    for copy in copies.into_iter().flatten() {
        // It can only have panicked, and then there is no more output.
        drop(copy.join());
    }
    let kept = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((status, kept.into()))
}

fn copy(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    kept: Arc<Mutex<VecDeque<u8>>>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut bytes = [0; 8 * 1024];
        while let Ok(count) = from.read(&mut bytes)
            && count != 0
        {
            // A reader that has gone away is no reason to stop the command.
            drop(to.write_all(&bytes[..count]).and_then(|()| to.flush()));
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(&bytes[..count]);
            let over = kept.len().saturating_sub(OUTPUT_BYTES_MAX);
            kept.drain(..over);
        }
    })
}

/// As a shell would put it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(SIGNAL_BASE + status.signal()?));
    code.and_then(|it| u8::try_from(it).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_checks() {
        let place = Place::of_url("http://127.0.0.1:8090/ping/key/slug/").unwrap();
        assert_eq!((place.url.port, place.path.as_str()), (8090, "/ping/key/slug"));
        let place = Place::of_url("https://h/ping/key/slug").unwrap();
        assert!(place.url.tls && place.url.port == 443);
        for bad in ["http://h", "ftp://h/ping/x", "http://h/a?b", "http://h/a b"] {
            assert!(Place::of_url(bad).is_none(), "{bad}");
        }
    }
}
