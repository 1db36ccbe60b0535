"""Lightning's Trainer with a ModelCheckpoint that keeps the best and the last. It syncs nothing, so the files are synced afterwards."""

import logging
import warnings

from measure import Pace, Task, idle, repeated, size_of, sync, tell, told, written_bytes

import torch
from job import Layers, adam, batch, compute_on, touch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")

task = Task(["lightning", "torch"])
task.saves = 0 if task.phase == "quiet" else task.saves
pace = Pace(task)
directory = task.dir / "lightning"
last = []


class Module(LightningModule):
    def __init__(self, layers, width):
        super().__init__()
        self.save_hyperparameters()
        self.model = Layers(layers, width)

    def training_step(self, batch, _):
        pace.begin()
        loss = self.model.loss(batch)
        self.log("score", float(len(pace.begins)))
        return loss

    def configure_optimizers(self):
        return adam(self.model)


class Checkpoint(ModelCheckpoint):
    """Saves when the pace says so, each state better than the one before."""

    def __init__(self):
        super().__init__(directory, monitor="score", mode="max", save_top_k=1, save_last=True, every_n_train_steps=1)

    def on_train_batch_end(self, trainer, module, *rest):
        def save():
            super(Checkpoint, self).on_train_batch_end(trainer, module, *rest)

        if pace.is_due():
            pace.save(save, lambda: sync(directory))
        if pace.over:
            # The end of the last step, and of what is counted.
            pace.begin()
            pace.wait()
            last.append(idle(task, save, lambda: sync(directory)))
            trainer.should_stop = True


class Batches(torch.utils.data.IterableDataset):
    def __iter__(self):
        same = batch(task)
        while True:
            yield same


compute_on(task)
if task.phase == "load":
    file = directory / "last.ckpt"

    def load():
        module = Module.load_from_checkpoint(file, weights_only=False)
        touch(module.model.parameters())

    # There is no way to the hyperparameters that does not read the whole file.
    def hparams():
        return torch.load(file, weights_only=False)["hyper_parameters"]["width"]

    tell({"versions": task.versions, "times": repeated(task, model=load, hparams=hparams)})
else:
    torch.manual_seed(42)
    checkpoint = Checkpoint()
    trainer = Trainer(
        accelerator="cpu", max_steps=-1, logger=False, callbacks=[checkpoint], enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=task.dir,
    )  # fmt: skip
    written = written_bytes()
    # The end of training would save once more.
    checkpoint.on_train_end = lambda *_: None
    trainer.fit(Module(task.layers, task.width), torch.utils.data.DataLoader(Batches(), batch_size=None))
    tell(told(task, pace, last[0], lambda: size_of(directory), written))
