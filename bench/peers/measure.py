"""What the peers share: the task, the moments that are noted, and the object that is printed at the end.

The program `bench-checkpoint` starts a peer with its task as JSON, and reads the last line of what it prints; the fields
are those of `measured.rs`.
"""

import json
import os
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

# As in window.rs and ours.rs.
WARM_UP = 3
APART = 4


class Task:
    def __init__(self, packages):
        task = json.loads(sys.argv[1])
        self.phase = task["phase"]
        self.layers = task["case"]["layers"]
        self.width = task["case"]["width"]
        self.dir = Path(task["dir"])
        self.saves = task["saves"]
        self.threads = task["threads"]
        self.quiet_steps = 2 if task["quick"] else 8
        self.repetitions = 2 if task["quick"] else 5
        self.versions = {name: version(name) for name in packages}


class Pace:
    """Says after each step whether to save: some steps after the save before is durable, as `ours.rs` does."""

    def __init__(self, task):
        self.task = task
        self.begins = []
        self.saves = []
        self.threads = []
        self.steps = 0
        self.seen = 0
        self.over = False

    def begin(self):
        self.begins.append(time.time())

    def is_due(self):
        """A step is done."""
        self.steps += 1
        first = WARM_UP + APART
        if self.saves and "durable" not in self.saves[-1]:
            self.seen = self.steps
            return False
        since = self.steps - self.seen if self.saves else self.steps - first
        done = len(self.saves) >= self.task.saves
        if done and since >= APART and self.steps >= first + self.task.quiet_steps:
            self.over = True
        return not done and self.steps >= first and (not self.saves or since >= APART)

    def save(self, save, then):
        """Saves; what makes it durable is waited for by a thread of its own, and the loop goes on."""
        noted = {"asked": time.time()}
        save()
        noted["returned"] = time.time()
        self.saves.append(noted)
        self.seen = self.steps

        def wait():
            then()
            noted["durable"] = time.time()

        thread = threading.Thread(target=wait)
        thread.start()
        self.threads.append(thread)

    def wait(self):
        for thread in self.threads:
            thread.join()


def train(task, job, save, then, files):
    """The loop of a peer that has none of its own."""
    pace = Pace(task)
    written = written_bytes()
    while not pace.over:
        pace.begin()
        job.step()
        if pace.is_due():
            pace.save(save, then)
    # The end of the last step.
    pace.begin()
    pace.wait()
    return told(task, pace, idle(task, save, then), files, written)


def idle(task, save, then):
    """A save while the loop stands still."""
    if task.saves == 0:
        return None
    noted = {"asked": time.time()}
    save()
    noted["returned"] = time.time()
    then()
    noted["durable"] = time.time()
    return noted


def told(task, pace, idle, files, written):
    """What a training process tells."""
    saves = len(pace.saves) + (idle is not None)
    return {
        "versions": task.versions,
        "begins": pace.begins,
        "saves": pace.saves,
        "idle": idle,
        "bytes": files() if saves else None,
        "written": (written_bytes() - written) // saves if saves and written is not None else None,
    }


def repeated(task, **loads):
    """Times to load, of functions that read every value."""
    times = {}
    for _ in range(task.repetitions):
        for name, load in loads.items():
            start = time.perf_counter()
            load()
            times.setdefault(name, []).append(time.perf_counter() - start)
    return times


def tell(measured):
    measured["peak"] = field("/proc/self/status", "VmHWM:", 1024)
    print(json.dumps(measured), flush=True)


def sync(path):
    """A file, or all files below a directory."""
    paths = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in paths:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def size_of(*paths):
    """Bytes of files, or of all files below directories, a file with several names once."""
    files = {}
    for path in paths:
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file() and not file.is_symlink():
                stat = file.stat()
                files[stat.st_ino] = stat.st_size
    return sum(files.values())


def written_bytes():
    return field("/proc/self/io", "write_bytes:", 1)


def field(file, name, unit):
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith(name)]
    return int(values[0]) * unit if values else None
