"""Saves a PyTorch module in several files with an index, as safetensors and as PyTorch's own, and prints what it computes."""

import json
import sys
from pathlib import Path

import torch
from net import Net, print_outputs
from safetensors.torch import save_file

directory = Path(sys.argv[1])
torch.manual_seed(1)
net = Net(gaps=True)
state = net.state_dict()


def save(model, extension, count, write):
    weight_map = {}
    for number in range(count):
        names = list(state)[number::count]
        file = f"{model}-{number + 1:05}-of-{count:05}.{extension}"
        write({name: state[name] for name in names}, directory / file)
        weight_map.update(dict.fromkeys(names, file))
    index = {"metadata": {"total_size": 0}, "weight_map": dict(sorted(weight_map.items()))}
    (directory / f"{model}.{extension}.index.json").write_text(json.dumps(index, indent=2))


save("model", "safetensors", 3, lambda tensors, file: save_file(tensors, file, metadata={"format": "pt"}))
save("pytorch_model", "bin", 2, torch.save)
print_outputs(net, sys.argv[2])
