#!/usr/bin/python3
"""`gpb top` as a user has it: on a terminal of its own (a pty), in a pipe, and as JSON; with a node
that goes away and comes back. Needs nothing but Python's own library."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

import test_tools
from test_tools import DEADLINE_S, GPB, Node


class Terminal:
    """gpb top on a terminal. What it writes is kept whole, control sequences and all."""

    def __init__(self, *words, rows=24, columns=80):
        self.master, slave = pty.openpty()
        self.size(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen([GPB, *words], stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True, preexec_fn=self.own,
                                        env={**os.environ, "TERM": "xterm", "LC_ALL": "C"})
        self.output = b""

    def own(self):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            self.output += os.read(self.master, 65536)
            return True
        return False

    def expect(self, pattern, start=0):
        """Reads until the pattern is in what was written since start; its end."""
        end = time.monotonic() + DEADLINE_S
        while True:
            match = re.search(pattern, self.output[start:])
            if match:
                return start + match.end()
            if time.monotonic() > end:
                raise AssertionError(f"{pattern} never came: {self.output[start:]}")
            self.read(0.1)

    def write(self, keys):
        os.write(self.master, keys)

    def wait(self):
        end = time.monotonic() + DEADLINE_S
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.05)
        while self.read(0):
            pass
        if self.process.poll() is None:
            self.process.kill()
            raise AssertionError("it did not end")
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


OPEN, CLOSED = re.escape(b"\x1b[?1049h"), re.escape(b"\x1b[?1049l")


class OnATerminal(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.node = Node("--name", "left")

    @classmethod
    def tearDownClass(cls):
        assert cls.node.stop() == 0

    def top(self, *words, **size):
        terminal = Terminal("--node", self.node.endpoint, "top", "--interval", "50", *words, **size)
        self.addCleanup(terminal.close)
        return terminal

    def assert_given_back(self, terminal):
        """The screen that was there, the cursor, and how the terminal treats keys."""
        self.assertRegex(terminal.output, CLOSED)
        self.assertRegex(terminal.output, re.escape(b"\x1b[?12l\x1b[?25h"))
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_it_shows_the_node_and_q_gives_the_terminal_back(self):
        top = self.top()
        opened = top.expect(OPEN)
        top.expect(rb"node left at tcp://", opened)
        top.expect(rb"QUEUE", opened)
        self.assertNotEqual(termios.tcgetattr(top.slave), top.before)
        top.write(b"q")
        self.assertEqual(top.wait(), 0)
        self.assert_given_back(top)

    def test_signals_give_the_terminal_back(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            top = self.top()
            top.expect(rb"node left")
            top.process.send_signal(number)
            self.assertEqual(top.wait(), 0, number)
            self.assert_given_back(top)

    def test_ctrl_c_is_a_signal(self):
        top = self.top()
        top.expect(rb"node left")
        top.write(b"\x03")
        self.assertEqual(top.wait(), 0)
        self.assert_given_back(top)

    def test_it_sizes_itself_to_the_terminal(self):
        top = self.top(rows=24, columns=80)
        # The hint is in the last line.
        seen = top.expect(rb"\x1b\[24(;1H|d)[^\x1b]*(\x1b[^q]*)?q: quit")
        top.size(40, 120)
        top.process.send_signal(signal.SIGWINCH)
        # Room for the 95th percentile.
        top.expect(rb"P95", seen)
        seen = top.expect(rb"\x1b\[40(;1H|d)[^\x1b]*(\x1b[^q]*)?q: quit", seen)
        # As small as can be.
        top.size(1, 1)
        top.process.send_signal(signal.SIGWINCH)
        top.size(5, 10)
        top.process.send_signal(signal.SIGWINCH)
        top.expect(rb"gpb top", seen)
        top.write(b"q")
        self.assertEqual(top.wait(), 0)
        self.assert_given_back(top)

    def test_it_ends_after_so_many_frames(self):
        top = self.top("--count", "2")
        self.assertEqual(top.wait(), 0)
        self.assert_given_back(top)

    def test_a_terminal_that_goes_away_ends_it(self):
        master, slave = pty.openpty()
        top = subprocess.Popen([GPB, "--node", self.node.endpoint, "top", "--interval", "50"],
                               stdin=slave, stdout=slave, stderr=subprocess.DEVNULL,
                               start_new_session=True, env={**os.environ, "TERM": "xterm"})
        os.close(slave)
        self.assertTrue(select.select([master], [], [], DEADLINE_S)[0])
        os.close(master)
        try:
            top.wait(DEADLINE_S)
        finally:
            top.kill()

    def test_an_unknown_terminal_gets_plain_frames(self):
        # newterm of ncurses 6.4 leaks a part of the screen that it does not make.
        sanitizer = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        master, slave = pty.openpty()
        done = subprocess.run([GPB, "--node", self.node.endpoint, "top", "--count", "1"],
                              stdin=slave, stdout=slave, stderr=subprocess.PIPE,
                              env={**os.environ, "TERM": "no-such-terminal",
                                   "ASAN_OPTIONS": sanitizer}, timeout=DEADLINE_S)
        output = os.read(master, 65536)
        os.close(master)
        os.close(slave)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"node left", output)
        self.assertNotIn(b"\x1b", output)


class InAPipe(unittest.TestCase):

    assert_documented = test_tools.assert_documented

    @classmethod
    def setUpClass(cls):
        cls.node = Node("--name", "left")

    @classmethod
    def tearDownClass(cls):
        assert cls.node.stop() == 0

    def test_plain_frames_follow_one_another(self):
        done = self.node.gpb("top", "--interval", "20", "--count", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        text = done.stdout.decode()
        self.assertEqual(len(re.findall(r"(?m)^gpb top: node left at tcp://", text)), 3)
        self.assertEqual(text.count("\n\ngpb top"), 2)
        self.assertIn("- requests/s", text)
        self.assertEqual(len(re.findall(r"(?m)^\d+(\.\d+)? requests/s", text)), 2)
        self.assertNotIn("\x1b", text)

    def test_json_is_an_object_a_line_with_rates(self):
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "x")
            with open(path, "wb") as file:
                file.write(bytes(4096))
            top = subprocess.Popen([GPB, "--node", self.node.endpoint, "--json", "top",
                                    "--interval", "100"], stdout=subprocess.PIPE, text=True)
            try:
                first = json.loads(top.stdout.readline())
                done = self.node.gpb("run", "vector_add", "in:" + path, "in:" + path,
                                     "out:/dev/null", "i32:1024", "--repeat", "20")
                self.assertEqual(done.returncode, 0, done.stderr)
                frames = []
                while sum(frame["rates"][0]["processed_per_second"] * seconds
                          for frame, seconds in frames) < 19.9:
                    frame = json.loads(top.stdout.readline())
                    before = (frames[-1][0] if frames else first)["stats"]["uptime_ns"]
                    frames.append((frame, (frame["stats"]["uptime_ns"] - before) / 1e9))
                    self.assertLess(len(frames), 1000)
            finally:
                top.terminate()
                self.assertEqual(top.wait(DEADLINE_S), 0)
                top.stdout.close()
        self.assertTrue(first["ok"])
        self.assertIsNone(first["requests_per_second"])
        self.assertIsNone(first["rates"][0]["processed_per_second"])
        # All twenty runs, and none twice.
        ran = sum(frame["rates"][0]["processed_per_second"] * seconds for frame, seconds in frames)
        self.assertAlmostEqual(ran, 20, delta=0.1)
        self.assert_documented(frames[-1][0])

    def test_a_node_that_goes_away_is_shown_and_comes_back(self):
        node = Node("--name", "first")
        top = subprocess.Popen([GPB, "--node", node.endpoint, "--json", "--timeout", "300", "top",
                                "--interval", "50"], stdout=subprocess.PIPE, text=True)
        until = lambda good: next(frame for frame in map(json.loads, top.stdout) if good(frame))
        try:
            until(lambda frame: frame["ok"])
            self.assertEqual(node.stop(), 0)
            lost = until(lambda frame: not frame["ok"])
            self.assertRegex(lost["message"], "^(UNAVAILABLE|DEADLINE_EXCEEDED): ")
            self.assertEqual(lost["stats"]["node"], "first")
            node = Node("--name", "second", endpoints=(node.endpoint,))
            back = until(lambda frame: frame["ok"])
            self.assertEqual(back["stats"]["node"], "second")
            # What the first had counted is no base for a rate.
            self.assertIsNone(back["requests_per_second"])
        finally:
            top.terminate()
            top.wait(DEADLINE_S)
            top.stdout.close()
            node.stop()

    def test_a_node_that_is_not_there_is_a_failure_in_the_end(self):
        done = test_tools.gpb("--node", "tcp://127.0.0.1:1", "--timeout", "50", "top", "--count",
                              "1")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"NO ANSWER: DEADLINE_EXCEEDED", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
