//! The topology file at its boundary: a text in, complaints or a drawn tree out.

mod times;

use super::*;
use monitor::config::Retention;

const SHOP: &str = include_str!("tests/shop.toml");

#[track_caller]
fn check(text: &str, expected: &str) {
    let complaints = match Topology::parse(text, Path::new("/etc")) {
        Ok(_) => String::new(),
        Err(complaints) => complaints.iter().map(|it| format!("{it}\n")).collect(),
    };
    assert_eq!(complaints, expected);
}

/// The example file, one piece of it replaced.
#[track_caller]
fn check_with(from: &str, to: &str, expected: &str) {
    assert!(SHOP.contains(from), "{from}");
    check(&SHOP.replacen(from, to, 1), expected);
}

#[test]
fn the_example_is_sound() {
    check(SHOP, "");
}

#[test]
fn everything_wrong_is_told_at_once() {
    check(
        include_str!("tests/broken.toml"),
        "\
1: colour is no key of this table: want one of name, services, routes, nodes, cluster_key, api_key, api_keys, ping_key, trunk_tls, connection_age, stream_age, checks, rules, subscriptions, windows, retention
1: name is missing: want a name for the tree, as in name = \"shop\"
3: services.a.partitions = 5000: want a whole number from 1 to 4096
4: services.a.engine = \"mysql://x\": want \"sqlite:FOLDER\" or \"postgres://…\"
6: services.B has no node: want a node with role = \"account\", service = \"B\"
6: services.B is no service's name: want a name of 1 to 32 of a-z, 0-9 and -
10: routes[1].path = \"rates\": want a path, as in \"/rates\" or \"/rates/*\"
11: routes[1].service = \"b\": want the name of a service (did you mean \"B\"?)
14: nodes[edge].http = \"localhost:8080\": want ip:port with a port other than 0, as in \"127.0.0.1:7101\"
15: nodes[edge].role = \"balanser\": want one of balancer, gateway, account, monitor (did you mean \"balancer\"?)
17: nodes[edge].endpoint is no key of this table: did you mean \"endpoints\"?
18: nodes[2].service is missing: want the name of an account service
19: nodes[2].name = 7: want a name of 1 to 32 of a-z, 0-9 and - (in quotes)
21: nodes[2].trunk = \"0.0.0.0:7301\": want an address that the other nodes can connect to
22: nodes[2].drain = \"10\": want a length of time with its unit (ms, s, m, h, d), as in \"250ms\" or \"10s\"
23: nodes[2].policy is no key of a node of role account
27: nodes[a-1].trunk is missing: want the address that gateways connect to
",
    );
}

#[test]
fn what_is_no_toml_names_its_line() {
    check_with(
        "name = \"shop\"",
        "name = \"shop",
        "1: not TOML: invalid basic string, expected `\"`\n",
    );
    check_with(
        "http = \"127.0.0.1:8080\"",
        "http = 127.0.0.1:8080",
        "22: not TOML: invalid float, expected nothing (text stands in quotes)\n",
    );
    check_with("name = \"shop\"", "name = \"shop\"\nname = \"x\"", "2: not TOML: duplicate key\n");
}

#[test]
fn tls_on_the_trunk_wants_all_of_its_files() {
    let with = |keys: &str| format!("{SHOP}\n[trunk_tls]\n{keys}");
    let tree = Topology::parse(
        &with("ca = \"ca.pem\"\ncert = \"node.pem\"\nkey = \"/k/node.key\"\n"),
        Path::new("/etc"),
    );
    let files = tree.unwrap().trunk_tls.unwrap();
    assert_eq!((files.ca, files.cert), ("/etc/ca.pem".into(), "/etc/node.pem".into()));
    assert_eq!(files.key, PathBuf::from("/k/node.key"));
    let line = SHOP.lines().count() + 2;
    check(
        &with("ca = \"ca.pem\"\ncrl = \"x\"\n"),
        &format!(
            "{line}: trunk_tls.cert is missing: want a PEM file with the nodes' certificate\n\
             {line}: trunk_tls.key is missing: want a PEM file with the key of that certificate\n\
             {}: trunk_tls.crl is no key of this table: want one of ca, cert, key\n",
            line + 2
        ),
    );
}

