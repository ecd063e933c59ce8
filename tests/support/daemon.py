"""What the scripts beside the tests share: a daemon in a folder of its own, logs in which each line has a client of its own, and the truth by `tallyd count`."""

import json
import os
import select
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TALLYD = os.environ.get("TALLYD_BINARY", str(ROOT / "target/debug/tallyd"))
PATIENCE = 60


class Wrong(Exception):
    """Something is not as it must be."""


def lines(first, count):
    """So many lines, each with a client of its own."""
    text = "10.{}.{}.{} - - [22/Mar/2021:06:25:24 +0100] \"GET /{} HTTP/1.1\" 200 5\n"
    return "".join(text.format(n >> 16 & 255, n >> 8 & 255, n & 255, n) for n in range(first, first + count)).encode()


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("TALLYD_")}


def tallyd(*words, cwd=None):
    """Runs the program; gives its exit code and both outputs."""
    done = subprocess.run([TALLYD, *words], cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def truth(paths):
    """(requests, distinct clients) of all these files together."""
    if not paths:
        return 0, 0
    code, out, err = tallyd("count", "--json", *map(str, paths))
    if code != 0:
        raise Wrong(f"count: {err}")
    everything = json.loads(out)["all"]
    return everything["total"], everything["ip"]


class Daemon:
    """In a group of processes of its own, so that all can be killed at once."""

    def __init__(self, folder, before=(), options=()):
        self.folder = Path(folder)
        self.url = None
        words = [*before, TALLYD, "serve", "--logs", "logs", "--state", "state", "--listen", "127.0.0.1:0", "--workers", "2", "--scan-every-ms", "100", *options]
        self.journal = open(self.folder.parent / "journal", "ab")
        self.process = subprocess.Popen(words, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.journal, start_new_session=True)

    def is_ready(self, patience=PATIENCE):
        """Waits for the ready line. False: it ended, or it takes too long."""
        if self.url is None and select.select([self.process.stdout], [], [], patience)[0]:
            line = self.process.stdout.readline().decode().strip()
            if line.startswith("tallyd listening on "):
                self.url = line.removeprefix("tallyd listening on ")
        return self.url is not None

    def get(self, path, patience=2):
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(self.url + path, timeout=patience) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def is_settled(self):
        status = self.get("/api/v1/status")
        return bool(status) and status["pending_bytes"] == 0 and status["unstored_files"] == 0 and not status["degraded"]

    def numbers(self):
        """(requests, distinct clients) of the day of all lines, or None while they are not complete. The clients of different days are different ones."""
        answer = self.get("/api/v1/days")
        if answer is None or not all(day["complete"] for day in answer["days"]):
            return None
        return sum(day["requests"] for day in answer["days"]), sum(day["unique_ips"] for day in answer["days"])

    def wait_for(self, wanted, patience=PATIENCE):
        """Waits until the numbers are these and nothing is on its way."""
        end, seen = time.monotonic() + patience, None
        while time.monotonic() < end:
            seen = self.numbers()
            if seen == wanted and self.is_settled() and self.numbers() == wanted:
                return
            if self.process.poll() is not None:
                raise Wrong(f"the daemon ended with {self.process.returncode}")
            time.sleep(0.03)
        raise Wrong(f"the numbers are {seen}, not {wanted}; {self.get('/api/v1/report')}; {self.get('/api/v1/status')}")

    def supervisor(self):
        """Its process id; it may run under another program."""
        try:
            if Path(f"/proc/{self.process.pid}/exe").resolve().name != "strace":
                return self.process.pid
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            return int(children[0]) if children else None
        except OSError:
            return None

    def stop(self, patience=10):
        pid = self.supervisor()
        if pid is not None:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self):
        """Ends all of its processes, now."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdout.close()
        self.journal.close()
