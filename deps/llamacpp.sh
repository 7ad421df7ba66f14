#!/usr/bin/env bash
# llamacpp.sh - llama.cpp, built once from a pinned source package and kept outside the build tree.
#
#   deps/llamacpp.sh            libraries, headers and the Jinja engine (what hone needs); prints one line per phase
#   deps/llamacpp.sh --tools    llama.cpp's own programs too (judges of our tests and the peer of `make bench`)
#   deps/llamacpp.sh --prefix   prints the folder and builds nothing
#
# Cache: ${HONE_CACHE:-$HOME/.cache/hone}.  A finished folder is never touched again; it is checked against the hashes
# written when it was made, and made anew when one differs.
#   <prefix>/include            llama.h ggml*.h gguf.h; include/llama-common/{jinja/*,json.h,unicode.h} for the C++ shim
#   <prefix>/lib                libllama.so libggml*.so (run path $ORIGIN), libllama-jinja.a (position independent)
#   <prefix>/share/llama.cpp    convert_hf_to_gguf.py conversion/ gguf-py/ models/ggml-vocab-*: material for judges
#   <prefix>/bin                -> the programs of --tools
set -euo pipefail

version=0.3.36
sdist_sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
sdist=llama_cpp_python-$version.tar.gz

# Everything the bytes of the result depend on stands in these lines; they are part of the folder's name.
# LLAMA_USE_PREBUILT_UI would download a web page.  The build number cannot be had from the package.
cmake_flags='-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON
    -DLLAMA_BUILD_COMMON=ON -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
    -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF
    -DLLAMA_OPENSSL=OFF -DLLAMA_ALL_WARNINGS=OFF -DLLAMA_BUILD_NUMBER=1 -DLLAMA_BUILD_COMMIT=0c1e570
    -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON -DCMAKE_INSTALL_RPATH=$ORIGIN;$ORIGIN/../lib'
jinja_flags='-std=c++17 -O2 -g0 -fPIC -w'
jinja_sources='jinja/caps jinja/lexer jinja/parser jinja/runtime jinja/string jinja/value json unicode'
tools='llama-quantize llama-tokenize llama-perplexity llama-completion llama-imatrix llama-bench'
layout=1

cc=${HONE_DEPS_CC:-gcc}
cxx=${HONE_DEPS_CXX:-g++}
cache=${HONE_CACHE:-$HOME/.cache/hone}
jobs=${HONE_JOBS:-$(nproc)}

say() { printf 'llama.cpp: %s\n' "$*" >&2; }
die() { printf 'llama.cpp: %s\n' "$*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "'$1' is missing; run tools/setup"; }
seconds() { echo "$((SECONDS - $1)) s"; }

need "$cc"; need "$cxx"; need sha256sum
# What -march=native stands for is part of the key: a library built for another CPU would die of an illegal instruction.
native() { "$cc" -march=native -Q --help=target 2>/dev/null || "$cc" -march=native -E -dM -x c /dev/null; }
key=$({ echo "$sdist_sha256 $cmake_flags $jinja_flags $jinja_sources $layout"; "$cc" --version | head -n 1
        "$cxx" --version | head -n 1; native; } | sha256sum | cut -c1-16)
prefix=$cache/llamacpp-$key
tools_key=$(printf '%s' "$key $tools" | sha256sum | cut -c1-8)
tools_prefix=$cache/llamacpp-$key-tools-$tools_key
build=$cache/build/llamacpp-$key
src=$cache/src/llama_cpp_python-$version/vendor/llama.cpp

case "${1:-}" in
    --prefix) echo "$prefix"; exit 0 ;;
    --tools | '') ;;
    *) echo "usage: deps/llamacpp.sh [--tools | --prefix]" >&2; exit 2 ;;
esac

whole() { [ -f "$1/SHA256SUMS" ] && (cd "$1" && sha256sum --check --quiet --strict SHA256SUMS >/dev/null 2>&1); }
# seal DIR FINAL: flush, record the hashes, and give DIR its final name in one step.
seal() {
    (cd "$1" && find . -type f ! -name SHA256SUMS ! -path './share/*' -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS)
    sync -f "$1"
    rm -rf "$2"
    mv -T "$1" "$2"
}

fetch() {
    local file=$cache/downloads/$sdist dir
    if [ -f "$file" ] && echo "$sdist_sha256  $file" | sha256sum --check --quiet - 2>/dev/null; then return; fi
    say "fetching $sdist (77 MB)"
    need python3
    dir=$cache/downloads/tmp.$$
    mkdir -p "$dir"
    printf 'llama-cpp-python==%s --hash=sha256:%s\n' "$version" "$sdist_sha256" >"$dir/requirements.txt"
    # pip prepares the package's metadata with its build tool, which it fetches into a throw-away environment.
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
        --require-hashes --dest "$dir" -r "$dir/requirements.txt" >"$dir/log" 2>&1 ||
        { tail -n 20 "$dir/log" >&2; die "pip could not download llama-cpp-python==$version"; }
    echo "$sdist_sha256  $dir/$sdist" | sha256sum --check --quiet - || die "$sdist has another sha256 than $sdist_sha256"
    mv "$dir/$sdist" "$file"
    rm -rf "$dir"
}