#[test]
fn names_and_addresses_are_unique() {
    check_with(
        "name = \"gateway-2\"",
        "name = \"gateway-1\"",
        "30: nodes[layer2-1].endpoints = \"gateway-2\": want the name of a node (did you mean \"gateway-1\"?)\n\
         36: nodes[layer2-2].endpoints = \"gateway-2\": want the name of a node (did you mean \"gateway-1\"?)\n\
         44: nodes[gateway-1].name = \"gateway-1\": want a name of its own (the node of line 38 has this one)\n",
    );
    check_with(
        "trunk = \"127.0.0.1:7202\"",
        "trunk = \"127.0.0.1:7201\"",
        "46: nodes[gateway-2].trunk = \"127.0.0.1:7201\": want an address of its own (nodes[gateway-1].trunk has this one)\n",
    );
    check_with(
        "http = \"127.0.0.1:8090\"",
        "http = \"0.0.0.0:8080\"",
        "63: nodes[monitor].http = \"0.0.0.0:8080\": want an address of its own (nodes[edge].http has this one)\n",
    );
    check_with(
        "engine = \"sqlite:data/b\"",
        "engine = \"sqlite:data/a\"",
        "8: services.b.engine = \"sqlite:data/a\": want an engine that service a does not use already\n",
    );
}

#[test]
fn services_whose_tags_are_equal_are_refused() {
    // Two names found by trying; which ones they are is of no other meaning.
    let tag = wire::ServiceTag::of("b");
    let twin = (0..100_000)
        .map(|number| format!("s{number}"))
        .find(|name| wire::ServiceTag::of(name) == tag)
        .expect("4,096 tags, 100,000 names");
    check_with(
        "[services.rates]",
        &format!(
            "[services.{twin}]\nengine = \"sqlite:c\"\n\n[[nodes]]\nname = \"c-1\"\n\
                  role = \"account\"\nservice = \"{twin}\"\ntrunk = \"127.0.0.1:1\"\n\n[services.rates]"
        ),
        &format!(
            "9: services.{twin} and services.b have names that look the same within transaction \
             ids: want another name for one of them\n"
        ),
    );
}

#[test]
fn endpoints_must_be_able_to_answer() {
    check_with(
        "endpoints = [\"layer2-1\", \"layer2-2\"]",
        "endpoints = [\"layer2-1\", \"layer2-1\", \"a-1\", \"monitor\", \"layer2-3\"]",
        "23: nodes[edge].endpoints = \"a-1\": want a balancer or gateway (this one's role is account)\n\
         23: nodes[edge].endpoints = \"layer2-1\": want each endpoint once\n\
         23: nodes[edge].endpoints = \"layer2-3\": want the name of a node (did you mean \"layer2-1\"?)\n\
         23: nodes[edge].endpoints = \"monitor\": want a balancer or gateway (this one's role is monitor)\n",
    );
    check_with(
        "trunk = \"127.0.0.1:7201\"",
        "http = \"127.0.0.1:7201\"",
        "30: nodes[layer2-1].endpoints = \"gateway-1\": want a node with a trunk address (this one has none)\n\
         36: nodes[layer2-2].endpoints = \"gateway-1\": want a node with a trunk address (this one has none)\n",
    );
    check_with(
        "endpoints = [\"layer2-1\", \"layer2-2\"]",
        "endpoints = []",
        "23: nodes[edge].endpoints = []: want at least one balancer or gateway\n",
    );
    check_with(
        "trunk = \"127.0.0.1:7201\"",
        "",
        "30: nodes[layer2-1].endpoints = \"gateway-1\": want a node with a trunk address (this one has none)\n\
         36: nodes[layer2-2].endpoints = \"gateway-1\": want a node with a trunk address (this one has none)\n\
         38: nodes[gateway-1].trunk is missing: want an address for the tier above (or http, for clients)\n",
    );
}

