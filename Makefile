# Everything starts from a machine with Python 3.11 and make: each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint results check-results lock clean

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV): a minute or two"
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY) ## three behaviours found in 500 unlabelled trajectories, each imitated, on a page
	rm -rf runs/demo
	$(BIN)/manyways collect circles --episodes 500 --out runs/demo/demonstrations
	$(BIN)/manyways train sog-bc runs/demo/demonstrations --task circles --out runs/demo --seed 0
	$(BIN)/manyways modes runs/demo
	$(BIN)/manyways evaluate runs/demo --episodes 100
	$(BIN)/manyways report runs/demo

# A process a core with one thread each: OpenMP's threads would wait for each other.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

results: $(READY) ## write the tables of README and docs from the result files
	$(BIN)/python benchmarks/write_results.py

check-results: $(READY) ## fail where a table is not what the result files say
	$(BIN)/python benchmarks/write_results.py --check

lock: ## pin what is installed now
	$(BIN)/python -m pip freeze --all --exclude-editable | grep -v '^pip==' | sed 's|+cpu$$||' > requirements.lock

clean:
	rm -rf $(VENV) runs
