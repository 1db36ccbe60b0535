"""The networks of `digits` and `char-lm` in JAX alone, the step with its optimizer compiled as one."""

import os

from training import Task, tell, train

task = Task()
if not task.on_gpu:
    os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

network = task.network
is_digits = network["kind"] == "digits"


def normal(key, shape, std):
    return std * jax.random.normal(key, shape, jnp.float32)


def linear(key, inputs, outputs, std=None):
    std = inputs**-0.5 if std is None else std
    return {"weight": normal(key, (inputs, outputs), std), "bias": jnp.zeros(outputs)}


def norm(width):
    return {"gamma": jnp.ones(width), "beta": jnp.zeros(width)}


def digits_parameters(key):
    first, hidden = network["channels"], network["hidden"]
    second = 2 * first
    keys = jax.random.split(key, 4)

    def conv(key, inputs, outputs):
        weight = normal(key, (outputs, inputs, 3, 3), (9 * inputs) ** -0.5)
        return {"weight": weight, "bias": jnp.zeros(outputs)}

    return {
        "conv1": conv(keys[0], 1, first),
        "norm1": norm(first),
        "conv2": conv(keys[1], first, second),
        "norm2": norm(second),
        "hidden": linear(keys[2], second * 16, hidden),
        "output": linear(keys[3], hidden, 10),
    }


def digits_state():
    """Running means and variances of the two norms."""
    first = network["channels"]
    return [(jnp.zeros(size), jnp.ones(size)) for size in (first, 2 * first)]


def apply(layer, x):
    return x @ layer["weight"] + layer["bias"]


def digits_loss(parameters, state, key, images, labels):
    def conv(layer, x):
        y = lax.conv_general_dilated(x, layer["weight"], (1, 1), "SAME")
        return y + layer["bias"][None, :, None, None]

    def batch_norm(layer, running, x):
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        shape = (1, -1, 1, 1)
        y = (x - mean.reshape(shape)) * lax.rsqrt(variance.reshape(shape) + 1e-5)
        running = tuple(0.9 * old + 0.1 * new for old, new in zip(running, (mean, variance)))
        return y * layer["gamma"].reshape(shape) + layer["beta"].reshape(shape), running

    x, first = batch_norm(parameters["norm1"], state[0], conv(parameters["conv1"], images))
    x, second = batch_norm(parameters["norm2"], state[1], conv(parameters["conv2"], jax.nn.relu(x)))
    x = jax.nn.relu(x)
    # From 8x8 to 4x4.
    x = x.reshape(x.shape[0], x.shape[1], 4, 2, 4, 2).mean((3, 5)).reshape(x.shape[0], -1)
    x = jax.nn.relu(apply(parameters["hidden"], x))
    kept = 1 - network["dropout"]
    x = jnp.where(jax.random.bernoulli(key, kept, x.shape), x / kept, 0)
    return cross_entropy(apply(parameters["output"], x), labels), [first, second]


def char_lm_parameters(key):
    width, count = network["width"], network["layers"]
    keys = iter(jax.random.split(key, 2 + 4 * count))
    added = 0.02 / (2 * count) ** 0.5

    def layer():
        return {
            "norm1": norm(width),
            "qkv": linear(next(keys), width, 3 * width, 0.02),
            "projection": linear(next(keys), width, width, added),
            "norm2": norm(width),
            "inner": linear(next(keys), width, 4 * width, 0.02),
            "outer": linear(next(keys), 4 * width, width, added),
        }

    return {
        "tokens": normal(next(keys), (network["vocabulary"], width), 0.02),
        "positions": normal(next(keys), (network["context"], width), 0.02),
        "layers": [layer() for _ in range(count)],
        "norm": norm(width),
    }


def char_lm_loss(parameters, state, key, texts, following):
    def layer_norm(layer, x):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(variance + 1e-5) * layer["gamma"] + layer["beta"]

    x = parameters["tokens"][texts] + parameters["positions"][: texts.shape[1]]
    batch, length, width = x.shape
    for layer in parameters["layers"]:
        qkv = apply(layer["qkv"], layer_norm(layer["norm1"], x))
        query, key_, value = jnp.moveaxis(qkv.reshape(batch, length, 3, network["heads"], -1), 2, 0)
        y = jax.nn.dot_product_attention(query, key_, value, is_causal=True).reshape(batch, length, width)
        x = x + apply(layer["projection"], y)
        y = jax.nn.gelu(apply(layer["inner"], layer_norm(layer["norm2"], x)), approximate=False)
        x = x + apply(layer["outer"], y)
    logits = layer_norm(parameters["norm"], x) @ parameters["tokens"].T
    return cross_entropy(logits, following), state


def cross_entropy(logits, expected):
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), expected[..., None], -1)
    return -chosen.mean()


def main():
    make, loss_of = (digits_parameters, digits_loss) if is_digits else (char_lm_parameters, char_lm_loss)
    rate, decay = network["learning_rate"], network.get("weight_decay", 0.0)
    second_decay, epsilon = (0.999, 1e-5) if is_digits else (0.99, 1e-8)
    parameters = make(jax.random.key(42))
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    carried = {
        "parameters": parameters,
        "state": digits_state() if is_digits else [],
        "first": zeros,
        "second": jax.tree.map(jnp.zeros_like, parameters),
        "step": jnp.zeros((), jnp.int32),
        "key": jax.random.key(0),
    }

    def update(carried, inputs, expected):
        step = carried["step"] + 1
        key, used = jax.random.split(carried["key"])
        (loss, state), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            carried["parameters"], carried["state"], used, inputs, expected
        )
        if "clip_norm" in network:
            squares = jax.tree.map(lambda gradient: jnp.sum(gradient**2), gradients)
            scale = jnp.minimum(1.0, network["clip_norm"] / (jnp.sqrt(sum(jax.tree.leaves(squares))) + 1e-6))
            gradients = jax.tree.map(lambda gradient: gradient * scale, gradients)
        first = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, carried["first"], gradients)
        second = jax.tree.map(
            lambda old, new: second_decay * old + (1 - second_decay) * new**2, carried["second"], gradients
        )

        def moved(parameter, first, second):
            first = first / (1 - 0.9**step)
            second = second / (1 - second_decay**step)
            return parameter * (1 - rate * decay) - rate * first / (jnp.sqrt(second) + epsilon)

        parameters = jax.tree.map(moved, carried["parameters"], first, second)
        carried = dict(parameters=parameters, state=state, first=first, second=second, step=step, key=key)
        return carried, loss

    compiled = jax.jit(update, donate_argnums=0)
    holder = [carried]

    def step(batch):
        holder[0], loss = compiled(holder[0], *batch)
        return loss

    def synchronize(_):
        jax.block_until_ready(holder[0])

    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    jax.config.update("jax_default_matmul_precision", "highest")
    measured = train(task, step, synchronize)
    measured["parameters"] = count
    measured["version"] = f"jax {jax.__version__}"
    tell(measured)


main()
