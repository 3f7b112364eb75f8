//! Traces of the very binary, as a collector gets them over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use headset_simulator::{Faults, Options, Simulator};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::client;
use crate::support::collector::{Collector, attribute};
use crate::support::eventually;
use crate::support::folder::Folder;
use crate::support::process::Process;
use crate::support::recorder::{Recorder, Step};

const OF_THE_CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn configured(folder: &Folder, upstream: &str) -> PathBuf {
    folder.write("password", "hunter2");
    let text = format!(
        "[listener.app]\nbind = \"127.0.0.1:0\"\n[admin]\nbind = \"127.0.0.1:0\"\nsocket = \"none\"\n\
         [route.contacts]\nmatch.path = \"/v1\"\nupstream = \"{upstream}\"\ncredential = \"robot\"\n\
         timeouts.connect_retry = \"0\"\n[credential.robot]\nkind = \"static\"\n\
         basic.username = \"robot\"\nbasic.password = {{ file = \"{}/password\" }}\n",
        folder.root()
    );
    folder.write("headset.toml", &text)
}

async fn start(file: &std::path::Path, collector: &str, more: &[(&str, &str)]) -> Process {
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    variables.extend(more);
    Process::start_with(file, &variables).await
}

/// The one span of this name, once it has come.
async fn one(collector: &Collector, name: &str) -> Value {
    eventually(name, async || !collector.named(name).is_empty()).await;
    let mut named = collector.named(name);
    assert_eq!(named.len(), 1, "{named:?}");
    named.remove(0)
}

fn traceparent(request: &str) -> Option<String> {
    let lower = request.to_ascii_lowercase();
    let line = lower
        .lines()
        .find_map(|line| line.strip_prefix("traceparent: "));
    line.map(str::to_owned)
}

