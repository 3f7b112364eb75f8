"""PyPI's grpcio on both ends, over HTTP/2 without TLS: every kind of call, what ends one
early, and whose credential arrives."""

import threading

from calls import Headset
from harness import LOOPBACK, Failed, Skipped, expect, until

SECONDS = 20
ITEMS = 200


def grpc_calls(bench):
    """Unary and streaming calls, an error, a deadline, and metadata."""
    try:
        import grpc
    except ImportError as missing:
        raise Skipped(f"PyPI's grpcio is missing ({missing}); ./test installs it") from None
    import concurrent.futures

    service = Service(grpc)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    server.start()
    headset = Headset(bench, port, protocol="h2")
    # No proxy of the environment may stand between.
    channel = grpc.insecure_channel(headset.url.removeprefix("http://"), options=[("grpc.enable_http_proxy", 0)])
    try:
        called = judged(grpc, channel, service, bench.secrets["headset-token"], headset)
    finally:
        channel.close()
        server.stop(None).wait(SECONDS)
    until("the last call's end", lambda: not headset.metrics()['headset_requests_in_flight{route="all"}'])
    expect(headset.process.stop() == 0, "headset did not end with 0")
    return called


def judged(grpc, channel, service, token, headset):
    """Makes the calls and says what was seen."""
    # What a caller may not choose, and what it may.
    metadata = (("authorization", "Bearer stale"), ("x-tag", "one"), ("x-raw-bin", b"\x00\xff"))
    told = {"timeout": SECONDS, "metadata": metadata, "wait_for_ready": True}

    unary = channel.unary_unary("/check.Echo/Unary")
    large = bytes(range(256)) * 4096
    for message in (b"", b"hello", large):
        answer, call = unary.with_call(message, **told)
        expect(answer == message, f"{len(answer)} of {len(message)} octets came back")
        expect(call.code() is grpc.StatusCode.OK, f"it ended with {call.code()}")
        trailers = dict(call.trailing_metadata())
        expect(trailers.get("x-end-bin") == b"\x01\xfe", f"the trailers were {trailers}")
        expect(dict(call.initial_metadata()).get("x-start") == "yes", "the first metadata did not come")

    items = [str(number).encode() for number in range(ITEMS)]
    down = channel.unary_stream("/check.Echo/Down")(b"%d" % ITEMS, **told)
    expect(list(down) == items, "another stream came down")
    up = channel.stream_unary("/check.Echo/Up")(iter(items), **told)
    expect(up == b"".join(items), "another stream went up")

    # Each message is sent only after the answer to the one before.
    turns = threading.Semaphore(1)

    def sent():
        for item in items:
            expect(turns.acquire(timeout=SECONDS), "no turn came")
            yield item

    talked = []
    for answer in channel.stream_stream("/check.Echo/Both")(sent(), **told):
        talked.append(answer)
        turns.release()
    expect(talked == items, "another talk was had")

    refused = failure(grpc, lambda: unary(b"refuse", **told))
    expect(refused.code() is grpc.StatusCode.FAILED_PRECONDITION, f"the error came as {refused.code()}")
    expect(refused.details() == "not töday: 100 %", f"its text came as {refused.details()}")
    expect(dict(refused.trailing_metadata()).get("x-why") == "because", "its trailers did not come")
    after = channel.unary_stream("/check.Echo/Broken")(b"", **told)
    expect(next(after) == b"one", "the message before a late error did not come")
    broken = failure(grpc, lambda: next(after))
    expect(broken.code() is grpc.StatusCode.DATA_LOSS, f"a late error came as {broken.code()}")
    unknown = failure(grpc, lambda: channel.unary_unary("/check.Echo/None")(b"", **told))
    expect(unknown.code() is grpc.StatusCode.UNIMPLEMENTED, f"an unknown method came as {unknown.code()}")

    late = failure(grpc, lambda: unary(b"wait", timeout=0.5, metadata=metadata))
    expect(late.code() is grpc.StatusCode.DEADLINE_EXCEEDED, f"the deadline came as {late.code()}")
    expect(service.ended.wait(SECONDS), "the server did not see the end of the call")
    service.ended.clear()
    endless = channel.unary_stream("/check.Echo/Endless")(b"", timeout=SECONDS, metadata=metadata)
    next(endless)
    streams = headset.metrics()['headset_streams_open{kind="grpc",route="all"}']
    expect(streams == 1, f"{streams} streams of gRPC were open")
    endless.cancel()
    expect(service.ended.wait(SECONDS), "the server did not see that its caller left")

    for seen in service.seen:
        expect(seen["authorization"] == [f"Bearer {token}"], f"{len(seen['authorization'])} credentials arrived")
        expect(seen["x-tag"] == ["one"] and seen["x-raw-bin"] == [b"\x00\xff"], "other metadata arrived")
    expect(len(service.seen) == 10, f"{len(service.seen)} calls arrived")
    return (
        f"10 calls: unary up to {len(large) >> 20} MiB, {ITEMS} messages down, up and by turns, 2 errors "
        "with trailers, a deadline and a cancel seen by the server; its one credential is headset's"
    )


def failure(grpc, call):
    """The error that `call` ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise Failed("a call that should have failed did not")


class Service:
    """Methods of octets, without any .proto. It keeps the metadata of each call."""

    def __init__(self, grpc):
        self.grpc = grpc
        self.seen = []
        self.ended = threading.Event()
        self.methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Broken": grpc.unary_stream_rpc_method_handler(self.broken),
            "Endless": grpc.unary_stream_rpc_method_handler(self.endless),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
        }

    def service(self, details):
        """What grpc asks for the handler of a call."""
        return self.methods.get(details.method.rpartition("/")[2])

    def note(self, context):
        found = {"authorization": [], "x-tag": [], "x-raw-bin": []}
        for name, value in context.invocation_metadata():
            found.setdefault(name, []).append(value)
        self.seen.append(found)

    def unary(self, message, context):
        self.note(context)
        context.send_initial_metadata((("x-start", "yes"),))
        context.set_trailing_metadata((("x-end-bin", b"\x01\xfe"),))
        if message == b"refuse":
            context.set_trailing_metadata((("x-why", "because"),))
            context.abort(self.grpc.StatusCode.FAILED_PRECONDITION, "not töday: 100 %")
        if message == b"wait":
            over = threading.Event()
            context.add_callback(over.set)
            if over.wait(SECONDS):
                self.ended.set()
        return message

    def down(self, message, context):
        self.note(context)
        for number in range(int(message)):
            yield str(number).encode()

    def broken(self, _, context):
        self.note(context)
        yield b"one"
        context.abort(self.grpc.StatusCode.DATA_LOSS, "gone")

    def endless(self, _, context):
        self.note(context)
        over = threading.Event()
        context.add_callback(over.set)
        yield b"one"
        if over.wait(SECONDS):
            self.ended.set()

    def up(self, messages, context):
        self.note(context)
        return b"".join(messages)

    def both(self, messages, context):
        self.note(context)
        yield from messages
