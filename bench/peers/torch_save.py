"""torch.save of a dictionary with model and optimizer: the usual lines. It syncs nothing, so the file is synced afterwards."""

from measure import Task, repeated, size_of, sync, tell, train

import torch
from job import Job, compute_on, touch

task = Task(["torch"])
file = task.dir / "state.pt"


def load(**how):
    state = torch.load(file, weights_only=True, **how)
    touch(state["model"].values())


if task.phase == "load":
    compute_on(task)
    times = repeated(task, **{"model": load, "model, mmap": lambda: load(mmap=True)})
    tell({"versions": task.versions, "times": times})
else:
    job = Job(task)

    def save():
        state = {"model": job.model.state_dict(), "optimizer": job.optimizer.state_dict()}
        torch.save(state, file)

    task.saves = 0 if task.phase == "quiet" else task.saves
    tell(train(task, job, save, lambda: sync(file), lambda: size_of(file)))
