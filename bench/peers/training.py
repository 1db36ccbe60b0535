"""What the peers of `bench train` share: the task, the data, the times, and the object that is printed at the end.

The program `bench-train` starts a peer with its task as JSON (`src/train/task.rs`), and reads the last line of what it
prints.
"""

import json
import os
import sys
import time
from pathlib import Path


class Task:
    def __init__(self):
        task = json.loads(sys.argv[1])
        self.network = task["network"]
        self.batch = task["batch"]
        self.warm_up = max(task["warm_up"], 1)
        self.steps = task["steps"]
        self.save_every = task["save_every"]
        self.run_dir = Path(task["run_dir"])
        self.threads = task["threads"]
        self.on_gpu = task["backend"] != "flex"
        self.dir = Path(task["dir"])
        self.started = task["started"]
        self.profile = task["profile"]
        # Not every library has a setting that counts for all of its threads.
        if not self.on_gpu:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: self.threads])

    def batches(self):
        """Batches of the example's own data without an end, as arrays of numpy: inputs and what is expected."""
        import numpy

        random = numpy.random.default_rng(42)
        if self.network["kind"] == "digits":
            images = numpy.fromfile(self.dir / "images", dtype=numpy.float32).reshape(-1, 1, 8, 8)
            labels = numpy.fromfile(self.dir / "labels", dtype=numpy.uint8).astype(numpy.int64)
            while True:
                order = random.permutation(len(labels))
                for start in range(0, len(order) - self.batch + 1, self.batch):
                    chosen = order[start : start + self.batch]
                    yield images[chosen], labels[chosen]
        text = numpy.fromfile(self.dir / "text", dtype=numpy.uint8).astype(numpy.int64)
        context = self.network["context"]
        while True:
            places = random.integers(0, len(text) - context, self.batch)
            yield (
                numpy.stack([text[place : place + context] for place in places]),
                numpy.stack([text[place + 1 : place + context + 1] for place in places]),
            )


def train(task, step, synchronize, profiled=None, save=None):
    """Takes the steps, and the times at the same places as `timed_model.rs` does. A step returns its loss, which may
    still be computed. `profiled` takes the place of the counted steps where a profile is asked for. `save` saves."""
    batches = task.batches()
    losses = []
    saves = 0

    def take(count):
        nonlocal saves
        for _ in range(count):
            losses.append(step(next(batches)))
            if task.save_every and len(losses) % task.save_every == 0:
                save()
                saves += 1

    take(1)
    synchronize(losses)
    measured = {"first_step": time.time() - task.started}
    take(task.warm_up - 1)
    synchronize(losses)
    start, cpu = time.perf_counter(), time.process_time()
    if task.profile and profiled:
        measured["operations"] = profiled(lambda: take(task.steps))
    else:
        take(task.steps)
    synchronize(losses)
    measured["seconds"] = time.perf_counter() - start
    measured["cpu_seconds"] = time.process_time() - cpu
    measured["loss"] = sum(float(loss) for loss in losses) / len(losses)
    measured["peak"] = peak()
    if task.save_every:
        measured["saves"] = saves
    return measured


def peak():
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(values[0]) * 1024 if values else None


def tell(measured):
    print(json.dumps(measured), flush=True)
