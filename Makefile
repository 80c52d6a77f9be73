# Each target makes .venv when it is missing and installs what it needs with the pinned versions.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: demo test test-cluster test-all fuzz papers lint dist docs bench bench-gpu clean
.DEFAULT_GOAL := demo

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps mup  # a test's reference; it would bring torchvision
	touch $@

demo: .venv/installed  ## two loss landscapes on real data, with and without skip connections
	$(BIN)/landsweep run landscape_skip
	$(BIN)/landsweep verify results/landscape_skip

test: .venv/installed  ## about 30 minutes on 2 cores; tests marked rotating take turns, a quarter of them each day
	$(BIN)/python -m pytest -q -n 2 --dist loadscope -m "not slow and not chaos and not ray"
	$(BIN)/python -m pytest -q -m "ray and not slow and not chaos"
	$(BIN)/python -m pytest -q -n 2 --doctest-modules src/landsweep

test-cluster: .venv/installed  ## real jobs: of Ray and ssh, and of Slurm where it is installed (apt-get install slurm-wlm munge)
	$(BIN)/python -m pytest -q -m "slow and not long and not chaos" tests/cluster

test-all: .venv/installed  ## with the slow tests and those that kill at random
	$(BIN)/python -m pytest -q
	$(BIN)/python -m pytest -q -n 2 --doctest-modules src/landsweep

fuzz: .venv/installed  ## more odd specs, files and messages of sessions than `make test` tries: about half an hour
	LANDSWEEP_FUZZ=2000 $(BIN)/python -m pytest -q tests/attack/test_readers.py tests/attack/test_fuzz_specs.py \
		tests/attack/test_fuzz_messages.py tests/attack/test_files_of_models.py

papers: .venv/installed  ## runs the specs of papers, one after another, and writes docs/papers.md; goes on where it was stopped
	nice -n 10 $(BIN)/python docs/papers/run.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

dist: .venv/installed  ## an sdist, and a wheel that is built from it, in dist/
	rm -rf dist build
	$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')"
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist dist/landsweep-*.tar.gz
	ls dist

docs: .venv/installed  ## the documentation site, in site/; a broken link is an error
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/installed  ## figures for docs/benchmarks.md; never part of a test
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python -m tests.benchmarks.overhead --peer
	$(BIN)/python -m tests.benchmarks.growth
	$(BIN)/python -m tests.benchmarks.landscape
	$(BIN)/python -m tests.benchmarks.landscape_networks
	$(BIN)/python -m tests.benchmarks.landscape_adaptive
	$(BIN)/python -m tests.benchmarks.zoo
	$(BIN)/python -m tests.benchmarks.search
	$(BIN)/python -m tests.benchmarks.laws
	$(BIN)/python -m tests.benchmarks.scripts
	$(BIN)/python -m tests.benchmarks.pairs
	$(BIN)/python -m tests.benchmarks.ui

bench-gpu: .venv/installed  ## tests and figures of one GPU in less than 8 minutes; `--dry` in the script tries it on a CPU
	$(BIN)/python -m tests.benchmarks.gpu --out gpu.json

clean:
	rm -rf .venv build dist site src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
