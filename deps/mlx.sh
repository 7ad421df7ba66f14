#!/usr/bin/env bash
# mlx.sh - MLX for the CPU, as its publisher packages it, kept outside the build tree.
#
#   deps/mlx.sh            unpacks it when it is missing
#   deps/mlx.sh --prefix   prints the folder and unpacks nothing
#
#   <prefix>/mlx/include   mlx/*.h (C++20)
#   <prefix>/mlx/lib       libmlx.so, which looks for BLAS and LAPACK in ../../mlx_cpu.libs
# shellcheck source=deps/wheel.sh
. "$(dirname "$0")/wheel.sh"
# shellcheck disable=SC2034  # wheel.sh reads them
name=mlx version=0.32.4
case $(uname -s)-$(uname -m) in
    Linux-x86_64) sha256=0e0a24fa2ce8b6b94d2e6a90604e8813aa8e29fcb918bb2aa01cfb6d133d8cee ;;
    Linux-aarch64) sha256=1289e85e64af1fd16380bf331438bfe4afe875d27afc3e0bcf35f427c488fadd ;;
    *) die "there is no pinned package for $(uname -s) on $(uname -m)" ;;
esac
# shellcheck disable=SC2034
wheels="mlx-cpu==$version $sha256"
finish() { test -f "$1/mlx/lib/libmlx.so" && test -f "$1/mlx/include/mlx/mlx.h"; }
wheel_main "$@"
