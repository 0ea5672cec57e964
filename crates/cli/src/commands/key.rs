//! `tollgate key`: the API keys beside the first one.

use super::{Outcome, in_force};
use crate::{
    args::key::{self, Create, KeyVerb},
    data::{Data, random_id},
    error::CliError,
    terminal::{say, say_json, table, tell},
    topology::{ServiceKind, Topology},
};
use net::clock;
use proxy::keys::{FILE_BYTES_MAX, KEYS_MAX, Key, NAME_BYTES_MAX, hash, is_name, parse, text};
use serde_json::{Value, json};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};
use wire::Timestamp;

/// What our own keys begin with.
const PREFIX: &str = "tg_key_";

/// Makes, lists and revokes.
pub(super) fn key(args: &key::Key, data: &Path) -> Outcome {
    let tree = in_force(args.config.as_deref(), &Data::at(data))?;
    match &args.verb {
        KeyVerb::Create(wanted) => create(&tree, wanted, args.json),
        KeyVerb::List => list(&tree, args.json),
        KeyVerb::Revoke { name } => revoke(&tree, name, args.json),
    }
}

fn create(tree: &Topology, wanted: &Create, is_json: bool) -> Outcome {
    let Create { name, services, read_only, expires, rate } = wanted;
    if !is_name(name) {
        let want = format!("want 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ - @");
        return Err(CliError::usage(format!("name {name:?}: {want}")));
    }
    if let Some(service) = services.iter().find(|it| !is_account_service(tree, it)) {
        return Err(CliError::failed(format!("there is no account service {service:?}")));
    }
    let random = || random_id().map_err(|error| CliError::io("cannot make a key", &error));
    let secret = format!("{PREFIX}{}{}", random()?, random()?);
    let created = clock::wall();
    let end = |length: &std::time::Duration| {
        let micros = i64::try_from(length.as_micros()).ok()?;
        created.0.checked_add(micros).map(Timestamp).filter(|it| *it <= Timestamp::MAX)
    };
    let key = Key {
        name: name.clone(),
        hash: hash(secret.as_bytes()),
        created,
        services: (!services.is_empty()).then(|| services.clone()),
        read_only: *read_only,
        // So far away that no time can say it is never.
        expires: expires.as_ref().and_then(end),
        rate: *rate,
    };
    let file = Keys::lock(&tree.api_keys)?;
    let mut keys = file.read()?;
    if keys.iter().any(|it| it.name == *name) {
        return Err(CliError::failed(format!("there is a key {name} already"))
            .hint("revoke it first, or choose another name"));
    }
    if KEYS_MAX <= keys.len() {
        return Err(CliError::failed(format!("there are {KEYS_MAX} keys already"))
            .hint("revoke those that nobody needs"));
    }
    keys.push(key.clone());
    file.write(&keys)?;
    if is_json {
        let mut shown = shown(&key);
        shown["key"] = json!(secret);
        say_json(&shown);
    } else {
        tell!("this is the only time that the key is shown:");
        say(&format!("{secret}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn is_account_service(tree: &Topology, name: &str) -> bool {
    let is_one = |kind: &ServiceKind| matches!(kind, ServiceKind::Account { .. });
    tree.services.iter().any(|it| it.name == name && is_one(&it.kind))
}

fn list(tree: &Topology, is_json: bool) -> Outcome {
    let keys = Keys::at(&tree.api_keys).read()?;
    if is_json {
        say_json(&json!({"keys": keys.iter().map(shown).collect::<Vec<_>>()}));
        return Ok(ExitCode::SUCCESS);
    }
    let heads = ["NAME", "CREATED", "SERVICES", "MAY", "EXPIRES", "RATE"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    let now = clock::wall();
    for key in keys {
        let expires = match key.expires {
            Some(at) if at <= now => format!("{at} (over)"),
            Some(at) => at.to_string(),
            None => "never".to_owned(),
        };
        lines.push(vec![
            key.name.clone(),
            key.created.to_string(),
            key.services.map_or_else(|| "all".to_owned(), |it| it.join(", ")),
            if key.read_only { "read" } else { "change" }.to_owned(),
            expires,
            key.rate.map_or_else(|| "-".to_owned(), |it| format!("{it}/s")),
        ]);
    }
    say(&table(&lines));
    Ok(ExitCode::SUCCESS)
}

fn shown(key: &Key) -> Value {
    json!({
        "name": key.name,
        "created": key.created.to_string(),
        "services": key.services,
        "read_only": key.read_only,
        "expires": key.expires.map(|at| at.to_string()),
        "rate": key.rate,
    })
}

fn revoke(tree: &Topology, name: &str, is_json: bool) -> Outcome {
    let file = Keys::lock(&tree.api_keys)?;
    let mut keys = file.read()?;
    let before = keys.len();
    keys.retain(|it| it.name != name);
    if keys.len() == before {
        return Err(CliError::failed(format!("there is no key {name:?}"))
            .hint("see `tollgate key list`; the first key is the file admin.key"));
    }
    file.write(&keys)?;
    if is_json {
        say_json(&json!({"revoked": name}));
    } else {
        tell!("{name} is revoked: no gateway takes it a second from now");
    }
    Ok(ExitCode::SUCCESS)
}

/// The file of keys.
struct Keys {
    path: PathBuf,
    /// Held while the file is changed, so that of two changes at once none is lost.
    #[expect(dead_code, reason = "dropping it is what it is for")]
    lock: Option<File>,
}

impl Keys {
    fn at(path: &Path) -> Keys {
        Keys { path: path.to_owned(), lock: None }
    }

    fn lock(path: &Path) -> Result<Keys, CliError> {
        let beside = beside(path, "lock");
        let lock = private().create(true).truncate(false).open(&beside);
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock));
        let lock = lock.map_err(|error| CliError::io(beside.display(), &error))?;
        Ok(Keys { path: path.to_owned(), lock: Some(lock) })
    }

    fn read(&self) -> Result<Vec<Key>, CliError> {
        let shown = self.path.display();
        let mut text = String::new();
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CliError::io(shown, &error)),
        };
        file.take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| CliError::io(&shown, &error))?;
        parse(&text).map_err(|flaw| CliError::failed(format!("{shown}: {flaw}")))
    }

    /// Whoever reads the file sees the old keys or the new ones, never a part, also after a crash.
    fn write(&self, keys: &[Key]) -> Result<(), CliError> {
        let fresh = beside(&self.path, "new");
        let written = private().create(true).truncate(true).open(&fresh).and_then(|mut file| {
            file.write_all(text(keys).as_bytes()).and_then(|()| file.sync_all())
        });
        let written = written.and_then(|()| fs::rename(&fresh, &self.path));
        written.map_err(|error| CliError::io(self.path.display(), &error))
    }
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    PathBuf::from(name)
}

/// Only its owner can read the file.
fn private() -> OpenOptions {
    OpenOptions::new().write(true).mode(0o600).to_owned()
}
