"""The training job of `model.rs` in PyTorch: linear layers, each of its own on one batch, with Adam."""

import torch

ROWS = 64
LEARNING_RATE = 1e-5


class Layers(torch.nn.Module):
    def __init__(self, layers, width):
        super().__init__()
        bound = width**-0.5
        weights = (torch.empty(width, width).uniform_(-bound, bound) for _ in range(layers))
        self.weights = torch.nn.ParameterList(torch.nn.Parameter(weight) for weight in weights)

    def loss(self, batch):
        losses = [(batch @ weight).square().mean() for weight in self.weights]
        return torch.stack(losses).mean()


class Job:
    def __init__(self, task):
        compute_on(task)
        torch.manual_seed(42)
        self.model = Layers(task.layers, task.width)
        self.optimizer = adam(self.model)
        self.batch = batch(task)

    def step(self):
        self.optimizer.zero_grad()
        self.model.loss(self.batch).backward()
        self.optimizer.step()


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)


def batch(task):
    return torch.rand(ROWS, task.width) * 2 - 1


def compute_on(task):
    """So many threads as every contender has for what it computes, the sums of what was loaded included."""
    torch.set_num_threads(task.threads)


def touch(tensors):
    """Reads every value, as one who uses them would."""
    return sum(float(tensor.sum()) for tensor in tensors)