unpack() {
    local root=$cache/src/llama_cpp_python-$version
    if [ -f "$root/.unpacked" ] && [ "$(cat "$root/.unpacked")" = "$sdist_sha256" ]; then return; fi
    fetch
    say "unpacking"
    rm -rf "$root" "$root.tmp"
    mkdir -p "$root.tmp"
    tar -xzf "$cache/downloads/$sdist" -C "$root.tmp" --strip-components=1 --no-same-owner
    echo "$sdist_sha256" >"$root.tmp/.unpacked"
    mv -T "$root.tmp" "$root"
}

configure() {
    local launcher=()
    unpack
    need cmake; need ninja
    if command -v ccache >/dev/null; then
        launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    fi
    mkdir -p "$build"
    # shellcheck disable=SC2086  # the flags are a list
    (set -f; cmake -S "$src" -B "$build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" "${launcher[@]}" \
        $cmake_flags >"$build/configure.log" 2>&1) || { tail -n 30 "$build/configure.log" >&2; die "cmake failed"; }
}

# compile WHAT TARGET...: the full log stays beside the objects; its end is shown when it fails.
compile() {
    local what=$1 from=$SECONDS
    shift
    say "compiling $what with $jobs jobs"
    nice -n 5 ninja -C "$build" -j "$jobs" "$@" >"$build/compile.log" 2>&1 ||
        { tail -n 40 "$build/compile.log" >&2; die "the compiler failed, log: $build/compile.log"; }
    say "$what compiled in $(seconds "$from")"
}

make_libraries() {
    local tmp=$prefix.tmp s name objects=() pids=() from
    configure
    compile "the libraries" llama ggml ggml-base ggml-cpu
    rm -rf "$tmp"
    mkdir -p "$tmp/include/llama-common/jinja" "$tmp/lib" "$tmp/share/llama.cpp" "$build/jinja"
    from=$SECONDS
    for s in $jinja_sources; do
        name=$build/jinja/${s##*/}.o
        objects+=("$name")
        # shellcheck disable=SC2086  # the flags are a list
        "$cxx" $jinja_flags -I"$src/common" -I"$src/vendor" -I"$src/ggml/include" -I"$src/include" \
            -c "$src/common/$s.cpp" -o "$name" &
        pids+=($!)
        if [ $((${#pids[@]} % jobs)) = 0 ]; then for p in "${pids[@]}"; do wait "$p"; done; pids=(); fi
    done
    for p in "${pids[@]}"; do wait "$p"; done
    ar rcsD "$tmp/lib/libllama-jinja.a" "${objects[@]}"
    say "the Jinja engine compiled in $(seconds "$from")"
    cp "$src"/include/llama*.h "$src"/ggml/include/*.h "$tmp/include/"
    cp "$src"/common/jinja/*.h "$tmp/include/llama-common/jinja/"
    cp "$src"/common/json.h "$src"/common/unicode.h "$tmp/include/llama-common/"
    cp -a "$build"/bin/libllama.so* "$build"/bin/libggml*.so* "$tmp/lib/"
    cp "$src/LICENSE" "$tmp/LICENSE"
    cp -a "$src/convert_hf_to_gguf.py" "$src/conversion" "$src/gguf-py" "$tmp/share/llama.cpp/"
    mkdir "$tmp/share/llama.cpp/models"
    cp -a "$src"/models/ggml-vocab-* "$tmp/share/llama.cpp/models/"
    printf 'package  llama-cpp-python %s\nsha256   %s\ncompiler %s\n' "$version" "$sdist_sha256" \
        "$("$cxx" --version | head -n 1)" >"$tmp/VERSION"
    ln -s "../${tools_prefix##*/}/bin" "$tmp/bin"
    seal "$tmp" "$prefix"
    say "ready in $prefix"
}

make_tools() {
    local tmp=$tools_prefix.tmp t
    configure
    # shellcheck disable=SC2086  # a list
    compile "the tools" $tools
    rm -rf "$tmp"
    mkdir -p "$tmp/bin" "$tmp/lib"
    for t in $tools; do cp "$build/bin/$t" "$tmp/bin/"; done
    cp -a "$build"/bin/lib*.so* "$tmp/lib/"
    seal "$tmp" "$tools_prefix"
    ln -sfn "../${tools_prefix##*/}/bin" "$prefix/bin"
    say "tools ready in $prefix/bin"
}

mkdir -p "$cache/downloads" "$cache/src" "$cache/build"
exec 9>"$cache/llamacpp.lock"
if ! flock -n 9; then
    say "waiting for another build to finish"
    flock 9
fi
whole "$prefix" || make_libraries
if [ "${1:-}" = --tools ]; then whole "$tools_prefix" || make_tools; fi
