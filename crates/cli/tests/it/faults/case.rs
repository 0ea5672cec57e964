//! A fault, how it is run, and the control that comes with it.

use super::{
    recorder::Watch,
    scene::{LONG, On, Scene, Verdict},
};
use stdx::Rng;

/// What is done to the tree while clients go on.
pub(crate) type Work = fn(&mut Scene, &Watch, &mut Rng) -> Result<(), String>;

/// A fault.
pub(crate) struct Case {
    /// Its number in the table of faults.
    pub(crate) id: &'static str,
    /// The promises that are at stake.
    pub(crate) promises: &'static str,
    pub(crate) injected: &'static str,
    pub(crate) play: Play,
    pub(crate) control: Option<Control>,
}

/// What is run.
#[derive(Clone, Copy)]
pub(crate) enum Play {
    /// A tree under `up` with its books there, and these orders for all its nodes.
    Tree { on: On, orders: &'static str, work: Work },
    /// Something of its own, by name and seed.
    Other(fn(&str, u64) -> Verdict),
}

/// A negative control: the same with a guard left out.
pub(crate) struct Control {
    /// What is left out, in words.
    pub(crate) orders: &'static str,
    pub(crate) play: Play,
    /// It counts as caught when the judges say one of these.
    pub(crate) caught_by: &'static [&'static str],
    /// How often it may be tried: what depends on the moment does not happen each time.
    pub(crate) tries: u64,
}

/// What a run of a case came to.
pub(crate) struct Row {
    pub(crate) judged: String,
    pub(crate) control: String,
}

impl Case {
    /// Runs it with this seed, and its control.
    ///
    /// # Panics
    /// When a promise was broken, or the control was not noticed.
    #[track_caller]
    pub(crate) fn run(&self, seed: u64) -> Row {
        let name = format!("{}-{seed}", self.id.to_lowercase());
        let verdict = self.play.run(&name, seed);
        println!("{} seed {seed}: {}", self.id, verdict.summary());
        verdict.holds(seed);
        let judged = verdict.summary();
        let Some(control) = &self.control else {
            return Row { judged, control: "none".to_owned() };
        };
        let mut said = Vec::new();
        for attempt in 0..control.tries {
            let name = format!("{name}-control-{attempt}");
            let verdict = control.play.run(&name, seed + attempt);
            let is_it = |it: &&String| control.caught_by.iter().any(|word| it.contains(word));
            if let Some(found) = verdict.wrong.iter().find(is_it) {
                let found = found.replace(['\n', '\t'], " ").chars().take(80).collect::<String>();
                let orders = control.orders.replace("mutant ", "").replace('\n', " ");
                println!("{} seed {seed}: control {orders}: {found}", self.id);
                return Row { judged, control: format!("{}: caught: {found}", orders.trim()) };
            }
            said = verdict.wrong;
        }
        panic!("{}: nobody noticed {:?}: {said:?}", self.id, control.orders);
    }
}

impl Play {
    /// The same with the books in PostgreSQL.
    pub(crate) fn on_postgres(self) -> Play {
        match self {
            Play::Tree { orders, work, .. } => Play::Tree { on: On::Postgres, orders, work },
            Play::Other(_) => self,
        }
    }

    fn run(self, name: &str, seed: u64) -> Verdict {
        match self {
            Play::Tree { on, orders, work } => run(name, on, orders, work, seed),
            Play::Other(run) => run(name, seed),
        }
    }
}

fn run(name: &str, on: On, orders: &str, work: Work, seed: u64) -> Verdict {
    let mut scene = Scene::new(name, on, orders);
    let mut rng = Rng::new(seed);
    scene.judged(seed, |scene, watch| {
        // Every client has been through, and every account is in use.
        watch.answers(100, LONG)?;
        work(scene, watch, &mut rng)?;
        watch.answers(100, LONG)?;
        Ok(())
    })
}
