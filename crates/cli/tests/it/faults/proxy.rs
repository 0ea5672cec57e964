//! A TCP proxy that misbehaves as it is told: what a bad network does, without one.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use stdx::Rng;

/// How soon a rule is seen by a connection on which nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// When TCP sends again what was lost, at the soonest, and what a slow line takes for a piece.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
const SLOW: Duration = Duration::from_millis(5);
/// What is passed on at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Pass,
    /// So much later.
    Delay(Duration),
    /// Three pieces of ten come as late as what was lost and is sent again; the others a little.
    Lossy,
    /// They are not taken in: the sender sees its buffers fill.
    Stall,
    /// They are taken in and never seen again: a network that is cut.
    Drop,
    /// So many more go through, and then the connection ends, both ways.
    CutAfter(usize),
}

/// Whose bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From whoever connected.
    There,
    Back,
}

#[derive(Debug)]
struct Shared {
    /// There, and back.
    rules: [Rule; 2],
    connections: Vec<TcpStream>,
    is_over: bool,
}

/// A running proxy. Its connections end when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Proxy {
    /// Takes connections at `addr` and passes them on.
    pub(crate) fn start(addr: SocketAddr, to: SocketAddr) -> Proxy {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let rules = [Rule::Pass; 2];
        let shared = Shared { rules, connections: Vec::new(), is_over: false };
        let shared = Arc::new(Mutex::new(shared));
        let of = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if locked(&of).is_over {
                    return;
                }
                let of = Arc::clone(&of);
                // One that cannot be passed on is closed, as by a host that is not there.
                thread::spawn(move || join(&of, stream, to));
            }
        });
        Proxy { addr, shared }
    }

    /// From now on, for the connections that there are and those to come.
    pub(crate) fn set(&self, way: Way, rule: Rule) {
        locked(&self.shared).rules[way as usize] = rule;
    }

    /// Both ways.
    pub(crate) fn set_both(&self, rule: Rule) {
        self.set(Way::There, rule);
        self.set(Way::Back, rule);
    }

    /// Ends every connection.
    pub(crate) fn reset(&self) {
        end_all(&mut locked(&self.shared));
    }
}

fn end_all(shared: &mut Shared) {
    for connection in shared.connections.drain(..) {
        // One that has ended is what is wanted.
        drop(connection.shutdown(Shutdown::Both));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut shared = locked(&self.shared);
        shared.is_over = true;
        end_all(&mut shared);
        drop(shared);
        // Lets the listener see that it is over.
        drop(TcpStream::connect(self.addr));
    }
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn join(shared: &Arc<Mutex<Shared>>, near: TcpStream, to: SocketAddr) -> io::Result<()> {
    let far = TcpStream::connect(to)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK_EVERY))?;
    }
    locked(shared).connections.extend([near.try_clone()?, far.try_clone()?]);
    let (back_from, back_to) = (far.try_clone()?, near.try_clone()?);
    let back = Arc::clone(shared);
    thread::spawn(move || pump(&back, Way::Back, back_from, back_to));
    pump(shared, Way::There, near, far);
    Ok(())
}

/// Carries bytes one way until either end closes.
fn pump(shared: &Mutex<Shared>, way: Way, mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = vec![0; CHUNK_BYTES];
    let mut rng = Rng::new(way as u64);
    loop {
        if locked(shared).rules[way as usize] == Rule::Stall {
            thread::sleep(LOOK_EVERY);
            continue;
        }
        let count = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => count,
            Err(err)
                if matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                continue;
            }
            Err(_) => break,
        };
        let mut passing = count;
        let rule = {
            let rule = &mut locked(shared).rules[way as usize];
            if let Rule::CutAfter(left) = rule {
                passing = passing.min(*left);
                *left -= passing;
            }
            *rule
        };
        match rule {
            Rule::Pass | Rule::Stall | Rule::CutAfter(_) => (),
            Rule::Delay(time) => thread::sleep(time),
            Rule::Lossy => thread::sleep(if rng.below(10) < 3 { AGAIN_AFTER } else { SLOW }),
            Rule::Drop => continue,
        }
        if to.write_all(&bytes[..passing]).is_err() || passing < count {
            break;
        }
        if rule == Rule::CutAfter(0) {
            break;
        }
    }
    for stream in [from, to] {
        drop(stream.shutdown(Shutdown::Both));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says everything back, and a connection to it through a proxy.
    fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut back = stream.try_clone().unwrap();
                thread::spawn(move || io::copy(&mut stream, &mut back));
            }
        });
        let proxy = Proxy::start("127.0.0.1:0".parse().unwrap(), to);
        let stream = TcpStream::connect(proxy.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        (proxy, stream)
    }

    fn said(stream: &mut TcpStream, text: &str) -> io::Result<String> {
        stream.write_all(text.as_bytes())?;
        let mut bytes = vec![0; 100];
        let count = stream.read(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    #[test]
    fn a_proxy_passes_drops_delays_and_cuts() {
        let (proxy, mut stream) = echo();
        assert_eq!(said(&mut stream, "one").unwrap(), "one");
        proxy.set(Way::Back, Rule::Drop);
        said(&mut stream, "two").unwrap_err();
        proxy.set(Way::Back, Rule::Delay(Duration::from_millis(50)));
        assert_eq!(said(&mut stream, "three").unwrap(), "three");
        proxy.set(Way::There, Rule::CutAfter(2));
        proxy.set(Way::Back, Rule::Pass);
        assert!(said(&mut stream, "four").unwrap_or_default().len() <= 2);
        assert!(said(&mut stream, "five").unwrap_or_default().is_empty());

        let mut other = TcpStream::connect(proxy.addr).unwrap();
        proxy.set_both(Rule::Pass);
        assert_eq!(said(&mut other, "six").unwrap(), "six");
        proxy.reset();
        assert!(said(&mut other, "seven").unwrap_or_default().is_empty());
    }
}
