//! What a person sees when the tree is ready: the tree, the addresses, the key, a line to copy.

use crate::{
    data::Data,
    terminal::Paint,
    topology::{Role, ServiceKind, Topology},
};
use std::{env, ffi::OsStr, fmt::Write, path::Path};

/// The data folder that commands look for when they are not told.
const DATA_DEFAULT: &str = "tollgate-data";

/// The whole text. `program`: this one, unless a shell finds it under its name.
pub(super) fn banner(
    tree: &Topology,
    data: &Data,
    key: Option<&str>,
    program: Option<&Path>,
    paint: Paint,
) -> String {
    let mut out = String::new();
    let nodes_count = tree.nodes.len();
    line(&mut out, &paint.green(&format!("{} is ready: {nodes_count} nodes", tree.name)));
    line(&mut out, "");
    out.push_str(&tree.draw());
    line(&mut out, "");
    let url = tree.entrance().map(|it| format!("http://{it}"));
    if let Some(url) = &url {
        line(&mut out, &format!("API      {}", paint.bold(url)));
    }
    let key_file = tree.api_key.display();
    match key {
        Some(key) => line(&mut out, &format!("key      {key} (in {key_file})")),
        None => line(&mut out, &format!("key      in {key_file}")),
    }
    let logs = data.logs();
    let logs = std::path::absolute(&logs).unwrap_or(logs);
    line(&mut out, &format!("logs     {}", logs.display()));
    let monitors = tree.nodes.iter().filter_map(|node| match &node.role {
        Role::Monitor(monitor) => Some(monitor),
        Role::Balancer { .. } | Role::Gateway { .. } | Role::Account { .. } => None,
    });
    for monitor in monitors {
        let told = match monitor.notify.len() {
            0 => "tells nobody: --notify URL".to_owned(),
            1 => "tells 1 subscriber".to_owned(),
            count => format!("tells {count} subscribers"),
        };
        line(
            &mut out,
            &format!("monitor  {} ({told})", paint.bold(&format!("http://{}", monitor.http))),
        );
    }
    let service = tree.services.iter().find(|it| matches!(it.kind, ServiceKind::Account { .. }));
    if let (Some(url), Some(service)) = (url, service) {
        try_it(&mut out, &url, &service.name, &tree.api_key, paint);
    }
    next(&mut out, tree, data, program, paint);
    out
}

fn try_it(out: &mut String, url: &str, service: &str, key_file: &Path, paint: Paint) {
    line(out, "");
    line(out, &paint.bold("Open an account, put 75.00 EUR into it, take 45.00 out:"));
    line(out, &format!("  KEY=$(cat {})", quoted(&key_file.to_string_lossy())));
    let calls = [
        ("accounts", r#"{"id":"alice","currency":"EUR"}"#),
        ("accounts/alice/credit", r#"{"amount":7500,"currency":"EUR"}"#),
        ("accounts/alice/debit", r#"{"amount":4500,"currency":"EUR"}"#),
    ];
    for (path, body) in calls {
        let text = format!(
            "  curl -sS -w '\\n' {url}/v1/{service}/{path} -H \"Authorization: Bearer $KEY\" \
             -H 'Content-Type: application/json' -d '{body}'"
        );
        line(out, &text);
    }
}

fn next(out: &mut String, tree: &Topology, data: &Data, program: Option<&Path>, paint: Paint) {
    let data = match data.root.to_str() {
        Some(DATA_DEFAULT) => String::new(),
        Some(_) | None => format!(" --data {}", quoted(&data.root.to_string_lossy())),
    };
    line(out, "");
    line(out, &paint.bold("Then:"));
    if let Some(program) = program {
        line(out, &format!("  alias tollgate={}", quoted(&program.to_string_lossy())));
    }
    let account = tree.nodes.iter().find(|it| it.role.service().is_some());
    let service = account.and_then(|it| it.role.service());
    let mut commands = Vec::new();
    if let Some(service) = service {
        commands.push((format!("account show {service}/alice"), "its balance"));
    }
    commands.push(("status".to_owned(), "the tree as it is now"));
    if let Some(node) = account {
        commands
            .push((format!("node {} kill", node.name), "what kill -9 does; start brings it back"));
    }
    commands.push(("verify".to_owned(), "the books, derived again from the journal"));
    let commands: Vec<_> = commands
        .into_iter()
        .map(|(command, what)| (format!("  tollgate {command}{data}"), what))
        .collect();
    let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    for (command, what) in commands {
        line(out, &format!("{command:<width$}   # {what}"));
    }
    line(out, "");
    line(out, "Ctrl-C drains the tree.");
}

/// `program`, unless `path` (as of PATH) leads a shell to it when it looks for `tollgate`.
pub(super) fn unless_found<'a>(program: &'a Path, path: Option<&OsStr>) -> Option<&'a Path> {
    let folders = path.into_iter().flat_map(env::split_paths);
    let mut named = folders.map(|it| it.join("tollgate")).filter(|it| it.is_file());
    let found = named.next().and_then(|it| it.canonicalize().ok());
    let is_found = found.is_some() && found == program.canonicalize().ok();
    (!is_found).then_some(program)
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a String takes everything");
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let is_plain = text.bytes().all(|it| it.is_ascii_alphanumeric() || b"/._-".contains(&it));
    if is_plain && !text.is_empty() {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_finds_it_or_is_told_where_it_is() {
        let root = env::temp_dir().join(format!("tollgate-path-{}", std::process::id()));
        let [own, other] = ["own", "other"].map(|name| {
            let folder = root.join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("tollgate"), name).unwrap();
            folder
        });
        let program = own.join("tollgate");
        for (folders, is_found) in [
            (vec![], false),
            (vec![&own], true),
            (vec![&other, &own], false),
            (vec![&other], false),
        ] {
            let path = env::join_paths(folders).unwrap();
            let told = unless_found(&program, Some(&path));
            assert_eq!(told, (!is_found).then_some(&*program), "{path:?}");
        }
        assert_eq!(unless_found(&program, None), Some(&*program));
        // By another name that leads to it.
        let link = root.join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert_eq!(unless_found(&program, Some(link.as_os_str())), None);
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn words_survive_the_shell() {
        for (text, shell) in
            [("a/b-c.d_e", "a/b-c.d_e"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''")]
        {
            assert_eq!(quoted(text), shell);
        }
    }
}
