"""The program under test: its processes, and what none of them may do."""

import collections
import os
import re
import signal
import subprocess
import time

from world import Anomaly

STATIC = os.environ.get("TDISPATCH", "./tdispatch")
DEV = os.environ.get("SANITIZED") or STATIC         # with sanitizers
ENVIRONMENT = {**os.environ, "HOME": "/nonexistent", "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
MOST_A_SECOND = 20              # log lines of one kind, for
MOST_SECONDS = 3                # so long: more is a loop
# What its log tells: counted as often as it stands there, or as the number in it says.
TOLD = {
    "batches": r"INFO .* batch \d+ ticks \d+-\d+: events=",
    "partitions created": r" partitions_created=(\d+)",
    "batches that were in already": r"is in the target already: finishing it",
    "batches in up to a tick inside": r"moving queue \S+ there",
    "batches that a lane had up to a tick inside": r"going tick by tick",
    "lost positions told": r"ERROR \S+ lost position",
    "ticks of another source told": r"ERROR \S+ lost position: tick \d+ of queue \S+ is one",
    "changes of routing refused": r"Put the old values back",
    "dead letters": r"(\d+) events? went to tdispatch\.dead_letter",
    "dead letters replayed": r"(\d+) of \d+ dead letters went in",
    "another process in the way": r"another process loads",
    "slices of a table": r"DEBUG .* slice \S+ to \S+: tables=",
    "snapshots lost": r"the snapshot is lost",
    "rewritten tables told": r"was rewritten",
    "errors": r" ERROR ",
}


class Run:
    """One process; its output goes to a file."""

    def __init__(self, world, config, args):
        self.args = [str(arg) for arg in args]
        self.path = world.folder / f"run.{world.counts.get('processes', 0)}"
        self.frozen = False
        world.count("processes")
        program = DEV if world.chance.random() < 0.3 else STATIC
        with open(self.path, "w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                [program, *self.args, str(config)],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=ENVIRONMENT)

    @property
    def code(self):
        return self.process.poll()

    @property
    def output(self):
        return self.path.read_text(encoding="utf-8", errors="replace")

    def last_error(self):
        errors = [line for line in self.output.splitlines() if " ERROR " in line or "tdispatch:" in line]
        return re.sub(r"^\S+ \S+ \d+ ", "", errors[-1]) if errors else self.output[-300:]

    def wait(self, timeout):
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def send(self, number):
        if self.code is None:
            self.process.send_signal(number)

    def end(self):
        self.send(signal.SIGKILL)
        self.process.wait()

    def judge(self):
        """No crash, nothing that a sanitizer says, no loop that fills the log."""
        text = self.output
        if re.search("Sanitizer|runtime error", text) or (self.code is not None and -self.code in CRASHES):
            raise Anomaly(f"CRASH: exit code {self.code}, {self.path}")
        lines = collections.defaultdict(list)
        for line in re.findall(r"^\S+ (\d\d:\d\d:\d\d)\S* \d+ (?:WARNING|ERROR) (.*)", text, re.MULTILINE):
            lines[re.sub(r"\d+", "N", line[1])[:80]].append(line[0])
        for what, times in lines.items():
            busy = [n for n in collections.Counter(times).values() if n > MOST_A_SECOND]
            if len(busy) >= MOST_SECONDS:
                raise Anomaly(f"LIVELOCK: {len(times)} times: {what}, {self.path}")


class Runs:
    """All processes of a round."""

    MOST = 3

    def __init__(self, world):
        self.world, self.live = world, []

    def arguments(self, proxied):
        world, chance = self.world, self.world.chance
        lanes = world.conf["lanes"] if chance.random() < 0.8 else chance.choice([1, 2, 3, 5])
        args = ["--set", f"lanes={lanes}", "--set", f"batch_min_events={chance.choice(world.least)}"]
        return args + (self.through_proxies() if proxied else [])

    def through_proxies(self):
        world = self.world
        return ["--set", f"src_db={world.source.conninfo(world.src, world.chance.random() < 0.7)}",
                "--set", f"dst_db={world.target.conninfo(world.dst, True)}"]

    def start(self, *args, proxied=False):
        return self.start_with(self.world.folder / "job.ini", [*args, *self.arguments(proxied)])

    def start_with(self, config, args, proxied=False):
        args += self.through_proxies() if proxied else []
        if any(not other.frozen for other in self.live):
            self.world.count("processes beside another")
        run = Run(self.world, config, args)
        self.live.append(run)
        self.world.note("run", run.path.name, *run.args)
        return run

    def finish(self, *args, timeout=300):
        """Runs to its end."""
        run = self.start(*args)
        if not run.wait(timeout):
            run.end()
            run.judge()
            raise Anomaly(f"HANGS: {' '.join(run.args)} for {timeout} s, {run.path}: {run.last_error()}")
        self.reap()
        return run

    def full(self):
        return len(self.live) >= self.MOST

    def reap(self):
        """Looks at those that have ended, and at what the others say."""
        for run in list(self.live):
            run.judge()
            if run.code is not None:
                self.live.remove(run)
                self.world.note("ended", run.path.name, "with", run.code, run.last_error() if run.code > 0 else "")
                self.world.count(f"exit code {run.code}")
                self.count_told(run.output)

    def count_told(self, text):
        for what, pattern in TOLD.items():
            found = re.findall(pattern, text)
            self.world.count(what, sum(int(n) if n.isdigit() else 1 for n in found))

    def end_all(self):
        """Kills them; their sessions may live for a moment longer, as they do."""
        for run in self.live:
            run.end()
        self.reap()

    def sessions_are_gone(self):
        """A source that is to be replaced must not be written by a session of the old one."""
        for server, name in ((self.world.source, self.world.src), (self.world.target, self.world.dst)):
            server.sql("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        time.sleep(0.05)
