"""nets.py DIR - small ONNX models that are no language models, for tests of reading, editing and quantising: opset 7, 9, 13, 22; If and Loop whose
subgraphs read values from outside; constants in a file beside the model; a perceptron; a transformer block in plain operators; a recurrent layer; what exporters
do now and then and few tools expect.
Numbers are pseudo-random from a fixed seed.  Run with the python of `tools/judge genai`."""
import os, sys
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

out = sys.argv[1]
rng = np.random.default_rng(5)


def f32(*shape, scale=0.3):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def const(name, value):
    return nh.from_array(np.asarray(value), name)


def save(name, nodes, inputs, outputs, constants, opset, ir, **more):
    graph = h.make_graph(nodes, name, inputs, outputs, [const(k, v) for k, v in constants.items()])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)] + more.get("opsets", []), producer_name="nets.py")
    model.ir_version = ir
    onnx.checker.check_model(model)
    if more.get("external"):
        onnx.save_model(model, os.path.join(out, name + ".onnx"), save_as_external_data=True, all_tensors_to_one_file=True, location=name + ".bin", size_threshold=64)
    else:
        onnx.save_model(model, os.path.join(out, name + ".onnx"))


x4 = h.make_tensor_value_info("x", T.FLOAT, ["n", 3, 8, 8])
node = h.make_node


