#!/usr/bin/env bash
# What src/banned.h forbids does not compile, and the message says what to write instead.
set -u
root=${HONE_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
cc=${CC:-cc}
failed=0

try() { printf '%s\n' "$1" | "$cc" -std=c17 -D_GNU_SOURCE= -include "$root/src/banned.h" -Wall -Werror -fsyntax-only -x c - 2>&1; }

if ! out=$(try '#include <string.h>
int f(char *d, const char *s); int f(char *d, const char *s) { return snprintf(d, 4, "%s", s) + (int)strlen(s); }'); then
    echo "FAIL: good code is refused: $out"; failed=1
fi
while IFS='|' read -r name call; do
    if out=$(try "void f(char *d, char *s, long t); void f(char *d, char *s, long t) { (void)d; (void)s; (void)t; $call; }"); then
        echo "FAIL: $name compiles"; failed=1
    elif [[ $out != *"sorry_${name}_is_banned_use_"* ]]; then
        echo "FAIL: $name is refused for another reason: $out"; failed=1
    fi
done <<'CALLS'
strcpy|strcpy(d, s)
strcat|strcat(d, s)
sprintf|sprintf(d, "%s", s)
strncpy|strncpy(d, s, 3)
strtok|strtok(d, s)
rand|t = rand()
localtime|localtime(&t)
atoi|t = atoi(s)
atof|t = (long)atof(s)
system|t = system(s)
popen|popen(s, "r")
CALLS
exit $failed
