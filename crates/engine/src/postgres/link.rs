//! A connection to the database, and the runtime that drives it: calls block until they are
//! answered, or until their time is over.
//!
//! Nothing of a session is relied on but its time-outs and, for two statements, that they were
//! prepared: behind a pooler that gives each transaction another session, they go without.

use crate::{
    error::{EngineError, Kind},
    postgres::{failure::Failure, limits::Purpose, target::Target},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, Row, Socket, Statement,
    error::{Severity, SqlState},
    types::{FromSql, ToSql, Type},
};

/// For a connection to be closed as it should be.
const GOODBYE_MAX: Duration = Duration::from_millis(100);

/// A value for a statement, with its type, which is told and not asked for.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// A Rust type that is sent as this type.
pub(crate) trait Sent: ToSql + Sync {
    const TYPE: Type;
}

macro_rules! sent {
    ($($rust:ty => $sql:ident),* $(,)?) => {$(
        impl Sent for $rust {
            const TYPE: Type = Type::$sql;
        }
    )*};
}

sent! {
    bool => BOOL, i32 => INT4, i64 => INT8, String => TEXT, &str => TEXT, Option<i64> => INT8,
    Vec<u8> => BYTEA, &[u8] => BYTEA, Vec<i32> => INT4_ARRAY, Vec<i64> => INT8_ARRAY,
    Vec<String> => TEXT_ARRAY, Vec<&str> => TEXT_ARRAY, Vec<Vec<u8>> => BYTEA_ARRAY,
    Vec<Option<Vec<u8>>> => BYTEA_ARRAY, Vec<&[u8]> => BYTEA_ARRAY, Vec<bool> => BOOL_ARRAY,
    Vec<Option<i64>> => INT8_ARRAY,
}

/// A value for a statement.
pub(crate) fn param<T: Sent>(value: &T) -> Param<'_> {
    (value, T::TYPE)
}

/// A connection that is opened when it is first needed, and anew after it broke.
pub(crate) struct Link {
    target: Arc<Target>,
    purpose: Purpose,
    /// Whose it is, for whoever looks at the database's sessions.
    application: String,
    place: String,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    live: RefCell<Option<Live>>,
    /// Prepared statements got lost: somebody between here and the database deals sessions out.
    is_pooled: Cell<bool>,
    /// Between BEGIN and its end: no other connection will do.
    is_within: Cell<bool>,
}

struct Live {
    client: Client,
    driver: JoinHandle<()>,
    /// The database has warned since the flag was last cleared.
    warned: Arc<AtomicBool>,
    /// Nobody knows its state any more.
    is_lost: Cell<bool>,
    statements: BTreeMap<String, Statement>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("application", &self.application).finish_non_exhaustive()
    }
}

/// A transaction, which is undone when it is dropped before it was committed.
#[must_use]
pub(crate) struct Open<'a> {
    link: &'a Link,
    is_over: bool,
}

