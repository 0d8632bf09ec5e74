# Every target works from a clean checkout on a machine with python3 (venv), make and g++: all other tools come from
# PyPI into .venv. Stamp files in it keep what is installed in step with the sources.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Arguments for the program that a target runs, e.g. make bench ARGS='--layers vgg'.
ARGS ?=
# Whether `make test` compares with PyTorch too, which it then installs: always in CI, elsewhere on request.
TORCH ?= $(CI)
WITH_TORCH := $(if $(filter-out 0 false no,$(TORCH)),$(VENV)/.torch)

SOURCES := $(shell find csrc python -name '*.h' -o -name '*.cpp' -o -name '*.py' -o -name '*.pyi' -o -name py.typed)
CPP = $(shell find csrc tests/cpp -name '*.h' -o -name '*.cpp')

# CMake and pip's builds find ninja and cmake here.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-cpp test-python bench lint format dist clean gtest

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.package $(VENV)/.extra-demo ## Draw what convolutions do with a photograph, time ResNet-50's layers
	$(BIN)/python -m tileconv demo $(ARGS)

test: test-cpp test-python ## Build and run all tests; TORCH=1: compare with PyTorch too

test-cpp: $(VENV)/.tools gtest ## The tests of the C++ core alone, warnings as errors
	$(BIN)/cmake --preset tests
	$(BIN)/cmake --build --preset tests
	$(BIN)/ctest --preset tests

test-python: $(VENV)/.package $(VENV)/.extra-test $(WITH_TORCH) ## The tests of the installed package alone
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist worksteal $(ARGS)

bench: $(VENV)/.package $(VENV)/.peers ## Time layers side by side with the peers (ARGS: see bench/README.md)
	$(BIN)/python -m bench $(ARGS)

lint: $(VENV)/.package $(VENV)/.extra-demo $(VENV)/.extra-lint ## Check format, style and types
	$(BIN)/clang-format --dry-run -Werror $(CPP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.package $(VENV)/.extra-lint ## Rewrite the sources as `lint` wants them
	$(BIN)/clang-format -i $(CPP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

dist: $(VENV)/.tools ## Build sdist and wheel into dist/
	$(PIP) install --quiet build
	$(BIN)/python -m build

clean: ## Remove all that the other targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/.hypothesis tileconv-demo.png

$(VENV)/.tools: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet cmake ninja pybind11 scikit-build-core
	@touch $@

# Without build isolation CMake finds its files where it left them, so only what changed is compiled again.
INSTALL := $(PIP) install --quiet --no-build-isolation --check-build-dependencies

$(VENV)/.package: $(VENV)/.tools CMakeLists.txt $(SOURCES)
	@echo "Compiling and installing tileconv into $(VENV)"
	$(INSTALL) .
	@touch $@

$(VENV)/.extra-%: pyproject.toml | $(VENV)/.package
	$(INSTALL) '.[$*]'
	@touch $@

$(VENV)/.peers: bench/requirements.txt | $(VENV)/.tools
	$(PIP) install -r $<
	@touch $@

$(VENV)/.torch: bench/requirements.txt | $(VENV)/.tools
	$(PIP) install torch --constraint $<
	$(BIN)/python -c 'import torch'
	@touch $@

# Debian's package where that is possible; otherwise CMake fetches GoogleTest's sources.
gtest:
	@echo '#include <gtest/gtest.h>' | $${CXX:-c++} -E -x c++ - >/dev/null 2>&1 || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -y -qq libgtest-dev; \
	else \
	  echo "GoogleTest is not installed (libgtest-dev): CMake will fetch it"; \
	fi
