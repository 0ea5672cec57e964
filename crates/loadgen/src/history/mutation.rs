//! Damage, each kind as small as it can be: what a service that breaks one promise and keeps all
//! others would have shown. A run counts only when its judges find every one of them.

use super::{Asked, Book, Booked, History, Op, Reply, Told};
use crate::audit::Position;
use std::collections::BTreeMap;
use stdx::Rng;

/// A promise, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// An acknowledged write never happened: neither the books nor any other answer know of it.
    Lose,
    /// A request was booked once more, after everything else.
    Repeat,
    /// A request that had been refused, or not executed, was booked after all.
    BookDenied,
    /// Something was booked that nobody asked for.
    BookStranger,
    /// Two writes, one after the other in real time, were executed the other way round.
    Reorder,
    /// Two reads, one after the other in real time, changed their answers.
    SwapReads,
    /// A read did not know of a write that had been acknowledged before it.
    StaleRead,
    /// A read knew of a write that had not been asked for.
    ForeseenRead,
    /// A read showed a balance that never was.
    WrongRead,
    /// An acknowledgement named another balance than the one that was booked.
    WrongAck,
    /// Two acknowledgements were mixed up.
    SwapAcks,
    /// A debit was refused though there was money enough.
    RefuseForNothing,
    /// A debit was executed without money.
    Overdraw,
    /// A repeat was answered otherwise than the first time.
    AnswerAnew,
    /// The final balance is not what the entries come to.
    WrongBalance,
}

impl Mutation {
    /// All kinds.
    pub const ALL: [Mutation; 15] = [
        Mutation::Lose,
        Mutation::Repeat,
        Mutation::BookDenied,
        Mutation::BookStranger,
        Mutation::Reorder,
        Mutation::SwapReads,
        Mutation::StaleRead,
        Mutation::ForeseenRead,
        Mutation::WrongRead,
        Mutation::WrongAck,
        Mutation::SwapAcks,
        Mutation::RefuseForNothing,
        Mutation::Overdraw,
        Mutation::AnswerAnew,
        Mutation::WrongBalance,
    ];

    /// Breaks a history that is right, at a place of `rng`'s choosing. `None` when it has no place
    /// for this kind: no two reads with a change between them, say.
    pub fn of(self, history: &History, books: &Books, rng: &mut Rng) -> Option<(History, Books)> {
        let mut scene = Scene { history: history.clone(), books: books.clone() };
        self.apply(&mut scene, rng)?;
        Some((scene.history, scene.books))
    }

