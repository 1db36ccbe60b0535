"""Orbax' CheckpointManager, which writes in the background, with the training job of `model.rs` in JAX on the CPU."""

import os

from measure import Task, repeated, size_of, tell, train

task = Task(["orbax-checkpoint", "jax"])
os.environ["JAX_PLATFORMS"] = "cpu"
if task.threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

ROWS = 16
RATE, BETA_1, BETA_2, EPSILON = 1e-5, 0.9, 0.999, 1e-8
directory = task.dir / "orbax"


def update(state, batch, step):
    """One layer: the layers know nothing of one another, and one compiled step serves them all."""
    weight, first, second = state

    def loss(weight):
        return jnp.mean(jnp.square(batch @ weight)) / task.layers

    value, gradient = jax.value_and_grad(loss)(weight)
    first = BETA_1 * first + (1 - BETA_1) * gradient
    second = BETA_2 * second + (1 - BETA_2) * jnp.square(gradient)
    corrected = first / (1 - BETA_1**step)
    scale = jnp.sqrt(second / (1 - BETA_2**step)) + EPSILON
    return (weight - RATE * corrected / scale, first, second), value


update = jax.jit(update, donate_argnums=0)


class Job:
    def __init__(self):
        keys = jax.random.split(jax.random.PRNGKey(42), task.layers + 1)
        shape = (task.width, task.width)
        bound = task.width**-0.5

        def layer(key):
            weight = jax.random.uniform(key, shape, minval=-bound, maxval=bound)
            return weight, jnp.zeros(shape), jnp.zeros(shape)

        self.states = [layer(key) for key in keys[1:]]
        self.batch = jax.random.uniform(keys[0], (ROWS, task.width), minval=-1.0, maxval=1.0)
        self.done = 0

    def step(self):
        self.done += 1
        number = jnp.float32(self.done)
        updated = [update(state, self.batch, number) for state in self.states]
        self.states = [state for state, _ in updated]
        jax.block_until_ready(self.states)

    def tree(self):
        parts = zip(("model", "first", "second"), zip(*self.states))
        return {name: {str(number): array for number, array in enumerate(arrays)} for name, arrays in parts}


options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=True)


if task.phase == "load":
    manager = ocp.CheckpointManager(directory, options=options)

    def load():
        restored = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore())
        return sum(float(jnp.sum(array)) for array in restored["model"].values())

    tell({"versions": task.versions, "times": repeated(task, **{"whole state": load})})
else:
    task.saves = 0 if task.phase == "quiet" else task.saves
    manager = ocp.CheckpointManager(directory, options=options)
    job = Job()
    last = [0]

    def save():
        # Saves of one step are one save.
        last[0] = max(job.done, last[0] + 1)
        manager.save(last[0], args=ocp.args.StandardSave(job.tree()))

    measured = train(task, job, save, manager.wait_until_finished, lambda: size_of(directory / str(last[0])))
    manager.close()
    tell(measured)
