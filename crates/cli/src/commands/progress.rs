//! A bar on stderr for what takes long, where somebody looks at it.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};
use stdx::Moment;

/// What is done sooner shows no bar.
const SHOW_AFTER: Duration = Duration::from_secs(2);
const DRAW_EVERY: Duration = Duration::from_millis(100);
const WIDTH: usize = 40;

/// Shows itself only on a terminal; wipes itself out when dropped.
#[derive(Debug)]
pub(super) struct Bar {
    is_on: bool,
    next: Moment,
    is_drawn: bool,
}

impl Bar {
    /// Counts its time from now.
    pub(super) fn new() -> Bar {
        Bar {
            is_on: io::stderr().is_terminal(),
            next: net::clock::now() + SHOW_AFTER,
            is_drawn: false,
        }
    }

    /// `part` of `whole` is done of what `label` names.
    pub(super) fn tell(&mut self, label: &str, part: u64, whole: u64) {
        let now = net::clock::now();
        if !self.is_on || now < self.next {
            return;
        }
        self.next = now + DRAW_EVERY;
        self.is_drawn = true;
        write(&format!("\r\x1b[K{}", drawn(label, part, whole)));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.is_drawn {
            write("\r\x1b[K");
        }
    }
}

/// A terminal that is gone needs no bar.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

fn drawn(label: &str, part: u64, whole: u64) -> String {
    let (part, whole) = (u128::from(part.min(whole)), u128::from(whole.max(1)));
    let filled = usize::try_from(part * WIDTH as u128 / whole).unwrap_or(WIDTH);
    let percent = part * 100 / whole;
    format!("{label} [{:<WIDTH$}] {percent:>3} %", "#".repeat(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_up() {
        let bar = |part, whole| drawn("a", part, whole);
        assert_eq!(bar(0, 0), format!("a [{}]   0 %", " ".repeat(WIDTH)));
        assert_eq!(bar(1, 2), format!("a [{}{}]  50 %", "#".repeat(20), " ".repeat(20)));
        assert_eq!(bar(u64::MAX, u64::MAX), format!("a [{}] 100 %", "#".repeat(WIDTH)));
        assert_eq!(bar(9, 3), format!("a [{}] 100 %", "#".repeat(WIDTH)));
    }
}
