//! What goes wrong, fault by fault, and for each the guard whose absence the judges must notice.

use super::{
    recorder::Watch,
    scene::{LONG, On, Scene, eventually},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};
use stdx::Rng;

/// Answers between two blows.
const SOME: usize = 60;

fn some(watch: &Watch) -> Result<Duration, String> {
    watch.answers(SOME, LONG)
}

/// The node that has the most.
fn owner(scene: &Scene) -> String {
    let owners = scene.owners();
    let count = |node: &str| owners.iter().filter(|(owner, _)| owner == node).count();
    (if count("a-1") < count("a-2") { "a-2" } else { "a-1" }).to_owned()
}

fn other(node: &str) -> &'static str {
    if node == "a-1" { "a-2" } else { "a-1" }
}

fn kill_at(
    scene: &Scene,
    watch: &Watch,
    rng: &mut Rng,
    points: &[&'static str],
) -> Result<(), String> {
    for point in scene.places(points) {
        let node = owner(scene);
        scene.happens(&node, &format!("{point} kill {}\n", 1 + rng.below(15)))?;
        some(watch)?;
        // Whoever is hurt next must not be alone.
        is_running(scene, &node)?;
    }
    Ok(())
}

fn is_running(scene: &Scene, node: &str) -> Result<(), String> {
    let is_ready = || {
        let status = scene.tree.status();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().any(|it| it["name"] == node && it["state"] == "ready")
    };
    eventually(LONG, is_ready).map_err(|why| format!("{node} is back: {why}"))
}

/// F1: the owner dies at every place of a commit, at the heir's takeover, and at any moment.
pub(crate) fn owner_dies(scene: &mut Scene, watch: &Watch, rng: &mut Rng) -> Result<(), String> {
    let points = ["before-begin", "before-fence", "before-commit", "after-commit", "before-answer"];
    kill_at(scene, watch, rng, &points)?;
    for point in ["before-taken", "after-taken"] {
        let victim = owner(scene);
        let heir = other(&victim);
        scene.order(heir, &format!("{point} kill 1\n"));
        scene.tree.kill(&victim);
        some(watch)?;
        for node in [victim.as_str(), heir] {
            is_running(scene, node)?;
        }
    }
    for _ in 0..3 {
        let victim = owner(scene);
        scene.tree.kill(&victim);
        watch.answers(SOME + rng.below(SOME), LONG)?;
        is_running(scene, &victim)?;
    }
    Ok(())
}

/// F1 in short: before and after COMMIT.
pub(crate) fn owner_dies_briefly(
    scene: &mut Scene,
    watch: &Watch,
    rng: &mut Rng,
) -> Result<(), String> {
    kill_at(scene, watch, rng, &["before-commit", "after-commit"])
}

/// The control of F1: one death with a batch that is not durable.
pub(crate) fn owner_dies_uncommitted(
    scene: &mut Scene,
    watch: &Watch,
    rng: &mut Rng,
) -> Result<(), String> {
    kill_at(scene, watch, rng, &["before-commit"])
}

/// F1, another control: the heir's takeover, and what it does to the epochs.
pub(crate) fn epochs_go_up(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    let before = scene.owners();
    let victim = owner(scene);
    scene.tree.ok(&["node", &victim, "kill"]);
    scene.all_at(other(&victim))?;
    some(watch)?;
    let after = scene.owners();
    scene.tree.ok(&["node", &victim, "start"]);
    for (partition, (before, after)) in before.iter().zip(&after).enumerate() {
        if before.0 != after.0 && after.1 <= before.1 {
            return Err(format!("the epoch of {partition} did not go up: {before:?}, {after:?}"));
        }
    }
    Ok(())
}

/// F2: a gateway dies with an answer in its hands.
pub(crate) fn gateway_dies(scene: &mut Scene, watch: &Watch, rng: &mut Rng) -> Result<(), String> {
    for node in ["gateway-1", "gateway-2"] {
        scene.happens(node, &format!("after-reply kill {}\n", 1 + rng.below(30)))?;
        some(watch)?;
        is_running(scene, node)?;
    }
    Ok(())
}

/// The control of F2: enough deaths for a write to be among what was under way.
pub(crate) fn gateway_dies_again(
    scene: &mut Scene,
    watch: &Watch,
    rng: &mut Rng,
) -> Result<(), String> {
    gateway_dies(scene, watch, rng)?;
    gateway_dies(scene, watch, rng)
}

/// F3: every process at once.
pub(crate) fn all_die(scene: &mut Scene, watch: &Watch, rng: &mut Rng) -> Result<(), String> {
    watch.answers(SOME + rng.below(SOME), LONG)?;
    scene.tree.kill_everything();
    scene.tree.start();
    Ok(())
}

/// F3's control: each node ends with a batch that it has told of, and has not committed.
pub(crate) fn all_die_uncommitted(
    scene: &mut Scene,
    watch: &Watch,
    _: &mut Rng,
) -> Result<(), String> {
    let place = scene.place("before-commit");
    for node in ["a-1", "a-2"] {
        scene.order(node, &format!("{place} stop 5\n"));
    }
    thread::sleep(Duration::from_millis(200)); // Long enough for one to get there, for either.
    drop(watch.answers(1, Duration::from_millis(500)));
    scene.tree.kill_everything();
    scene.tree.start();
    Ok(())
}

/// F4: the owner is paused for less than its time: a second and a half.
pub(crate) fn owner_pauses(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    for _ in 0..2 {
        let (node, pids) = (owner(scene), scene.pids());
        scene.tree.signal(&node, "STOP");
        thread::sleep(Duration::from_millis(1_500));
        scene.tree.signal(&node, "CONT");
        some(watch)?;
        nobody_was_ended(scene, &pids)?;
    }
    Ok(())
}

fn nobody_was_ended(
    scene: &Scene,
    before: &std::collections::BTreeMap<String, u32>,
) -> Result<(), String> {
    let now = scene.pids();
    match now == *before {
        true => Ok(()),
        false => Err(format!("a takeover without a cause: {before:?} before, {now:?} now")),
    }
}

/// The time in which partitions of a stopped owner must answer again.
const STOPPED_MAX: Duration = Duration::from_millis(5_500);
/// What a debug build on a busy machine may take on top.
const SLACK: Duration = Duration::from_secs(10);

/// F5, F6: the owner stops with a transaction open and the fence row in its hands, and elsewhere,
/// for longer than its time: its sibling takes over.
pub(crate) fn owner_stops(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    for point in scene.places(&["before-commit", "before-answer", "before-begin"]) {
        let node = owner(scene);
        let pid = scene.pids()[&node];
        scene.happens(&node, &format!("{point} stop 3\n"))?;
        let begun = net::clock::now();
        watch.answers(SOME, STOPPED_MAX + SLACK)?;
        println!("stopped at {point}: {SOME} answers after {:?}", net::clock::now().since(begun));
        is_replaced(scene, &node, pid)?;
    }
    Ok(())
}

/// The process that was stopped is ended by its sibling; or, where nobody can do that from
/// elsewhere, it goes on, finds that it was deposed, and ends. Another is started.
fn is_replaced(scene: &Scene, node: &str, pid: u32) -> Result<(), String> {
    if scene.on == On::Postgres {
        scene.all_at(other(node))?;
        signal(pid, Signal::CONT);
    }
    let is_another = || scene.pids().get(node).is_some_and(|it| ![0, pid].contains(it));
    eventually(LONG, is_another).map_err(|why| format!("{node} goes on: {why}"))?;
    is_running(scene, node)
}

/// F5 in short: with the transaction open.
pub(crate) fn owner_stops_briefly(
    scene: &mut Scene,
    watch: &Watch,
    _: &mut Rng,
) -> Result<(), String> {
    let order = format!("{} stop 3\n", scene.place("before-commit"));
    let node = owner(scene);
    let pid = scene.pids()[&node];
    scene.happens(&node, &order)?;
    let answered = watch.answers(SOME, STOPPED_MAX + SLACK).map(drop);
    // Where nobody has ended it: it stands in everybody's way.
    signal(pid, Signal::CONT);
    answered
}

/// F5 without the kill: the owner is stopped with a batch in flight, another is owner meanwhile
/// and writes, and it resumes. The fence alone must keep it out.
pub(crate) fn owner_resumes(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    stop_and_resume(scene, watch)?;
    some(watch).map(drop)
}

/// The control of F5: of books that are damaged no more is asked.
pub(crate) fn owner_resumes_unfenced(
    scene: &mut Scene,
    watch: &Watch,
    _: &mut Rng,
) -> Result<(), String> {
    stop_and_resume(scene, watch)?;
    thread::sleep(Duration::from_secs(1));
    Err("the control is over".to_owned())
}

fn stop_and_resume(scene: &Scene, watch: &Watch) -> Result<(), String> {
    let node = owner(scene);
    let pid = scene.pids()[&node];
    scene.happens(&node, "before-begin stop 3\n")?;
    // Its time runs out, and others take over. Looking at the tree would wait for the one that is
    // stopped; on every partition somebody writes under the new epoch.
    thread::sleep(STOPPED_MAX);
    let answered = watch.answers(SOME * 4, LONG);
    signal(pid, Signal::CONT);
    answered.map(drop)
}

fn signal(pid: u32, signal: Signal) {
    // One that was ended meanwhile is gone.
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    _ = kill_process(pid, signal);
}

/// Where a cgroup can be frozen, if anywhere.
pub(crate) fn freezer() -> Option<&'static Path> {
    let folder = Path::new("/sys/fs/cgroup/freezer/tollgate-faults");
    let is_there = fs::create_dir_all(folder).is_ok() && folder.join("freezer.state").exists();
    is_there.then_some(folder)
}

