//! The suite on PostgreSQL, and what that engine promises besides. Where PostgreSQL is not
//! installed each test says that it is skipped, and passes.

use crate::{
    cluster::{Cluster, cluster},
    keys::{check_all_keys, credit, used},
    support::{Branch, DAY, NOON, P0, Rig, SERVICE, fresh, open, post, take},
};
use engine::{
    Engine, EngineError, EngineUrl, Settings, postgres::Postgres, url::PostgresUrl, verify::verify,
};
use stdx::Rng;
use wire::{Kind, Seq};

/// A database of its own in this process's cluster, removed with it.
pub(crate) struct PostgresRig {
    pub(crate) cluster: &'static Cluster,
    pub(crate) database: String,
    pub(crate) partitions: u16,
}

impl PostgresRig {
    pub(crate) fn new() -> Option<PostgresRig> {
        Some(PostgresRig::within(cluster()?))
    }

    pub(crate) fn within(cluster: &'static Cluster) -> PostgresRig {
        let database = cluster.create(&format!("rig_{}", fresh()));
        PostgresRig { cluster, database, partitions: 4 }
    }

    pub(crate) fn url(&self) -> PostgresUrl {
        match EngineUrl::parse(&self.cluster.url(&self.database)) {
            Ok(EngineUrl::Postgres(url)) => url,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn settings(&self, node: &str) -> Settings {
        settings(node, self.partitions)
    }

    /// What statements on the rig's schema give.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.cluster.psql(&self.database, &format!("SET search_path = tollgate_{SERVICE}; {sql}"))
    }

    pub(crate) fn join(&self, settings: &Settings) -> Result<Postgres, EngineError> {
        Postgres::open(&self.url(), settings)
    }
}

pub(crate) fn settings(node: &str, partitions: u16) -> Settings {
    let random = Rng::new(fresh() + (u64::from(std::process::id()) << 32)).next();
    // Each node its own address, as if each had bound it.
    let port = u16::try_from(10_000 + random % 50_000).unwrap();
    Settings {
        service: SERVICE.to_string(),
        partitions,
        place: engine::Place::ALONE,
        node: node.to_string(),
        trunk: ([127, 0, 0, 1], port).into(),
        node_id: random,
        incarnation: u128::from(random),
    }
}

impl Rig for PostgresRig {
    fn open(&self, node: &str) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(self.join(&self.settings(node))?))
    }
}

crate::roll::suite!(PostgresRig::new());

/// What verify says of partition 0 after this was done to the tables; nothing is put back.
fn problems(rig: &PostgresRig, sql: &str) -> Vec<String> {
    rig.sql(sql);
    let report = verify(&EngineUrl::Postgres(rig.url()), SERVICE, |_| ()).unwrap();
    report.partitions.into_iter().next().unwrap().problems
}

