//! How long clients are waited for, and how old connections become.

use super::*;

#[test]
fn times_that_clients_have_are_bounded() {
    let http = "http = \"127.0.0.1:8080\"";
    let with = |keys: &str| format!("{http}\npatience = {{ {keys} }}");
    let want = "want a length of time from 1s to 24h, as in \"30s\"";
    check_with(
        http,
        &with("idle = \"900ms\", upgraded = \"25h\", requests = 0, heads = \"1s\""),
        &format!(
            "23: nodes[edge].patience.heads is no key of this table: did you mean \"head\"?\n\
             23: nodes[edge].patience.idle = \"900ms\": {want}\n\
             23: nodes[edge].patience.requests = 0: want a whole number from 1 to 1000000000000\n\
             23: nodes[edge].patience.upgraded = \"25h\": {want}\n"
        ),
    );
    let text = SHOP.replace(http, &with("idle = \"5s\", upgraded = \"24h\", requests = 9"));
    let tree = Topology::parse(&text, Path::new("/base")).expect("sound");
    let Role::Balancer { door, .. } = &tree.node("edge").expect("there").role else { panic!() };
    let Patience { idle, upgraded, requests_max, head, .. } = door.front.patience;
    let seconds = [idle, upgraded, head].map(|it| it.as_secs());
    assert_eq!((seconds, requests_max), ([5, 86_400, 10], 9));
}

#[test]
fn ages_of_connections_fit_each_other() {
    let named = "name = \"shop\"";
    let check =
        |ages: &str, expected: &str| check_with(named, &format!("{named}\n{ages}"), expected);
    check(
        "connection_age = \"59s\"",
        "2: connection_age = \"59s\": want a length of time from 1m to 1h, as in \"10m\"\n",
    );
    check(
        "connection_age = \"1m\"",
        "2: connection_age = \"1m\": want at least 200s where stream_age is 14400s\n",
    );
    let text = SHOP.replace(named, "name = \"shop\"\nconnection_age = \"1m\"\nstream_age = \"1h\"");
    let tree = Topology::parse(&text, Path::new("/base")).expect("sound");
    assert_eq!((tree.connection_age.as_secs(), tree.stream_age.as_secs()), (60, 3_600));
}
