"""What a safetensors file holds, as Python's own reader sees it: of each tensor type, shape and bytes."""

import json
import sys

import torch
from safetensors import safe_open

tensors = {}
with safe_open(sys.argv[1], "pt") as file:
    metadata = file.metadata()
    for name in file.keys():
        tensor = file.get_tensor(name)
        raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        dtype = str(tensor.dtype).removeprefix("torch.")
        tensors[name] = {"dtype": dtype, "shape": list(tensor.shape), "bytes": raw.hex()}
print(json.dumps({"metadata": metadata, "tensors": tensors}))