impl Link {
    /// Does not connect yet, so it may be called by whoever must not wait.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub(crate) fn new(
        target: &Arc<Target>,
        purpose: Purpose,
        node_id: i64,
        place: String,
    ) -> Result<Link, EngineError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| EngineError::new(Kind::Unavailable, &place, error))?;
        Ok(Link {
            target: Arc::clone(target),
            purpose,
            application: application(node_id, purpose),
            place,
            runtime: Some(runtime),
            live: RefCell::default(),
            is_pooled: Cell::new(false),
            is_within: Cell::new(false),
        })
    }

    /// For people: the database and the schema.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Forgets the connection: the next call opens another.
    pub(crate) fn forget(&self) {
        if let Some(live) = self.live.take() {
            // What it has not sent yet is not to be sent any more.
            live.driver.abort();
        }
    }

    /// One statement's rows.
    pub(crate) fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        self.connect()?;
        let live = self.live.borrow();
        let Some(live) = &*live else { return Err(gone()) };
        let done = self.wait(live.client.query_typed(sql, params));
        self.settle(live, done)
    }

    /// The same of a statement that is worth being planned once.
    ///
    /// Its name is the session's, and a pooler may have dealt that to another node, whose statement
    /// of this name is then what is executed. So it has to be one that compares this node's number,
    /// with parameters of types that no other such statement has: it does nothing for anybody else.
    pub(crate) fn query_prepared(
        &self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, Failure> {
        if self.is_pooled.get() {
            return self.query(sql, params);
        }
        self.connect()?;
        let done = self.asked(sql, params);
        match done {
            // Nothing was done: the statement it names is not there, or is another.
            Err(failure) if self.has_lost_statements(&failure) => self.query(sql, params),
            done => done,
        }
    }

    /// The first row, where there has to be one.
    pub(crate) fn query_one(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, Failure> {
        let row = self.query(sql, params)?.into_iter().next();
        row.ok_or_else(|| self.corrupt("a row is missing".to_owned()).into())
    }

    /// How many rows a statement changed.
    pub(crate) fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Failure> {
        self.connect()?;
        let live = self.live.borrow();
        let Some(live) = &*live else { return Err(gone()) };
        let done = self.wait(async { live.client.execute_typed(sql, params).await });
        self.settle(live, done)
    }

    /// Statements without values, which may be several.
    pub(crate) fn run(&self, sql: &str) -> Result<(), Failure> {
        self.connect()?;
        let live = self.live.borrow();
        let Some(live) = &*live else { return Err(gone()) };
        let done = self.wait(live.client.batch_execute(sql));
        self.settle(live, done)
    }

    /// Several statements in one round trip, each with the rows it changed. All of them are sent
    /// whatever becomes of the first: for within a transaction.
    pub(crate) fn pipeline(&self, batch: &[(&str, &[Param<'_>])]) -> Result<Vec<u64>, Failure> {
        self.connect()?;
        let live = self.live.borrow();
        let Some(live) = &*live else { return Err(gone()) };
        let asked = batch.iter().map(|(sql, params)| live.client.execute_typed(sql, params));
        let done = self.wait(all_of(asked.map(Box::pin).collect()));
        self.settle(live, done)
    }

    /// The rows of several statements, in one round trip and in this order.
    pub(crate) fn query_all(
        &self,
        batch: &[(&str, &[Param<'_>])],
    ) -> Result<Vec<Vec<Row>>, Failure> {
        self.connect()?;
        let live = self.live.borrow();
        let Some(live) = &*live else { return Err(gone()) };
        let asked = batch.iter().map(|(sql, params)| live.client.query_typed(sql, params));
        let done = self.wait(all_of(asked.map(Box::pin).collect()));
        self.settle(live, done)
    }

    /// Begins a transaction with this statement.
    pub(crate) fn begin(&self, sql: &str) -> Result<Open<'_>, Failure> {
        self.run(sql)?;
        self.is_within.set(true);
        Ok(Open { link: self, is_over: false })
    }

    /// The same with the rows of its first statements, in one round trip.
    pub(crate) fn begin_with(
        &self,
        sql: &str,
        batch: &[(&str, &[Param<'_>])],
    ) -> Result<(Open<'_>, Vec<Vec<Row>>), Failure> {
        self.connect()?;
        self.is_within.set(true);
        // Whatever becomes of them, it is ended.
        let open = Open { link: self, is_over: false };
        let all: Vec<_> = [(sql, &[][..])].into_iter().chain(batch.iter().copied()).collect();
        let mut rows = self.query_all(&all)?;
        drop(rows.remove(0)); // BEGIN has none.
        Ok((open, rows))
    }

    /// Clears the flag that [`Link::has_warned`] reads.
    pub(crate) fn forget_warnings(&self) {
        if let Some(live) = &*self.live.borrow() {
            live.warned.store(false, Ordering::Relaxed);
        }
    }

    /// The database has given a warning since.
    pub(crate) fn has_warned(&self) -> bool {
        self.live.borrow().as_ref().is_some_and(|live| live.warned.load(Ordering::Relaxed))
    }

    /// A column of a row.
    pub(crate) fn get<'a, T: FromSql<'a>>(&self, row: &'a Row, at: usize) -> Result<T, Failure> {
        row.try_get(at).map_err(|error| self.corrupt(error.to_string()).into())
    }

    /// What is stored makes no sense.
    pub(crate) fn corrupt(&self, what: String) -> EngineError {
        EngineError::new(Kind::Corrupt, &self.place, what)
    }

    /// A failure as whoever called the engine is told of it.
    pub(crate) fn told(&self, failure: Failure) -> EngineError {
        failure.told(&self.place)
    }

    /// Opens a connection where there is none that lives.
    pub(crate) fn connect(&self) -> Result<(), Failure> {
        let runtime = self.runtime();
        if self.live.borrow().is_some() {
            // Whether the other side has hung up is seen only by whoever looks.
            runtime.block_on(async {
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            });
        }
        if self.live.borrow().as_ref().is_some_and(Live::is_closed) {
            self.forget();
        }
        match (self.live.borrow().is_some(), self.is_within.get()) {
            (true, _) => return Ok(()),
            (false, true) => return Err(gone()),
            (false, false) => (),
        }
        let tell = |config: &mut Config| {
            config.application_name(&self.application);
            let theirs = config.get_options().map(|it| format!("{it} ")).unwrap_or_default();
            config.options(format!("{theirs}{}", self.purpose.options()));
        };
        let connect_max = self.target.connect_max();
        let attempt = async { timeout(connect_max, self.target.connect(tell)).await };
        let silent = |_| Err(Failure::Unreached(format!("no answer in {connect_max:?}")));
        let (client, connection) = runtime.block_on(attempt).unwrap_or_else(silent)?;
        let warned = Arc::new(AtomicBool::new(false));
        let driver = runtime.spawn(drive(connection, Arc::clone(&warned)));
        *self.live.borrow_mut() = Some(Live {
            client,
            driver,
            warned,
            is_lost: Cell::new(false),
            statements: BTreeMap::new(),
        });
        Ok(())
    }

    fn asked(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Failure> {
        let statement = self.statement(sql, params)?;
        let live = self.live.borrow();
        let Some(live) = &*live else { return Err(gone()) };
        let values: Vec<&(dyn ToSql + Sync)> = params.iter().map(|(value, _)| *value).collect();
        let done = self.wait(live.client.query(&statement, &values));
        self.settle(live, done)
    }

    fn statement(&self, sql: &str, params: &[Param<'_>]) -> Result<Statement, Failure> {
        let mut live = self.live.borrow_mut();
        let Some(it) = &mut *live else { return Err(gone()) };
        if let Some(statement) = it.statements.get(sql) {
            return Ok(statement.clone());
        }
        let types: Vec<Type> = params.iter().map(|(_, it)| it.clone()).collect();
        let done = self.wait(it.client.prepare_typed(sql, &types));
        if let Ok(statement) = &done {
            let _none = it.statements.insert(sql.to_owned(), statement.clone());
        }
        drop(live);
        let live = self.live.borrow();
        let Some(live) = &*live else { return Err(gone()) };
        self.settle(live, done)
    }

    fn has_lost_statements(&self, failure: &Failure) -> bool {
        let lost = [
            SqlState::INVALID_SQL_STATEMENT_NAME,
            SqlState::DUPLICATE_PSTATEMENT,
            SqlState::PROTOCOL_VIOLATION,
        ];
        let has_lost = failure.code().is_some_and(|code| lost.contains(code));
        if has_lost && !self.is_pooled.replace(true) {
            tracing::info!(place = self.place, "a pooler deals out sessions: nothing is prepared");
        }
        has_lost
    }

    /// Drives the connection until the answer is there.
    fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        let call_max = self.purpose.call_max();
        match self.runtime().block_on(async { timeout(call_max, answer).await }) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(Failure::Broken(format!("no answer in {call_max:?}"))),
        }
    }

    /// After what leaves the connection in a state that nobody knows, there is another next time.
    fn settle<T>(&self, live: &Live, done: Result<T, Failure>) -> Result<T, Failure> {
        let is_lost = match &done {
            Ok(_) | Err(Failure::Told(_) | Failure::Unreached(_)) => false,
            Err(Failure::Broken(_)) => true,
            // It has become a standby: the next connection looks for who takes writes.
            Err(Failure::Refused(refusal)) => refusal.code == SqlState::READ_ONLY_SQL_TRANSACTION,
        };
        if is_lost {
            live.is_lost.set(true);
            live.driver.abort();
        }
        done
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until the link is dropped")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let live = self.live.take();
        // Within another runtime nobody may wait: then the kernel closes the connection.
        if let (Some(live), Err(_)) = (live, Handle::try_current()) {
            drop((live.client, live.statements));
            drop(runtime.block_on(async { timeout(GOODBYE_MAX, live.driver).await }));
        }
        runtime.shutdown_background();
    }
}

impl Open<'_> {
    pub(crate) fn commit(mut self) -> Result<(), Failure> {
        self.is_over = true;
        let done = self.link.run("COMMIT");
        self.link.is_within.set(false);
        done
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let is_live = self.link.live.borrow().as_ref().is_some_and(|it| !it.is_closed());
        let is_undone = is_live && self.link.run("ROLLBACK").is_ok();
        self.link.is_within.set(false);
        if !is_undone {
            self.link.forget();
        }
    }
}

impl Live {
    fn is_closed(&self) -> bool {
        self.is_lost.get() || self.client.is_closed() || self.driver.is_finished()
    }
}

/// How the database's list of sessions names a connection.
fn application(node_id: i64, purpose: Purpose) -> String {
    format!("{} {}", application_of(node_id), purpose.name())
}

/// What the names of all connections of a node begin with.
pub(crate) fn application_of(node_id: i64) -> String {
    format!("tollgate {node_id:016x}")
}

/// What all of these come to, or the first that fails. Each is sent when it is first looked at, in
/// this order.
async fn all_of<T>(
    mut under_way: Vec<Pin<Box<impl Future<Output = Result<T, tokio_postgres::Error>>>>>,
) -> Result<Vec<T>, tokio_postgres::Error> {
    let mut done: Vec<Option<T>> = under_way.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut is_pending = false;
        for (it, done) in under_way.iter_mut().zip(&mut done) {
            if done.is_some() {
                continue;
            }
            match it.as_mut().poll(context) {
                Poll::Ready(Ok(answer)) => *done = Some(answer),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => is_pending = true,
            }
        }
        if is_pending { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await?;
    Ok(done.into_iter().flatten().collect())
}

fn gone() -> Failure {
    Failure::Broken("the connection is gone".to_owned())
}

async fn drive<S>(mut connection: Connection<Socket, S>, warned: Arc<AtomicBool>)
where
    S: tokio_postgres::tls::TlsStream + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notice(notice))) => {
                let is_warning = match notice.parsed_severity() {
                    Some(Severity::Warning) => true,
                    Some(_) => false,
                    None => notice.severity() == "WARNING",
                };
                if is_warning {
                    warned.store(true, Ordering::Relaxed);
                    tracing::warn!(notice = notice.message(), "the database warns");
                }
            }
            Some(Ok(_)) => (),
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection ended");
                return;
            }
            None => return,
        }
    }
}