def old(opset, ir):
    """Forms that later opsets changed: Clip, Pad, Slice, Squeeze, Upsample, Dropout with attributes; before IR 4 constants are inputs too."""
    c = {"w": f32(16, 3, 3, 3), "b": f32(16), "g": f32(16) + 1, "beta": f32(16), "mu": f32(16), "var": np.abs(f32(16)) + 0.5, "w2": f32(64, 10), "shape": np.array([-1, 64], np.int64)}
    nodes = [node("Pad", ["x"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant", value=0.0),
             node("Conv", ["p", "w", "b"], ["c"], kernel_shape=[3, 3], strides=[2, 2]),
             node("BatchNormalization", ["c", "g", "beta", "mu", "var"], ["n1"], epsilon=1e-3),
             node("Clip", ["n1"], ["k"], min=0.0, max=6.0), node("Dropout", ["k"], ["d"], ratio=0.5),
             node("GlobalAveragePool", ["d"], ["gp"]), node("Squeeze", ["gp"], ["sq"], axes=[2, 3]), node("Unsqueeze", ["sq"], ["un"], axes=[2, 3]),
             node("Upsample", ["un"], ["up"], mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]) if opset < 9 else node("Upsample", ["un", "sc"], ["up"], mode="nearest"),
             node("Identity", ["up"], ["id"]), node("Reshape", ["id", "shape"], ["r"]), node("MatMul", ["r", "w2"], ["m"]),
             node("Slice", ["m"], ["s"], axes=[1], starts=[0], ends=[10]), node("Softmax", ["s"], ["y"], axis=1)]
    if opset >= 9:
        c["sc"] = np.array([1, 1, 2, 2], np.float32)
    inputs = [x4]
    if ir < 4:
        inputs += [h.make_tensor_value_info(k, h.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in c.items()]
    save(f"old{opset}", nodes, inputs, [h.make_tensor_value_info("y", T.FLOAT, ["n", 10])], c, opset, ir)


old(7, 3)
old(9, 4)


def control():
    """If and Loop: their subgraphs read `scale`, `c` and the Conv's result from outside; one name in them is also a stem of ours."""
    then = h.make_graph([node("Mul", ["n1", "scale"], ["inner"]), node("Identity", ["inner"], ["t_out"])], "then", [], [h.make_tensor_value_info("t_out", T.FLOAT, None)])
    other = h.make_graph([node("Add", ["n1", "c"], ["e_out"])], "else", [], [h.make_tensor_value_info("e_out", T.FLOAT, None)])
    body = h.make_graph([node("Mul", ["acc", "scale"], ["acc2"]), node("Identity", ["keep_in"], ["keep_out"])], "body",
                        [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("keep_in", T.BOOL, []), h.make_tensor_value_info("acc", T.FLOAT, None)],
                        [h.make_tensor_value_info("keep_out", T.BOOL, []), h.make_tensor_value_info("acc2", T.FLOAT, None)])
    c = {"w": f32(8, 3, 3, 3), "g": f32(8) + 1, "beta": f32(8), "mu": f32(8), "var": np.abs(f32(8)) + 0.5, "scale": np.array(1.5, np.float32), "three": np.array(3, np.int64),
         "yes": np.array(True), "zero": np.array(0, np.float32), "w2": f32(8, 8), "w.codes": np.array([1.0], np.float32)}
    nodes = [node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), node("BatchNormalization", ["c", "g", "beta", "mu", "var"], ["n1"]),
             node("ReduceMean", ["n1"], ["mean"], keepdims=0), node("Greater", ["mean", "zero"], ["cond"]),
             node("If", ["cond"], ["branch"], then_branch=then, else_branch=other), node("Loop", ["three", "yes", "branch"], ["looped"], body=body),
             node("MatMul", ["looped", "w2"], ["m"]), node("Add", ["m", "w.codes"], ["y"])]
    save("control", nodes, [x4], [h.make_tensor_value_info("y", T.FLOAT, ["n", 8, 8, 8])], c, 13, 7)


control()


def mlp():
    c = {"w1": f32(32, 64), "b1": f32(64), "w2": f32(10, 64), "b2": f32(10)}
    nodes = [node("MatMul", ["x", "w1"], ["h0"]), node("Add", ["h0", "b1"], ["h1"]), node("Relu", ["h1"], ["h2"]), node("Gemm", ["h2", "w2", "b2"], ["y"], transB=1)]
    save("mlp", nodes, [h.make_tensor_value_info("x", T.FLOAT, ["n", 32])], [h.make_tensor_value_info("y", T.FLOAT, ["n", 10])], c, 22, 10, external=True)


mlp()


def block():
    """One pre-norm transformer block over token ids: embedding, layer norm, attention of 4 heads, GELU."""
    d, heads = 64, 4
    c = {"emb": f32(100, d, scale=1.0), "one": np.ones(d, np.float32), "nil": np.zeros(d, np.float32), "wq": f32(d, d, scale=0.1), "wk": f32(d, d, scale=0.1), "wv": f32(d, d, scale=0.1),
         "wo": f32(d, d, scale=0.1), "w1": f32(d, 4 * d, scale=0.1), "b1": f32(4 * d), "w2": f32(4 * d, d, scale=0.1), "b2": f32(d),
         "heads": np.array([0, 0, heads, d // heads], np.int64), "flat": np.array([0, 0, d], np.int64), "root": np.array((d // heads) ** -0.5, np.float32)}
    nodes = [node("Gather", ["emb", "ids"], ["e"]), node("LayerNormalization", ["e", "one", "nil"], ["n"], axis=-1)]
    for p in "qkv":
        nodes += [node("MatMul", ["n", "w" + p], [p + "0"]), node("Reshape", [p + "0", "heads"], [p + "1"]), node("Transpose", [p + "1"], [p], perm=[0, 2, 3, 1] if p == "k" else [0, 2, 1, 3])]
    nodes += [node("MatMul", ["q", "k"], ["s0"]), node("Mul", ["s0", "root"], ["s1"]), node("Softmax", ["s1"], ["s2"], axis=-1), node("MatMul", ["s2", "v"], ["a0"]),
              node("Transpose", ["a0"], ["a1"], perm=[0, 2, 1, 3]), node("Reshape", ["a1", "flat"], ["a2"]), node("MatMul", ["a2", "wo"], ["a3"]), node("Add", ["a3", "e"], ["r"]),
              node("LayerNormalization", ["r", "one", "nil"], ["n2"], axis=-1), node("MatMul", ["n2", "w1"], ["f0"]), node("Add", ["f0", "b1"], ["f1"]), node("Gelu", ["f1"], ["f2"]),
              node("MatMul", ["f2", "w2"], ["f3"]), node("Add", ["f3", "b2"], ["f4"]), node("Add", ["f4", "r"], ["y"])]
    save("block", nodes, [h.make_tensor_value_info("ids", T.INT64, ["n", "t"])], [h.make_tensor_value_info("y", T.FLOAT, ["n", "t", d])], c, 20, 9)


block()


def recurrent():
    c = {"w": f32(1, 64, 12), "r": f32(1, 64, 16), "b": f32(1, 128), "axes": np.array([1], np.int64), "v": f32(16, 4)}
    nodes = [node("LSTM", ["x", "w", "r", "b"], ["h"], hidden_size=16), node("Squeeze", ["h", "axes"], ["s"]), node("MatMul", ["s", "v"], ["y"])]
    save("recurrent", nodes, [h.make_tensor_value_info("x", T.FLOAT, ["t", "n", 12])], [h.make_tensor_value_info("y", T.FLOAT, ["t", "n", 4])], c, 14, 7)


recurrent()


def upconv():
    """ConvTranspose in groups with a BatchNormalization, Gemm with factors and one, and a Mul and an Add per channel behind a Conv."""
    c = {"w": f32(8, 3, 2, 2), "g": f32(6) + 1, "beta": f32(6), "mu": f32(6), "var": np.abs(f32(6)) + 0.5, "w2": f32(16, 6, 1, 1), "by": f32(1, 16, 1, 1), "plus": f32(16, 1, 1),
         "w3": f32(16, 5), "b3": f32(5), "g3": f32(5) + 1, "beta3": f32(5), "mu3": f32(5), "var3": np.abs(f32(5)) + 0.5}
    nodes = [node("ConvTranspose", ["x", "w"], ["u"], strides=[2, 2], group=2), node("BatchNormalization", ["u", "g", "beta", "mu", "var"], ["n1"]),
             node("Conv", ["n1", "w2"], ["c"]), node("Mul", ["c", "by"], ["m"]), node("Add", ["plus", "m"], ["p"]), node("GlobalAveragePool", ["p"], ["gp"]), node("Flatten", ["gp"], ["f"]),
             node("Gemm", ["f", "w3", "b3"], ["ge"], alpha=0.5, beta=2.0), node("BatchNormalization", ["ge", "g3", "beta3", "mu3", "var3"], ["y"])]
    save("upconv", nodes, [h.make_tensor_value_info("x", T.FLOAT, ["n", 8, 6, 6])], [h.make_tensor_value_info("y", T.FLOAT, ["n", 5])], c, 15, 8)


upconv()


def odd():
    """A node that is named as another node's output is, of other channels; a bias that is ""; a function of this opset's ReduceMean; operators that know no f16, or give f32
    beside it; rows of 40, which 32 does not divide; value_info that says less of an output than the graph does."""
    c = {"w1": f32(40, 24), "w2": f32(24, 10), "b2": f32(10), "s": f32(10) + 1, "b": f32(10), "w3": f32(10, 6), "zero": np.array(0, np.float32)}
    centre = h.make_function("local", "Centre", ["X"], ["Y"], [node("ReduceMean", ["X"], ["m"], axes=[-1], keepdims=1), node("Sub", ["X", "m"], ["Y"])], [h.make_opsetid("", 17)])
    nodes = [node("Gemm", ["x", "w1", ""], ["g1"]), node("Celu", ["g1"], ["c1"]), node("Gemm", ["c1", "w2", "b2"], ["g2"], name="g1"), node("Centre", ["g2"], ["f"], domain="local"),
             node("LayerNormalization", ["f", "s", "b"], ["ln", "mean", "deviation"]), node("Mul", ["ln", "deviation"], ["m"]), node("IsInf", ["m"], ["inf"]),
             node("Where", ["inf", "zero", "m"], ["kept"]), node("MatMul", ["kept", "w3"], ["y"], name="last")]
    graph = h.make_graph(nodes, "odd", [h.make_tensor_value_info("x", T.FLOAT, ["n", 40])], [h.make_tensor_value_info("y", T.FLOAT, ["n", 6])], [const(k, v) for k, v in c.items()],
                         value_info=[h.make_tensor_value_info("f", T.FLOAT, ["n", 10]), h.make_tensor_value_info("y", T.FLOAT, [None, None])])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("local", 1)], functions=[centre], producer_name="nets.py")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save_model(model, os.path.join(out, "odd.onnx"))


odd()


def wide():
    """Values beyond 65504 in the middle of a network; behind a Reshape, a Loop whose body reads from outside what it is given too."""
    body = h.make_graph([node("Add", ["acc", "flat"], ["acc2"]), node("Identity", ["keep_in"], ["keep_out"])], "body",
                        [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("keep_in", T.BOOL, []), h.make_tensor_value_info("acc", T.FLOAT, None)],
                        [h.make_tensor_value_info("keep_out", T.BOOL, []), h.make_tensor_value_info("acc2", T.FLOAT, None)])
    c = {"w1": f32(6, 3, 3, 3, scale=300.0), "b1": f32(6), "w2": f32(8, 6, 1, 1, scale=300.0), "w3": f32(8, 8, 3, 3, scale=0.01), "b3": f32(8),
         "shape": np.array([0, -1], np.int64), "two": np.array(2, np.int64), "yes": np.array(True), "w4": f32(128, 5)}
    nodes = [node("Conv", ["x", "w1", "b1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]), node("Relu", ["c1"], ["r1"]), node("Conv", ["r1", "w2"], ["c2"]), node("Relu", ["c2"], ["r2"]), node("Sqrt", ["r2"], ["m"]),
             node("Conv", ["m", "w3", "b3"], ["c3"], pads=[1, 1, 1, 1]), node("Relu", ["c3"], ["r3"]), node("Reshape", ["r3", "shape"], ["flat"]),
             node("Loop", ["two", "yes", "flat"], ["looped"], body=body), node("MatMul", ["looped", "w4"], ["y"])]
    save("wide", nodes, [x4], [h.make_tensor_value_info("y", T.FLOAT, ["n", 5])], c, 13, 7)


wide()


def outlier():
    """Channels that are much larger than the others, as in trained transformers: behind a LayerNormalization whose scale is so (its readers' weights are small there), and
    between two convolutions in groups.  Beside them what cannot be evened out: behind a GELU, behind a sum, and what comes in."""
    d = 32
    large = np.ones(d, np.float32)
    large[[3, 17]] = 40, 25
    c1 = f32(16, 4, 3, 3)
    c1[[2, 11]] *= 30
    c2 = f32(24, 8, 1, 1)
    c2[:12, 2] /= 30
    c2[12:, 3] /= 30
    c = {"c1": c1, "b1": f32(16) * np.abs(c1).max((1, 2, 3)), "c2": c2, "shape": np.array([0, 24, 16], np.int64), "w0": f32(16, d), "large": large, "nil": f32(d) * large,
         "wq": f32(d, d) / large[:, None], "wv": f32(d, d) / large[:, None], "w1": f32(d, 64), "b3": f32(64), "w2": f32(64, d), "w3": f32(d, 10)}
    nodes = [node("Conv", ["x", "c1", "b1"], ["k1"], group=2, pads=[1, 1, 1, 1]), node("LeakyRelu", ["k1"], ["k2"], alpha=0.1), node("MaxPool", ["k2"], ["k3"], kernel_shape=[2, 2], strides=[2, 2]),
             node("Conv", ["k3", "c2"], ["k4"], group=2), node("Reshape", ["k4", "shape"], ["k5"]), node("MatMul", ["k5", "w0"], ["e"]),
             node("LayerNormalization", ["e", "large", "nil"], ["n"], axis=-1), node("MatMul", ["n", "wq"], ["q"]), node("MatMul", ["n", "wv"], ["v"]), node("Sigmoid", ["q"], ["gate"]),
             node("Mul", ["gate", "v"], ["a"]), node("Add", ["a", "e"], ["r"]), node("MatMul", ["r", "w1"], ["f0"]), node("Add", ["f0", "b3"], ["f1"]), node("Gelu", ["f1"], ["f2"]),
             node("MatMul", ["f2", "w2"], ["f3"]), node("Relu", ["f3"], ["f4"]), node("MatMul", ["f4", "w3"], ["y"])]
    save("outlier", nodes, [h.make_tensor_value_info("x", T.FLOAT, ["n", 8, 8, 8])], [h.make_tensor_value_info("y", T.FLOAT, ["n", 24, 10])], c, 20, 9)


outlier()
