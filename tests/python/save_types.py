"""Saves tensors of every type, and tensors that are views of others, both as PyTorch's own file and as safetensors."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

directory = Path(sys.argv[1])
types = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8"]
types += ["uint64", "uint32", "uint16", "uint8", "bool"]
tensors = {name: torch.tensor([[0, 1, 2], [3, 0, 5]]).to(getattr(torch, name)) for name in types}
tensors["one"] = torch.tensor(1.5)
tensors["none"] = torch.zeros(0, 3)
whole = torch.arange(24.0).reshape(4, 6)
tensors["transposed"] = whole.t()
tensors["part"] = whole[1:3, ::2]
tensors["tied"] = whole
tensors["repeated"] = torch.arange(2.0).expand(5, 2)
torch.save(tensors, directory / "types.pt")
save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, directory / "types.safetensors")
print(json.dumps(list(tensors)))
