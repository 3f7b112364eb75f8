"""Traces of headset, read by the protocol's own definitions (the package opentelemetry-proto):
what does not fit them fails."""

import base64
import http.server
import json
import threading

from harness import LOOPBACK, call, expect, until

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector(http.server.ThreadingHTTPServer):
    """Takes OTLP over HTTP in JSON."""

    def __init__(self):
        super().__init__((LOOPBACK, 0), Intake)
        self.requests = []
        self.faults = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://{LOOPBACK}:{self.server_port}"

    def spans(self):
        """Each span with the resource that sent it."""
        return [
            (resource.resource, scope.scope, span)
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class Intake(http.server.BaseHTTPRequestHandler):
    """One request of an exporter."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            expect(self.path == "/v1/traces", f"sent to {self.path}")
            expect(self.headers["content-type"] == "application/json", self.headers["content-type"])
            self.server.requests.append(read(body))
            status = 200
        except Exception as fault:  # noqa: BLE001 - whatever it is, the check tells it
            self.server.faults.append(f"{fault}: {body[:500]!r}")
            status = 400
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def read(body):
    """The message; a field that the protocol does not have is an error. OTLP writes ids in
    hexadecimal where JSON for protobuf has base64, so they are turned first."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    told = json.loads(body)
    for resource in told["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name, length in (("traceId", 16), ("spanId", 8), ("parentSpanId", 8)):
                    if name in span:
                        octets = bytes.fromhex(span[name])
                        expect(len(octets) == length, f"{name} {span[name]}")
                        span[name] = base64.b64encode(octets).decode()
    return json_format.ParseDict(told, ExportTraceServiceRequest())


def attributes(of):
    return {a.key: a.value.string_value or a.value.int_value for a in of.attributes}


def traces(bench):
    """A call's spans fit opentelemetry-proto, and hang together."""
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    collector = Collector()
    simulator = bench.simulator()
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=crm-1",
    }
    gateway = bench.gateway(simulator, environment=variables)
    parent = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    answer = call(gateway.url + "/configuration/cc/1/process?limit=2", headers=parent)
    expect(answer.status == 200, answer.text)

    def ours():
        expect(not collector.faults, f"a request does not fit: {collector.faults}")
        found = [span for _, _, span in collector.spans() if span.trace_id.hex() == TRACE]
        return found if len(found) == 2 else None

    spans = until("the spans of the call", ours)
    [call_span] = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    [attempt] = [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT]
    expect(call_span.parent_span_id.hex() == "b7ad6b7169203331", "the caller's span is not the parent")
    expect(attempt.parent_span_id == call_span.span_id, "the attempt is not a part of the call")
    told = attributes(attempt)
    expect(told["http.response.status_code"] == 200, f"{told}")
    expect(told["url.full"] == simulator.url + "/configuration/cc/1/process", f"{told}")
    begun, ended = call_span.start_time_unix_nano, call_span.end_time_unix_nano
    expect(begun <= attempt.start_time_unix_nano <= attempt.end_time_unix_nano <= ended, "times cross")
    resource, scope, _ = collector.spans()[0]
    resource = attributes(resource)
    expect(resource["service.name"] == "headset", f"{resource}")
    expect(resource["k8s.pod.name"] == "crm-1", f"{resource}")
    expect(scope.name == "headset", scope.name)
    mints = until("the span of the mint", lambda: [s for _, _, s in collector.spans() if s.name == "mint"])
    gateway.stop()
    collector.shutdown()
    return f"{len(spans)} spans of a call and {len(mints)} of a mint fit the protocol's definitions"
