"""Prints what TensorBoard reads from a directory's event files: read_events.py DIRECTORY."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

SESSION_START = "_hparams_/session_start_info"
SESSION_END = "_hparams_/session_end_info"

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
events.Reload()
tags = events.Tags()
scalars = {tag: [[point.step, repr(point.value)] for point in events.Scalars(tag)] for tag in tags["scalars"]}


def plugin_data(tag):
    content = events.SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def text(tag):
    [event] = events.Tensors(tag)
    return tensor_util.make_ndarray(event.tensor_proto).item().decode()


hparams = {
    name: getattr(value, value.WhichOneof("kind"))
    for name, value in plugin_data(SESSION_START).session_start_info.hparams.items()
}
status = plugin_data(SESSION_END).session_end_info.status
texts = {tag: text(tag) for tag in tags["tensors"] if not tag.startswith("_hparams_")}
print(json.dumps({"scalars": scalars, "hparams": hparams, "status": status, "texts": texts}))
