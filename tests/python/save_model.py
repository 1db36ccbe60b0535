"""Saves a PyTorch module in every form that can be imported, and prints what it computes."""

import sys
from pathlib import Path

import torch
from net import Net, print_outputs
from safetensors.torch import save_file

directory = Path(sys.argv[1])
torch.manual_seed(1)
net = Net(gaps=True)
# Running statistics and the factors of normalisations that are not those of a fresh module.
net.train()
for _ in range(5):
    net(torch.randint(7, (8, 3)), 2 * torch.randn(8, 1, 5, 5) + 1)
with torch.no_grad():
    for module in (net.norm2d, net.norm):
        module.weight.uniform_(0.5, 1.5)
        module.bias.uniform_(-0.5, 0.5)

state = net.state_dict()
torch.save(state, directory / "state.pt")
torch.save({"state_dict": state, "epoch": 3}, directory / "nested.pth")
torch.save(state, directory / "legacy.pt", _use_new_zipfile_serialization=False)
save_file(state, directory / "plain.safetensors")
save_file(state, directory / "noted.safetensors", metadata={"format": "pt"})
print_outputs(net, sys.argv[2])