    fn apply(self, scene: &mut Scene, rng: &mut Rng) -> Option<()> {
        match self {
            Mutation::Lose => {
                let op = scene.pick(rng, is_posted)?;
                scene.unbook(op.account, version(&op.told)?);
            }
            Mutation::Repeat => {
                let op = scene.pick(rng, is_posted)?;
                let Asked::Write { request, change } = op.asked else { return None };
                scene.book(op.account, Some(request), change);
            }
            Mutation::BookDenied => {
                let is_denied = |op: &Op| matches!(op.told, Told::Refused | Told::NotExecuted);
                let op = scene.pick(rng, |op| is_denied(op) && op.asked != Asked::Read)?;
                let Asked::Write { request, change } = op.asked else { return None };
                scene.book(op.account, Some(request), change);
            }
            Mutation::BookStranger => {
                let op = scene.pick(rng, |_| true)?;
                scene.book(op.account, None, 1);
            }
            Mutation::Reorder => scene.reorder(rng)?,
            Mutation::SwapReads => {
                let (first, second) = scene.pair(rng, is_shown, is_shown)?;
                let told = scene.history.ops[first].told.clone();
                scene.history.ops[first].told = scene.history.ops[second].told.clone();
                scene.history.ops[second].told = told;
            }
            Mutation::StaleRead => {
                let (write, read) = scene.pair(rng, is_posted, is_shown)?;
                let before = version(&scene.history.ops[write].told)? - 1;
                scene.show(read, before)?;
            }
            Mutation::ForeseenRead => {
                let (read, write) = scene.pair(rng, is_shown, is_posted)?;
                let later = version(&scene.history.ops[write].told)?;
                scene.show(read, later)?;
            }
            Mutation::WrongRead => {
                scene.pick_mut(rng, is_shown)?.told.position_mut()?.posted += 1;
            }
            Mutation::WrongAck => {
                scene.pick_mut(rng, is_posted)?.told.position_mut()?.posted += 1;
            }
            Mutation::SwapAcks => {
                let (first, second) = scene.pair(rng, is_posted, is_posted)?;
                let told = scene.history.ops[first].told.clone();
                scene.history.ops[first].told = scene.history.ops[second].told.clone();
                scene.history.ops[second].told = told;
            }
            Mutation::RefuseForNothing => scene.refuse_for_nothing(rng)?,
            Mutation::Overdraw => {
                let op = scene.pick(rng, |_| true)?;
                let book = scene.books.get(&op.account)?;
                let change = -(book.balance.posted + book.overdraft_limit + 1);
                let asked = Asked::Write { request: scene.new_request(), change };
                scene.book(op.account, Some(scene.new_request()), change);
                let begun = scene.end() + 1;
                let told = Told::Unknown;
                scene.history.ops.push(Op { asked, told, begun, ended: begun + 1, ..op });
            }
            Mutation::AnswerAnew => {
                let reply = scene.history.replies.get(below(rng, scene.history.replies.len())?)?;
                let body = [&*reply.body, b" "].concat().into();
                scene.history.replies.push(Reply { body, ..reply.clone() });
            }
            Mutation::WrongBalance => {
                let op = scene.pick(rng, |_| true)?;
                scene.books.get_mut(&op.account)?.balance.posted += 1;
            }
        }
        Some(())
    }
}

/// The final books, by account.
pub type Books = BTreeMap<u32, Book>;

struct Scene {
    history: History,
    books: Books,
}

fn is_posted(op: &Op) -> bool {
    matches!(op.told, Told::Posted { .. })
}

fn is_shown(op: &Op) -> bool {
    matches!(op.told, Told::Shown(_))
}

fn version(told: &Told) -> Option<u64> {
    match told {
        Told::Shown(it) | Told::Posted { after: it, .. } => Some(it.version),
        Told::Refused | Told::NotExecuted | Told::Unknown => None,
    }
}

impl Told {
    fn position_mut(&mut self) -> Option<&mut Position> {
        match self {
            Told::Shown(it) | Told::Posted { after: it, .. } => Some(it),
            Told::Refused | Told::NotExecuted | Told::Unknown => None,
        }
    }
}

fn below(rng: &mut Rng, bound: usize) -> Option<usize> {
    (0 < bound).then(|| rng.below(bound))
}

impl Scene {
    fn pick(&self, rng: &mut Rng, is_one: impl Fn(&Op) -> bool) -> Option<Op> {
        let ops: Vec<&Op> = self.history.ops.iter().filter(|op| is_one(op)).collect();
        Some(ops[below(rng, ops.len())?].clone())
    }

    fn pick_mut(&mut self, rng: &mut Rng, is_one: impl Fn(&Op) -> bool) -> Option<&mut Op> {
        let mut ops: Vec<&mut Op> = self.history.ops.iter_mut().filter(|op| is_one(op)).collect();
        let at = below(rng, ops.len())?;
        Some(ops.swap_remove(at))
    }

    /// Two of one account that show different versions, the second begun after the first had
    /// ended: the places of both.
    fn pair(
        &self,
        rng: &mut Rng,
        is_first: fn(&Op) -> bool,
        is_second: fn(&Op) -> bool,
    ) -> Option<(usize, usize)> {
        let ops = &self.history.ops;
        let start = below(rng, ops.len())?;
        (0..ops.len()).map(|step| (start + step) % ops.len()).find_map(|first| {
            let one = ops.get(first).filter(|op| is_first(op))?;
            let second = ops.iter().position(|op| {
                is_second(op)
                    && op.account == one.account
                    && one.ended < op.begun
                    && version(&one.told) != version(&op.told)
            });
            Some((first, second?))
        })
    }

