#!/usr/bin/env bash
# What is installed works without the build tree: data, runner, plug-in, runtime, man pages, completions.
# ctest: timeout 120
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }

DESTDIR=$tmp cmake --install "$HONE_BUILD_DIR" --prefix /opt/x >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
mv "$tmp/opt/x" "$tmp/moved" # nothing may depend on the place
hone=$tmp/moved/bin/hone

out=$("$hone" --version) || fail "--version exits $?"
[[ $out == "hone "[0-9]* ]] || fail "--version says '$out'"
for f in share/hone/profiles libexec/hone/hone-runner share/man/man1/hone.1 share/man/man1/hone-convert.1 \
    share/bash-completion/completions/hone share/zsh/site-functions/_hone share/fish/vendor_completions.d/hone.fish \
    share/doc/hone/LICENSE; do
    [ -e "$tmp/moved/$f" ] || fail "$f is not installed"
done
for each in llamacpp:libllama onnxruntime:libonnxruntime openvino:libopenvino mlx:libmlx; do # runtimes are those that were installed
    plugin=$tmp/moved/libexec/hone/hone-backend-${each%:*}.so
    [ -f "$HONE_BUILD_DIR/${plugin##*/}" ] || continue
    found=$(ldd "$plugin" | sed -n "s/.*${each#*:}\.so[^ ]* => \([^ ]*\).*/\1/p")
    [[ "$(realpath "$found" 2>/dev/null)" == "$(realpath "$tmp/moved")"/* ]] || fail "${plugin##*/} takes ${each#*:} from '$found'"
done
"$hone" convert "$HONE_SOURCE_DIR/examples/models/tale-8m" --quant q8_0 -o "$tmp/out" --quiet >/dev/null || fail "convert exits $?"
ls "$tmp"/out/*.gguf >/dev/null 2>&1 || fail "convert wrote no GGUF"
exit $failed