/// F8: the whole node is frozen, its pulse included, with a batch in its hands. It is ended, which
/// shows when it is thawed; or finds that it was deposed, and ends.
pub(crate) fn owner_freezes(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    let node = freeze_and_thaw(scene, watch)?;
    some(watch)?;
    is_running(scene, &node)?;
    leave_freezer();
    Ok(())
}

/// The control of F8: of books that are damaged no more is asked.
pub(crate) fn owner_freezes_unfenced(
    scene: &mut Scene,
    watch: &Watch,
    _: &mut Rng,
) -> Result<(), String> {
    freeze_and_thaw(scene, watch)?;
    // Until it has surely gone on with its batch.
    thread::sleep(Duration::from_secs(4));
    leave_freezer();
    Err("the control is over".to_owned())
}

/// Removes the cgroup, if nobody is in it.
pub(crate) fn leave_freezer() {
    if let Some(folder) = freezer() {
        drop(fs::remove_dir(folder));
    }
}

fn freeze_and_thaw(scene: &Scene, watch: &Watch) -> Result<String, String> {
    let folder = freezer().ok_or("there is no cgroup that can be frozen")?;
    let node = owner(scene);
    let pid = scene.pids()[&node].to_string();
    let tell = |file: &str, word: &str| {
        fs::write(folder.join(file), word).map_err(|err| format!("{file}: {err}"))
    };
    tell("cgroup.procs", &pid)?;
    // It goes on with its batch a moment after it was thawed.
    scene.happens(&node, "before-begin delay 3 8000\n")?;
    tell("freezer.state", "FROZEN")?;
    thread::sleep(STOPPED_MAX);
    // What cannot die while it is frozen keeps its locks: where it had the turn to write, everybody
    // waits. Without the guard somebody else writes on each of its partitions.
    drop(watch.answers(SOME * 4, Duration::from_secs(2)));
    tell("freezer.state", "THAWED")?;
    Ok(node)
}

