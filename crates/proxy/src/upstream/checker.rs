//! Asks every endpoint of a service from time to time whether it is well: once per node, whatever
//! the number of its workers and requests.

use super::{
    body::Payload,
    config::{CheckConfig, HttpEndpoint, HttpServiceConfig, Protocol},
    conns::{Conns, NoLease, Want},
    head::Head,
    service::Current,
};
use balance::{Check, Health};
use bytes::Bytes;
use net::ids;
use std::{rc::Rc, sync::Arc, time::Duration};
use stdx::Rng;
use tokio::{
    task::{JoinHandle, spawn_local},
    time::{sleep, timeout},
};
use wire::frame::Headers;

/// Checks are up to this much apart from their period, so that nodes do not check in step.
const JITTER_PERCENT: u32 = 10;

/// The checks of a service's endpoints; they end when it is dropped.
pub(super) struct Checking(Vec<JoinHandle<()>>);

impl Drop for Checking {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Starts to check, on this thread. Who is out of rotation is checked too.
pub(super) fn start(current: &Arc<Current>) -> Checking {
    let endpoints = 0..current.config.endpoints.len();
    Checking(endpoints.map(|at| spawn_local(keep_checking(Arc::clone(current), at))).collect())
}

async fn keep_checking(current: Arc<Current>, at: usize) {
    let mut rng = Rng::new(ids::seed());
    let config = &current.config;
    let mut check = Check::new(config.check.rule);
    loop {
        let result = once(&config.endpoints[at], config).await;
        if let Some(health) = check.saw(result.is_ok()) {
            tell(&current, at, health, result.err());
        }
        sleep(spread(&mut rng, config.check.every)).await;
    }
}

fn tell(current: &Current, at: usize, health: Health, why: Option<String>) {
    let (name, endpoint) = (&*current.config.name, current.config.endpoints[at].authority());
    match why {
        Some(why) => tracing::warn!(service = name, endpoint, why, "endpoint fails its checks"),
        None => tracing::info!(service = name, endpoint, "endpoint passes its checks"),
    }
    current.health.send_modify(|healths| healths[at] = health);
}

/// The period, shorter or longer by a part of it.
fn spread(rng: &mut Rng, every: Duration) -> Duration {
    let part = u32::try_from(rng.below(1_024)).expect("below 1024");
    let least = every / 100 * (100 - JITTER_PERCENT);
    least + every / 100 * (2 * JITTER_PERCENT) * part / 1_024
}

/// One check; `Err` says what is wrong.
async fn once(endpoint: &HttpEndpoint, service: &HttpServiceConfig) -> Result<(), String> {
    let checked = timeout(service.check.timeout, check(endpoint, service)).await;
    checked.unwrap_or_else(|_| Err(format!("no answer within {:?}", service.check.timeout)))
}

async fn check(endpoint: &HttpEndpoint, service: &HttpServiceConfig) -> Result<(), String> {
    let CheckConfig { path, .. } = &service.check;
    let protocol = if path.is_some() { service.protocol } else { Protocol::Http1 };
    let conns = Rc::new(Conns::new(endpoint, service, protocol));
    let mut lease = conns.lease(Want::Fresh).await.map_err(|err| match err {
        NoLease::Full => "no connection is free".to_owned(),
        NoLease::Unreachable(err) => err.to_string(),
    })?;
    let Some(path) = path else { return Ok(()) };
    let head = Head {
        method: "GET",
        path,
        headers: Headers::NONE,
        key: &[],
        minted: false,
        trace: "",
        upgrade: None,
        trailers: false,
    };
    let request = head.request(service, &endpoint.authority());
    let body = Payload::Whole(Bytes::new()).take().ok_or("no body")?;
    let request = request.map_err(|flaw| flaw.0)?.map(|()| body);
    let answer = lease.send(request).await.map_err(|err| err.into_error().to_string())?;
    let status = answer.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("it answered {status}"))
    }
}
