# What the tests of hone optimize share: a model that takes two seconds, and questions to its history.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
fail() { echo "FAIL: $*"; failed=1; }
model=$HONE_SOURCE_DIR/tests/golden/tiny/llama
eval=$HONE_SOURCE_DIR/examples/models/tale-8m/eval
validate=$HONE_SOURCE_DIR/tests/tools/validate
quick=(--threads 1 --text "$eval/heldout.txt" --tasks "$eval/tasks.jsonl" --max-tokens 1024 --max-items 2 --prompt 16 --gen 8 --repeat 3)
small=("${quick[@]}" -Q q8_0,q4_k_m)
[ -e "$HONE_BUILD_DIR/hone-backend-llamacpp.so" ] || { echo "skipped: no llama.cpp"; exit 77; }

# holds FILE 'python expression over doc'
holds() {
    /usr/bin/python3 - "$1" "$2" <<'PY' || fail "$1: not so: $2"
import json, sys
doc = json.load(open(sys.argv[1]))
sys.exit(0 if eval(sys.argv[2]) else 1)
PY
}
# ask DIR 'SQL': one value out of history.db
ask() {
    /usr/bin/python3 - "$1/history.db" "$2" <<'PY'
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])
PY
}
# Finished measurements that were made more than once.
twice="select count(*) from (select key from measurement where result not like '%\"failed\":true%' group by key having count(*) > 1)"
