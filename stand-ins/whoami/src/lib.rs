//! The name of the user that a process runs as: all that `tokio-postgres` asks of `whoami`.
//!
//! It asks only for a URL that names no user, as libpq does.

use std::{fs, io};

/// The name that `/etc/passwd` has for this process's user.
///
/// # Errors
/// When that file cannot be read, or does not name the user: then the URL has to.
pub fn username() -> io::Result<String> {
    let user = rustix::process::geteuid().as_raw();
    name_of(&fs::read_to_string("/etc/passwd")?, user).ok_or_else(|| {
        io::Error::other(format!("user {user} has no name here: the URL has to name one"))
    })
}

fn name_of(passwd: &str, user: u32) -> Option<String> {
    let mut lines = passwd.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        let id: u32 = fields.nth(1)?.parse().ok()?;
        (id == user).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\npostgres:x:107:110::/:/bin/sh\n";
        assert_eq!(name_of(passwd, 107).as_deref(), Some("postgres"));
        assert_eq!(name_of(passwd, 110), None);
        assert!(username().is_ok_and(|it| !it.is_empty()));
    }
}
