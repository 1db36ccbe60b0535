"""safetensors' save_file of model and optimizer. It syncs nothing, so the file is synced afterwards."""

from measure import Task, repeated, size_of, sync, tell, train

import torch
from job import Job, compute_on, touch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

task = Task(["safetensors", "torch"])
file = task.dir / "state.safetensors"


def load():
    touch(tensor for name, tensor in load_file(file).items() if name.startswith("model."))


def load_model_alone():
    with safe_open(file, framework="pt") as opened:
        touch(opened.get_tensor(name) for name in opened.keys() if name.startswith("model."))


if task.phase == "load":
    compute_on(task)
    times = repeated(task, **{"model": load, "model, safe_open": load_model_alone})
    tell({"versions": task.versions, "times": times})
else:
    job = Job(task)

    def save():
        tensors = {f"model.{name}": tensor for name, tensor in job.model.state_dict().items()}
        for number, state in job.optimizer.state_dict()["state"].items():
            for name, tensor in state.items():
                tensors[f"optimizer.{number}.{name}"] = tensor
        save_file(tensors, file, metadata={"format": "pt"})

    task.saves = 0 if task.phase == "quiet" else task.saves
    tell(train(task, job, save, lambda: sync(file), lambda: size_of(file)))
