//! What goes to the terminal: data to stdout, the rest to stderr, colour only where it is read.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

/// Writes data to stdout. A reader that has gone away wants no more of it, which is no failure.
pub(crate) fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Writes a line for people to stderr. A terminal that is gone is no reason to end, or to panic.
macro_rules! tell {
    ($($words:tt)*) => { $crate::terminal::write_line(format_args!($($words)*)) };
}
pub(crate) use tell;

/// What [`tell`] does.
pub(crate) fn write_line(words: std::fmt::Arguments<'_>) {
    drop(writeln!(io::stderr().lock(), "{words}"));
}

/// Writes one JSON value to stdout, on one line.
pub(crate) fn say_json(value: &impl serde::Serialize) {
    let text = serde_json::to_string(value).expect("our own values have string keys");
    say(&format!("{text}\n"));
}

/// Colours of one stream; none when it is no terminal or the user wants none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    /// For stdout.
    pub(crate) fn stdout() -> Paint {
        Paint { is_on: io::stdout().is_terminal() && wants_colour() }
    }

    /// For stderr.
    pub(crate) fn stderr() -> Paint {
        Paint { is_on: io::stderr().is_terminal() && wants_colour() }
    }

    /// For what matters most.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// For what is well.
    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// For what is not.
    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// For what is neither.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// See no-color.org: set and not empty means none.
fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

/// A terminal that shows a page of its own and gives every key at once; as it was when dropped.
#[derive(Debug)]
pub(crate) struct RawTerminal {
    before: Option<rustix::termios::Termios>,
}

impl RawTerminal {
    /// Takes the terminal. Ctrl-C still is Ctrl-C; without a keyboard there are no keys.
    pub(crate) fn open() -> io::Result<RawTerminal> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        }
        say("\x1b[?1049h\x1b[?25l");
        Ok(RawTerminal { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        say("\x1b[?25h\x1b[?1049l");
        if let Some(before) = &self.before {
            // A terminal that is gone needs nothing put back.
            _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Columns of the terminal that shows stdout; `None` when it is none.
pub(crate) fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (0 < size.ws_col).then_some(size.ws_col.into())
}

/// As [`table`], without the last column where it would not fit `width`.
pub(crate) fn table_within(rows: &[Vec<String>], width: Option<usize>) -> String {
    let whole = table(rows);
    if whole.lines().all(|line| width.is_none_or(|width| line.chars().count() <= width)) {
        return whole;
    }
    let less = |row: &Vec<String>| row[..row.len().saturating_sub(1)].to_vec();
    table(&rows.iter().map(less).collect::<Vec<_>>())
}

/// Rows as columns, each as wide as its widest cell.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|it| it.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|it| width(it).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A time in the two largest units: `3d 4h`, `5m 6s`.
pub(crate) fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3_660, "1h 1m"), (90_000, "1d 1h")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn columns_are_as_wide_as_they_must() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = [row(["a", "b"]), row(["long", ""])];
        assert_eq!(table(&rows), "a     b\nlong\n");
        assert_eq!(table_within(&rows, None), table(&rows));
        assert_eq!(table_within(&rows, Some(7)), table(&rows));
        assert_eq!(table_within(&rows, Some(6)), "a\nlong\n");
    }
}
