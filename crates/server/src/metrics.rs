//! `/metrics` in the OpenMetrics text format, `/healthz` and `/readyz`. Names follow Prometheus'
//! conventions and stay as they are between minor versions.

use std::collections::BTreeSet;
use std::fmt;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use millstream_core::{ClientValues, RunState};
use millstream_engine::{BOUNDS_MS, FlowStanding, FlowView, PipelineView};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::serve::App;

pub(crate) fn router() -> Router<App> {
    Router::new().route("/metrics", get(metrics))
}

/// Who asks whether we live must not need a token.
pub(crate) fn health() -> Router<App> {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready))
}

/// Ready to be relied on: every file is a pipeline, and every flow has what it needs.
async fn ready(State(app): State<App>) -> Response {
    let broken = app.house.broken.iter().map(|broken| format!("{}: left out, it is broken\n", broken.path));
    let mut reasons: BTreeSet<String> = broken.collect();
    for view in app.house.views() {
        for flow in &view.flows {
            if matches!(flow.standing, FlowStanding::Waiting | FlowStanding::Stopped) {
                // What it waits for is for those who may see the page.
                reasons.insert(format!("{}: {} does not work\n", view.name, flow.name));
            }
        }
    }
    match reasons.is_empty() {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, reasons.into_iter().collect::<String>()).into_response(),
    }
}

