//! Endpoints as the admin pages show them, and orders about them as they are read.

use super::Exposition;
use crate::control::{EndpointChange, EndpointState, EndpointView, Looked, merge};
use serde_json::{Map, Value, json};
use std::{num::NonZeroU32, time::Duration};

/// Heaviest weight of an endpoint.
pub const WEIGHT_MAX: u32 = 1_000;
/// Quantiles that are shown, in thousandths.
const QUANTILES: [(&str, &str, u64); 3] =
    [("p50_us", "0.5", 500), ("p90_us", "0.9", 900), ("p99_us", "0.99", 990)];

/// One endpoint.
pub(super) fn endpoint(view: &EndpointView) -> Value {
    let mut latency = Map::new();
    latency.insert("answers".to_owned(), view.latency.total().into());
    for (key, _, permille) in QUANTILES {
        latency.insert(key.to_owned(), view.latency.quantile(permille).map(micros).into());
    }
    json!({
        "name": &*view.name,
        "addr": view.addr,
        "kind": view.kind,
        "state": view.state.text(),
        "weight": view.weight,
        "in_flight": view.in_flight,
        "load": view.load.map(|load| json!({
            "in_flight": load.in_flight,
            "latency_us": micros(load.latency),
            "limit_permille": load.limit_permille,
            "age_ms": u64::try_from(load.age.as_millis()).unwrap_or(u64::MAX),
        })),
        "latency": latency,
        "requests": view.requests,
        "errors": {
            "lost": view.errors.lost,
            "shed": view.errors.shed,
            "failed": view.errors.failed,
            "late": view.errors.late,
        },
        "breaker": view.breaker,
        "changed": view.changed.as_ref().map(|(at, why)| json!({
            "at": at.to_string(),
            "why": why,
        })),
    })
}

/// All endpoints, and the workers that did not say what they see.
pub(super) fn page(looked: &Looked) -> Value {
    json!({
        "endpoints": merge(&looked.views).iter().map(endpoint).collect::<Vec<_>>(),
        "silent_workers": looked.silent,
    })
}

/// Adds what only a look at the workers can tell.
pub(super) fn metrics(looked: &Looked, out: &mut Exposition) {
    let endpoints = merge(&looked.views);
    if endpoints.is_empty() {
        return;
    }
    let (mut states, mut weights, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for view in &endpoints {
        let name = ("endpoint", &*view.name);
        for state in EndpointState::ALL {
            states.push(([name, ("state", state.text())], u64::from(state == view.state)));
        }
        weights.push(([name], u64::from(view.weight)));
        for (_, quantile, permille) in QUANTILES {
            if let Some(latency) = view.latency.quantile(permille) {
                latencies.push(([name, ("quantile", quantile)], micros(latency)));
            }
        }
    }
    out.gauge("endpoint_state", "1 for the state that it is in.", &borrowed(&states));
    out.gauge("endpoint_weight", "Its part of the work.", &borrowed(&weights));
    let help = "Of answers in the last ten seconds.";
    out.gauge("endpoint_latency_microseconds", help, &borrowed(&latencies));
}

type Labels<'a> = &'a [(&'a str, &'a str)];

fn borrowed<'a, const N: usize>(
    samples: &'a [([(&'a str, &'a str); N], u64)],
) -> Vec<(Labels<'a>, u64)> {
    samples.iter().map(|(labels, value)| (&labels[..], *value)).collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What is wrong with an order, and with which of its fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) field: Option<String>,
    pub(super) want: &'static str,
}

/// Reads `{"state":"drain"|"active","weight":N}`, of which one may be missing.
pub(super) fn change(name: &str, body: &[u8]) -> Result<EndpointChange, Mistake> {
    let whole = |want| Mistake { field: None, want };
    let of = |field: &str, want| Mistake { field: Some(field.to_owned()), want };
    let fields: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| whole(r#"want a JSON object, as in {"state":"drain"}"#))?;
    let mut change = EndpointChange { name: name.into(), drained: None, weight: None };
    for (key, value) in &fields {
        match key.as_str() {
            "state" => {
                change.drained = Some(match value.as_str() {
                    Some("drain") => true,
                    Some("active") => false,
                    Some(_) | None => return Err(of(key, r#"want "drain" or "active""#)),
                });
            }
            "weight" => {
                let weight = value.as_u64().and_then(|it| u32::try_from(it).ok());
                let weight = weight.filter(|it| *it <= WEIGHT_MAX).and_then(NonZeroU32::new);
                let weight = weight.ok_or_else(|| of(key, "want a whole number, 1 to 1000"))?;
                change.weight = Some(weight);
            }
            _ => return Err(of(key, r#"is no field of this: want "state" or "weight""#)),
        }
    }
    match (change.drained, change.weight) {
        (None, None) => Err(whole(r#"want "state" or "weight""#)),
        _ => Ok(change),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_name_the_field_that_is_wrong() {
        let read = |body: &str| change("gateway-1", body.as_bytes());
        let wrong = |body: &str| read(body).unwrap_err().field;
        let both = read(r#"{"state":"drain","weight":3}"#).unwrap();
        assert_eq!((both.drained, both.weight.map(NonZeroU32::get)), (Some(true), Some(3)));
        assert_eq!(read(r#"{"state":"active"}"#).unwrap().drained, Some(false));
        for body in [r#"{"weight":0}"#, r#"{"weight":1001}"#, r#"{"weight":"1"}"#] {
            assert_eq!(wrong(body).as_deref(), Some("weight"), "{body}");
        }
        for body in [r#"{"state":"up"}"#, r#"{"state":1}"#, r#"{"state":null}"#] {
            assert_eq!(wrong(body).as_deref(), Some("state"), "{body}");
        }
        assert_eq!(wrong(r#"{"wait":1}"#).as_deref(), Some("wait"));
        for body in ["", "{}", "[]", "drain"] {
            assert_eq!(wrong(body), None, "{body}");
        }
    }
}
