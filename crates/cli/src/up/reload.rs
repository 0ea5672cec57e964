//! A reload of the whole tree: checks the changed file whole, starts what is new, tells every node,
//! stops what is gone. What cannot be taken is refused before anything is begun.

use super::{
    in_force,
    life::{Phase, READY_MAX, Why},
    orders::answer,
    ports::Ports,
    supervisor::{Supervisor, runnable},
};
use crate::{
    control::{Answer, NodeReload, ReloadOrder},
    error::CliError,
    ops,
    terminal::tell,
    topology::{Topology, difference},
};
use rustix::process::Signal;
use std::time::Duration;
use stdx::Moment;
use tokio::sync::oneshot;

/// How often a reload that is under way is looked at, besides whenever something happens.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A reload that is under way.
#[derive(Debug)]
pub(super) struct Reloading {
    stage: Stage,
    /// When the stage is given up.
    end: Moment,
    /// Nodes that are new, by place.
    new: Vec<usize>,
    /// Nodes that are gone from the file.
    gone: Vec<usize>,
    /// Names and admin addresses of those that are to be told, from the leaves up.
    told: Vec<(String, std::net::SocketAddr)>,
    results: Vec<NodeReload>,
    reply: Option<oneshot::Sender<Answer>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The new nodes are to get ready.
    Starting,
    /// The others are to take the file.
    Telling,
    /// Those that are gone are to end: nobody sends to them any more.
    Stopping,
}

impl Reloading {
    /// When to look again.
    pub(super) fn due(&self) -> Moment {
        self.end.min(net::clock::now() + LOOK_EVERY)
    }
}

impl Supervisor {
    /// Begins a reload, or refuses it.
    pub(super) fn begin_reload(&mut self, order: &ReloadOrder, reply: oneshot::Sender<Answer>) {
        if self.reloading.is_some() {
            return answer(reply, Answer::refused("a reload is under way", None));
        }
        if let Some(name) = order.reload.iter().find(|name| !self.knows(name)) {
            return answer(reply, self.unknown(name));
        }
        let fresh = match self.check(&order.reload) {
            Ok(fresh) => fresh,
            Err(error) => {
                let hint = "nothing has changed: the tree goes on as it was".to_owned();
                return answer(reply, Answer::refused(error.to_string(), Some(hint)));
            }
        };
        let is_meant =
            |name: &str| order.reload.is_empty() || order.reload.iter().any(|it| it == name);
        let before: Vec<String> = self.present().map(|(_, name)| name.to_owned()).collect();
        self.go_by(fresh);
        let place = |name: &str| self.place(name);
        let new = runnable(&self.topology).map(|node| node.name.as_str());
        let new: Vec<usize> = new
            .filter(|name| !before.iter().any(|it| it == name) && is_meant(name))
            .filter_map(place)
            .collect();
        let gone: Vec<usize> = before
            .iter()
            .filter(|name| self.topology.node(name).is_none() && is_meant(name))
            .filter_map(|name| place(name))
            .collect();
        for index in &new {
            tell!("{} is new: starting it", self.nodes[*index].name);
            self.start(*index);
        }
        let mut reloading = Reloading {
            stage: Stage::Starting,
            end: net::clock::now() + READY_MAX,
            new,
            gone,
            told: Vec::new(),
            results: Vec::new(),
            reply: Some(reply),
        };
        self.sort_told(&mut reloading, &before, is_meant);
        self.reloading = Some(reloading);
        self.settle_reload();
    }

    fn knows(&self, name: &str) -> bool {
        // A name that only the changed file has is known by then.
        let fresh = crate::commands::load_topology(&self.config);
        self.place(name).is_some() || fresh.is_ok_and(|fresh| fresh.node(name).is_some())
    }

    fn present(&self) -> impl Iterator<Item = (usize, &str)> {
        let nodes = self.nodes.iter().enumerate().filter(|(_, node)| !node.is_removed);
        nodes.map(|(index, node)| (index, node.name.as_str()))
    }

    /// Reads the file, and refuses what cannot be taken; what is taken is in force for whoever
    /// starts from now on.
    fn check(&self, names: &[String]) -> Result<Topology, CliError> {
        let fresh = in_force::keep(&self.config, &self.data)?;
        let mut restarts = Vec::new();
        for (_, name) in self.present() {
            let is_meant = names.is_empty() || names.iter().any(|it| it == name);
            if is_meant && fresh.node(name).is_some() {
                for line in difference(&self.topology, &fresh, name).restarts {
                    if !restarts.contains(&line) {
                        restarts.push(line);
                    }
                }
            }
        }
        if !restarts.is_empty() {
            let path = self.config.display();
            return Err(CliError::failed(format!(
                "{path} asks for what a running tree cannot take\n{}",
                restarts.join("\n")
            )));
        }
        self.claim_new(&fresh)?;
        in_force::enact(&self.data)?;
        Ok(fresh)
    }