#[test]
fn cycles_are_told_with_their_ring() {
    check_with(
        "endpoints = [\"gateway-1\", \"gateway-2\"]",
        "endpoints = [\"layer2-2\", \"layer2-1\"]",
        "30: nodes[layer2-1].endpoints lead back to where they start: layer2-1 -> layer2-1\n",
    );
    let ring = SHOP
        .replacen("endpoints = [\"gateway-1\", \"gateway-2\"]", "endpoints = [\"layer2-2\"]", 1)
        .replacen("endpoints = [\"gateway-1\", \"gateway-2\"]", "endpoints = [\"layer2-1\"]", 1);
    check(
        &ring,
        "30: nodes[layer2-1].endpoints lead back to where they start: layer2-1 -> layer2-2 -> layer2-1\n",
    );
}

#[test]
fn services_and_routes_fit_each_other() {
    check_with(
        "engine = \"sqlite:data/b\"",
        "",
        "7: services.b.engine is missing: want \"sqlite:FOLDER\" or \"postgres://…\" (or http, for any HTTP service)\n",
    );
    check_with(
        "service = \"rates\"",
        "service = \"a\"",
        "15: routes[1].service = \"a\": want a service with http: the account API needs no route\n",
    );
    check_with(
        "service = \"b\"",
        "service = \"a\"",
        "7: services.b has no node: want a node with role = \"account\", service = \"b\"\n",
    );
    check_with("\"sqlite:data/b\"", "[\"postgres://one\", \"postgres://two\"]", "");
    check_with(
        "deadline = \"5s\"",
        "deadline = \"31s\"",
        "25: nodes[edge].deadline = \"31s\": want at most 30s, as long as a key is waited for\n",
    );
}

#[test]
fn every_policy_may_be_named() {
    for policy in ["least-load", "round-robin", "weighted", "least-requests", "hash"] {
        check_with("policy = \"least-load\"", &format!("policy = \"{policy}\""), "");
    }
}

#[test]
fn endpoints_may_have_weights() {
    let plain = "endpoints = [\"layer2-1\", \"layer2-2\"]";
    let weighed = "endpoints = [\"layer2-1\", { node = \"layer2-2\", weight = 3 }]";
    check_with(plain, weighed, "");
    let shop = Topology::parse(&SHOP.replacen(plain, weighed, 1), Path::new("/etc")).unwrap();
    let weights: Vec<u32> =
        shop.node("edge").unwrap().role.endpoints().iter().map(|it| it.weight.get()).collect();
    assert_eq!(weights, [1, 3]);
    check_with(
        plain,
        "endpoints = [{ weight = 0 }, { node = \"layer2-2\", wait = 1 }]",
        "23: nodes[edge].endpoints.node is missing: want the name of a node\n\
         23: nodes[edge].endpoints.wait is no key of this table: want one of node, url, weight\n\
         23: nodes[edge].endpoints.weight = 0: want a whole number from 1 to 1000\n",
    );
}

#[test]
fn a_hash_is_of_something_and_for_its_policy() {
    let policy = "policy = \"least-load\"";
    for hash in ["account", "header:X-User"] {
        check_with(policy, &format!("policy = \"hash\"\nhash = \"{hash}\""), "");
    }
    check_with(
        policy,
        &format!("{policy}\nhash = \"account\""),
        "25: nodes[edge].hash is of no use to policy least-load: want policy = \"hash\"\n",
    );
    check_with(
        policy,
        "policy = \"hash\"\nhash = \"cookie\"",
        "25: nodes[edge].hash = \"cookie\": want \"account\" or \"header:NAME\", as in \"header:x-user\"\n",
    );
}

#[test]
fn nothing_at_all_is_no_tree() {
    check(
        "",
        "1: name is missing: want a name for the tree, as in name = \"shop\"\n\
         1: nodes is missing: want at least one node under [[nodes]]\n",
    );
    check(
        "name = \"x\"\nnodes = 3\nservices = []\n",
        "1: nodes is missing: want at least one node under [[nodes]]\n\
         2: nodes = 3: want a list of tables, each under [[nodes]]\n\
         3: services = []: want a table\n",
    );
}

#[test]
fn relative_paths_count_from_the_file() {
    let shop = Topology::parse(SHOP, Path::new("/etc")).unwrap();
    assert_eq!(shop.api_key, Path::new("/etc/admin.key"));
    assert_eq!(shop.cluster_key, Path::new("/run/cluster.key"));
    let ServiceKind::Account { engines, .. } = &shop.services[0].kind else { panic!() };
    assert_eq!(engines, &[EngineUrl::Sqlite("/etc/data/a".into())]);
}

