# One word each; ARCHITECTURE.md, "Building", says what they do.  CMake does the work.
BUILD  ?= build
PREFIX ?= /usr/local
T      ?= 60

ccache   := $(if $(shell command -v ccache 2>/dev/null),-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
generate  = cmake -S . -B $(BUILD) -G Ninja -DHONE_WERROR=ON $(ccache)

.PHONY: all setup deps build run test check asan tsan fuzz bench quality judges judges-all install clean
.NOTPARALLEL:

all: setup deps build

setup:
	@tools/setup

# llama.cpp must be had; a runtime of the others that cannot be had is left out, and hone says so where it is asked for.
deps:
	@deps/llamacpp.sh
	@for name in onnxruntime openvino mlx; do \
	    [ ! -x deps/$$name.sh ] || deps/$$name.sh || echo "$$name: could not be had; hone is built without it" >&2; done

build:
	@test -f $(BUILD)/build.ninja || $(generate) --log-level=WARNING
	@cmake --build $(BUILD) --target product

# "The answer is no" (exit 1: a gate failed) is an honest result of the demonstration; anything above is a failure.
run: all
	@$(BUILD)/hone optimize examples/models/tale-8m --target android -o out/android || [ $$? -eq 1 ]

# The search of a test run begins at a fixed seed, so that a finding can be repeated; `make fuzz` draws a new one each time, and is the place for
# long ones: all of `make test` has to end within the hour.
test: setup deps judges
	@FUZZ_T=$(or $(FUZZ_T),40) FUZZ_SEED=$${FUZZ_SEED:-1} tools/test gcc clang asan tsan fuzz

check: setup deps judges
	@tools/test gcc clang

asan: setup deps judges
	@tools/test asan

tsan: setup deps
	@tools/test tsan

fuzz: setup deps
	@FUZZ_T=$(or $(FUZZ_T),$(T)) tools/test fuzz

bench: all judges
	@cmake --build $(BUILD) --target perf-gen_llama perf-codecs
	@tests/perf/bench

quality: all judges
	@tests/perf/quality --build $(BUILD)

# The programs and Python environments that judge us in tests; judges-all adds those that take gigabytes, and lets them make the
# golden files anew to see whether they are still what is committed.
judges:
	@deps/llamacpp.sh --tools
	@tools/judge --all-light

judges-all: all judges
	@tools/judge --all
	@BUILD=$(BUILD) tests/judges/again

install: all
	cmake --install $(BUILD) --prefix $(PREFIX)

clean:
	rm -rf build out