#[test]
fn verify_finds_what_was_changed_and_nothing_else() {
    let Some(rig) = PostgresRig::new() else { return };
    let mut branch = Branch::new(&rig);
    branch.whatever(&mut Rng::new(5), 20);
    branch.project();
    branch.whatever(&mut Rng::new(6), 10);
    let report = verify(&EngineUrl::Postgres(rig.url()), SERVICE, |_| ()).unwrap();
    assert!(report.is_sound(), "{report:?}");
    for (found, teller) in report.partitions.iter().zip(&branch.tellers) {
        assert_eq!((found.head, found.watermark), (teller.partition.chain(), Seq(20)));
        assert_eq!(found.transactions_count, teller.postings.len() as u64);
    }
    let first = "(SELECT min(number) FROM accounts WHERE partition = 0)";
    let block = "(SELECT min(account) FROM blocks JOIN accounts ON account = number
                  WHERE partition = 0)";
    for (change, back) in [
        (
            format!("UPDATE accounts SET posted = posted + 1 WHERE number = {first}"),
            format!("UPDATE accounts SET posted = posted - 1 WHERE number = {first}"),
        ),
        (
            format!("UPDATE blocks SET count = count + 1 WHERE account = {block}"),
            format!("UPDATE blocks SET count = count - 1 WHERE account = {block}"),
        ),
        (
            "UPDATE external SET balance = balance + 1 WHERE partition = 0".to_owned(),
            "UPDATE external SET balance = balance - 1 WHERE partition = 0".to_owned(),
        ),
        (
            "UPDATE objects SET open = NOT open WHERE partition = 0".to_owned(),
            "UPDATE objects SET open = NOT open WHERE partition = 0".to_owned(),
        ),
        (
            "UPDATE key_run SET number = -number WHERE partition = 0".to_owned(),
            "UPDATE key_run SET number = -number WHERE partition = 0".to_owned(),
        ),
        (
            "UPDATE part SET time = time + 1 WHERE part_id = 0".to_owned(),
            "UPDATE part SET time = time - 1 WHERE part_id = 0".to_owned(),
        ),
        (
            "UPDATE journal SET record = set_byte(record, 99, 255 - get_byte(record, 99))
             WHERE partition = 0 AND seq = 25"
                .to_owned(),
            "UPDATE journal SET record = set_byte(record, 99, 255 - get_byte(record, 99))
             WHERE partition = 0 AND seq = 25"
                .to_owned(),
        ),
        ("INSERT INTO blocks VALUES (9999, 1, 1, 0, 0, 0, '')".to_owned(), String::new()),
    ] {
        assert_ne!(problems(&rig, &change), Vec::<String>::new(), "{change}");
        if !back.is_empty() {
            assert_eq!(problems(&rig, &back), Vec::<String>::new(), "{back}");
        }
    }
    let none = verify(&EngineUrl::Postgres(rig.url()), "nobody", |_| ()).unwrap_err();
    assert_eq!(none.0.kind, engine::Kind::Mismatch);
}

#[test]
fn tables_of_versions_before_are_brought_up_to_date() {
    let Some(rig) = PostgresRig::new() else { return };
    let mut branch = Branch::new(&rig);
    branch.act(vec![open("alice"), post("alice", Kind::Credit, 7)]);
    let mut rng = Rng::new(3);
    credit(&mut branch, &mut rng);
    branch.project();
    let projected = used(&branch);
    let last = Seq(branch.tellers[0].records.len() as u64);
    credit(&mut branch, &mut rng);
    let Branch { engine, committer, projector, tellers } = branch;
    drop((engine, committer, projector));
    let day = NOON.0.div_euclid(DAY);
    let rows: Vec<String> = projected
        .iter()
        .map(|(key, it)| format!("('\\x{:032x}', 0, {}, {})", key.0, it.seq.0, it.index))
        .collect();
    let before = format!(
        "DROP TABLE objects; DELETE FROM migration WHERE 1 < version;
         UPDATE meta SET format_version = 1, record_version = 2;
         DROP TABLE key_run; DROP TABLE key_block_{day};
         CREATE TABLE keys_{day} (
            key bytea PRIMARY KEY, partition integer NOT NULL, seq bigint NOT NULL,
            place integer NOT NULL
         );
         INSERT INTO keys_{day} VALUES {}",
        rows.join(",")
    );
    rig.sql(&before);
    let engine = rig.open("a-1").unwrap();
    let tenures = take(&*engine, &[P0]);
    assert_eq!(tenures[0].chain, tellers[0].partition.chain());
    let loaded = engine.reader().unwrap().load(P0, Seq(0)).unwrap();
    assert_eq!((loaded.watermark.seq, loaded.open.len()), (last, 0));
    let (committer, projector) = (engine.committer().unwrap(), engine.projector().unwrap());
    let mut branch = Branch { engine, committer, projector, tellers };
    branch.project();
    check_all_keys(&branch);
    assert_eq!(problems(&rig, "SELECT 1"), Vec::<String>::new());
}