#[test]
fn tiers_start_with_the_leaves() {
    let shop = Topology::parse(SHOP, Path::new("/etc")).unwrap();
    let names: Vec<String> = shop
        .tiers()
        .iter()
        .map(|tier| tier.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(names, ["monitor", "a-1 b-1", "gateway-1 gateway-2", "layer2-1 layer2-2", "edge"]);
    assert_eq!(shop.entrance().unwrap().to_string(), "127.0.0.1:8080");
}

#[test]
fn the_tree_is_drawn_from_the_top() {
    let shop = Topology::parse(SHOP, Path::new("/etc")).unwrap();
    assert_eq!(shop.draw(), include_str!("tests/shop.txt"));
}

#[test]
fn the_front_of_a_node_is_checked() {
    let http = "http = \"127.0.0.1:8080\"";
    check_with(
        http,
        &format!("{http}\ntls = {{ cert = \"c.pem\" }}"),
        "23: nodes[edge].tls.key is missing: want the path of a PEM file\n",
    );
    check_with(
        http,
        &format!("{http}\nproxy_protocol = 1\ntrusted = [\"10.0.0.0/8\", \"10.0.0.0/40\"]"),
        "23: nodes[edge].proxy_protocol = 1: want true or false\n\
         24: nodes[edge].trusted = \"10.0.0.0/40\": want addresses, as in \"10.0.0.0/8\" or \"::1\"\n",
    );
    let text = SHOP.replace(
        http,
        &format!("{http}\ntls = {{ cert = \"c.pem\", key = \"/k.pem\" }}\nproxy_protocol = true"),
    );
    let tree = Topology::parse(&text, Path::new("/base")).expect("sound");
    let Role::Balancer { door, .. } = &tree.node("edge").expect("there").role else { panic!() };
    let tls = door.front.tls.as_ref().expect("read");
    assert_eq!(
        (tls.cert.as_path(), tls.key.as_path()),
        (Path::new("/base/c.pem"), Path::new("/k.pem"))
    );
    assert!(door.front.proxy_protocol && door.front.trusted.is_empty());
}

#[test]
fn an_http_service_has_keys_of_its_own() {
    let rates = "http = [\"http://127.0.0.1:9100\"]";
    let with = |keys: &str| format!("{rates}\n{keys}");
    check_with(
        rates,
        &with(
            "protocol = \"http2\"\nhost = \"rates.internal\"\npolicy = \"hash\"\n\
             hash = \"header:x-user\"\n\
             check = { path = \"/healthz\", every = \"2s\", timeout = \"1s\", rise = 2, fall = 3 }",
        ),
        "",
    );
    let check = "check = { path = \"healthz\", every = \"1ms\", rise = 0, often = 1 }";
    check_with(
        rates,
        &with(&format!("protocol = \"h2\"\nhost = \"a/b\"\nhash = \"header:x\"\n{check}")),
        "\
11: services.rates.protocol = \"h2\": want one of http1, http2
12: services.rates.host = \"a/b\": want HOST or HOST:PORT, as in \"rates.internal\"
13: services.rates.hash = \"header:x\": want policy = \"hash\" beside it
14: services.rates.check.every = \"1ms\": want 100ms or longer
14: services.rates.check.often is no key of this table: want one of path, every, timeout, rise, fall
14: services.rates.check.path = \"healthz\": want a path, as in \"/healthz\"
14: services.rates.check.rise = 0: want a whole number from 1 to 100
",
    );
    check_with(
        "engine = \"sqlite:data/b\"",
        "engine = \"sqlite:data/b\"\nprotocol = \"http2\"",
        "9: services.b.protocol is no key of an account service\n",
    );
    check_with("\"http://127.0.0.1:9100\"", "{ url = \"http://a:1\", weight = 3 }", "");
    check_with(
        "\"http://127.0.0.1:9100\"",
        "\"http://a:1\", \"http://a:1/\"",
        "10: services.rates.http = \"http://a:1/\": want each URL once\n",
    );
}

#[test]
fn a_balancer_stands_before_nodes_or_before_one_http_service() {
    let endpoints = "endpoints = [\"gateway-1\", \"gateway-2\"]";
    check_with(endpoints, "endpoints = [\"rates\"]", "");
    check_with(endpoints, "endpoints = [\"http://10.0.0.1:80\", \"http://10.0.0.2:80\"]", "");
    check_with(endpoints, "endpoints = \"http://10.0.0.1\"", "");
    let weighed = "endpoints = [\"http://a:1\", { url = \"http://b:1\", weight = 2 }]";
    check_with(endpoints, weighed, "");
    let want = "want either nodes, or one HTTP service, or URLs of one\n";
    for mixed in ["[\"rates\", \"gateway-2\"]", "[\"http://a:1\", \"rates\"]"] {
        check_with(
            endpoints,
            &format!("endpoints = {mixed}"),
            &format!("30: nodes[layer2-1].endpoints = {mixed}: {want}"),
        );
    }
    check_with(
        endpoints,
        "endpoints = [\"ftp://a\"]",
        "30: nodes[layer2-1].endpoints = \"ftp://a\": want http(s)://HOST:PORT, as in \"http://127.0.0.1:9100\"\n",
    );
    check_with(endpoints, "endpoints = [\"https://a\", \"https://b:8443\"]", "");
    let mixed = "[\"https://a\", \"http://b\"]";
    check_with(
        endpoints,
        &format!("endpoints = {mixed}"),
        &format!("30: nodes[layer2-1].endpoints = {mixed}: want all http:// or all https://\n"),
    );
    let text = SHOP.replacen(endpoints, "endpoints = [\"http://10.0.0.1:80\"]", 1);
    let tree = Topology::parse(&text, Path::new("/etc")).unwrap();
    assert!(tree.draw().contains("└─ http://10.0.0.1:80"), "{}", tree.draw());
    let Role::Balancer { endpoints, .. } = &tree.node("layer2-1").unwrap().role else { panic!() };
    let service = tree.http_behind(endpoints).unwrap();
    assert_eq!(service.endpoints[0].authority(), "10.0.0.1:80");
    let Role::Balancer { endpoints, .. } = &tree.node("edge").unwrap().role else { panic!() };
    assert_eq!(tree.http_behind(endpoints), None);
}

#[test]
fn limits_of_self_checks_are_the_files_unless_a_node_has_its_own() {
    let text = SHOP.replacen(
        "name = \"shop\"",
        "name = \"shop\"\nchecks = { disk = { warn = 70, fail = 80 }, commit = { fail = 900 } }",
        1,
    );
    let own = "role = \"gateway\"\nchecks = { disk = { fail = 75 } }";
    let text = text.replacen("role = \"gateway\"", own, 1);
    let tree = Topology::parse(&text, Path::new("/etc")).unwrap();
    let of = |name: &str| tree.node(name).unwrap().checks["disk"];
    assert_eq!((of("gateway-1").warn, of("gateway-1").fail), (Some(70), Some(75)));
    assert_eq!((of("edge").warn, of("edge").fail), (Some(70), Some(80)));
    assert_eq!(tree.node("a-1").unwrap().checks["commit"].fail, Some(900));
    check_with(
        "name = \"shop\"",
        "name = \"shop\"\nchecks = { disk = { warn = 90, fail = 101 }, dish = {}, files = { warn = 2, fail = 1 } }",
        "\
2: checks.dish is no key of this table: did you mean \"disk\"?
2: checks.disk.fail = 101: want a whole number from 1 to 100
2: checks.files.fail = 1: want at least as much as warn
",
    );
}

/// The example file with these lines before its first node.
fn with_tables(lines: &str) -> String {
    SHOP.replacen("[[nodes]]", &format!("{lines}\n[[nodes]]"), 1)
}

#[test]
fn rules_take_the_place_of_the_usual_ones() {
    use monitor::core::rule::{Measure, defaults::defaults};
    let text = with_tables(
        "[[rules]]\nname = \"disk\"\nmetric = \"check.disk\"\nabove = 60\nclear = 55.5\n\
         for = \"0s\"\nseverity = \"critical\"\nnode = \"a-*\"\nhits = 2\nof = 3\n\
         [[rules]]\nname = \"memory\"\noff = true\n\
         [[rules]]\nname = \"up\"\nkind = \"burn\"\nslo = 99.5\nservice = \"a\"\n",
    );
    let tree = Topology::parse(&text, Path::new("/etc")).unwrap();
    let rules = &tree.alerting.rules;
    assert_eq!(rules.len(), defaults().len() - 1 + 1, "without memory, with up");
    let disk = rules.iter().find(|it| it.name == "disk").unwrap();
    assert_eq!((disk.hits, disk.of, disk.hold), (2, 3, Duration::ZERO));
    assert!(!disk.consequence);
    let Measure::Value { bound, .. } = &disk.measure else { panic!("{disk:?}") };
    assert_eq!((bound.enter, bound.leave), (60.0, 55.5));
    let up = rules.iter().find(|it| it.name == "up").unwrap();
    let Measure::BurnTime { allowed } = up.measure else { panic!("{up:?}") };
    assert!((allowed - 0.005).abs() < 1e-9);
    // What a node does with it: the monitor takes it while it runs.
    let old = Topology::parse(SHOP, Path::new("/etc")).unwrap();
    let of_monitor = difference(&old, &tree, "monitor");
    assert_eq!((of_monitor.changes.len(), of_monitor.restarts.len()), (4, 0), "{of_monitor:?}");
    assert_eq!(difference(&old, &tree, "a-1"), Difference::default());
}

#[test]
fn a_rule_that_makes_no_sense_is_told_what_is_missing() {
    for (table, want) in [
        ("", "rules[1].name is missing: want a name, as in \"errors\""),
        (
            "name = \"x\"\nmetric = \"y\"",
            "rules[1].above is missing: want the number beyond which it is bad (or below)",
        ),
        (
            "name = \"x\"\nmetric = \"y\"\nabove = 1\nclear = 2",
            "rules[1].clear does not fit: want a number on the good side of where it begins",
        ),
        (
            "name = \"x\"\nmetric = \"y\"\nabove = 1\nover = \"5s\"",
            "rules[1].over does not fit: want no over for kind value",
        ),
        (
            "name = \"x\"\nkind = \"share\"\nmetric = \"y\"\nabove = 1",
            "rules[1].per is missing: want the number that it is a share of, as in \"requests\"",
        ),
        (
            "name = \"x\"\nkind = \"burn\"\nslo = 100",
            "rules[1].slo = 100: want a number from 50 to 99.999",
        ),
        (
            "name = \"x\"\nkind = \"valu\"\nmetric = \"y\"\nabove = 1",
            "rules[1].kind = \"valu\": want one of value, rate, share, absent, burn (did you mean \"value\"?)",
        ),
    ] {
        let text = with_tables(&format!("[[rules]]\n{table}\n"));
        let complaints = Topology::parse(&text, Path::new("/etc")).unwrap_err();
        let said: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 1, "{table}: {said:?}");
        assert!(said[0].ends_with(want), "{table}: {said:?}");
    }
}

