"""Lightning's Trainer with a ModelCheckpoint that saves every few steps."""

import logging
import time
import warnings

from training import Task, peak, tell

import lightning
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch_networks import compute_on, loss_of, network_of, optimizer_of

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")

task = Task()
measured = {}


class Module(LightningModule):
    def __init__(self, network):
        super().__init__()
        self.network = network
        self.model = network_of(network)
        self.losses = []

    def training_step(self, batch, _):
        loss = loss_of(self.model, batch)
        self.losses.append(loss.detach())
        return loss

    def configure_optimizers(self):
        return optimizer_of(self.network, self.model.parameters())


class Clock(Callback):
    """Takes the times at the same places as `timed_model.rs`."""

    begun = 0

    def on_train_batch_start(self, *_):
        begun, self.begun = self.begun, self.begun + 1
        if begun not in (1, task.warm_up, task.warm_up + task.steps):
            return
        if task.on_gpu:
            torch.cuda.synchronize()
        if begun == 1:
            measured["first_step"] = time.time() - task.started
        if begun == task.warm_up:
            self.counted = time.perf_counter(), time.process_time()
        if begun == task.warm_up + task.steps:
            start, cpu = self.counted
            measured["seconds"] = time.perf_counter() - start
            measured["cpu_seconds"] = time.process_time() - cpu


class Saves(ModelCheckpoint):
    count = 0

    def _save_checkpoint(self, trainer, path):
        self.count += 1
        super()._save_checkpoint(trainer, path)


class Batches(torch.utils.data.IterableDataset):
    def __iter__(self):
        for batch in task.batches():
            yield [torch.from_numpy(part) for part in batch]


compute_on(task)
callbacks = [Clock()]
if task.save_every:
    callbacks.append(Saves(task.run_dir, every_n_train_steps=task.save_every, save_top_k=1))
module = Module(task.network)
trainer = Trainer(
    accelerator="gpu" if task.on_gpu else "cpu", devices=1, max_steps=task.warm_up + task.steps + 1, logger=False,
    callbacks=callbacks, enable_progress_bar=False, enable_model_summary=False, default_root_dir=task.run_dir,
    enable_checkpointing=task.save_every > 0, gradient_clip_val=task.network.get("clip_norm"),
)  # fmt: skip
trainer.fit(module, torch.utils.data.DataLoader(Batches(), batch_size=None))
measured["loss"] = sum(float(loss) for loss in module.losses) / len(module.losses)
measured["parameters"] = sum(parameter.numel() for parameter in module.model.parameters())
measured["version"] = f"lightning {lightning.__version__}"
measured["peak"] = peak()
if task.save_every:
    measured["saves"] = callbacks[-1].count
if task.on_gpu:
    measured["device_peak"] = torch.cuda.max_memory_allocated()
tell(measured)
