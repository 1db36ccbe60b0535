"""The twin of `Net` in tests/src/twin.rs: the same modules under the same names, in PyTorch."""

import json

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, gaps):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm2d = nn.BatchNorm2d(3)
        self.project = nn.Linear(27, 4)
        # As large in both directions: its shape does not tell whether it is transposed.
        self.square = nn.Linear(4, 4)
        ends = nn.Linear(4, 6), nn.Linear(6, 4)
        # With gaps the layers are called 0 and 2, as PyTorch's programs mostly have them.
        self.layers = nn.Sequential(ends[0], nn.ReLU(), ends[1]) if gaps else nn.ModuleList(ends)
        # In burn a variant of an enum.
        self.gate = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 2)

    def forward(self, tokens, images):
        x = self.embed(tokens).mean(1)
        y = torch.relu(self.norm2d(self.conv(images))).flatten(1)
        z = x + self.square(torch.tanh(self.project(y)))
        z = z + self.layers[-1](torch.relu(self.layers[0](z)))
        z = z * torch.sigmoid(self.gate(z))
        return self.out(self.norm(z))


def inputs(path):
    """The inputs that the test has written."""
    with open(path) as file:
        given = json.load(file)
    return torch.tensor(given["tokens"]), torch.tensor(given["images"]).reshape(-1, 1, 5, 5)


def print_outputs(net, path):
    with torch.no_grad():
        print(json.dumps(net.eval()(*inputs(path)).flatten().tolist()))
