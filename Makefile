# The commands of the project; each is also a script that can be read. `make` alone explains them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help dependencies dependencies-tests build release test test-unit test-integration test-matrix test-thread test-address fuzz bench demo install uninstall deb test-systemd format clean
# One at a time: two builds in one directory wait for each other anyway.
.NOTPARALLEL:

help: ## explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dependencies-tests:
	@scripts/install-dependencies tests

dependencies: ## install what is missing (Debian, Ubuntu), as root or with sudo
	@scripts/install-dependencies

build: dependencies ## build for development
	swift build

release: dependencies ## build .build-release/release/dbmazz-sink and check that it is self-contained
	@scripts/build-release

demo: ## show it: PostgreSQL under load into a SQLite file, compared row by row (DEMO_SECONDS=20)
	@scripts/demo

test: dependencies-tests ## check the format, build, run all tests (DBMAZZ_TEST_SECONDS, DBMAZZ_TEST_SEED)
	@scripts/test

test-unit: dependencies-tests ## check the format, build, run the tests that need no PostgreSQL
	@scripts/test unit

test-integration: dependencies-tests ## build, run the tests against a real PostgreSQL
	@scripts/test integration

test-matrix: dependencies-tests ## integration tests on PostgreSQL 15 and 18 (PG_VERSIONS="15 18")
	@scripts/test-matrix

test-thread: dependencies-tests ## integration tests under the thread sanitizer
	@scripts/test-thread

test-address: dependencies ## tests of the decoders under the address sanitizer
	swift test --sanitize=address --scratch-path .build-asan --disable-xctest --filter PgOutputTests </dev/null

fuzz: dependencies ## fuzz the decoders (FUZZ_SECONDS=60)
	@scripts/fuzz $(or $(FUZZ_SECONDS),60)

bench: release ## measure speed and memory; results and settings are in docs/benchmarks.md
	@scripts/bench

install: ## install what `make release` built, systemd unit, man page, completions (DESTDIR, PREFIX=/usr/local)
	@scripts/install

uninstall: ## remove what install put there; settings and data stay
	@scripts/install remove

deb: ## make a Debian package of what `make release` built
	@scripts/build-deb

test-systemd: ## boot a small Debian with the package in it, and test the unit there; as root (DEB=FILE)
	@scripts/test-systemd $(DEB)

format: ## bring the sources into shape
	swift format --in-place --parallel --recursive Sources Tests Package.swift

clean: ## remove what was built and fetched
	rm -rf .build .build-release .build-tsan .build-asan .build-servers .build-systemd .build-image .build-deploy .build-peers
