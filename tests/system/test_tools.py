#!/usr/bin/python3
"""The two programs as a user has them: a real gpb_actor over tcp, and gpb for every command.

Needs nothing but Python's own library. Every wait has a deadline; nothing sleeps for luck: where
something has to have happened first, it is asked for until it has.
"""

import array
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ.get("GPB_BUILD_DIR", "build")
SOURCE = os.environ.get("GPB_SOURCE_DIR", ".")
GPB = os.path.join(BUILD, "gpb")
GPB_ACTOR = os.path.join(BUILD, "gpb_actor")
SLOW = 5 if os.environ.get("GPB_TEST_SLOW") else 1
DEADLINE_S = 60 * SLOW

# A million iterations for each of 64 * height pixels: seconds of work on one core.
def endless(height):
    return ["mandelbrot", "out:/dev/null", "u32:64", f"u32:{height}", "f32:0", "f32:0", "f32:0",
            "u32:1000000"]


class Node:
    """A gpb_actor on a free port of the loopback, ended with the test."""

    def __init__(self, *options, endpoints=("tcp://127.0.0.1:*",), lines=None, environment=None):
        binds = [word for endpoint in endpoints for word in ("--bind", endpoint)]
        self.process = subprocess.Popen([GPB_ACTOR, *binds, *options], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE,
                                        env={**os.environ, **(environment or {})})
        self.endpoints = [self.ready_line() for _ in range(lines or len(endpoints))]
        self.endpoint = self.endpoints[0]

    def ready_line(self):
        end = time.monotonic() + DEADLINE_S
        line = b""
        while not line.endswith(b"\n"):
            left = max(0, end - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                self.process.kill()
                raise AssertionError("not ready in time: " + self.process.communicate()[1].decode())
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                raise AssertionError("ended: " + self.process.communicate()[1].decode())
            line += byte
        match = re.fullmatch(rb"ready (\S+)\n", line)
        assert match, line
        return match.group(1).decode()

    def gpb(self, *words, **more):
        return gpb("--node", self.endpoint, *words, **more)

    def json(self, *words):
        done = self.gpb("--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def wait_for(self, condition):
        """Asks for the figures until the condition holds for them."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            stats = self.json("stats")
            if condition(stats):
                return stats
            time.sleep(0.02)
        raise AssertionError(f"never came: {stats}")

    def stop(self, number=signal.SIGTERM):
        """Signals the node, and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode


def gpb(*words, environment=None, **more):
    return subprocess.run([GPB, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=DEADLINE_S, env={**os.environ, **(environment or {})}, **more)


def floats(values):
    return array.array("f", values).tobytes()


def assert_documented(self, value):
    """Of a test case: every key of an object stands in the manual page."""
    with open(os.path.join(SOURCE, "doc", "gpb.1.adoc"), encoding="utf-8") as file:
        page = file.read()
    if isinstance(value, dict):
        for key, member in value.items():
            self.assertIn(f"*{key}*", page)
            assert_documented(self, member)
    elif isinstance(value, list):
        for member in value:
            assert_documented(self, member)


class Tools(unittest.TestCase):
    """Commands against one node that serves all of them."""

    assert_documented = assert_documented

    @classmethod
    def setUpClass(cls):
        cls.node = Node("--name", "left")
        cls.scratch = tempfile.TemporaryDirectory()
        cls.count = 1000
        cls.write("a", floats(range(cls.count)))
        cls.write("b", floats(2 * index for index in range(cls.count)))

    @classmethod
    def tearDownClass(cls):
        status = cls.node.stop()
        cls.scratch.cleanup()
        assert status == 0, status

    @classmethod
    def path(cls, name):
        return os.path.join(cls.scratch.name, name)

    @classmethod
    def write(cls, name, data):
        with open(cls.path(name), "wb") as file:
            file.write(data)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def add(self, *words, target="c"):
        return self.node.gpb("run", "vector_add", "in:" + self.path("a"), "in:" + self.path("b"),
                             "out:" + (target if target == "-" else self.path(target)),
                             f"i32:{self.count}", *words)

    def assert_refused(self, done, status, *sentences):
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stdout, b"")
        for sentence in sentences:
            self.assertIn(sentence, done.stderr.decode())

    def assert_device(self, device):
        for key in ("index", "total_memory", "available_memory", "queue_depth", "in_flight",
                    "queue_size", "bound_depth",
                    "processed", "failed", "compute_units", "max_work_group_size"):
            self.assertIsInstance(device[key], int, key)
        for key in ("name", "type", "backend", "vendor", "driver", "state", "reason"):
            self.assertIsInstance(device[key], str, key)
        for key in ("latency_ns", "latency_minute_ns", "queued_latency_ns"):
            for figure in ("count", "mean", "min", "p50", "p95", "p99", "max"):
                self.assertIsInstance(device[key][figure], int, figure)
        self.assertIn(device["type"], ("cpu", "gpu", "accelerator"))
        self.assertIn(device["type"], device["capabilities"])
        self.assertGreater(device["total_memory"], 0)
        self.assertLessEqual(device["available_memory"], device["total_memory"])

    def test_devices_have_the_keys_of_the_manual(self):
        answer = self.node.json("devices")
        self.assertEqual(answer["node"], "left")
        self.assertGreater(len(answer["devices"]), 0)
        self.assertEqual([device["index"] for device in answer["devices"]],
                         list(range(len(answer["devices"]))))
        for device in answer["devices"]:
            self.assert_device(device)
        self.assert_documented(answer)

    def test_stats_count_what_was_done(self):
        before = self.node.json("stats")
        self.assertEqual(self.add().returncode, 0)
        after = self.node.json("stats")
        for device in after["devices"]:
            self.assert_device(device)
        self.assert_documented(after)
        processed = lambda stats: sum(device["processed"] for device in stats["devices"])
        self.assertEqual(processed(after), processed(before) + 1)
        self.assertGreater(after["requests"], before["requests"])
        self.assertGreater(after["uptime_ns"], before["uptime_ns"])
        for key in ("max_queue_depth", "queue_size", "max_queue_size", "exhausted", "expired",
                    "cancelled", "aged", "rerun"):
            self.assertIsInstance(after[key], int, key)
        self.assertIn(len(after["waiting"]), (0, 7))
        self.assertEqual([pool["device"] for pool in after["pools"]],
                         [device["index"] for device in after["devices"]])
        for pool in after["pools"]:
            for key in ("live", "in_use", "requested", "kept", "held", "limit", "high_water",
                        "rents", "releases", "hits", "misses", "trims", "blocks_kept",
                        "largest_free", "launch_in_use", "launch_kept", "launch_held",
                        "launch_hits", "launch_misses", "reservations", "reserved"):
                self.assertIsInstance(pool[key], int, key)
            for key in ("internal_fragmentation", "external_fragmentation"):
                self.assertIsInstance(pool[key], float, key)
            self.assertIsInstance(pool["kept_by_class"], list)
        busy = [device for device in after["devices"] if device["processed"]][0]
        for key in ("latency_ns", "latency_minute_ns"):
            latency = busy[key]
            self.assertGreater(latency["count"], 0)
            self.assertTrue(0 < latency["min"] <= latency["p50"] <= latency["p95"]
                            <= latency["p99"] <= latency["max"], latency)

    def test_stats_tell_of_queues_memory_and_kernels(self):
        node = Node("--set", "max_queued_requests=2", "--set", "aging_ms=50")
        try:
            def run(*words):
                one = subprocess.Popen([GPB, "--node", node.endpoint, *words, "run", *endless(16),
                                        "--device", "0"], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
                self.addCleanup(one.communicate)
                self.addCleanup(one.kill)
                return one
            busy = lambda stats: (stats["in_flight"], stats["queue_depth"])
            runs = [run(), run()]
            node.wait_for(lambda stats: busy(stats) == (2, 0))
            runs.append(run())
            stats = node.wait_for(lambda stats: busy(stats) == (2, 1))
            self.assertEqual(stats["max_queue_depth"], 2)
            self.assertEqual(sum(stats["waiting"]), 1)
            self.assertEqual(stats["waiting"][:3], [0, 0, 0])
            self.assertGreater(stats["queue_size"], 0)
            self.assertEqual(stats["devices"][0]["queue_depth"], 1)
            # It has waited long enough to go up, and there is room for no other.
            node.wait_for(lambda stats: stats["aged"] > 0 and stats["waiting"][3] == 0)
            refused = run("--timeout", "300")
            self.assertEqual(refused.wait(DEADLINE_S), 1)
            self.assertRegex(refused.stderr.read().decode(), "RESOURCE_EXHAUSTED|DEADLINE_EXCEEDED")
            for one in reversed(runs):
                one.send_signal(signal.SIGINT)
                one.wait(DEADLINE_S)
            stats = node.wait_for(lambda stats: busy(stats) == (0, 0))
            self.assertGreater(stats["exhausted"], 0)
            self.assertGreaterEqual(stats["cancelled"], 3)
            pool = stats["pools"][0]
            self.assertGreater(pool["limit"], 0)
            self.assertGreater(pool["launch_hits"] + pool["launch_misses"], 0)
            self.assertGreater(stats["devices"][0]["queued_latency_ns"]["count"], 0)
            compiles = stats["compiles"][0]
            self.assertGreater(sum(compiles[key] for key in ("compiled", "from_disk", "shared")), 0)
        finally:
            self.assertEqual(node.stop(), 0)

    def test_tables_have_a_line_for_each_device(self):
        count = len(self.node.json("devices")["devices"])
        for command in ("devices", "stats"):
            done = self.node.gpb(command)
            self.assertEqual(done.returncode, 0, done.stderr)
            lines = done.stdout.decode().splitlines()
            heading = [line for line in lines if "INDEX" in line]
            self.assertEqual(len(heading), 1)
            self.assertIn("BACKEND", heading[0])
            rows = [line for line in lines if re.match(r" *\d+  \S.*opencl", line)]
            self.assertEqual(len(rows), count, lines)

    def test_kernels_say_their_parameters(self):
        answer = self.node.json("kernels")
        self.assert_documented(answer)
        kernels = {kernel["id"]: kernel for kernel in answer["kernels"]}
        for name in ("vector_add", "saxpy", "sobel", "mandelbrot"):
            self.assertIn(name, kernels)
        self.assertEqual([(parameter["name"], parameter["direction"], parameter["type"])
                          for parameter in kernels["vector_add"]["parameters"]],
                         [("a", "in", "f32"), ("b", "in", "f32"), ("c", "out", "f32"),
                          ("n", "scalar", "i32")])
        self.assertEqual([(parameter["name"], parameter["zero"])
                          for parameter in kernels["histogram"]["parameters"]],
                         [("values", False), ("bins", True), ("n", False)])
        self.assertRegex(self.node.gpb("kernels", "histogram").stdout.decode(),
                         r"(?m)^bins +out +u32 +4 +zero +256$")
        one = self.node.json("kernels", "sobel")
        self.assertEqual([kernel["id"] for kernel in one["kernels"]], ["sobel"])
        done = self.node.gpb("kernels", "vector_add")
        self.assertRegex(done.stdout.decode(), r"(?m)^n +scalar +i32 +- +- +-$")
        self.assertRegex(self.node.gpb("kernels").stdout.decode(),
                         r"(?m)^vector_add +- +in:a in:b out:c i32:n +c = a \+ b$")
        self.assertIsNone(kernels["vector_add"]["persistent"])
        self.assert_refused(self.node.gpb("kernels", "no_such"), 1, "NOT_FOUND", "no_such")

    def test_ping_prints_percentiles(self):
        answer = self.node.json("ping", "--count", "25")
        self.assert_documented(answer)
        self.assertEqual(answer["count"], 25)
        self.assertEqual(answer["round_trip_ns"]["count"], 25)
        self.assertEqual(answer["node"], "left")
        self.assertGreater(answer["requests_per_second"], 0)
        done = self.node.gpb("ping")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout.decode(), r"COUNT +MEAN +MIN +P50 +P95 +P99 +MAX\n +10 ")

    def test_two_files_are_added(self):
        done = self.add()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout.decode(), r"NODE +DEVICE .*ROUND-TRIP")
        self.assertEqual(self.read("c"), floats(3 * index for index in range(self.count)))

    def test_a_run_says_where_its_time_went(self):
        done = self.add("--json", "--repeat", "5", "--device", "0", target="json")
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assert_documented(answer)
        self.assertEqual(answer["kernel"], "vector_add")
        self.assertEqual(answer["node"], "left")
        self.assertEqual(answer["device"], 0)
        self.assertEqual(answer["count"], 5)
        self.assertEqual(answer["round_trip_ns"]["count"], 5)
        self.assertTrue(answer["measured"])
        self.assertGreater(answer["compute_ns"], 0)
        self.assertLess(answer["compute_ns"], answer["round_trip_ns"]["max"])
        self.assertEqual(answer["results"], [{"argument": 2, "file": self.path("json"),
                                              "size": 4 * self.count}])
        table = self.add("--repeat", "5").stdout.decode()
        self.assertRegex(table, r"COUNT +MEAN +MIN +P50 +P95 +P99 +MAX\n +5 ")

    def bench(self, *words):
        return self.node.gpb("bench", "vector_add", "in:" + self.path("a"), "in:" + self.path("b"),
                             "out:" + self.path("never"), f"i32:{self.count}", *words)

    def test_a_bench_on_schedule_counts_from_the_scheduled_time(self):
        done = self.bench("--rate", "50", "--seconds", "1", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assert_documented(answer)
        self.assertEqual((answer["rate"], answer["scheduled"], answer["sent"]), (50, 50, 50))
        self.assertEqual((answer["answered"], answer["failed"], answer["failures"]), (50, 0, []))
        for key in ("latency_ns", "round_trip_ns", "lateness_ns"):
            figures = answer[key]
            self.assertEqual(figures["count"], 50)
            self.assertLessEqual(figures["p50"], figures["p999"])
            self.assertLessEqual(figures["p999"], figures["max"])
        self.assertGreaterEqual(answer["latency_ns"]["max"], answer["round_trip_ns"]["max"])
        # The last is due after 980 ms; it takes no longer than the time that a bench has.
        self.assertGreater(answer["elapsed_ns"], 980e6)
        self.assertIsNone(answer["message"])
        self.assertFalse(os.path.exists(self.path("never")))

    def test_a_bench_that_a_node_cannot_follow_ends_in_time(self):
        done = self.bench("--rate", "10000000", "--seconds", "1", "--in-flight", "8", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual(answer["scheduled"], 10000000)
        self.assertLess(answer["sent"], 10000000)
        self.assertEqual(answer["answered"], answer["sent"])
        self.assertLess(answer["elapsed_ns"], 20e9 * SLOW)
        self.assertGreater(answer["late"], 0)
        self.assertGreater(answer["latency_ns"]["p50"], answer["round_trip_ns"]["p50"])

    def test_a_bench_in_a_closed_loop_says_its_rate(self):
        done = self.bench("--seconds", "1", "--in-flight", "4")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout.decode(),
                         r"^vector_add: 4 in flight: \d+ answered OK in \S+ \S+, \d+ a second\n"
                         r"TIME +COUNT +P50 +P95 +P99 +P99\.9 +MAX\nround trip +\d+ ")

    def test_a_signal_ends_a_bench_with_the_figures_so_far(self):
        before = self.node.json("stats")
        bench = subprocess.Popen([GPB, "--node", self.node.endpoint, "--json", "bench", "vector_add",
                                  "in:" + self.path("a"), "in:" + self.path("b"), "out:x",
                                  f"i32:{self.count}", "--seconds", "3600"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.node.wait_for(lambda stats: stats["requests"] > before["requests"] + 100)
        bench.send_signal(signal.SIGINT)
        output, reason = bench.communicate(timeout=DEADLINE_S)
        self.assertEqual((bench.returncode, reason), (1, b""))
        answer = json.loads(output)
        self.assertGreater(answer["answered"], 0)
        self.assertEqual(answer["sent"],
                         answer["answered"] + answer["failed"] + answer["unanswered"])
        self.assert_refused(self.bench("--device", "99", "--seconds", "1"), 1, "NOT_FOUND", "99")

    def test_what_only_a_persistent_kernel_takes_is_refused_for_others(self):
        for words, option in ((("--stream", "10"), "--stream"), (("--on-demand",), "--on-demand"),
                              (("--lane", "7"), "--lane")):
            self.assert_refused(self.add(*words, target="none"), 1,
                                f"{option} is for persistent kernels; vector_add is none")
        self.assertFalse(os.path.exists(self.path("none")))
        self.assert_refused(self.node.gpb("bench", "vector_add", "--payload", "64"), 1,
                            "--payload says nothing of n, a scalar of vector_add")

    def test_a_run_has_a_priority_and_may_run_again(self):
        for words in (("--priority", "-3"), ("--priority=3", "--idempotent")):
            done = self.add(*words, target="prior")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.read("prior"), floats(3 * index for index in range(self.count)))

    def test_streams_are_read_and_written(self):
        done = self.node.gpb("run", "vector_add", "in:-", "in:" + self.path("b"), "out:-",
                             f"i32:{self.count}", input=self.read("a"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, floats(3 * index for index in range(self.count)))
        self.assertIn("ROUND-TRIP", done.stderr.decode())
        self.assertEqual(self.add("--json", target="-").returncode, 2)

    def test_the_node_is_named_by_the_environment(self):
        done = gpb("devices", "--json", environment={"GPB_NODE": self.node.endpoint})
        self.assertEqual(json.loads(done.stdout)["node"], "left")

    def test_what_the_node_refuses_is_said_and_writes_nothing(self):
        self.assert_refused(self.add("--device", "99", target="none"), 1, "NOT_FOUND", "99")
        self.assert_refused(self.add("--require", "telepathy", target="none"), 1,
                            "FAILED_PRECONDITION", "telepathy")
        self.assert_refused(self.add("--memory", str(1 << 60), target="none"), 1)
        self.assert_refused(self.add("--local", "1048576", target="none"), 1, "INVALID_ARGUMENT")
        done = self.node.gpb("run", "vector_add", "in:" + self.path("a"), "in:" + self.path("b"),
                             "out:" + self.path("none"), f"i32:{self.count + 1}")
        self.assert_refused(done, 1, "INVALID_ARGUMENT")
        self.assert_refused(self.node.gpb("run", "no_such", "i32:1"), 1, "NOT_FOUND", "no_such")
        self.assertFalse(os.path.exists(self.path("none")))

    def test_what_is_wrong_here_is_said_before_anything_is_sent(self):
        a, b = "in:" + self.path("a"), "in:" + self.path("b")
        run = lambda *words: self.node.gpb("run", "vector_add", *words)
        self.assert_refused(run(a, b, "out:c", "u32:5"), 1,
                            "n (scalar i32) is given as \"u32:5\"; it wants i32:VALUE")
        self.assert_refused(run(a, "out:c", b, "i32:5"), 1, "it wants in:FILE")
        self.assert_refused(run(a, b, "out:c"), 1, "takes 4 arguments, not 3")
        self.assert_refused(run("in:" + self.path("missing"), b, "out:c", "i32:5"), 1,
                            "missing: cannot be opened: No such file")

    def test_wrong_usage_is_2(self):
        for words in ((), ("fly",), ("devices", "--wings"), ("ping", "--count", "0"), ("run",),
                      ("run", "vector_add", "i32:x"), ("run", "vector_add", "what"),
                      ("run", "vector_add", "in:-", "in:-", "out:c", "i32:1"),
                      ("devices", "--device", "0"), ("reserve",), ("top", "--interval", "1"),
                      ("run", "vector_add", "--priority", "4"),
                      ("run", "vector_add", "--stream", "10", "--repeat", "2"),
                      ("run", "vector_add", "--in-flight", "10"), ("bench",),
                      ("bench", "vector_add", "i32:1", "--payload", "8")):
            self.assert_refused(self.node.gpb(*words), 2, "gpb: ", "gpb --help")
        for words in (("--bind",), ("--wings",), ("--set", "streams"), ("--set", "streams=99"),
                      ("--set", "straems=4"), ("more",)):
            done = subprocess.run([GPB_ACTOR, *words], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=DEADLINE_S)
            self.assert_refused(done, 2, "gpb_actor")

    def test_help_and_version_are_printed(self):
        for program in (GPB, GPB_ACTOR):
            for option, part in (("--help", b"Usage: "), ("--version", b"0.")):
                done = subprocess.run([program, option], stdout=subprocess.PIPE, timeout=DEADLINE_S)
                self.assertEqual(done.returncode, 0)
                self.assertIn(part, done.stdout)
        with open("/dev/full", "wb") as full:
            done = subprocess.run([GPB, "--help"], stdout=full, stderr=subprocess.DEVNULL,
                                  timeout=DEADLINE_S)
            self.assertEqual(done.returncode, 1)

    def test_a_second_node_on_the_same_port_says_so(self):
        done = subprocess.run([GPB_ACTOR, "--bind", self.node.endpoint], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=DEADLINE_S)
        self.assert_refused(done, 1, self.node.endpoint, "in use")
        self.assertEqual(self.node.gpb("ping").returncode, 0)

    def test_ctrl_c_takes_the_request_back(self):
        before = self.node.json("stats")
        run = subprocess.Popen([GPB, "--node", self.node.endpoint, "run", *endless(4)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.node.wait_for(lambda stats: stats["in_flight"] + stats["queue_depth"] > 0)
        run.send_signal(signal.SIGINT)
        output, reason = run.communicate(timeout=DEADLINE_S)
        self.assertEqual(run.returncode, 1)
        self.assertIn("CANCELLED", reason.decode())
        self.assertEqual(output, b"")
        after = self.node.wait_for(lambda stats: stats["in_flight"] + stats["queue_depth"] == 0)
        self.assertEqual(sum(device["processed"] for device in after["devices"]),
                         sum(device["processed"] for device in before["devices"]))


class Persistent(unittest.TestCase):
    """Kernels that stay on their devices, through a node of their own with two lanes of each."""

    assert_documented = assert_documented
    COUNT = 100003

    @classmethod
    def setUpClass(cls):
        cls.node = Node("--set", "persistent=running_stats:lanes=2")
        cls.scratch = tempfile.TemporaryDirectory()
        with open(cls.path("in"), "wb") as file:
            file.write(floats(range(cls.COUNT)))

    @classmethod
    def tearDownClass(cls):
        status = cls.node.stop()
        cls.scratch.cleanup()
        assert status == 0, status

    @classmethod
    def path(cls, name):
        return os.path.join(cls.scratch.name, name)

    def read(self, name, code="f"):
        with open(self.path(name), "rb") as file:
            return array.array(code, file.read())

    def stream(self, kernel, *words, source="in", target="out", **more):
        return self.node.gpb("run", kernel, "in:" + self.path(source), "out:" + self.path(target),
                             *words, **more)

    def residency(self, kernel):
        kernels = self.node.json("kernels", kernel)["kernels"]
        self.assert_documented(kernels)
        return [one for one in kernels[0]["persistent"]["residencies"] if one["device"] == 0][0]

    def test_a_file_is_streamed_and_its_answers_are_in_order(self):
        doubled = array.array("f", (2 * index for index in range(self.COUNT)))
        for words, on_demand in (((), False), (("--lane", "7", "--in-flight", "9"), False),
                                 (("--on-demand",), True)):
            done = self.stream("double", "--stream", "1024", "--json", *words)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.read("out"), doubled)
            answer = json.loads(done.stdout)
            self.assert_documented(answer)
            count = -(-self.COUNT // 1024)
            self.assertEqual((answer["count"], answer["size"]), (count, 4 * self.COUNT))
            self.assertEqual(answer["round_trip_ns"]["count"], count)
            message = answer["message"]
            self.assertEqual(message["on_demand"], count if on_demand else 0)
            self.assertEqual(message["ring_ns"]["count"], count)
            # A time is there, or is said not to be: never zero for want of a clock.
            self.assertEqual(message["clock"] != "none", message["measured"])
            for key in ("taken_ns", "handler_ns", "back_ns"):
                self.assertEqual(message[key]["count"], count if message["measured"] else 0)
            self.assertGreater(message["ring_ns"]["min"], 0)

    def test_pipes_are_streamed(self):
        done = self.node.gpb("run", "double", "in:-", "out:-", "--stream", "1000",
                             input=floats(range(2500)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, floats(2 * index for index in range(2500)))
        self.assertRegex(done.stderr.decode(), r"^3 messages in .*; the device's clock: \w+\n"
                                               r"TIME +COUNT +P50 +P95 +P99 +MAX\nround trip +3 ")

    def test_messages_of_one_lane_keep_their_order(self):
        # Each answer says how many values its lane has had by then.
        done = self.stream("running_stats", "--stream", "100", "--lane", "5", target="stats")
        self.assertEqual(done.returncode, 0, done.stderr)
        counts = self.read("stats", "d")[::5]
        self.assertEqual(list(counts), [*range(100, self.COUNT, 100), self.COUNT])

    def test_kernels_and_stats_say_what_was_done(self):
        # Nothing else here asks for top_k.
        self.assertEqual(self.node.json("kernels", "top_k")["kernels"][0]["persistent"]["slots"], 64)
        self.assertEqual(self.stream("top_k", "--stream", "2000").returncode, 0)
        done = self.stream("top_k", "--on-demand")
        self.assertEqual(done.returncode, 0, done.stderr)
        mine = lambda stats: [one for one in stats["residencies"]
                              if (one["kernel"], one["device"]) == ("top_k", 0)][0]
        # The broker shows what the kernel host said last.
        stats = self.node.wait_for(lambda stats: mine(stats)["answered"] == 52)
        self.assert_documented(stats)
        kernels = self.node.json("kernels", "top_k")
        self.assert_documented(kernels)
        for one in (mine(stats), *(one for one in kernels["kernels"][0]["persistent"]["residencies"]
                                   if one["device"] == 0)):
            self.assertIn(one["state"], ("resident", "parked"))
            self.assertEqual((one["answered"], one["failed"], one["waiting"]), (52, 0, 0))
            self.assertEqual((one["on_demand"], one["version"], one["reason"]), (1, 1, ""))
            self.assertEqual(one["latency_ns"]["count"], 52)
            self.assertGreater(one["launches"], 0)
            self.assertEqual([(lane["answered"], lane["waiting"]) for lane in one["lanes"]],
                             [(51, 0)])
        self.assertRegex(self.node.gpb("kernels").stdout.decode(),
                         r"(?m)^top_k +(resident|parked|\d .*) +in:values out:largest ")
        table = self.node.gpb("kernels", "top_k").stdout.decode()
        self.assertRegex(table, r"(?m)^persistent: 1 lane of 64 slots of 4\.0 KiB")
        self.assertRegex(table, r"(?m)^top_k +0 +(resident|parked) +1 +0 +0 +52 +0 +1 ")
        self.assertRegex(table, r"(?m)^ +0 +0 +(resident|parked) +51 +0$")
        self.assertRegex(self.node.gpb("stats").stdout.decode(), r"(?m)^top_k +0 +\w+ +1 ")
        self.assertRegex(self.node.gpb("top", "--count", "1").stdout.decode(),
                         r"(?m)^top_k +0 +\w+ +1 ")

    def test_the_configuration_says_how_many_lanes(self):
        done = self.stream("running_stats", "--stream", "1000", target="stats")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(self.residency("running_stats")["lanes"]), 2)
        self.assertEqual(self.node.json("kernels", "running_stats")["kernels"][0]["persistent"]
                         ["lanes"], 2)

    def test_a_message_that_is_refused_says_its_number(self):
        # A handler takes at most 65,536 values.
        done = self.stream("running_stats", "--stream", "65537", target="none")
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn("INVALID_ARGUMENT: message 1: ", done.stderr.decode())
        self.assertIn("the answers of 0 messages, 0 bytes, are in", done.stderr.decode())

    @unittest.skipIf(SLOW > 1, "a sanitizer's shadow memory is no bound")
    def test_a_file_is_streamed_in_less_memory_than_it_has(self):
        size = 256 << 20
        with open(self.path("large"), "wb") as file:
            file.truncate(size)
        bound = lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))
        done = self.stream("double", "--stream", "65536", "--in-flight", "16", source="large",
                           target="larger", preexec_fn=bound)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.path.getsize(self.path("larger")), size)
        os.unlink(self.path("larger"))

    def test_a_signal_ends_a_stream_with_what_is_written(self):
        read, write = os.pipe()
        stream = subprocess.Popen([GPB, "--node", self.node.endpoint, "run", "double", "in:-",
                                   "out:" + self.path("part"), "--stream", "10"], stdin=read,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.close(read)
        os.write(write, floats(range(25)))
        end = time.monotonic() + DEADLINE_S
        while not os.path.exists(self.path("part")) or os.path.getsize(self.path("part")) < 80:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        stream.send_signal(signal.SIGINT)
        reason = stream.communicate(timeout=DEADLINE_S)[1].decode()
        os.close(write)
        self.assertEqual(stream.returncode, 1)
        self.assertIn("CANCELLED: interrupted by a signal", reason)
        self.assertIn("the answers of 2 messages, 80 bytes, are in", reason)

    def test_a_bench_of_a_persistent_kernel_needs_no_files(self):
        for words in (("--in-flight", "8"), ("--rate", "200"), ("--on-demand", "--rate", "50")):
            done = self.node.gpb("--json", "bench", "echo", "--payload", "64", "--seconds", "1",
                                 *words)
            self.assertEqual(done.returncode, 0, done.stderr)
            answer = json.loads(done.stdout)
            self.assert_documented(answer)
            self.assertEqual((answer["failed"], answer["unanswered"]), (0, 0))
            self.assertEqual(answer["message"]["ring_ns"]["count"], answer["answered"])
            self.assertEqual(answer["message"]["on_demand"],
                             answer["answered"] if "--on-demand" in words else 0)


class Quarantine(unittest.TestCase):
    """A persistent kernel whose handler does not return, on a node without processes of devices.

    On the backend of the tests, which launches at once: what it takes PoCL to compile a kernel for
    its first launch is no part of this.
    """

    FOR_EVER = 4294967295  # to fake_stuck
    TIMEOUT_MS = 500 * SLOW
    REASON = "a handler on each of its lanes did not return in time"

    @classmethod
    def setUpClass(cls):
        # What is stuck stays so: the node ends without it, when its drain is over.
        cls.node = Node("--backends", "fake", "--set", "isolation=thread", "--set", "drain_ms=300",
                        "--set", f"kernel_timeout_ms={cls.TIMEOUT_MS}", "--set",
                        "kernel_path=" + os.path.join(SOURCE, "tests", "kernels_fake"),
                        environment={"GPB_FAKE_DEVICES": "1"})
        cls.scratch = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        status = cls.node.stop()
        cls.scratch.cleanup()
        assert status == 0, status

    def send(self, kernel, data):
        """A message's outcome, and what its answer was."""
        source, target = (os.path.join(self.scratch.name, name) for name in ("in", "out"))
        with open(source, "wb") as file:
            file.write(data)
        done = self.node.gpb("run", kernel, "in:" + source, "out:" + target)
        if done.returncode:
            return done, None
        with open(target, "rb") as file:
            return done, file.read()

    def check_others(self):
        done, answer = self.send("fake_double", floats((1, 2)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(answer, floats((2, 4)))

    def check_shown(self):
        """That both kinds of output say what state it is in, and why."""
        mine = lambda stats: [one for one in stats["residencies"]
                              if one["kernel"] == "fake_stuck"][0]
        # The broker shows what the kernel host said last.
        stats = self.node.wait_for(lambda stats: mine(stats)["state"] == "quarantined")
        kernel = self.node.json("kernels", "fake_stuck")["kernels"][0]
        assert_documented(self, kernel)
        for one in (mine(stats), *kernel["persistent"]["residencies"]):
            self.assertEqual((one["state"], one["reason"]), ("quarantined", self.REASON))
            self.assertEqual(one["answered"], 1)
            self.assertEqual([lane["state"] for lane in one["lanes"]], ["quarantined"])
        for words in (("kernels", "fake_stuck"), ("stats",)):
            done = self.node.gpb(*words)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout.decode(), r"(?m)^fake_stuck +0 +quarantined +1 ")
            self.assertIn(f"gpb: fake_stuck on device 0 is quarantined: {self.REASON}\n",
                          done.stderr.decode())
        self.assertRegex(self.node.gpb("kernels", "fake_stuck").stdout.decode(),
                         r"(?m)^ +0 +0 +quarantined +1 ")
        table = self.node.gpb("kernels").stdout.decode()
        self.assertRegex(table, r"(?m)^fake_stuck +quarantined +in:in out:out ")
        self.assertRegex(table, r"(?m)^fake_double +(resident|parked) ")

    def test_a_kernel_that_does_not_return_is_quarantined_and_says_why(self):
        word = lambda value: array.array("I", (value,)).tobytes()
        done, answer = self.send("fake_stuck", word(0))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(answer, word(0))
        self.check_others()
        done, _ = self.send("fake_stuck", word(self.FOR_EVER))
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertRegex(done.stderr.decode(),
                         r"DEADLINE_EXCEEDED: .*fake_stuck did not return within \d+ ms: lane 0 of "
                         r"device 0 is quarantined")
        # A message that is well itself does not come to it any more.
        done, _ = self.send("fake_stuck", word(0))
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertRegex(done.stderr.decode(), "FAILED_PRECONDITION: .*fake_stuck.*quarantined")
        self.check_others()
        self.check_shown()
        self.check_others()


class Reserving:
    """A `gpb reserve` in the background: what it printed first, and its end."""

    def __init__(self, node, *words):
        self.process = subprocess.Popen([GPB, "--node", node.endpoint, "reserve", *words],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def read(self, count):
        """The next lines of its output, waited for."""
        end = time.monotonic() + DEADLINE_S
        text = b""
        while text.count(b"\n") < count:
            left = max(0, end - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"never came: {text}")
            part = os.read(self.process.stdout.fileno(), 4096)
            if not part:
                raise AssertionError("ended: " + self.process.communicate()[1].decode())
            text += part
        return text.decode()

    def end(self, number=None):
        """Signals it, or waits until it ends by itself; its exit status and standard error."""
        if number:
            self.process.send_signal(number)
        reason = self.process.communicate(timeout=DEADLINE_S)[1].decode()
        return self.process.returncode, reason

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Reserve(unittest.TestCase):
    """gpb reserve, and who draws on what it holds, against a node of its own."""

    SIZE = 1 << 20

    @classmethod
    def setUpClass(cls):
        cls.node = Node("--name", "reserved")
        cls.scratch = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        status = cls.node.stop()
        cls.scratch.cleanup()
        assert status == 0, status

    def reserve(self, *words):
        reserving = Reserving(self.node, *words)
        self.addCleanup(reserving.close)
        return reserving

    def wait_for_reservations(self, count, reserved):
        # The broker shows what the pool said last: of a run, that may be what it was in the middle.
        return self.node.wait_for(lambda stats: (stats["pools"][0]["reservations"],
                                                 stats["pools"][0]["reserved"])
                                  == (count, reserved))

    def test_memory_is_held_until_a_signal_gives_it_back(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            before = self.wait_for_reservations(0, 0)["devices"][0]["available_memory"]
            reserving = self.reserve("--memory", str(self.SIZE), "--device", "0")
            self.assertRegex(reserving.read(2),
                             r"^HANDLE +DEVICE +MEMORY +FOR +EXPIRES-UNLESS-RENEWED\n"
                             r"0x[0-9a-f]{16} +0 +1\.0 MiB +\S+ \S+ +2\d{3}-\d\d-\d\dT[\d:]+Z\n$")
            after = self.wait_for_reservations(1, self.SIZE)
            self.assertLessEqual(after["devices"][0]["available_memory"], before - self.SIZE)
            self.assertIsNone(reserving.process.poll())
            self.assertEqual(reserving.end(number), (0, ""))
            self.wait_for_reservations(0, 0)

    def test_what_is_held_is_told_to_scripts(self):
        reserving = self.reserve("--memory", str(self.SIZE), "--json", "--require", "cpu")
        answer = json.loads(reserving.read(1))
        assert_documented(self, answer)
        self.assertRegex(answer["handle"], r"^0x[0-9a-f]{16}$")
        self.assertEqual((answer["device"], answer["memory"]), (0, self.SIZE))
        self.assertEqual(answer["for_ms"], 3600000)
        self.wait_for_reservations(1, self.SIZE)
        self.assertEqual(reserving.end(signal.SIGTERM), (0, ""))
        self.wait_for_reservations(0, 0)

    def test_it_ends_by_itself_when_its_time_is_over(self):
        reserving = self.reserve("--memory", "4096", "--for", "300", "--json")
        start = time.monotonic()
        self.assertLessEqual(json.loads(reserving.read(1))["for_ms"], 300)
        self.assertEqual(reserving.end(), (0, ""))
        self.assertGreater(time.monotonic() - start, 0.2)
        self.wait_for_reservations(0, 0)

    def test_a_refusal_names_each_device_and_what_it_has(self):
        done = self.node.gpb("reserve", "--memory", str(1 << 60))
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        reason = done.stderr.decode()
        self.assertIn("RESOURCE_EXHAUSTED", reason)
        for device in self.node.json("devices")["devices"]:
            self.assertRegex(reason, rf"device {device['index']} \({re.escape(device['name'])}\) "
                                     r"has \d+ bytes available")
        done = self.node.gpb("reserve", "--memory", "4096", "--require", "telepathy")
        self.assertEqual(done.returncode, 1)
        self.assertIn("FAILED_PRECONDITION", done.stderr.decode())
        self.assertIn("has no telepathy", done.stderr.decode())

    def test_a_run_draws_on_what_another_program_holds(self):
        a, c = (os.path.join(self.scratch.name, name) for name in ("a", "c"))
        with open(a, "wb") as file:
            file.write(floats(range(1000)))
        run = lambda handle: self.node.gpb("run", "vector_add", "in:" + a, "in:" + a, "out:" + c,
                                           "i32:1000", "--reservation", handle)
        reserving = self.reserve("--memory", str(self.SIZE), "--json")
        handle = json.loads(reserving.read(1))["handle"]
        done = run(handle)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(c, "rb") as file:
            self.assertEqual(file.read(), floats(2 * index for index in range(1000)))
        # What it needed is back in the reservation, and nothing of it ended.
        self.wait_for_reservations(1, self.SIZE)

        small = self.reserve("--memory", "64", "--json")
        done = run(json.loads(small.read(1))["handle"])
        self.assertEqual(done.returncode, 1)
        self.assertIn("RESOURCE_EXHAUSTED", done.stderr.decode())
        self.assertEqual(small.end(signal.SIGTERM), (0, ""))
        self.assertEqual(reserving.end(signal.SIGTERM), (0, ""))
        done = run(handle)
        self.assertEqual(done.returncode, 1)
        self.assertIn("NOT_FOUND", done.stderr.decode())


class Life(unittest.TestCase):
    """How a node starts and ends."""

    def test_every_endpoint_is_said_with_its_port(self):
        with tempfile.TemporaryDirectory() as scratch:
            ipc = f"ipc://{scratch}/node"
            node = Node(endpoints=("tcp://127.0.0.1:*", ipc, "tcp://127.0.0.1:*"))
            try:
                ports = [re.fullmatch(r"tcp://127\.0\.0\.1:(\d+)", node.endpoints[index]).group(1)
                         for index in (0, 2)]
                self.assertNotEqual(ports[0], ports[1])
                self.assertEqual(node.endpoints[1], ipc)
                for endpoint in node.endpoints:
                    self.assertEqual(gpb("--node", endpoint, "ping").returncode, 0)
            finally:
                self.assertEqual(node.stop(), 0)

    def test_sigterm_leaves_nothing_unanswered(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            node = Node("--set", "drain_ms=60000")
            runs = [subprocess.Popen([GPB, "--node", node.endpoint, "--timeout", "60000", "run",
                                      *endless(2)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                    for _ in range(6)]
            # All are accepted; where processes start slowly, the first is answered by then.
            node.wait_for(lambda stats: stats["in_flight"] + stats["queue_depth"]
                          + stats["devices"][0]["processed"] == 6)
            self.assertEqual(node.stop(number), 0)
            for run in runs:
                reason = run.communicate(timeout=DEADLINE_S)[1]
                self.assertEqual(run.returncode, 0, reason)

    def test_a_drain_ends_in_time_and_still_answers(self):
        node = Node("--set", "drain_ms=100")
        run = subprocess.Popen([GPB, "--node", node.endpoint, "run", *endless(64)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        node.wait_for(lambda stats: stats["in_flight"] + stats["queue_depth"] > 0)
        node.process.send_signal(signal.SIGTERM)
        reason = run.communicate(timeout=DEADLINE_S)[1].decode()
        self.assertEqual(run.returncode, 1)
        self.assertIn("UNAVAILABLE", reason)
        self.assertEqual(node.stop(), 0)

    def test_a_signal_while_it_starts_ends_it_well(self):
        # Blocked before the program begins, so that it cannot come too early to be caught.
        block = lambda: signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        node = subprocess.Popen([GPB_ACTOR, "--bind", "tcp://127.0.0.1:*"], preexec_fn=block,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        node.send_signal(signal.SIGTERM)
        reason = node.communicate(timeout=DEADLINE_S)[1]
        self.assertEqual(node.returncode, 0, reason)

    def test_a_configuration_is_read_and_the_command_line_counts_more(self):
        with tempfile.TemporaryDirectory() as scratch:
            path, log = os.path.join(scratch, "gpb.conf"), os.path.join(scratch, "log")
            done = subprocess.run([GPB_ACTOR, "--help-config"], stdout=subprocess.PIPE,
                                  timeout=DEADLINE_S)
            text = done.stdout.decode().replace("name = \"\";", "name = \"from-file\";")
            text = text.replace("bind = [ ];", "bind = [ \"tcp://127.0.0.1:*\" ];")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            for options, name in (((), "from-file"), (("--set", "name=from-line"), "from-line")):
                node = Node("--config", path, "--set", "log_target=" + log, *options, endpoints=(),
                            lines=1)
                self.assertEqual(node.json("devices")["node"], name)
                self.assertEqual(node.stop(), 0)
            with open(log, encoding="utf-8") as file:
                self.assertEqual(file.read().count("draining"), 2)

    def test_a_bad_configuration_is_refused_with_its_line(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write("# a node\nstraems = 4;\n")
            file.flush()
            done = subprocess.run([GPB_ACTOR, "--config", file.name], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=DEADLINE_S)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{file.name}:2: there is no key \"straems\"; did you mean \"streams\"?",
                          done.stderr.decode())

    def test_a_node_without_devices_serves_and_says_why(self):
        node = Node("--backends", "nothing")
        try:
            answer = node.json("devices")
            self.assertEqual(answer["devices"], [])
            self.assertIn("nothing", " ".join(answer["notices"]))
            self.assertIn("nothing", node.gpb("devices").stderr.decode())
        finally:
            self.assertEqual(node.stop(), 0)

    def test_a_node_that_is_not_there_is_said_in_time(self):
        start = time.monotonic()
        done = gpb("--node", "tcp://127.0.0.1:1", "--timeout", "300", "devices")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.decode(), "DEADLINE_EXCEEDED|UNAVAILABLE")
        self.assertLess(time.monotonic() - start, 10 * SLOW)
        done = gpb("--node", "nonsense", "devices")
        self.assertEqual(done.returncode, 1)
        self.assertIn("INVALID_ARGUMENT", done.stderr.decode())


class Compile(unittest.TestCase):
    """gpb compile, without a node."""

    def package(self, folder, name, source):
        package = os.path.join(folder, name)
        os.mkdir(package)
        with open(os.path.join(package, "kernel.conf"), "w", encoding="utf-8") as file:
            file.write(f"""id = "{name}";
source = "{name}.c";
parameters = ( {{ name = "x"; direction = "inout"; type = "f32"; count = "n"; }},
               {{ name = "n"; direction = "scalar"; type = "u32"; }} );
global = [ "n" ];
""")
        with open(os.path.join(package, name + ".c"), "w", encoding="utf-8") as file:
            file.write(source)
        return package

    def test_a_package_that_compiles_is_ok_for_each_device(self):
        done = gpb("compile", os.path.join(SOURCE, "kernels", "vector_add"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout.decode(), r"(?m)^vector_add: ok for device 0, .*\(opencl\)$")
        done = gpb("compile", "--json", "--backends", "opencl", "vector_add")
        answer = json.loads(done.stdout)
        self.assertTrue(answer["ok"] and all(device["ok"] for device in answer["devices"]))
        self.assertGreater(len(answer["devices"]), 0)

    def test_a_package_that_does_not_shows_the_compilers_words(self):
        with tempfile.TemporaryDirectory() as scratch:
            package = self.package(scratch, "bad", "KERNEL void\nbad (GLOBAL float *x, uint n)\n"
                                   "{\n    x [global_id (0)] = undeclared_thing;\n}\n")
            done = gpb("compile", package)
            self.assertEqual(done.returncode, 1)
            self.assertIn("undeclared_thing", done.stderr.decode())
            self.assertRegex(done.stderr.decode(), r"bad\.c:4")
            done = gpb("compile", "--json", package)
            self.assertEqual(done.returncode, 1)
            answer = json.loads(done.stdout)
            self.assertFalse(answer["ok"])
            self.assertIn("undeclared_thing", answer["devices"][0]["message"])

    def test_a_binary_for_a_card_that_is_not_here(self):
        with tempfile.TemporaryDirectory() as scratch:
            binary = os.path.join(scratch, "sobel.cubin")
            done = gpb("compile", "sobel", "--arch", "sm_90", "--output", binary)
            if b"there is no compiler" in done.stderr:
                self.skipTest("no NVRTC here")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout.decode(), r"^sobel: ok for sm_90 \(cuda\), \d+ bytes\n$")
            with open(binary, "rb") as file:
                self.assertEqual(file.read(4), b"\x7fELF")
            done = gpb("compile", "sobel", "--arch", "compute_80", "--output", "-")
            self.assertIn(b".target sm_80", done.stdout)
            answer = json.loads(gpb("compile", "sobel", "--arch", "sm_90", "--json").stdout)
            self.assertEqual((answer["ok"], answer["backend"], answer["arch"]),
                             (True, "cuda", "sm_90"))
            self.assertEqual(answer["size"], os.path.getsize(binary))
            for arch, words in (("sm_77", "does not know sm_77"), ("bogus", "gpu-architecture")):
                done = gpb("compile", "sobel", "--arch", arch, "--output", binary + arch)
                self.assertEqual(done.returncode, 1)
                self.assertIn("INVALID_ARGUMENT", done.stderr.decode())
                self.assertIn(words, done.stderr.decode())
                self.assertFalse(os.path.exists(binary + arch))
            package = self.package(scratch, "bad", "KERNEL void\nbad (GLOBAL float *x, uint n)\n"
                                   "{\n    x [global_id (0)] = undeclared_thing;\n}\n")
            done = gpb("compile", package, "--arch", "sm_90")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr.decode(), r"bad\.c\(4\)[^\n]*undeclared_thing")

    def test_opencl_compiles_for_what_is_here_alone(self):
        done = gpb("compile", "sobel", "--arch", "sm_90", "--backends", "opencl")
        self.assertEqual(done.returncode, 1)
        self.assertIn('UNIMPLEMENTED: no backend of "opencl" compiles for sm_90',
                      done.stderr.decode())

    def test_packages_of_ones_own_are_found_by_their_id(self):
        with tempfile.TemporaryDirectory() as scratch:
            self.package(scratch, "mine", "KERNEL void\nmine (GLOBAL float *x, uint n)\n{\n"
                         "    if (global_id (0) < n)\n        x [global_id (0)] *= 2;\n}\n")
            done = gpb("compile", "mine", environment={"GPB_KERNEL_PATH": scratch})
            self.assertEqual(done.returncode, 0, done.stderr)
            done = gpb("compile", "yours", environment={"GPB_KERNEL_PATH": scratch})
            self.assertEqual(done.returncode, 1)
            self.assertIn("no kernel of that id", done.stderr.decode())

    def test_a_folder_without_a_package_is_refused(self):
        done = gpb("compile", "/tmp/")
        self.assertEqual(done.returncode, 1)
        self.assertIn("kernel.conf", done.stderr.decode())
        self.assertEqual(gpb("compile").returncode, 2)


class Demo(unittest.TestCase):
    """The demonstration: every pixel is checked by the program itself."""

    def test_the_edges_of_the_photo_are_right(self):
        with tempfile.TemporaryDirectory() as scratch:
            target = os.path.join(scratch, "edges.png")
            done = subprocess.run([os.path.join(BUILD, "examples", "demo"), GPB_ACTOR,
                                   os.path.join(SOURCE, "examples", "data", "astronaut.png"),
                                   target], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=DEADLINE_S)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout.decode(), r"(?m)^device  0: ")
            self.assertRegex(done.stdout.decode(), r"(?m)^latency p50 \d")
            with open(target, "rb") as file:
                self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
