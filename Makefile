# The front door: `make run` and `make test` work on a fresh Debian 12. Everything else is `make help`.
#
#   JOBS=N      parallel compilers (all processors)
#   WERROR=ON   warnings are errors, as in CI
#   UNITY=ON    tests, and what is sanitized, are compiled eight sources at a time, as in CI: for builds from nothing
#   ONLY=REGEX  the ctest names that test, asan and tsan run
#   STACK_LIMIT=N  most bytes for a stack frame in a handler (8192): `make stack-report`
#   ARGS="..."  what `make run` gives to `fiberd run`: -c FILE, --set key=value; default: the built-in configuration
SHELL := /bin/bash
JOBS ?= $(shell nproc)
WERROR ?= OFF
UNITY ?= OFF
ONLY ?=
STACK_LIMIT ?= 8192
ARGS ?=
export JOBS ONLY UNITY STACK_LIMIT

# What goes wrong is said on stderr.
# A tree remembers what it was configured with last: that there are tests is said each time.
CONFIGURE = cmake --preset $(1) -DFIBERD_TESTS=ON -DFIBERD_WERROR=$(WERROR) -DFIBERD_UNITY=$(UNITY) --log-level=WARNING $(2) > /dev/null
BUILD = cmake --build --preset $(1) -j $(JOBS)
BUILD_STACK_REPORT = $(call BUILD,stack-report) --target fiberd greeter handlers_doc_objects

.DEFAULT_GOAL := help
.PHONY: help run test asan tsan bench browser grafana nightly fuzz lint stack-report format docs build package packages clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Ports of the built-in configuration: a build is long, and a port that is taken is found in no time. The admin
# listener's is not among them: without it the daemon warns and goes on.
RUN_PORTS = 8080 7000
PORTS_FREE = deploy/ports-free $(RUN_PORTS) || { \
  echo 'make run: stop that program, or name other addresses, e.g.' >&2; \
  echo '  make run ARGS="--set listeners[0].address=127.0.0.1:8081 --set listeners[1].address=127.0.0.1:7001"' >&2; \
  exit 3; }

run: ## install what is missing, build Release, start fiberd; ARGS="..." goes to `fiberd run`, e.g. ARGS="-c FILE"
ifeq ($(strip $(ARGS)),)
	@$(PORTS_FREE)
endif
	@deploy/install-packages build run
	@$(call CONFIGURE,release)
	@$(call BUILD,release) --target fiberd
	@exec deploy/run build/release/fiberd $(ARGS)

build: ## Release build of everything, started by nobody
	@deploy/install-packages build
	@$(call CONFIGURE,release)
	@$(call BUILD,release)

test: ## install what is missing, build, run every test; ends on a line that counts them
	@deploy/install-packages build test
	@$(call CONFIGURE,release)
	@$(call BUILD,release)
	@tests/support/run-tests release

asan: ## every test under ASan, LSan and UBSan
	@deploy/install-packages build test
	@$(call CONFIGURE,asan)
	@$(call BUILD,asan)
	@tests/support/run-tests asan

tsan: ## every test under ThreadSanitizer
	@deploy/install-packages build test
	@$(call CONFIGURE,tsan)
	@$(call BUILD,tsan)
	@tests/support/run-tests tsan

lint: ## clang-format, clang-tidy, and both compilers' warnings as errors
	@deploy/install-packages build test lint
	@tests/support/lint format tidy gcc clang

format: ## let clang-format rewrite the sources
	@deploy/install-packages lint
	@tests/support/lint --fix format

bench: ## the benchmarks: micro, then fiberd beside its peers; BENCH_ARGS goes to the latter
	@deploy/install-packages build test bench
	@$(call CONFIGURE,release,-DFIBERD_BENCH=ON)
	@$(call BUILD,release)
	@tests/support/run-benches build/release $(BENCH_ARGS)

nightly: ## hours: all of test, lint, asan, tsan, the cases too long for test, fuzzers, benches
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory asan
	@$(MAKE) --no-print-directory tsan
	@deploy/install-packages deploy
	@NIGHTLY=1 tests/support/run-tests release
	@$(MAKE) --no-print-directory browser
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=600
	@$(MAKE) --no-print-directory bench

# What the docs show as handlers is built too: it is read as users' own would be.
stack-report: ## the largest stack frames by function; fails above STACK_LIMIT (8192) bytes in a handler
	@deploy/install-packages build test
	@$(call CONFIGURE,stack-report)
	@$(BUILD_STACK_REPORT)
	@tests/support/stack-report build/stack-report

browser: ## the console in headless Chromium, under load; BROWSER_ARGS=docs/images writes the screenshots of the docs
	@deploy/install-packages build browser
	@$(call CONFIGURE,release)
	@$(call BUILD,release) --target fiberd
	@npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --silent
	@node tests/browser/console.mjs build/release/fiberd $(BROWSER_ARGS)

grafana: ## write the dashboard anew, and check it against the types of Grafana's own schema (npm)
	@deploy/install-packages browser
	@deploy/grafana/generate-dashboard
	@tests/deploy/grafana/dashboard_types_test.sh

fuzz: ## each fuzzer for FUZZ_SECONDS (60) under ASan and UBSan, from the corpus in the tree
	@deploy/install-packages build test
	@$(call CONFIGURE,fuzz)
	@tests/support/run-fuzzers build/fuzz $(or $(FUZZ_SECONDS),60)

docs: ## regenerate docs/configuration.md, docs/metrics.md and the pictures of docs/diagrams
	@deploy/install-packages build
	@$(call CONFIGURE,release)
	@$(call BUILD,release)
	@tests/support/generate-docs build/release

# What the daemon is linked from is all that goes into them: no tests are built.
package: ## the Debian packages fiberd, fiberd-dbgsym and libfiberd-dev, in build/release/packages
	@deploy/install-packages build package
	@$(call CONFIGURE,release)
	@$(call BUILD,release) --target fiberd
	@cd build/release && cpack

packages: ## install everything that any of these targets needs
	@deploy/install-packages build test lint bench browser deploy package

clean: ## remove the build trees
	@rm -rf build
