#!/usr/bin/env bash
# onnxruntime.sh - ONNX Runtime for the CPU, as its publisher packages it, kept outside the build tree.
#
#   deps/onnxruntime.sh            unpacks it when it is missing
#   deps/onnxruntime.sh --prefix   prints the folder and unpacks nothing
#
#   <prefix>/lib   libonnxruntime.so.1 and what it loads for other devices
# No headers: the package has none, and the plug-in declares the few functions that it calls (src/backends/onnxruntime/api.h).
# shellcheck source=deps/wheel.sh
. "$(dirname "$0")/wheel.sh"
# shellcheck disable=SC2034  # wheel.sh reads them
name=onnxruntime version=1.31.1
# The library is the same in the packages for every Python; one is named so that the hash is one.
# shellcheck disable=SC2034
pip_options='--python-version 3.11 --implementation cp --abi cp311'
case $(uname -s)-$(uname -m) in
    Linux-x86_64) sha256=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f ;;
    Linux-aarch64) sha256=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3 ;;
    *) die "there is no pinned package for $(uname -s) on $(uname -m)" ;;
esac
# shellcheck disable=SC2034
wheels="onnxruntime==$version $sha256"
finish() {
    mkdir "$1/lib" "$1/licenses" || return 1
    mv "$1/onnxruntime/capi/libonnxruntime_providers_shared.so" "$1/lib/" || return 1
    mv "$1"/onnxruntime/capi/libonnxruntime.so.1.* "$1/lib/libonnxruntime.so.1" || return 1
    mv "$1/onnxruntime/LICENSE" "$1/onnxruntime/ThirdPartyNotices.txt" "$1/licenses/" || return 1
    rm -rf "$1"/onnxruntime "$1"/*.dist-info
}
wheel_main "$@"