#[tokio::test]
async fn a_call_is_a_part_of_its_callers_trace_and_the_upstream_a_part_of_the_attempts() {
    let upstream = Recorder::start([Step::ok("here")]).await;
    let collector = Collector::start(&[]).await;
    let folder = Folder::new();
    let file = configured(&folder, &upstream.url());
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter-of-keys");
    let resource = (
        "OTEL_RESOURCE_ATTRIBUTES",
        "deployment.environment.name=story",
    );
    let mut process = start(&file, &collector.url(), &[headers, resource]).await;
    let fields = [
        ("traceparent", OF_THE_CALLER),
        ("tracestate", "vendor=1"),
        ("x-request-id", "crm-1"),
    ];
    let target = "/v1/things?token=secret-of-the-query";
    client::call(process.app(), "POST", target, &fields, b"{}").await;
    let call = one(&collector, "POST /v1").await;
    let attempt = one(&collector, "POST").await;
    for (span, kind) in [(&call, 2), (&attempt, 3)] {
        assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span["kind"], kind);
        assert_eq!(span["status"]["code"], 0);
        let time = |name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"));
        assert_eq!(
            attribute(span, "http.response.status_code").as_deref(),
            Some("200")
        );
    }
    assert_eq!(call["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(attempt["parentSpanId"], call["spanId"]);
    let passed_on = traceparent(&upstream.requests()[0]).unwrap();
    let expected = format!(
        "00-0af7651916cd43dd8448eb211c80319c-{}-01",
        attempt["spanId"].as_str().unwrap()
    );
    assert_eq!(passed_on, expected);
    assert!(
        upstream.requests()[0]
            .to_ascii_lowercase()
            .contains("tracestate: vendor=1\r\n")
    );
    for (span, key, value) in [
        (&call, "http.route", "/v1"),
        (&call, "url.path", "/v1/things"),
        (&call, "headset.route.name", "contacts"),
        (&call, "headset.request.id", "crm-1"),
        (&call, "server.address", "127.0.0.1"),
        (&attempt, "http.request.method", "POST"),
        (
            &attempt,
            "url.full",
            &format!("{}/v1/things", upstream.url()),
        ),
        (
            &attempt,
            "server.port",
            &upstream.address().port().to_string(),
        ),
    ] {
        assert_eq!(attribute(span, key).as_deref(), Some(value), "{key}");
    }
    let resource = collector.resource();
    assert_eq!(
        attribute(&resource, "service.name").as_deref(),
        Some("headset")
    );
    assert_eq!(
        attribute(&resource, "deployment.environment.name").as_deref(),
        Some("story")
    );
    let head = collector.heads()[0].to_ascii_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/json\r\n"),
        "{head}"
    );
    assert!(head.contains("x-key: hunter-of-keys\r\n"), "{head}");

    // The mint is told of too, and nothing of it all is a secret.
    let mint = one(&collector, "mint").await;
    assert_eq!(
        attribute(&mint, "headset.credential.name").as_deref(),
        Some("robot")
    );
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await, Some(0));
    let all = format!("{:?}{}", collector.spans(), process.logged());
    for secret in [
        "hunter2",
        "hunter-of-keys",
        "secret-of-the-query",
        "cm9ib3Q6",
    ] {
        assert!(!all.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_trace_begins_where_the_caller_has_none_and_is_not_recorded_where_he_does_not() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let collector = Collector::start(&[]).await;
    let folder = Folder::new();
    let file = configured(&folder, &upstream.url());
    let process = start(&file, &collector.url(), &[]).await;
    let unsampled = OF_THE_CALLER.replace("-01", "-00");
    let fields = [
        ("traceparent", unsampled.as_str()),
        ("tracestate", "vendor=1"),
    ];
    client::call(process.app(), "GET", "/v1/off", &fields, b"").await;
    let broken = [("traceparent", "00-zz"), ("tracestate", "vendor=1")];
    client::call(process.app(), "GET", "/v1/new", &broken, b"").await;
    let call = one(&collector, "GET /v1").await;
    assert_eq!(attribute(&call, "url.path").as_deref(), Some("/v1/new"));
    assert_eq!(call.get("parentSpanId"), None);
    let requests = upstream.requests();
    assert_eq!(
        traceparent(&requests[0]).as_deref(),
        Some(unsampled.as_str())
    );
    let trace = call["traceId"].as_str().unwrap();
    assert!(
        traceparent(&requests[1])
            .unwrap()
            .starts_with(&format!("00-{trace}-"))
    );
    assert!(requests[0].to_ascii_lowercase().contains("tracestate"));
    assert!(
        !requests[1].to_ascii_lowercase().contains("tracestate"),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn the_wait_for_a_credential_and_each_attempt_have_spans() {
    let center = Simulator::start(Options::default()).await.unwrap();
    center.faults(Faults {
        registration_delay_ms: 300,
        unauthorized_next: 1,
        ..Faults::default()
    });
    let collector = Collector::start(&[]).await;
    let folder = Folder::new();
    folder.write("password", "customer_manager@123$");
    let password = format!("password = {{ file = \"{}/password\" }}\n", folder.root());
    let file = folder.configure(&center, &password);
    let process = start(&file, &collector.url(), &[]).await;
    let answer = client::get(process.app(), "/configuration/cc/1/process").await;
    assert_eq!(answer.status, 200);
    let wait = one(&collector, "credential wait").await;
    let call = one(&collector, "GET /").await;
    assert_eq!(
        (&wait["parentSpanId"], &wait["traceId"]),
        (&call["spanId"], &call["traceId"])
    );
    eventually("both attempts", async || collector.named("GET").len() == 2).await;
    let mut attempts = collector.named("GET");
    attempts.sort_by_key(|span| attribute(span, "http.request.resend_count"));
    let status = |span: &Value| attribute(span, "http.response.status_code").unwrap();
    assert_eq!(
        (status(&attempts[0]).as_str(), status(&attempts[1]).as_str()),
        ("401", "200")
    );
    assert_eq!(
        attempts[0]["status"]["code"], 2,
        "a 4xx is an error for who calls"
    );
    assert_eq!(
        attribute(&attempts[1], "http.request.resend_count").as_deref(),
        Some("1")
    );
    assert_eq!(call["status"]["code"], 0);
    let mint = one(&collector, "mint").await;
    assert_ne!(mint["traceId"], call["traceId"]);
}

#[tokio::test]
async fn a_failure_is_one_in_its_span_too() {
    let collector = Collector::start(&[]).await;
    let folder = Folder::new();
    let file = configured(&folder, "http://127.0.0.1:9");
    let process = start(&file, &collector.url(), &[]).await;
    assert_eq!(client::get(process.app(), "/v1/a").await.status, 502);
    let call = one(&collector, "GET /v1").await;
    let attempt = one(&collector, "GET").await;
    assert_eq!(
        attribute(&call, "error.type").as_deref(),
        Some("upstream_unreachable")
    );
    assert_eq!(
        attribute(&call, "http.response.status_code").as_deref(),
        Some("502")
    );
    assert_eq!(
        attribute(&attempt, "error.type").as_deref(),
        Some("connect")
    );
    assert_eq!(
        (&call["status"]["code"], &attempt["status"]["code"]),
        (&2.into(), &2.into())
    );
}

#[tokio::test]
async fn a_batch_that_is_not_taken_is_sent_again_and_what_waits_at_the_end_is_sent() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let collector = Collector::start(&["503 Unavailable\r\nRetry-After: 1"]).await;
    let folder = Folder::new();
    let file = configured(&folder, &upstream.url());
    let process = start(&file, &collector.url(), &[]).await;
    client::get(process.app(), "/v1/first").await;
    let call = one(&collector, "GET /v1").await;
    assert_eq!(attribute(&call, "url.path").as_deref(), Some("/v1/first"));
    let series = "headset_trace_spans_total{outcome=\"exported\"}";
    eventually("the count", async || {
        process.metric(series).await >= Some(3.0)
    })
    .await;
    assert_eq!(process.terminate().await, Some(0));

    let delay = ("OTEL_BSP_SCHEDULE_DELAY", "60000");
    let process = start(&file, &collector.url(), &[delay]).await;
    client::get(process.app(), "/v1/last").await;
    assert_eq!(process.terminate().await, Some(0));
    assert_eq!(collector.named("GET /v1").len(), 2);
}

#[tokio::test]
async fn without_a_collector_spans_are_lost_and_no_call_is() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let folder = Folder::new();
    let file = configured(&folder, &upstream.url());
    let small = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"),
    ];
    let process = start(&file, "http://127.0.0.1:9", &small).await;
    for _ in 0..50 {
        assert_eq!(client::get(process.app(), "/v1").await.status, 200);
    }
    let lost = "headset_trace_spans_total{outcome=\"lost\"}";
    eventually("the loss", async || {
        process.metric(lost).await >= Some(50.0)
    })
    .await;
    let begun = tokio::time::Instant::now();
    assert_eq!(process.terminate().await, Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "it does not wait for a collector"
    );
}

#[tokio::test]
async fn where_the_variables_ask_for_none_the_trace_passes_as_it_is() {
    let upstream = Recorder::start([Step::ok("")]).await;
    let folder = Folder::new();
    let file = configured(&folder, &upstream.url());
    let none = [("OTEL_TRACES_EXPORTER", "none")];
    let process = start(&file, "http://127.0.0.1:9", &none).await;
    client::call(
        process.app(),
        "GET",
        "/v1",
        &[("traceparent", OF_THE_CALLER)],
        b"",
    )
    .await;
    client::get(process.app(), "/v1").await;
    let requests = upstream.requests();
    assert_eq!(traceparent(&requests[0]).as_deref(), Some(OF_THE_CALLER));
    assert_eq!(traceparent(&requests[1]), None);
}
