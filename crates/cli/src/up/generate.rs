//! The tree of a plain `up`: two layers of balancers over two gateways over two account services.

use super::ports::Ports;
use crate::{
    args,
    commands::load_topology,
    data::Data,
    error::CliError,
    topology::{ServiceKind, Topology, elements::engine::EngineUrl},
};
use std::{
    fmt::Write,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddress, UnixListener},
    },
    path::Path,
};

const SERVICES: [&str; 2] = ["a", "b"];
const PARTITIONS: u16 = 16;
/// Where a monitor is when nobody says where, and nobody else is there.
const MONITOR_USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8090);
/// Name, role, what else the node says of itself.
const INNER_NODES: [(&str, &str, &str); 8] = [
    ("layer2-1", "balancer", "endpoints = [\"gateway-1\", \"gateway-2\"]\n"),
    ("layer2-2", "balancer", "endpoints = [\"gateway-1\", \"gateway-2\"]\n"),
    ("gateway-1", "gateway", ""),
    ("gateway-2", "gateway", ""),
    ("a-1", "account", "service = \"a\"\n"),
    ("a-2", "account", "service = \"a\"\n"),
    ("b-1", "account", "service = \"b\"\n"),
    ("b-2", "account", "service = \"b\"\n"),
];

/// Writes the topology file of the data folder. What the last run recorded stays as it was where
/// it can: ports that are free, engines and partitions unless told otherwise.
pub(super) fn write(args: &args::Up, data: &Data, ports: &mut Ports) -> Result<(), CliError> {
    let recorded = match data.topology().exists() {
        // It says where the books are: one that cannot be read is not to be written over.
        true => Some(load_topology(&data.topology()).map_err(|error| {
            error.hint("repair it, or remove it if the engines are where they are by default")
        })?),
        false => None,
    };
    if let (Some(engine), Some(tree)) = (&args.engine, &recorded) {
        stay_with_books(engine, tree, data)?;
    }
    let edge = edge_address(args.edge, recorded.as_ref(), ports)?;
    let monitor = monitor_address(args.monitor, recorded.as_ref(), ports)?;
    let text =
        text((edge, args, monitor), recorded.as_ref(), data, |preferred| ports.take(preferred));
    let text = text.map_err(|error| CliError::io("cannot find a free port", &error))?;
    let path = data.topology();
    let fresh = data.root.join("tollgate.toml.new");
    fs::write(&fresh, text)
        .and_then(|()| fs::rename(&fresh, &path))
        .map_err(|error| CliError::io(format!("cannot write {}", path.display()), &error))
}

/// Books are not carried over: a tree that has some does not begin anew on an engine of another
/// kind because of one word on the command line.
fn stay_with_books(engine: &EngineUrl, tree: &Topology, data: &Data) -> Result<(), CliError> {
    for service in &tree.services {
        let ServiceKind::Account { engines, .. } = &service.kind else { continue };
        let leaves = |has: &&EngineUrl| match (engine, has) {
            (EngineUrl::Postgres(_), EngineUrl::Sqlite(folder)) => {
                folder.join("journal.db").exists()
            }
            (EngineUrl::Sqlite(_), EngineUrl::Postgres(_)) => true,
            (EngineUrl::Sqlite(_), EngineUrl::Sqlite(_))
            | (EngineUrl::Postgres(_), EngineUrl::Postgres(_)) => false,
        };
        if let Some(has) = engines.iter().find(leaves) {
            let (root, name) = (data.root.display(), &service.name);
            return Err(CliError::failed(format!(
                "--engine {engine}: {root} has the books of service {name} in {has}, and they are \
                 not carried over"
            ))
            .hint("name another folder for a new tree: --data DIR"));
        }
    }
    Ok(())
}

/// Port 0 means any: the one of the last run, or a free one.
fn edge_address(
    wanted: SocketAddr,
    recorded: Option<&Topology>,
    ports: &mut Ports,
) -> Result<SocketAddr, CliError> {
    if wanted.port() != 0 {
        return ports
            .claim(wanted)
            .map(|()| wanted)
            .map_err(|error| error.hint("name another address for clients: --edge ADDR"));
    }
    let last = recorded.and_then(|tree| tree.node("edge")?.role.http());
    ports.take(last).map_err(|error| CliError::io("cannot find a free port", &error))
}

/// The monitor's address: as told, else the usual one, else any free port.
fn monitor_address(
    wanted: Option<SocketAddr>,
    recorded: Option<&Topology>,
    ports: &mut Ports,
) -> Result<SocketAddr, CliError> {
    match wanted {
        Some(wanted) if wanted.port() != 0 => ports
            .claim(wanted)
            .map(|()| wanted)
            .map_err(|error| error.hint("name another address for the monitor: --monitor ADDR")),
        wanted => {
            let last = recorded.and_then(|tree| tree.node("monitor")?.role.http());
            let last = last.filter(|it| *it != MONITOR_USUAL);
            let usual = (last.is_none() && wanted.is_none() && reserve(MONITOR_USUAL))
                .then_some(MONITOR_USUAL);
            ports
                .take(last.or(usual))
                .map_err(|error| CliError::io("cannot find a free port", &error))
        }
    }
}