    /// The addresses of nodes that are new must be free.
    fn claim_new(&self, fresh: &Topology) -> Result<(), CliError> {
        let failed = |error| CliError::io("cannot look for free ports", &error);
        let mut ports = Ports::new().map_err(failed)?;
        for node in runnable(fresh).filter(|node| self.place(&node.name).is_none()) {
            let addresses = [node.role.http(), node.role.trunk(), node.admin];
            addresses.into_iter().flatten().try_for_each(|address| ports.claim(address))?;
        }
        Ok(())
    }

    /// Whom to tell, and what there is to say of those who cannot be told.
    fn sort_told(
        &self,
        reloading: &mut Reloading,
        before: &[String],
        is_meant: impl Fn(&str) -> bool,
    ) {
        let tiers = self.topology.tiers().into_iter().flatten();
        for node in tiers.filter(|it| before.contains(&it.name) && is_meant(&it.name)) {
            let Some(index) = self.place(&node.name) else { continue };
            let node = &self.nodes[index];
            let cannot = |why: &str| ops::told(&node.name, Err(vec![why.to_owned()]));
            match (node.life.phase(), node.announced.admin) {
                (Phase::Ready { .. }, _) if node.is_paused => {
                    reloading.results.push(cannot("it is paused: reload again when it goes on"));
                }
                (Phase::Ready { .. }, Some(admin)) => {
                    reloading.told.push((node.name.clone(), admin));
                }
                (Phase::Starting { .. }, _) | (Phase::Ready { .. }, None) => {
                    reloading.results.push(cannot("it is still starting: reload again"));
                }
                (Phase::Down(_) | Phase::Ending(_) | Phase::Waiting { .. }, _) => {
                    let line = format!("it is {}: it will start with the new file", node.text());
                    reloading.results.push(ops::told(&node.name, Ok(vec![line])));
                }
            }
        }
    }

    /// What the nodes made of the file.
    pub(super) fn reported(&mut self, results: Vec<NodeReload>) {
        let Some(reloading) = &mut self.reloading else { return };
        reloading.results.extend(results);
        let gone = reloading.gone.clone();
        reloading.stage = Stage::Stopping;
        let drain_max = gone.iter().map(|index| self.drain_max(*index)).max();
        for index in gone {
            tell!("{} is no longer in the file: draining it", self.nodes[index].name);
            self.order_down(index, Why::Stopped);
        }
        if let Some(reloading) = &mut self.reloading {
            reloading.end = net::clock::now() + drain_max.unwrap_or(Duration::ZERO);
        }
    }

    /// Goes on with a reload as far as it can.
    pub(super) fn settle_reload(&mut self) {
        let Some(mut reloading) = self.reloading.take() else { return };
        let now = net::clock::now();
        match reloading.stage {
            Stage::Starting => {
                let settles = |index: &usize| match self.nodes[*index].life.phase() {
                    Phase::Ready { .. } | Phase::Down(_) | Phase::Ending(_) => true,
                    Phase::Starting { .. } | Phase::Waiting { .. } => reloading.end <= now,
                };
                if reloading.new.iter().all(settles) {
                    self.tell_all(&mut reloading);
                }
            }
            Stage::Telling => (),
            Stage::Stopping => {
                let mut lives =
                    reloading.gone.iter().filter(|it| self.nodes[**it].process.is_some());
                if lives.next().is_none() {
                    return self.finish(reloading);
                }
                if reloading.end <= now {
                    self.kill(&reloading.gone);
                    reloading.end = now + READY_MAX;
                }
            }
        }
        self.reloading = Some(reloading);
    }

    fn tell_all(&self, reloading: &mut Reloading) {
        for index in &reloading.new {
            let node = &self.nodes[*index];
            let result = match node.life.phase() {
                Phase::Ready { .. } => Ok(vec!["started".to_owned()]),
                Phase::Starting { .. }
                | Phase::Waiting { .. }
                | Phase::Down(_)
                | Phase::Ending(_) => Err(vec![format!(
                    "it does not get ready: see {}",
                    self.data.log(&node.name).display()
                )]),
            };
            reloading.results.push(ops::told(&node.name, result));
        }
        reloading.stage = Stage::Telling;
        // Each order has an end of its own.
        let (told, reports) = (std::mem::take(&mut reloading.told), self.report_sender.clone());
        tokio::spawn(async move {
            let mut results = Vec::new();
            for (name, admin) in told {
                results.push(ops::told(&name, ops::reload(admin).await));
            }
            // Without a receiver `up` itself is at its end.
            drop(reports.send(results).await);
        });
        reloading.end = net::clock::now() + READY_MAX;
    }

    fn kill(&self, indices: &[usize]) {
        for process in indices.iter().filter_map(|index| self.nodes[*index].process.as_ref()) {
            tell!("process {} does not drain in time: killed", process.pid);
            process.signal(Signal::KILL);
        }
    }

    fn finish(&mut self, mut reloading: Reloading) {
        for index in &reloading.gone {
            let node = &mut self.nodes[*index];
            node.is_removed = true;
            reloading
                .results
                .push(ops::told(&node.name, Ok(vec!["drained and stopped".to_owned()])));
        }
        if let Some(reply) = reloading.reply.take() {
            answer(reply, Answer::Reloaded { nodes: reloading.results });
        }
    }
}
