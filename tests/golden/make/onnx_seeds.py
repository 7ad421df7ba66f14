"""onnx_seeds.py OUT: the seeds of tests/fuzz/onnx.c, good and damaged models; onnx 1.23.2 and numpy of the judge environment "genai"."""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

out = Path(sys.argv[1])
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 4])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 4])
eye = onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "m")


def external(name, dims, dtype, offset, length, location="model.onnx.data"):
    t = TensorProto(name=name, data_type=dtype, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            t.external_data.add(key=key, value=str(value))
    return t


def model(tensors, nodes=None):
    nodes = nodes or [helper.make_node("MatMul", ["x", tensors[0].name], ["y"])]
    sets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors), opset_imports=sets, ir_version=10).SerializeToString()


def varint(n):
    low = bytes([n & 0x7F | (0x80 if n > 0x7F else 0)])
    return low + varint(n >> 7) if n > 0x7F else low


def message(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


deep = b""
for _ in range(3000):  # graph, node, attribute, graph
    deep = message(1, message(5, message(6, deep)))
good = model([eye, external("w", [4, 4], 1, 64, 64), external("q", [3, 3], 22, 128, 5)])
seeds = {
    "by-onnx": good,
    "cut": good[:-9],
    "shape-lies": model([external("w", [4, 5], 1, 0, 64)]),
    "huge-shape": model([external("w", [1 << 40, 1 << 40], 1, 0, 64)]),
    "offset-no-number": model([external("w", [4, 4], 1, "-1", 64)]),
    "no-location": model([external("w", [4, 4], 1, 0, 64, None)]),
    "made-twice": model([eye, eye]),
    "reads-nothing": model([eye], [helper.make_node("Add", ["x", "z"], ["y"])]),
    "output-of-none": model([eye], [helper.make_node("Relu", ["x"], ["z"])]),
    "deep": message(7, deep),
    "two-graphs": message(7, b"") + message(7, b""),
    "no-graph": b"\x08\x0a",
    "varint-too-long": b"\x08" + b"\xff" * 11,
    "groups": b"\x0b\x0c",
    "length-past-the-end": b"\x3a\xff\xff\xff\xff\x0f",
    "negative-dimension": message(7, message(5, b"\x08" + varint((1 << 64) - 1) + b"\x10\x01" + message(8, b"w"))),
    "nul-in-name": message(7, message(5, b"\x10\x01" + message(8, b"a\0b"))),
}
for name, data in seeds.items():
    (out / name).write_bytes(data)