/// Makes sure that no other `up` on this machine takes the address too: a port that was found free
/// is free until its node has started. The name lasts as long as this process, which binds it for
/// good.
fn reserve(address: SocketAddr) -> bool {
    let name = UnixAddress::from_abstract_name(format!("tollgate {address}"));
    let reserved = name.and_then(|name| UnixListener::bind_addr(&name));
    reserved.map(std::mem::forget).is_ok()
}

fn text(
    (edge, args, monitor): (SocketAddr, &args::Up, SocketAddr),
    recorded: Option<&Topology>,
    data: &Data,
    mut port: impl FnMut(Option<SocketAddr>) -> io::Result<SocketAddr>,
) -> io::Result<String> {
    let mut out = String::from(
        "# Written by `tollgate up` at every start. For a tree of your own, change a copy and start\n\
         # it with `tollgate up --config FILE`.\n\nname = \"tollgate\"\n",
    );
    let mut add = |text: String| out.push_str(&text);
    for service in SERVICES {
        let (engines, partitions) = store(service, args.engine.as_ref(), recorded, data);
        let engine = match &engines[..] {
            [only] => format!("{only:?}"),
            several => format!("{several:?}"),
        };
        add(format!("\n[services.{service}]\nengine = {engine}\npartitions = {partitions}\n"));
    }
    let mut last = |name: &str, of: fn(&crate::topology::Node) -> Option<SocketAddr>| {
        port(recorded.and_then(|tree| of(tree.node(name)?)))
    };
    add(format!(
        "\n[[nodes]]\nname = \"edge\"\nrole = \"balancer\"\nhttp = \"{edge}\"\nadmin = \"{}\"\n\
         endpoints = [\"layer2-1\", \"layer2-2\"]\n",
        last("edge", |node| node.admin)?,
    ));
    for (name, role, rest) in INNER_NODES {
        let trunk = last(name, |node| node.role.trunk())?;
        let admin = last(name, |node| node.admin)?;
        let mut node = format!("\n[[nodes]]\nname = \"{name}\"\nrole = \"{role}\"\n{rest}");
        write!(node, "trunk = \"{trunk}\"\nadmin = \"{admin}\"\n").map_err(io::Error::other)?;
        add(node);
    }
    let admin = last("monitor", |node| node.admin)?;
    add(format!(
        "\n[[nodes]]\nname = \"monitor\"\nrole = \"monitor\"\nhttp = \"{monitor}\"\n\
         admin = \"{admin}\"\n"
    ));
    let last = recorded.and_then(|tree| tree.node("monitor")?.role.monitor()?.store.clone());
    if let Some(store) = args.monitor_store.clone().or(last) {
        add(format!("store = {:?}\n", store.secret()));
    }
    if !args.notify.is_empty() {
        add(format!("notify = {:?}\n", args.notify));
    }
    if let Some(smtp) = &args.smtp {
        add(format!("smtp = {smtp:?}\n"));
    }
    if let Some(file) = &args.smtp_password {
        let file = std::path::absolute(file)?;
        add(format!("smtp_password = {file:?}\n"));
    }
    if let Some(from) = &args.mail_from {
        add(format!("mail_from = {from:?}\n"));
    }
    if let Some(fallback) = &args.fallback {
        add(format!("fallback = {fallback:?}\n"));
    }
    if let Some(ca) = &args.ca {
        let ca = std::path::absolute(ca)?;
        add(format!("ca = {ca:?}\n"));
    }
    Ok(out)
}

/// Engines and partitions of a service: as told, else as recorded, else a folder of its own.
fn store(
    service: &str,
    engine: Option<&EngineUrl>,
    recorded: Option<&Topology>,
    data: &Data,
) -> (Vec<String>, u16) {
    let kind = recorded.and_then(|it| it.services.iter().find(|it| it.name == service));
    let recorded = kind.and_then(|it| match &it.kind {
        ServiceKind::Account { engines, partitions } => Some((engines, *partitions)),
        ServiceKind::Http { .. } => None,
    });
    let partitions = recorded.map_or(PARTITIONS, |(_, partitions)| partitions);
    let as_recorded = |engine: &EngineUrl| match engine {
        // Written from where the file is, so that the whole folder may be moved.
        EngineUrl::Sqlite(folder) => format!("sqlite:{}", relative(folder, &data.root).display()),
        url @ EngineUrl::Postgres(_) => url.secret(),
    };
    let engines = match (engine, recorded) {
        (Some(EngineUrl::Sqlite(folder)), _) => {
            vec![format!("sqlite:{}", folder.join(service).display())]
        }
        (Some(url @ EngineUrl::Postgres(_)), _) => vec![url.secret()],
        (None, Some((engines, _))) => engines.iter().map(as_recorded).collect(),
        (None, None) => vec![format!("sqlite:{service}")],
    };
    (engines, partitions)
}

