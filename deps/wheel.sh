# wheel.sh - for the scripts beside it, which source it: libraries out of wheels on PyPI, pinned by hash, unpacked once into the cache.
# No Python runs in the product; pip and a wheel are only how the publisher ships the library.
#
# The script sets   name, version        of the folder: <cache>/<name>-<version>-<key>
#                   wheels               lines "package==version sha256"
#                   pip_options          (optional) for packages that have a file for every Python
#                   finish DIR           (a function, optional) what is still to do in the unpacked folder; its text is part of the key
# and calls         wheel_main "$@"      [--prefix]: makes the folder when it is missing, or prints its name and makes nothing
# Cache: ${HONE_CACHE:-$HOME/.cache/hone}.  A finished folder is checked against the hashes written when it was made, and made anew when one differs.
# shellcheck shell=bash
set -euo pipefail
cache=${HONE_CACHE:-$HOME/.cache/hone}

say() { printf '%s: %s\n' "$name" "$*" >&2; }
die() { say "$*"; exit 1; }
finish() { :; }

wheel_whole() { [ -f "$1/SHA256SUMS" ] && (cd "$1" && sha256sum --check --quiet --strict SHA256SUMS >/dev/null 2>&1); }

wheel_make() {
    local tmp=$prefix.tmp dir=$cache/downloads/$name.$$ package sha
    command -v python3 >/dev/null || die "'python3' is missing; run tools/setup"
    rm -rf "$tmp" "$dir"
    mkdir -p "$tmp" "$dir"
    say "fetching $name $version"
    printf '%s\n' "$wheels" | while read -r package sha; do
        [ -z "$package" ] || printf '%s --hash=sha256:%s\n' "$package" "$sha"
    done >"$dir/requirements.txt"
    # shellcheck disable=SC2086  # a list
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes ${pip_options:-} --dest "$dir" \
        -r "$dir/requirements.txt" >"$dir/log" 2>&1 || { tail -n 20 "$dir/log" >&2; die "pip could not download $name $version"; }
    for package in "$dir"/*.whl; do python3 -m zipfile -e "$package" "$tmp"; done
    (finish "$tmp") || die "the unpacked package is not what was expected"
    (cd "$tmp" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS)
    sync -f "$tmp"
    rm -rf "$prefix" "$dir"
    mv -T "$tmp" "$prefix"
    say "ready in $prefix"
}

wheel_main() {
    prefix=$cache/$name-$version-$({ printf '%s\n' "$wheels"; declare -f finish; } | sha256sum | cut -c1-12)
    case "${1:-}" in
        --prefix) echo "$prefix"; return ;;
        '') ;;
        *) echo "usage: deps/${0##*/} [--prefix]" >&2; exit 2 ;;
    esac
    mkdir -p "$cache/downloads"
    exec 9>"$cache/$name.lock"
    flock 9
    wheel_whole "$prefix" || wheel_make
}