/// F9: the pulse goes on, and the commit path is stuck: the node loses its office.
pub(crate) fn commit_hangs(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    let node = owner(scene);
    let pid = scene.pids()[&node];
    let order = format!("{} delay 3 60000\n", scene.place("before-commit"));
    scene.happens(&node, &order)?;
    let is_another = || scene.pids().get(&node).is_some_and(|it| *it != pid);
    eventually(Duration::from_secs(40), is_another)
        .map_err(|why| format!("{node} stays in office with a commit that hangs: {why}"))?;
    some(watch).map(drop)
}

/// F15: the disk is slow, and nobody loses his office over it.
pub(crate) fn commits_are_slow(
    scene: &mut Scene,
    watch: &Watch,
    _: &mut Rng,
) -> Result<(), String> {
    let pids = scene.pids();
    let order = format!("{} delay 3 4500\n", scene.place("before-commit"));
    for node in ["a-1", "a-2"] {
        scene.happens(node, &order)?;
        some(watch)?;
    }
    nobody_was_ended(scene, &pids)
}

/// Long enough for a node to be given something, were it given anything so soon.
const SOON: Duration = Duration::from_secs(2);
/// Changes of owner that three stops of a node with half of eight partitions may cost: it loses what
/// it has once, and perhaps gets something back on a machine where all of that takes long.
const STORM_MAX: u64 = 10;

