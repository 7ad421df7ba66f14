"""onnx_plain.py - hone's float32 ONNX graph in operators that onnxruntime's MatMulNBitsQuantizer takes: every product with a weight becomes a MatMul.
FusedMatMul with a transposed weight becomes MatMul; the MoE operator becomes softmax, top-k and one MatMul for each expert's gate, up and down, as
onnxruntime's documentation of com.microsoft.MoE defines them (swiglu_fusion 1: rows of gate and up in turn).  The router stays what it was: it is not
quantised by the peer.  The numbers are the same up to the order of the sums: with "method": "none" ort_quantise.py writes the float32 model to measure it by."""

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Plain:
    def __init__(self, model):
        self.graph = model.graph
        self.weights = {i.name: i for i in self.graph.initializer}
        self.nodes = []

    def constant(self, name, value):
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind, inputs, name, outputs=None, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, outputs or [name], name=name, **attributes))
        return name

    def weight(self, name):
        """The array of an initializer that is now used another way."""
        return numpy_helper.to_array(self.weights[name])

    def product(self, x, matrix, name):
        """x times the transpose of matrix (rows: outputs)."""
        return self.node("MatMul", [x, self.constant(name + ".weight_t", np.ascontiguousarray(matrix.T))], name)

    def shares(self, scores, experts, k, at):
        """[tokens, experts]: what each expert's answer counts, zero for those that were not chosen; scores: [tokens, experts]."""
        p = self.node("Softmax", [scores], at + "/softmax", axis=-1)
        self.node("TopK", [p, self.constant(at + "/k", np.array([k], np.int64))], at + "/topk", [at + "/best", at + "/which"], axis=-1)
        total = self.node("ReduceSum", [at + "/best", self.constant(at + "/last", np.array([-1], np.int64))], at + "/total", keepdims=1)
        part = self.node("Div", [at + "/best", total], at + "/part")
        nothing = self.node("Sub", [p, p], at + "/nothing")
        return self.node("ScatterElements", [nothing, at + "/which", part], at + "/shares", axis=-1)

    def experts(self, node):
        a = {x.name: helper.get_attribute_value(x) for x in node.attribute}
        wanted = {"normalize_routing_weights": 1, "activation_type": b"swiglu", "swiglu_fusion": 1, "activation_alpha": 1.0, "activation_beta": 0.0}
        assert {k: a[k] for k in wanted} == wanted, a
        x, scores, both, _, down = node.input[:5]
        both, down = self.weight(both), self.weight(down)
        n, at, out = len(both), node.name, []
        self.node("Shape", [x], at + "/shape")
        shares = self.shares(scores, n, a["k"], at)
        # the scores stand in rows of tokens, x in [batch, length, width]: the answer of each expert is put into rows too
        rows = self.node("Reshape", [x, self.constant(at + "/rows", np.array([-1, both.shape[2]], np.int64))], at + "/x")
        for e in range(n):
            gate = self.product(rows, both[e, 0::2], f"{at}.{e}.gate")
            up = self.product(rows, both[e, 1::2], f"{at}.{e}.up")
            sig = self.node("Sigmoid", [gate], f"{at}.{e}.sigmoid")
            h = self.node("Mul", [self.node("Mul", [gate, sig], f"{at}.{e}.silu"), up], f"{at}.{e}.h")
            y = self.product(h, down[e], f"{at}.{e}.down")
            share = self.node("Gather", [shares, self.constant(f"{at}.{e}/at", np.array([e], np.int64))], f"{at}.{e}.share", axis=1)
            out.append(self.node("Mul", [y, share], f"{at}.{e}.counted"))
        self.node("Reshape", [self.node("Sum", out, at + "/sum"), at + "/shape"], at, list(node.output))


def plain(model):
    """The model itself, changed."""
    p = Plain(model)
    for node in list(p.graph.node):
        if node.op_type == "MoE":
            p.experts(node)
        elif node.op_type == "FusedMatMul" and node.input[1] in p.weights and not node.name.endswith("/scores"):
            p.product(node.input[0], p.weight(node.input[1]), node.name)
            p.nodes[-1].output[:] = node.output
        else:
            p.nodes.append(node)
    del p.graph.node[:]
    p.graph.node.extend(p.nodes)
    used = {i for n in p.nodes for i in n.input}
    kept = [i for i in p.graph.initializer if i.name in used]
    del p.graph.initializer[:]
    p.graph.initializer.extend(kept)
    return model
