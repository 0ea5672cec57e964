//! Orders to one node at its admin address.

use crate::{
    control::NodeReload,
    http::{self, Failure, Reply},
    topology::elements::url::HttpUrl,
};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};

/// Longer than a node waits for its workers to apply an order.
const ORDER_TIME_MAX: Duration = Duration::from_secs(10);
/// A node that has not answered a glance by then hangs.
const GLANCE_TIME_MAX: Duration = Duration::from_secs(2);
/// How often a node that drains is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a node that has just begun to listen is looked at.
const SERVING_LOOK_EVERY: Duration = Duration::from_millis(5);
/// Looks in a row at which nothing was in flight and nothing new had come: by then everybody above
/// has heard, in a load report or by asking, that the node takes nothing more.
const QUIET_LOOKS: u32 = 6;

/// Takes a node out of rotation and returns when it has nothing left to finish; without an end of
/// its own.
pub(crate) async fn drain(admin: SocketAddr) -> Result<(), String> {
    let mut status = order(admin, "/admin/drain").await?;
    let mut quiet = 0;
    let mut last = None;
    loop {
        let number = |key: &str| status.get(key).and_then(Value::as_u64).unwrap_or(0);
        if status.get("draining") != Some(&Value::Bool(true)) {
            return Err("somebody has put it back in rotation".to_owned());
        }
        // Requests of clients that come on connections of their own are none of a drain's business.
        let seen = (number("relayed"), number("unfinished"));
        quiet = if seen.1 == 0 && last == Some(seen) { quiet + 1 } else { 0 };
        if QUIET_LOOKS <= quiet {
            return Ok(());
        }
        last = Some(seen);
        tokio::time::sleep(LOOK_EVERY).await;
        status = look(admin).await?;
    }
}

/// Puts a node back in rotation.
pub(crate) async fn undrain(admin: SocketAddr) -> Result<(), String> {
    order(admin, "/admin/undrain").await.map(drop)
}

/// Lets a node read its file anew: what has changed, or everything that is wrong.
pub(crate) async fn reload(admin: SocketAddr) -> Result<Vec<String>, Vec<String>> {
    let url = url(admin);
    let reply = http::call(&url, None, http::order(&url, "/admin/reload"), ORDER_TIME_MAX).await;
    let reply = reply.map_err(|failure| vec![unheard(failure)])?;
    let value = json(&reply);
    let lines = |key: &str| -> Vec<String> {
        let list = value.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|it| Some(it.as_str()?.to_owned())).collect()
    };
    match reply.status {
        200 => Ok(lines("changes")),
        status => Err(match lines("complaints") {
            none if none.is_empty() => vec![said(status, &value)],
            complaints => complaints,
        }),
    }
}

/// A reload's result under the name of its node.
pub(crate) fn told(node: &str, result: Result<Vec<String>, Vec<String>>) -> NodeReload {
    let ok = result.is_ok();
    let (Ok(lines) | Err(lines)) = result;
    NodeReload { node: node.to_owned(), ok, lines }
}

/// Returns when a node says that it is ready to serve; without an end of its own.
pub(crate) async fn serving(admin: SocketAddr) {
    let url = url(admin);
    loop {
        let asked = http::get(&url, "/readyz");
        let reply = http::call(&url, None, asked, GLANCE_TIME_MAX).await;
        if reply.is_ok_and(|it| it.status == 200) {
            return;
        }
        tokio::time::sleep(SERVING_LOOK_EVERY).await;
    }
}

/// Gives an order; what the node says to it.
pub(crate) async fn order(admin: SocketAddr, path: &str) -> Result<Value, String> {
    let url = url(admin);
    let reply =
        http::call(&url, None, http::order(&url, path), ORDER_TIME_MAX).await.map_err(unheard)?;
    whole(&reply)
}

/// What a node says of itself.
pub(crate) async fn look(admin: SocketAddr) -> Result<Value, String> {
    look_within(admin, ORDER_TIME_MAX).await
}

/// The same, where one that hangs is not to hold up what the others say.
pub(crate) async fn glance(admin: SocketAddr) -> Result<Value, String> {
    look_within(admin, GLANCE_TIME_MAX).await
}

async fn look_within(admin: SocketAddr, time_max: Duration) -> Result<Value, String> {
    let url = url(admin);
    let asked = http::get(&url, "/admin/status");
    whole(&http::call(&url, None, asked, time_max).await.map_err(unheard)?)
}

fn whole(reply: &Reply) -> Result<Value, String> {
    let value = json(reply);
    if reply.status == 200 { Ok(value) } else { Err(said(reply.status, &value)) }
}

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or(Value::Null)
}

fn said(status: u16, value: &Value) -> String {
    let detail = value.get("detail").and_then(Value::as_str);
    detail.map_or_else(|| format!("it answers {status}"), str::to_owned)
}

fn unheard(failure: Failure) -> String {
    let (Failure::Unsent(why) | Failure::Unanswered(why)) = failure;
    format!("no answer from its admin address: {why}")
}

fn url(admin: SocketAddr) -> HttpUrl {
    // An address that takes in every interface is reached by loopback.
    let ip = match admin.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let host = SocketAddr::new(ip, 0).to_string();
    HttpUrl::plain(host.trim_end_matches(":0").to_owned(), admin.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_is_reached_by_loopback() {
        let host = |text: &str| url(text.parse().unwrap()).host;
        assert_eq!(host("0.0.0.0:7"), "127.0.0.1");
        assert_eq!(host("[::]:7"), "[::1]");
        assert_eq!(host("10.0.0.1:7"), "10.0.0.1");
    }
}
