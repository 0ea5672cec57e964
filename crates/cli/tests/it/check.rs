//! `tollgate check`.

use crate::harness::Folder;

const SOUND: &str = "\
name = \"small\"

[services.a]
engine = \"sqlite:data/a\"
partitions = 4

[[nodes]]
name = \"gateway\"
role = \"gateway\"
http = \"127.0.0.1:8080\"

[[nodes]]
name = \"a-1\"
role = \"account\"
service = \"a\"
trunk = \"127.0.0.1:7301\"
";

#[test]
fn a_sound_file_is_drawn() {
    let folder = Folder::new("check-sound");
    folder.write("tollgate.toml", SOUND);
    let ran = folder.tollgate(["check", "tollgate.toml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ran.stdout,
        "\
small
└─ gateway  gateway   http 127.0.0.1:8080

service a   4 partitions on sqlite:./data/a
└─ a-1      account   trunk 127.0.0.1:7301
"
    );
}

#[test]
fn every_mistake_is_told_in_one_run() {
    let folder = Folder::new("check-broken");
    let broken = SOUND
        .replace("partitions = 4", "partitions = 0\nshards = 3")
        .replace("http = \"127.0.0.1:8080\"", "http = \"here\"")
        .replace("service = \"a\"", "service = \"aa\"");
    folder.write("broken.toml", &broken);
    folder.tollgate(["check", "broken.toml"]).fails(
        1,
        "\
broken.toml:3: services.a has no node: want a node with role = \"account\", service = \"a\"
broken.toml:5: services.a.partitions = 0: want a whole number from 1 to 4096
broken.toml:6: services.a.shards is no key of this table: want one of engine, partitions, http, protocol, host, policy, hash, check, ca
broken.toml:11: nodes[gateway].http = \"here\": want ip:port with a port other than 0, as in \"127.0.0.1:7101\"
broken.toml:16: nodes[a-1].service = \"aa\": want the name of a service (did you mean \"a\"?)
5 mistakes
",
    );
}

#[test]
fn what_is_no_toml_is_told_by_line() {
    let folder = Folder::new("check-syntax");
    folder.write("x.toml", &SOUND.replace("role = \"gateway\"", "role = "));
    let ran = folder.tollgate(["check", "x.toml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.starts_with("x.toml:9: not TOML: "), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("\n1 mistake\n"), "{}", ran.stderr);
}

#[test]
fn programs_read_json() {
    let folder = Folder::new("check-json");
    folder.write("good.toml", SOUND);
    folder.write("bad.toml", &SOUND.replace("partitions = 4", "partitions = 4.5"));
    let good = folder.tollgate(["check", "--json", "good.toml"]);
    let value: serde_json::Value = serde_json::from_str(&good.stdout).unwrap();
    assert_eq!((good.code, &value["ok"]), (Some(0), &true.into()));
    assert_eq!(value["nodes"][1]["trunk"], "127.0.0.1:7301");
    let bad = folder.tollgate(["check", "--json", "bad.toml"]);
    assert_eq!((bad.code, bad.stderr.as_str()), (Some(1), ""));
    assert_eq!(
        bad.stdout,
        "{\"complaints\":[{\"key\":\"services.a.partitions\",\"line\":5,\
         \"text\":\"= 4.5: want a whole number from 1 to 4096\"}],\"ok\":false}\n"
    );
}

#[test]
fn a_file_that_is_not_there_is_no_mistake_in_it() {
    let folder = Folder::new("check-absent");
    folder
        .tollgate(["check", "absent.toml"])
        .fails(1, "error: cannot read absent.toml: No such file or directory (os error 2)\n");
}