#[test]
fn subscriptions_and_windows_are_read_and_taken_while_it_runs() {
    let tables = "[[subscriptions]]\nchannel = \"webhook-1\"\nservice = \"a\"\n\
        severity = \"critical\"\nhours = \"Mon-Fri 08:00-18:00\"\ntz = \"UTC\"\nafter = \"15m\"\n\
        remind = \"1h\"\n[[windows]]\nname = \"upgrade\"\nnode = \"a-*\"\n\
        schedule = \"0 3 * * sun\"\nfor = \"2h\"\n[[windows]]\nname = \"once\"\n\
        from = \"2026-11-22T02:00:00+01:00\"\nfor = \"1h\"\n";
    let notify = "role = \"monitor\"\nnotify = [\"http://127.0.0.1:9/hook\"]";
    let with = |text: &str| text.replacen("role = \"monitor\"", notify, 1);
    let old = Topology::parse(&with(SHOP), Path::new("/etc")).unwrap();
    let new = Topology::parse(&with(&with_tables(tables)), Path::new("/etc")).unwrap();
    let it = &new.alerting.subscriptions[0];
    assert_eq!((it.channel.as_str(), it.after), ("webhook-1", Duration::from_secs(900)));
    assert_eq!(it.scope.service.as_deref(), Some("a"));
    assert_eq!(new.alerting.windows.len(), 2);
    let of_monitor = difference(&old, &new, "monitor");
    assert_eq!((of_monitor.changes.len(), of_monitor.restarts.len()), (3, 0), "{of_monitor:?}");

    let wrong = with_tables(
        "[[subscriptions]]\nchannel = \"mail-7\"\nhours = \"Mon\"\ntz = \"Mars/Olympus\"\n\
         [[windows]]\nname = \"x\"\nfor = \"1h\"\n[[windows]]\nname = \"y\"\nschedule = \"x\"\n",
    );
    let complaints = Topology::parse(&with(&wrong), Path::new("/etc")).unwrap_err();
    let said: Vec<String> = complaints.iter().map(|it| format!("{} {}", it.key, it.text)).collect();
    assert_eq!(
        said,
        [
            "subscriptions[1].channel = \"mail-7\": want one of webhook-1",
            "subscriptions[1].tz = \"Mars/Olympus\": want a time zone instead of \"Mars/Olympus\"",
            "windows[1] is no window: want a moment at which it begins, or a schedule",
            "windows[2].for is missing: want how long, as in \"2h\"",
        ]
    );
}

