#!/usr/bin/env python3
"""Makes a torch wheel importable without the 3.5 GB of GPU libraries that it is linked with: every one that is missing
becomes a small library whose functions abort.  A conversion on the CPU never calls them.  Run with the environment's
own python.  (libcudart is not stubbed: torch registers its kernels with it while loading; nvidia-cuda-runtime has it.)"""

import collections
import glob
import importlib.util
import os
import re
import subprocess
import sys
import tempfile

root = os.path.dirname(importlib.util.find_spec("torch").origin)
lib = os.path.join(root, "lib")
# Which unversioned names belong to which library.
PREFIX = {"libcusparseLt": "cusparseLt", "libnccl": "nccl", "libcurand": "curand", "libcufile": "cuFile"}


def lines(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


needed, versioned, plain = set(), collections.defaultdict(set), set()
for path in glob.glob(os.path.join(lib, "libtorch*.so")) + glob.glob(os.path.join(lib, "libc10*.so")):
    needed.update(m.group(1) for m in (re.search(r"NEEDED.*\[(.*)\]", l) for l in lines("readelf", "-dW", path)) if m)
    for line in lines("nm", "-D", "--undefined-only", path):
        name, _, version = line.split()[-1].partition("@")
        if version:
            versioned[version.strip("@")].add(name)
        else:
            plain.add(name)

present = set(os.listdir(lib))
for folder in glob.glob(os.path.join(root, "..", "nvidia", "*", "lib")):
    present.update(os.listdir(folder))
for soname in sorted(n for n in needed if re.match(r"lib(cu|nccl|nv)", n) and n not in present):
    version = "NVSHMEM" if "nvshmem" in soname else soname
    prefix = PREFIX.get(soname.split(".")[0])
    names = sorted(versioned.get(version, ())) or sorted(n for n in plain if prefix and n.startswith(prefix))
    with tempfile.TemporaryDirectory() as tmp:
        source, script = os.path.join(tmp, "stub.c"), os.path.join(tmp, "stub.map")
        with open(source, "w", encoding="ascii") as f:
            f.write("#include <stdlib.h>\n" + "".join(f"void {n}(void) {{ abort(); }}\n" for n in names))
        with open(script, "w", encoding="ascii") as f:
            f.write(f"{version} {{ global: *; }};\n")
        command = ["gcc", "-w", "-O0", "-shared", "-fPIC", "-fno-builtin", "-o", os.path.join(lib, soname), source,
                   f"-Wl,-soname,{soname}"]
        if versioned.get(version):
            command.append(f"-Wl,--version-script={script}")
        subprocess.check_call(command)

subprocess.check_call([sys.executable, "-c", "import torch; assert float(torch.ones(8, 8).matmul(torch.ones(8, 8)).sum()) == 512"])