fn relative<'a>(path: &'a Path, root: &Path) -> &'a Path {
    path.strip_prefix(root).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generate(engine: Option<&EngineUrl>, recorded: Option<&Topology>, first: u16) -> Topology {
        let data = Data::at(Path::new("/data"));
        let mut port = first;
        let args = args::Up {
            edge: "127.0.0.1:8080".parse().unwrap(),
            monitor: None,
            config: None,
            engine: engine.cloned(),
            monitor_store: None,
            notify: vec!["http://127.0.0.1:9/hook".to_owned(), "mailto:a@b".to_owned()],
            smtp: Some("mail:25".to_owned()),
            smtp_password: Some("/password".into()),
            mail_from: Some("tollgate@b".to_owned()),
            fallback: Some("command:/bin/page".to_owned()),
            ca: Some("/ca.pem".into()),
            json: false,
        };
        let monitor = "127.0.0.1:8090".parse().unwrap();
        let text = text((args.edge, &args, monitor), recorded, &data, |preferred| {
            port += 1;
            Ok(preferred.unwrap_or(SocketAddr::from(([127, 0, 0, 1], port))))
        });
        Topology::parse(&text.unwrap(), &data.root).unwrap()
    }

    #[test]
    fn the_generated_tree_is_sound_and_has_the_names_of_the_manual() {
        let tree = generate(None, None, 20_000);
        let names: Vec<&str> = tree.nodes.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "edge",
                "layer2-1",
                "layer2-2",
                "gateway-1",
                "gateway-2",
                "a-1",
                "a-2",
                "b-1",
                "b-2",
                "monitor"
            ]
        );
        let drawn = tree.draw();
        assert!(drawn.contains("16 partitions on sqlite:/data/a"), "{drawn}");
        assert_eq!(tree.entrance().unwrap().to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn an_address_is_reserved_once() {
        let address = "127.77.0.9:1".parse().unwrap(); // Of this test alone.
        assert!(reserve(address));
        assert!(!reserve(address));
    }

    #[test]
    fn all_services_share_a_database_whose_password_is_kept_and_not_shown() {
        let database = EngineUrl::parse("postgres://u:secret@db/books").unwrap();
        let first = generate(Some(&database), None, 20_000);
        let second = generate(None, Some(&first), 30_000);
        for service in &second.services {
            let ServiceKind::Account { engines, .. } = &service.kind else { panic!() };
            assert!(engines.iter().eq([&database]));
        }
        let drawn = second.draw();
        assert!(drawn.contains("16 partitions on postgres://u:***@db/books"), "{drawn}");
        assert!(!format!("{second:?}").contains("secret"));
    }

    #[test]
    fn books_are_not_left_behind() {
        let root = std::env::temp_dir().join(format!("tollgate-books-{}", std::process::id()));
        let data = Data::at(&root);
        let on = |engine: &str| generate(Some(&EngineUrl::parse(engine).unwrap()), None, 20_000);
        let sqlite = EngineUrl::Sqlite(root.clone());
        let database = EngineUrl::parse("postgres://u:secret@db/books").unwrap();
        let of_files = on(&sqlite.to_string());
        assert!(stay_with_books(&database, &of_files, &data).is_ok(), "there are none yet");
        fs::create_dir_all(root.join("b")).unwrap();
        fs::write(root.join("b/journal.db"), "").unwrap();
        let refused = stay_with_books(&database, &of_files, &data).unwrap_err().to_string();
        fs::remove_dir_all(&root).unwrap();
        assert!(refused.contains("the books of service b in sqlite:"), "{refused}");
        let of_database = on("postgres://u:secret@db/books");
        let refused = stay_with_books(&sqlite, &of_database, &data).unwrap_err().to_string();
        assert!(refused.contains("in postgres://u:***@db/books"), "{refused}");
        let moved = EngineUrl::parse("postgres://u:other@db2/books").unwrap();
        assert!(stay_with_books(&moved, &of_database, &data).is_ok());
    }

    #[test]
    fn what_was_recorded_is_kept() {
        let elsewhere = EngineUrl::Sqlite("/disk".into());
        let first = generate(Some(&elsewhere), None, 20_000);
        let second = generate(None, Some(&first), 30_000);
        assert_eq!(first.draw(), second.draw());
        assert!(second.draw().contains("sqlite:/disk/b"), "{}", second.draw());
    }

    #[test]
    fn a_recorded_list_of_engines_is_kept() {
        let mut first = generate(None, None, 20_000);
        let several = ["postgres://u:secret@db/one", "postgres://u:secret@db/two"];
        let several: Vec<_> = several.iter().map(|it| EngineUrl::parse(it).unwrap()).collect();
        let ServiceKind::Account { engines, .. } = &mut first.services[0].kind else { panic!() };
        engines.clone_from(&several);
        let second = generate(None, Some(&first), 30_000);
        let ServiceKind::Account { engines, .. } = &second.services[0].kind else { panic!() };
        assert_eq!(*engines, several);
    }
}