#[test]
fn how_long_is_remembered_is_read_and_taken_while_it_runs() {
    let old = Topology::parse(SHOP, Path::new("/etc")).unwrap();
    assert_eq!(old.alerting.retention, Retention::USUAL);
    let text = with_tables("[retention]\nminutes = \"6h\"\nchanges = \"90d\"\n");
    let new = Topology::parse(&text, Path::new("/etc")).unwrap();
    let it = new.alerting.retention;
    assert_eq!(
        (it.minutes, it.changes),
        (Duration::from_secs(21_600), Duration::from_secs(7_776_000))
    );
    assert_eq!(it.hours, Retention::USUAL.hours);
    let of_monitor = difference(&old, &new, "monitor");
    assert_eq!((of_monitor.changes.len(), of_monitor.restarts.len()), (1, 0), "{of_monitor:?}");
    let wrong = with_tables("[retention]\nminutes = \"1h\"\ndays = \"9999d\"\nweeks = \"1d\"\n");
    let complaints = Topology::parse(&wrong, Path::new("/etc")).unwrap_err();
    let said: Vec<String> = complaints.iter().map(|it| format!("{} {}", it.key, it.text)).collect();
    assert_eq!(
        said,
        [
            "retention.minutes = \"1h\": want 2h to 3660d",
            "retention.days = \"9999d\": want 48h to 3660d",
            "retention.weeks is no key of this table: want one of beats, minutes, hours, days, changes",
        ]
    );
}

