"""What PyTorch makes of a file's tensors in another type of floats: of each type, shape and bytes."""

import json
import sys

import torch
from safetensors.torch import load_file

tensors = {}
for name, tensor in load_file(sys.argv[1]).items():
    tensor = tensor.to(getattr(torch, sys.argv[2])) if tensor.is_floating_point() else tensor
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    tensors[name] = {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape), "bytes": raw.hex()}
print(json.dumps(tensors))