async fn metrics(State(app): State<App>) -> Response {
    let mut text = String::new();
    let mut registry = Registry::with_prefix("millstream");
    let help = "Files that were left out at the start, for they are no pipelines";
    let broken = ConstGauge::new(app.house.broken.len() as u64);
    registry.register("broken_files", help, broken);
    registry.register_collector(Box::new(Views(app.house.views())));
    match encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!("metrics cannot be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// How something is counted.
type Of<T> = fn(&T) -> u64;

/// All pipelines as they are at one moment.
#[derive(Debug)]
struct Views(Vec<PipelineView>);

impl Views {
    fn flows(&self) -> impl Iterator<Item = (&PipelineView, &FlowView)> {
        self.0.iter().flat_map(|view| view.flows.iter().map(move |flow| (view, flow)))
    }

    /// A number of each flow, with its labels.
    fn of_flows(&self, value: Of<FlowView>) -> impl Iterator<Item = ([(&str, &str); 2], u64)> {
        self.flows().map(move |(view, flow)| (labels(view, flow), value(flow)))
    }

    fn clients(&self) -> impl Iterator<Item = ([(&str, &str); 3], &ClientValues)> {
        self.flows().flat_map(|(view, flow)| {
            flow.clients.iter().map(move |(role, values)| {
                let [pipeline, name] = labels(view, flow);
                ([pipeline, name, ("client", *role)], values)
            })
        })
    }
}

fn labels<'a>(view: &'a PipelineView, flow: &'a FlowView) -> [(&'a str, &'a str); 2] {
    [("pipeline", view.name.as_str()), ("flow", flow.name.as_str())]
}

/// A name without its prefix and unit, what it means, and the unit.
type Head = (&'static str, &'static str, Option<Unit>);

/// Writes a counter with its values by their labels.
fn counter<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): Head,
    values: impl Iterator<Item = ([(&'a str, &'a str); N], u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

impl Collector for Views {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        let counts: [(&str, &str, Of<FlowView>); 6] = [
            ("records_read", "Records read and committed", |flow| flow.totals.counts.read),
            ("records_passed", "Records that the query let through", |flow| flow.totals.counts.passed),
            ("records_filtered", "Records that the query held back", |flow| flow.totals.counts.filtered),
            ("records_dead", "Records that became dead letters", |flow| flow.totals.counts.dead),
            ("records_written", "Messages or rows written", |flow| flow.totals.counts.written),
            ("retries", "Attempts that failed and were made again", |flow| flow.totals.retries),
        ];
        for (name, help, value) in counts {
            counter(encoder, (name, help, None), self.of_flows(value))?;
        }
        let bytes = ("read", "Bytes of keys, values and headers read and committed", Some(Unit::Bytes));
        counter(encoder, bytes, self.of_flows(|flow| flow.totals.bytes))?;

        let help = "Messages behind the last committed one";
        let mut lag = encoder.encode_descriptor("lag_messages", help, None, MetricType::Gauge)?;
        for (view, flow) in self.flows() {
            for (partition, behind) in &flow.lag {
                let partition = partition.to_string();
                let [pipeline, name] = labels(view, flow);
                let labels = [pipeline, name, ("partition", partition.as_str())];
                lag.encode_family(&labels)?.encode_gauge(behind)?;
            }
        }

        let help = "From a message's timestamp to the commit that covers it";
        let mut latency =
            encoder.encode_descriptor("latency", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (view, flow) in self.flows().filter(|(_, flow)| flow.is_streaming) {
            let counted = &flow.totals.latency;
            let bounds = BOUNDS_MS.iter().map(|bound_ms| *bound_ms as f64 / 1000.0).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counted.counts).collect();
            let (sum, count) = (counted.sum_ms as f64 / 1000.0, counted.count());
            latency
                .encode_family(&labels(view, flow))?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }

        let help = "When the flow committed last, in seconds since 1970";
        let mut committed =
            encoder.encode_descriptor("commit_timestamp", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (view, flow) in self.flows() {
            if let Some(ms) = flow.totals.committed_ms {
                committed.encode_family(&labels(view, flow))?.encode_gauge(&(ms as f64 / 1000.0))?;
            }
        }

        let help = "1 while the flow has what it needs, 0 while it waits for a service or has failed";
        let mut up = encoder.encode_descriptor("flow_up", help, None, MetricType::Gauge)?;
        for (view, flow) in self.flows() {
            let is_up = !matches!(flow.standing, FlowStanding::Waiting | FlowStanding::Stopped);
            up.encode_family(&labels(view, flow))?.encode_gauge(&u64::from(is_up))?;
        }

        let help = "1 for the state of the run at work, else of the last one";
        let mut state = encoder.encode_descriptor("run_state", help, None, MetricType::Gauge)?;
        for view in self.0.iter().filter(|view| view.has_runs) {
            let now = view.active.as_ref().or(view.last.as_ref()).map(|run| run.state);
            for each in RunState::ALL {
                let labels = [("pipeline", view.name.as_str()), ("state", each.name())];
                state.encode_family(&labels)?.encode_gauge(&u64::from(now == Some(each)))?;
            }
        }
        let help = "Runs that ended since this process began, by how";
        let ended = self.0.iter().filter(|view| view.has_runs).flat_map(|view| {
            [("success", view.runs_succeeded), ("failed", view.runs_failed)]
                .map(|(state, count)| ([("pipeline", view.name.as_str()), ("state", state)], count))
        });
        counter(encoder, ("runs", help, None), ended)?;

        let clients: [(&str, &str, Option<Unit>, Of<ClientValues>); 5] = [
            ("kafka_client_received", "Bytes from brokers", Some(Unit::Bytes), |now| now.received_bytes),
            ("kafka_client_sent", "Bytes to brokers", Some(Unit::Bytes), |now| now.sent_bytes),
            ("kafka_client_requests", "Requests to brokers", None, |now| now.requests),
            ("kafka_client_retries", "Requests that were sent again", None, |now| now.retries),
            ("kafka_client_timeouts", "Requests that were not answered in time", None, |now| now.timeouts),
        ];
        for (name, help, unit, value) in clients {
            let values = self.clients().map(|(labels, client)| (labels, value(client)));
            counter(encoder, (name, help, unit), values)?;
        }
        let help = "Messages that wait in the client";
        let name = "kafka_client_waiting_messages";
        let mut waiting = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, values) in self.clients() {
            waiting.encode_family(&labels)?.encode_gauge(&values.waiting_messages)?;
        }
        let help = "The 99th percentile of requests' way to the slowest broker and back";
        let name = "kafka_client_round_trip_p99";
        let mut trip = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (labels, values) in self.clients() {
            trip.encode_family(&labels)?.encode_gauge(&values.round_trip_p99_seconds)?;
        }
        Ok(())
    }
}