/// F16: one of the nodes stops again and again.
pub(crate) fn owner_stops_again(
    scene: &mut Scene,
    watch: &Watch,
    _: &mut Rng,
) -> Result<(), String> {
    let epochs = |scene: &Scene| scene.owners().iter().map(|(_, epoch)| *epoch).sum::<u64>();
    let before = epochs(scene);
    for _ in 0..3 {
        is_running(scene, "a-1")?;
        thread::sleep(SOON);
        let pid = scene.pids()["a-1"];
        let has_some = scene.owners().iter().any(|(owner, _)| owner == "a-1");
        scene.tree.signal("a-1", "STOP");
        watch.answers(SOME, STOPPED_MAX + SLACK)?;
        match scene.on {
            On::Postgres if !has_some => {
                // Who has nothing is deposed by nobody.
                thread::sleep(STOPPED_MAX);
                signal(pid, Signal::CONT);
            }
            On::Sqlite | On::Postgres => is_replaced(scene, "a-1", pid)?,
        }
    }
    let moved = epochs(scene) - before;
    println!("F16: {moved} changes of owner in three stops");
    match moved <= STORM_MAX {
        true => Ok(()),
        false => Err(format!("{moved} changes of owner in three stops")),
    }
}

/// F17: one wall clock is an hour ahead, the other an hour behind.
pub(crate) fn clocks_are_set(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    let pids = scene.pids();
    for (first, second) in [(3_600, -3_600), (-3_600, 3_600), (0, 0)] {
        scene.order("a-1", &format!("wall {first}\n"));
        scene.order("a-2", &format!("wall {second}\n"));
        some(watch)?;
        // Longer than any node is given.
        thread::sleep(Duration::from_millis(if first == 0 { 0 } else { 4_500 }));
        nobody_was_ended(scene, &pids)?;
    }
    some(watch).map(drop)
}

/// F17 in short: an hour ahead.
pub(crate) fn a_clock_is_set(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    let pids = scene.pids();
    scene.order("a-1", "wall 3600\n");
    some(watch)?;
    thread::sleep(Duration::from_secs(1));
    nobody_was_ended(scene, &pids)
}

