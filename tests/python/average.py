"""Compares a safetensors file with NumPy's mean, in float64, of the others: average.py AVERAGE ONE OTHER .."""

import json
import sys

import numpy
from safetensors.numpy import load_file

average, *others = [load_file(path) for path in sys.argv[1:]]
assert all(other.keys() == average.keys() for other in others)
differing = []
for name, found in average.items():
    mean = numpy.mean([other[name].astype(numpy.float64) for other in others], axis=0)
    if not numpy.array_equal(mean.astype(found.dtype), found):
        differing.append(name)
print(json.dumps({"tensors": len(average), "differing": differing}))
