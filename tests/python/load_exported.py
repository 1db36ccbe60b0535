"""Loads a file that was exported in PyTorch's layout into PyTorch's module, and prints what that computes."""

import sys

from net import Net, print_outputs
from safetensors.torch import load_file

net = Net(gaps=False)
# Every name has to be there. burn does not count batches, which PyTorch does without in a dictionary of this kind.
net.load_state_dict(load_file(sys.argv[1]), strict=True)
print_outputs(net, sys.argv[2])
