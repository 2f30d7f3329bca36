# SPDX-License-Identifier: Apache-2.0
# The front door: one word per habit. CMakeLists.txt builds, tools/test.sh tests.
.DEFAULT_GOAL := build
.PHONY: build demo test check sim scenario bench counts fuzz mutants lab soak tidy lint format cov asan \
        tsan install clean help build-deps test-deps
MAKEFLAGS += --no-print-directory
PREFIX ?= /usr/local
SECONDS ?= 60
SOURCES = $(shell find src include tests tools examples bench -name '*.[ch]' 2>/dev/null)
NOT_YET = @echo "make $@: not in this version" >&2; exit 2

# configure NAME FOLDER, once; afterwards the build itself notices what changed
configure = @test -f $(2)/build.ninja || cmake --preset $(1) >/dev/null

build: build-deps ## the library and the program, optimised, assertions on, in build/
	$(call configure,release,build)
	@cmake --build build --target products

demo: build ## three nodes, 10,000 writes, the leader killed in the middle, nothing lost
	@build/kelp demo

test: test-deps ## everything CI runs; T=name: the tests whose name contains it
	@tools/test.sh $(if $(T),one '$(T)',all)

check: test-deps ## under a minute: build, unit tests, scenarios, 200 seeds, tidy
	@tools/test.sh check

sim: build ## simulator runs; SEED= the first one, SEEDS= how many (one if SEED is given, else 100)
	@build/kelp sim run --seed $(or $(SEED),1) --seeds $(or $(SEEDS),$(if $(SEED),1,100)) \
	    --jobs $$(nproc)

scenario: build ## all scenarios; F=file: the transcript of one
	@$(if $(F),build/kelp sim scenario '$(F)',tools/scenario.sh build/kelp)

fuzz: test-deps ## libFuzzer; T=target (all in turn without), SECONDS=60 each
	$(call configure,fuzz,build-fuzz)
	@cmake --build build-fuzz --target tests
	@for t in $(or $(T),$(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))); do \
	    mkdir -p build-fuzz/found/$$t && \
	    build-fuzz/fuzz/$${t}_fuzz -max_total_time=$(SECONDS) -print_final_stats=1 \
	        -artifact_prefix=build-fuzz/found/$$t- build-fuzz/found/$$t \
	        tests/fuzz/corpus/$$t || exit 1; done

bench: build ## measured beside the floor and the peers; QUICK=1 six minutes, ONLY=word
	@tools/deps.sh bench || echo "make bench: goes on with what is there" >&2
	@cmake --build build --target benches
	@bench/peers/build.sh || true # names what is missing; run.py skips it
	@bench/run.py $(if $(QUICK),--quick) $(if $(ONLY),--only '$(ONLY)')
	@bench/chart.py

counts: test-deps ## what an operation costs in counts that no machine changes; fails above bounds
	$(call configure,release,build)
	@cmake --build build --target products benches
	@nice bench/instructions.py
	@/usr/bin/python3 -m pytest -q -p no:cacheprovider -rf -s tests/cluster/test_counts.py

mutants: test-deps ## seeded bugs that the tests must find; M=name: those whose name contains it
	@tools/mutants.py $(M)

lab: ## clusters on network namespaces: not in this version
	$(NOT_YET)

soak: build ## simulator runs for HOURS= or until Ctrl-C, failures and their cases in build/soak/
	@build/kelp sim soak --jobs $$(nproc) --out build/soak $(if $(HOURS),--hours $(HOURS)) \
	    $(if $(SEED),--seed $(SEED))

tidy: build-deps ## check the conventions, rewrite docs/paper-map.md
	$(call configure,release,build)
	@cmake --build build --target tidy
	@build/tidy --write .

lint: test-deps ## clang-tidy over src/
	$(call configure,dev-clang,build-dev-clang)
	@find src -name '*.c' | xargs -n 4 -P $$(nproc) clang-tidy -p build-dev-clang --quiet

format: test-deps ## clang-format over everything
	@clang-format -i $(SOURCES)

# Twice, from nothing each time: what the unit tests reach, as a page; then what scenarios, seeds and
# small explorations reach of src/core, where each branch that is not taken needs a reason. Not
# --jobs: its processes end without writing what they counted.
cov: test-deps ## coverage: unit tests in build-cov/coverage.html; src/core by scenarios and 150 seeds
	$(call configure,cov,build-cov)
	@cmake --build build-cov --target products tests
	@find build-cov -name '*.gcda' -delete
	@ctest --test-dir build-cov -j $$(nproc) -L 'unit|fuzz' --output-on-failure
	@gcovr --root . --filter src/ --filter include/ --exclude-unreachable-branches \
	    --print-summary --html-details build-cov/coverage.html --txt build-cov/coverage.txt \
	    build-cov
	@find build-cov -name '*.gcda' -delete
	@tools/scenario.sh build-cov/kelp
	@build-cov/kelp sim explore --depth 8 --instant --protections
	@build-cov/kelp sim explore --nodes 2 --depth 14 --crashes 2
	@seq 1 50 150 | xargs -P $$(nproc) -I{} build-cov/kelp sim run --seed {} --seeds 50
	@gcovr --root . --filter src/core/ --exclude-unreachable-branches \
	    --json build-cov/core.json build-cov
	@tools/coverage.py build-cov/core.json tests/coverage/unreached.txt

asan: test-deps ## unit tests under the address and undefined behaviour sanitizers
	$(call configure,asan,build-asan)
	@cmake --build build-asan
	@cmake --build build-asan --target tests
	@ctest --test-dir build-asan -j $$(nproc) -L 'unit|fuzz' --output-on-failure

tsan: test-deps ## unit tests under the thread sanitizer
	$(call configure,tsan,build-tsan)
	@cmake --build build-tsan
	@cmake --build build-tsan --target tests
	@setarch -R ctest --test-dir build-tsan -j $$(nproc) -L unit --output-on-failure

install: build ## PREFIX=/usr/local, DESTDIR=
	@DESTDIR='$(DESTDIR)' cmake --install build --prefix '$(PREFIX)' >/dev/null

clean: ## throw all builds away
	@rm -rf build build-*

help: ## these words
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

build-deps:
	@tools/deps.sh build
test-deps:
	@tools/deps.sh test
