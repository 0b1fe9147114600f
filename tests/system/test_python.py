#!/usr/bin/python3
"""A client in another language: pyzmq, protobuf, proto/gpb.proto and doc/protocol.md, nothing of ours.

Starts a node, or takes the one in GPB_NODE. Prints `N passed, N failed`; exits 77, a skip, with the
reason, where something that it needs is missing. No test sleeps: every wait is for a message.
"""
import array
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile


def skip(reason):
    print("skipped:", reason)
    sys.exit(77)


try:
    import zmq
    import google.protobuf  # noqa: F401
except ImportError as missing:
    skip(f"{missing} (apt-get install python3-zmq python3-protobuf)")
if not shutil.which("protoc"):
    skip("protoc is missing (apt-get install protobuf-compiler)")

SOURCE = os.environ.get("GPB_SOURCE_DIR", os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.environ.get("GPB_BUILD_DIR", ".")
GENERATED = tempfile.TemporaryDirectory()
subprocess.run(["protoc", f"--python_out={GENERATED.name}", f"--proto_path={SOURCE}/proto", "gpb.proto"],
               check=True)
sys.path.insert(0, GENERATED.name)
import gpb_pb2 as gpb  # noqa: E402

COUNT = 1000
A = array.array("f", range(COUNT))
B = array.array("f", (2 * value for value in range(COUNT)))
SUM = array.array("f", (3 * value for value in range(COUNT)))
context = zmq.Context()


class Client:
    """A DEALER that frames messages as doc/protocol.md draws them, or a REQ, which does it by itself."""

    def __init__(self, endpoint, kind=zmq.DEALER, own=None, node=None):
        self.socket = context.socket(kind)
        self.socket.linger = 0
        if own:
            self.socket.curve_publickey, self.socket.curve_secretkey = own
            self.socket.curve_serverkey = node
        self.socket.rcvtimeo = 30000
        self.socket.connect(endpoint)
        self.delimiter = [b""] if kind == zmq.DEALER else []
        self.last_id = 0

    def send_raw(self, *frames):
        self.socket.send_multipart(self.delimiter + list(frames))

    def send(self, request, *payloads):
        self.last_id += 1
        request.version = request.version or 1
        request.id = request.id or self.last_id
        request.timeout_ms = request.timeout_ms or 20000
        self.send_raw(request.SerializeToString(), *payloads)
        return request.id

    def recv(self):
        frames = self.socket.recv_multipart()
        if self.delimiter:
            check(frames.pop(0) == b"", "a reply to a DEALER starts with the empty frame")
        return gpb.Reply.FromString(frames[0]), frames[1:]

    def call(self, request, *payloads):
        wanted = self.send(request, *payloads)
        reply, frames = self.recv()
        check(reply.id == wanted, f"reply {reply.id} to request {wanted}")
        return reply, frames


def check(truth, sentence):
    if not truth:
        raise AssertionError(sentence)


def status(reply, wanted):
    check(reply.status == wanted, f"{gpb.Status.Name(reply.status)} instead of "
          f"{gpb.Status.Name(wanted)}: {reply.message}")
    check(wanted == gpb.OK or reply.message, "a refusal without a sentence")


def floats(result, frames):
    kind = result.WhichOneof("value")
    return array.array("f", frames[result.frame] if kind == "frame" else result.inline)


def body(kind):
    request = gpb.Request()
    getattr(request, kind).SetInParent()
    return request


def vector_add(inline=False, count=COUNT, a=A, b=B):
    request = gpb.Request()
    execute = request.execute
    execute.kernel = "vector_add"
    if inline:
        execute.arguments.add().inline = a.tobytes()
        execute.arguments.add().inline = b.tobytes()
        execute.inline_results = True
    else:
        execute.arguments.add().frame = 0
        execute.arguments.add().frame = 1
    execute.arguments.add().output.SetInParent()
    execute.arguments.add().i32 = count
    return request


def test_hello_tells_the_version_and_the_bounds(endpoint):
    request = gpb.Request()
    request.hello.oldest_version = 1
    request.hello.newest_version = 9
    reply, _ = Client(endpoint).call(request)
    status(reply, gpb.OK)
    check(reply.version == 1 and reply.hello.version == 1, "version 1 is what both speak")
    check(reply.hello.max_frames == 32 and reply.hello.max_inline_size == 32768, "the protocol's bounds")
    check(reply.hello.max_frame_size > 0 and reply.hello.release, "frame size and release")


def test_devices_and_kernels_are_listed(endpoint):
    client = Client(endpoint)
    reply, _ = client.call(body("devices"))
    status(reply, gpb.OK)
    for device in reply.devices.devices:
        check(device.name and device.total_memory > 0, "a device has a name and memory")
        check(device.type in device.capabilities, "its type is a capability too")
    check(len(reply.devices.devices) > 0, "a device")
    reply, _ = client.call(body("kernels"))
    status(reply, gpb.OK)
    kernels = {kernel.id: kernel for kernel in reply.kernels.kernels}
    check("vector_add" in kernels, "vector_add is shipped")
    check([p.direction for p in kernels["vector_add"].parameters] == ["in", "in", "out", "scalar"],
          "vector_add's parameters")


def test_health_and_stats_answer(endpoint):
    client = Client(endpoint)
    reply, _ = client.call(body("health"))
    status(reply, gpb.OK)
    check(reply.health.live and reply.health.ready, "live and ready")
    reply, _ = client.call(body("stats"))
    status(reply, gpb.OK)
    check(reply.stats.requests >= 1 and reply.stats.uptime_ns > 0, "requests are counted")


def test_a_req_socket_adds_vectors_in_frames(endpoint):
    reply, frames = Client(endpoint, zmq.REQ).call(vector_add(), A, B)
    status(reply, gpb.OK)
    check(len(frames) == 1, "one result, one frame")
    check(floats(reply.execute.results[0], frames) == SUM, "a + b")
    check(reply.execute.results[0].argument == 2 and reply.execute.results[0].size == 4 * COUNT,
          "the result says what it is")


def test_a_req_socket_adds_vectors_inline(endpoint):
    reply, frames = Client(endpoint, zmq.REQ).call(vector_add(inline=True))
    status(reply, gpb.OK)
    check(not frames, "one frame there, one frame back")
    check(floats(reply.execute.results[0], frames) == SUM, "a + b")


def test_a_dealer_adds_vectors_in_frames_and_inline(endpoint):
    client = Client(endpoint)
    reply, frames = client.call(vector_add(), A, B)
    status(reply, gpb.OK)
    check(floats(reply.execute.results[0], frames) == SUM, "a + b in frames")
    reply, frames = client.call(vector_add(inline=True))
    status(reply, gpb.OK)
    check(floats(reply.execute.results[0], frames) == SUM, "a + b inline")


def test_several_in_flight_are_matched_by_id(endpoint):
    client = Client(endpoint)
    wanted = {}
    for number in range(50):
        a = array.array("f", [float(number)] * 64)
        wanted[client.send(vector_add(count=64), a, a)] = array.array("f", [2.0 * number] * 64)
    while wanted:
        reply, frames = client.recv()
        status(reply, gpb.OK)
        check(reply.id in wanted, f"id {reply.id} was asked for, once")
        check(floats(reply.execute.results[0], frames) == wanted.pop(reply.id), "its own sum")


def test_a_rented_buffer_is_written_used_read_and_released(endpoint):
    client = Client(endpoint)
    handles = []
    for _ in range(3):
        request = gpb.Request()
        request.rent.size = 4 * COUNT
        reply, _ = client.call(request)
        status(reply, gpb.OK)
        check(reply.rent.handle not in handles + [0], "a handle of its own")
        handles.append(reply.rent.handle)
    for handle, values in zip(handles, (A, B)):
        request = gpb.Request()
        request.write.handle = handle
        request.write.frame = 0
        reply, _ = client.call(request, values)
        status(reply, gpb.OK)
    request = gpb.Request()
    request.execute.kernel = "vector_add"
    for handle in handles:
        request.execute.arguments.add().buffer.handle = handle
    request.execute.arguments.add().i32 = COUNT
    reply, frames = client.call(request)
    status(reply, gpb.OK)
    check(not frames and not reply.execute.results, "the result stays where it is")
    request = gpb.Request()
    request.read.handle = handles[2]
    request.read.offset = 4
    request.read.size = 8
    request.read.inline_results = True
    reply, frames = client.call(request)
    status(reply, gpb.OK)
    check(floats(reply.read.result, frames) == SUM[1:3], "a part of the sum")
    for _ in range(2):
        request = gpb.Request()
        request.release.handle = handles[2]
        reply, _ = client.call(request)
    status(reply, gpb.NOT_FOUND)


def test_refusals_have_their_status_and_a_sentence(endpoint):
    client = Client(endpoint)

    def refused(wanted, request, *payloads):
        reply, _ = client.call(request, *payloads)
        status(reply, wanted)
        return reply.message

    request = vector_add()
    request.execute.kernel = "no_such_kernel"
    refused(gpb.NOT_FOUND, request, A, B)
    request = vector_add()
    request.execute.device = 4000
    refused(gpb.NOT_FOUND, request, A, B)
    request = vector_add()
    request.execute.require.append("no_such_capability")
    refused(gpb.FAILED_PRECONDITION, request, A, B)
    request = vector_add()
    request.execute.memory = 1 << 60
    refused(gpb.RESOURCE_EXHAUSTED, request, A, B)
    refused(gpb.INVALID_ARGUMENT, vector_add(), A, B[:-1])
    refused(gpb.INVALID_ARGUMENT, vector_add(), A)
    request = vector_add()
    del request.execute.arguments[3]
    refused(gpb.INVALID_ARGUMENT, request, A, B)
    request = vector_add()
    request.execute.arguments[3].f32 = 1.0
    refused(gpb.INVALID_ARGUMENT, request, A, B)
    request = body("hello")
    request.version = 7
    check("version 7" in refused(gpb.UNIMPLEMENTED, request), "the sentence names the version")
    refused(gpb.UNIMPLEMENTED, gpb.Request())
    request = gpb.Request()
    request.cancel.id = 123456789
    refused(gpb.NOT_FOUND, request)
    request = gpb.Request()
    request.register_kernel.definition = "id = \"x\";"
    refused(gpb.PERMISSION_DENIED, request)
    request = gpb.Request()
    request.read.handle = 12345
    refused(gpb.NOT_FOUND, request)


def test_garbage_is_answered_and_the_node_serves_on(endpoint):
    client = Client(endpoint)
    #  A NUL in a string, which Python's library is glad to send.
    request = gpb.Request(version=1, id=5)
    request.execute.kernel = "vector\0add"
    for raw, wanted_id in ((b"\xff\xff\xff", 0), (b"\x08\x01\x10\x2a\xff", 42),
                           (request.SerializeToString(), 5), (b"\x00" * 70000, 0)):
        client.send_raw(raw)
        reply, _ = client.recv()
        status(reply, gpb.INVALID_ARGUMENT)
        check(reply.id == wanted_id, f"id {reply.id} instead of {wanted_id}")
    client.send_raw(b"header", *[b"x"] * 33)
    reply, _ = client.recv()
    status(reply, gpb.INVALID_ARGUMENT)
    client.socket.send_multipart([b"no delimiter"])
    reply, frames = client.call(vector_add(), A, B)
    status(reply, gpb.OK)
    check(floats(reply.execute.results[0], frames) == SUM, "it serves on")


def test_a_key_pair_of_keygens_comes_in_over_curve(_):
    if not zmq.has("curve"):
        print("left out: this pyzmq has no CURVE")
        return
    from zmq import auth
    with tempfile.TemporaryDirectory() as folder:
        allowed = os.path.join(folder, "allowed")
        os.mkdir(allowed)
        for name in ("node", "me"):
            subprocess.run([os.path.join(BUILD, "gpb"), "keygen", os.path.join(folder, name)], check=True,
                           stdout=subprocess.DEVNULL)
        #  One of theirs, and one of pyzmq's own making.
        shutil.copy(os.path.join(folder, "me"), allowed)
        auth.create_certificates(folder, "other")
        shutil.copy(os.path.join(folder, "other.key"), allowed)
        node, endpoint = start_node("--curve", os.path.join(folder, "node"), "--allowed-keys", allowed)
        node_key, _ = auth.load_certificate(os.path.join(folder, "node"))
        try:
            for name in ("me_secret", "other.key_secret"):
                own = auth.load_certificate(os.path.join(folder, name))
                reply, frames = Client(endpoint, own=own, node=node_key).call(vector_add(), A, B)
                status(reply, gpb.OK)
                check(floats(reply.execute.results[0], frames) == SUM, "a + b, encrypted")
            for keys in ({}, {"own": zmq.curve_keypair(), "node": node_key}):
                stranger = Client(endpoint, **keys)
                stranger.socket.rcvtimeo = 500
                stranger.send(body("health"))
                try:
                    stranger.recv()
                    check(False, "a stranger is answered")
                except zmq.Again:
                    pass
        finally:
            node.send_signal(signal.SIGTERM)
            check(node.wait(timeout=30) == 0, "it ends well")


def test_every_status_of_the_document_is_one(_):
    rows = 0
    with open(os.path.join(SOURCE, "doc/protocol.md"), encoding="utf-8") as document:
        for row in re.findall(r"^\| `([a-z_]+)` \| ([A-Z_]+) \| (.+) \|$", document.read(), re.M):
            gpb.Status.Value(row[1])
            rows += 1
    check(rows > 30, f"only {rows} causes in doc/protocol.md")


def start_node(*options):
    program = os.path.join(BUILD, "gpb_actor")
    if not os.access(program, os.X_OK):
        skip(f"{program} is not there")
    node = subprocess.Popen([program, "--bind", "tcp://127.0.0.1:*", *options], stdout=subprocess.PIPE, text=True)
    word, _, endpoint = node.stdout.readline().strip().partition(" ")
    if word != "ready":
        sys.exit(f"the node did not start: exit {node.wait()}")
    return node, endpoint


def main():
    node, endpoint = (None, os.environ["GPB_NODE"]) if "GPB_NODE" in os.environ else start_node()
    passed = failed = 0
    for name, test in [item for item in globals().items() if item[0].startswith("test_")]:
        try:
            test(endpoint)
            passed += 1
        except Exception as error:  # a test that breaks must not end the others
            print(f"{name}: {type(error).__name__}: {error}")
            failed += 1
    if node:
        node.send_signal(signal.SIGTERM)
        if node.wait(timeout=30) != 0:
            print(f"the node ended with {node.returncode}")
            failed += 1
    context.destroy(linger=0)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
