//! Checks that are entered, changed, paused and struck out while the monitor runs.

use super::{Node, now};
use crate::{
    book::{Check, Plan},
    core::check::{CheckId, Kept, Terms},
    store::Row,
};
use std::{rc::Rc, time::Duration};

impl Node {
    /// Enters a new check; `None` when there are too many or its schedule makes no sense.
    pub(crate) fn enter(&self, uuid: u128, plan: Plan) -> Option<CheckId> {
        let now = now();
        let terms = plan.terms().ok()?;
        let check = self.book.borrow_mut().create(uuid, plan)?.clone();
        let kept = Kept::new(now.wall);
        let deadline = terms.contract.period(now.wall) + terms.contract.grace;
        self.desk.borrow_mut().add(check.id, &check.plan.name, kept.state, deadline);
        self.desk.borrow_mut().describe(check.id, self.subject(&check.plan));
        self.referee.borrow_mut().add(check.id, self.subject(&check.plan));
        self.detector.borrow_mut().add(now, check.id, terms, kept.clone(), Duration::ZERO);
        let id = check.id;
        self.keep(vec![Row::Check(Box::new(check), kept)]);
        Some(id)
    }

    /// Changes how a check is watched.
    pub(crate) fn replan(&self, id: CheckId, plan: Plan, terms: Terms) {
        let now = now();
        let check = self.book.borrow().get(id).cloned();
        let Some(check) = check else { return };
        let check = Check { plan, ..check };
        let mut detector = self.detector.borrow_mut();
        let deadline = terms.contract.period(now.wall) + terms.contract.grace;
        detector.set_terms(id, terms);
        if let (Some(state), Some(kept)) = (detector.state(id), detector.kept(now, id)) {
            self.desk.borrow_mut().add(id, &check.plan.name, state, deadline);
            self.referee.borrow_mut().add(id, self.subject(&check.plan));
            self.keep(vec![Row::Check(Box::new(check.clone()), kept)]);
        }
        self.book.borrow_mut().put(check);
    }

    /// Strikes a check out, with all that was kept of it.
    pub(crate) fn strike(&self, id: CheckId) {
        let mut filed = Vec::new();
        self.desk.borrow_mut().remove(now(), id, &mut filed);
        self.detector.borrow_mut().remove(id);
        self.referee.borrow_mut().remove(id);
        let mut rows = Vec::new();
        self.file(filed, &mut rows);
        self.book.borrow_mut().remove(id);
        rows.push(Row::Forget(id));
        self.keep(rows);
    }

    /// Stops or resumes the watch over a check.
    pub(crate) fn set_paused(self: &Rc<Node>, id: CheckId, paused: bool) {
        let now = now();
        let (mut noticed, mut rows) = (Vec::new(), Vec::new());
        self.detector.borrow_mut().set_paused(now, id, paused, &mut noticed);
        self.take_in(now, noticed, &mut rows);
        self.keep(rows);
    }
}