    /// Makes a read show the account at another version.
    fn show(&mut self, read: usize, version: u64) -> Option<()> {
        let account = self.history.ops[read].account;
        self.history.ops[read].told = Told::Shown(self.books.get(&account)?.at(version)?);
        Some(())
    }

    fn end(&self) -> u64 {
        self.history.ops.iter().map(|op| op.begun.max(op.ended)).max().unwrap_or(0)
    }

    fn new_request(&self) -> u64 {
        let requests = self.history.ops.iter().filter_map(|op| match op.asked {
            Asked::Write { request, .. } => Some(request),
            Asked::Read => None,
        });
        requests.max().unwrap_or(0) + 1
    }

    /// Adds an entry that follows from the last one.
    fn book(&mut self, account: u32, request: Option<u64>, change: i64) {
        let Some(book) = self.books.get_mut(&account) else { return };
        let Position { posted, version } = book.balance;
        let after = Position { posted: posted + change, version: version + 1 };
        let id = format!("added-{}", after.version).into();
        book.entries.push(Booked { request, id, change, after });
        book.balance = after;
    }

    /// Takes an entry out, and makes everything else as if it had never been.
    fn unbook(&mut self, account: u32, gone: u64) {
        let Some(book) = self.books.get_mut(&account) else { return };
        let Some(at) = book.entries.iter().position(|it| it.after.version == gone) else { return };
        let change = book.entries.remove(at).change;
        let shift = |it: &mut Position| {
            if gone <= it.version {
                *it = Position { posted: it.posted - change, version: it.version - 1 };
            }
        };
        book.entries.iter_mut().for_each(|it| shift(&mut it.after));
        shift(&mut book.balance);
        let of = self.history.ops.iter_mut().filter(|op| op.account == account);
        for op in of.filter(|op| !is_posted(op) || version(&op.told) != Some(gone)) {
            if let Some(it) = op.told.position_mut() {
                shift(it);
            }
        }
    }

    /// Two writes change places, in the books and in their own answers; reads between them too.
    fn reorder(&mut self, rng: &mut Rng) -> Option<()> {
        let (first, second) = self.pair(rng, is_posted, is_posted)?;
        let account = self.history.ops[first].account;
        let places = [first, second].map(|it| version(&self.history.ops[it].told));
        let book = self.books.get_mut(&account)?;
        let find = |version| book.entries.iter().position(|it| Some(it.after.version) == version);
        let (one, two) = (find(places[0])?, find(places[1])?);
        book.entries.swap(one, two);
        let mut last = super::OPENING;
        for entry in &mut book.entries {
            let (posted, version) = (last.posted + entry.change, last.version + 1);
            entry.after = Position { posted, version };
            last = entry.after;
        }
        let book = &self.books[&account];
        for op in self.history.ops.iter_mut().filter(|op| op.account == account) {
            let asked = op.asked;
            match (&mut op.told, asked) {
                (Told::Posted { after, .. }, Asked::Write { request, .. }) => {
                    let mut entries = book.entries.iter();
                    *after = entries.find(|it| it.request == Some(request))?.after;
                }
                (Told::Shown(shown), _) => *shown = book.at(shown.version)?,
                (Told::Posted { .. } | Told::Refused | Told::NotExecuted | Told::Unknown, _) => (),
            }
        }
        Some(())
    }

    /// A debit of what is there, refused when nothing else was under way.
    fn refuse_for_nothing(&mut self, rng: &mut Rng) -> Option<()> {
        let is_rich = |op: &Op| {
            let book = self.books.get(&op.account);
            book.is_some_and(|book| book.allows(book.balance.posted - 1))
        };
        let op = self.pick(rng, is_rich)?;
        let asked = Asked::Write { request: self.new_request(), change: -1 };
        let begun = self.end() + 1;
        self.history.ops.push(Op { asked, told: Told::Refused, begun, ended: begun + 1, ..op });
        Some(())
    }
}
