#!/usr/bin/env bash
# openvino.sh - OpenVINO and its tokenizer operators, as their publisher packages them, kept outside the build tree.
#
#   deps/openvino.sh            unpacks them when they are missing
#   deps/openvino.sh --prefix   prints the folder and unpacks nothing
#
#   <prefix>/include   openvino/*.hpp (C++17) and openvino/c/*.h
#   <prefix>/lib       libopenvino.so.*, the plug-ins for CPU, GPU and NPU (all look beside themselves for the rest), the readers
#                      of IR and ONNX, libopenvino_tokenizers.so (operators of openvino_tokenizer.xml)
# Left out: the readers of formats other than IR and ONNX, Python, the tools, and libhwloc, which is the one that hone itself is linked with.
. "$(dirname "$0")/wheel.sh"
name=openvino version=2026.4.1
# The libraries are the same in the packages for every Python; one is named so that the hash is one.
pip_options='--python-version 3.11 --implementation cp --abi cp311'
case $(uname -s)-$(uname -m) in
    Linux-x86_64)
        core=2d22b1da03f7caf74df30e9f6417d0ab2f637e4a38e08e1dcd294d2c37407aaf
        tokenizers=f30dc9d6dd9e485b10495bcf72fc257f33bf35938da783fbb8f17c98c5ab517f ;;
    *) die "there is no pinned package for $(uname -s) on $(uname -m)" ;;
esac
wheels="openvino==$version $core
openvino-tokenizers==$version.0 $tokenizers"
finish() {
    local keep
    mkdir "$1/lib" || return 1
    mv "$1/openvino/include" "$1/include" || return 1
    for keep in libopenvino.so.2641 libopenvino_intel_cpu_plugin.so libopenvino_intel_gpu_plugin.so libopenvino_intel_npu_plugin.so \
        libopenvino_ir_frontend.so.2641 libopenvino_onnx_frontend.so.2641 libtbb.so.12 libtbbmalloc.so.2 libtbbbind_2_5.so.3 cache.json; do
        mv "$1/openvino/libs/$keep" "$1/lib/" || return 1
    done
    mv "$1/openvino_tokenizers/lib/libopenvino_tokenizers.so" "$1/lib/" || return 1
    # What a linker looks for.
    ln -s libopenvino.so.2641 "$1/lib/libopenvino.so" || return 1
    mv "$1"/openvino-*.dist-info/licenses "$1/licenses" || return 1
    rm -rf "$1"/openvino "$1"/openvino_tokenizers "$1"/*.dist-info
}
wheel_main "$@"