#[test]
fn a_monitor_keeps_what_it_knows_in_files_or_in_a_database() {
    let with =
        |keys: &str| SHOP.replacen("role = \"monitor\"", &format!("role = \"monitor\"\n{keys}"), 1);
    let old = Topology::parse(SHOP, Path::new("/etc")).unwrap();
    let text = with("store = \"postgres://u:secret@db/x\"");
    let new = Topology::parse(&text, Path::new("/etc")).unwrap();
    let store = new.node("monitor").unwrap().role.monitor().unwrap().store.clone().unwrap();
    assert_eq!(store.to_string(), "postgres://u:***@db/x");
    let of_monitor = difference(&old, &new, "monitor");
    assert_eq!((of_monitor.changes.len(), of_monitor.restarts.len()), (0, 1), "{of_monitor:?}");
    assert!(!of_monitor.restarts[0].contains("secret"), "{of_monitor:?}");
    for (keys, want) in [
        ("store = \"sqlite:x\"", "nodes[monitor].store = \"sqlite:x\": want \"postgres://…\""),
        (
            "store = \"postgres://db/x\"\nfolder = \"y\"",
            "nodes[monitor].store stands beside folder: want one of them",
        ),
    ] {
        let complaints = Topology::parse(&with(keys), Path::new("/etc")).unwrap_err();
        let said: Vec<String> =
            complaints.iter().map(|it| format!("{} {}", it.key, it.text)).collect();
        assert_eq!(said, [want]);
    }
}