/// F25: the same node name twice, and a copied folder.
pub(crate) fn a_second_one(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    let config = scene.tree.config.clone().unwrap();
    // Its address is in use, so the second one gets another.
    let text = fs::read_to_string(&config).unwrap();
    let (head, tail) = text.split_once("name = \"a-1\"").unwrap();
    let (tail, rest) = tail.split_once("trunk = \"").unwrap();
    let (_, rest) = rest.split_once('"').unwrap();
    let addr = crate::tree::free_addr();
    let text = format!("{head}name = \"a-1\"{tail}trunk = \"{addr}\"{rest}");
    let twin = config.with_file_name("twin.toml");
    fs::write(&twin, &text).unwrap();
    is_refused(scene, &twin, "is running already")?;
    some(watch)?;
    if scene.on == On::Postgres {
        return Ok(()); // There is no folder to copy.
    }
    // The copy is taken while nobody writes, and is yet not the same journal.
    let folder = config.with_file_name("copy");
    let copied =
        Command::new("cp").args(["-r"]).arg(config.with_file_name("a")).arg(&folder).status();
    assert!(copied.unwrap().success());
    let copy = config.with_file_name("copied.toml");
    fs::write(&copy, text.replace("sqlite:a", "sqlite:copy")).unwrap();
    is_refused(scene, &copy, "copy")?;
    some(watch).map(drop)
}

/// How long a node may take until it is refused.
const REFUSED_MAX: Duration = Duration::from_secs(20);

/// Starts a second `a-1` by this file, which must be refused for this reason.
fn is_refused(scene: &Scene, config: &Path, why: &str) -> Result<(), String> {
    let mut twin = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "a-1", "--config"])
        .arg(config)
        .env("TOLLGATE_FAULTS", &scene.faults)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let has_ended = eventually(REFUSED_MAX, || twin.try_wait().unwrap().is_some()).is_ok();
    drop(twin.kill()); // One that was let in.
    let output = twin.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match has_ended && !output.status.success() && said.contains(why) {
        true => Ok(()),
        false => Err(format!("a second a-1 was let in: {} {said}", output.status)),
    }
}

/// F29: every node leaves and returns, one after the other.
pub(crate) fn nodes_roll(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    for node in ["a-1", "gateway-1", "a-2", "gateway-2"] {
        for verb in ["drain", "start", "stop", "start"] {
            let output = scene.tree.run(&["node", node, verb]);
            if !output.status.success() {
                return Err(format!("{verb} {node}: {}", String::from_utf8_lossy(&output.stderr)));
            }
            some(watch)?;
        }
        scene.all_home()?;
    }
    nobody_noticed(watch)
}

fn nobody_noticed(watch: &Watch) -> Result<(), String> {
    match watch.undecided() {
        0 => Ok(()),
        count => Err(format!("{count} attempts were undecided")),
    }
}

/// The control of F29: the same nodes leave without a word, and the edge with them. Clients notice.
pub(crate) fn nodes_roll_by_kill(
    scene: &mut Scene,
    watch: &Watch,
    _: &mut Rng,
) -> Result<(), String> {
    for node in ["a-1", "gateway-1", "edge"] {
        scene.tree.kill(node);
        some(watch)?;
        is_running(scene, node)?;
    }
    nobody_noticed(watch)
}

/// F30: a node of a tier is lost for good, and another one returns.
pub(crate) fn a_node_is_lost(scene: &mut Scene, watch: &Watch, _: &mut Rng) -> Result<(), String> {
    for node in ["gateway-1", "gateway-2", "a-1", "a-2"] {
        scene.tree.ok(&["node", node, "kill"]);
        some(watch)?;
        scene.tree.ok(&["node", node, "start"]);
        some(watch)?;
    }
    Ok(())
}

/// The control of F30: account nodes are lost that have executed something and not said so.
pub(crate) fn a_node_is_lost_in_answers(
    scene: &mut Scene,
    watch: &Watch,
    rng: &mut Rng,
) -> Result<(), String> {
    kill_at(scene, watch, rng, &["before-answer", "after-commit"])
}
