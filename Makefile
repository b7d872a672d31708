# Each target calls tools/run.py, which makes .venv first. Without make: python tools/run.py course, and so on.
# Another Python: make course PYTHON=python3.13. Some notebooks only: make course only="03 04".

ifeq ($(OS),Windows_NT)
PYTHON ?= python
else
PYTHON ?= python3
endif

.PHONY: help setup course check test ledger page mutate site test-site student lab bench reproduce speedrun notebooks clean

help:
	@echo "make course      execute the notebooks into build/course, training their models, and build the site (only=\"03 04\": those alone, no site)"
	@echo "make check       static checks, docstring examples and the fast unit tests, in two minutes"
	@echo "make test        everything: also the slow unit tests, the ledger, the site, and nbval over every notebook"
	@echo "make ledger      collect every claim of the notebooks, with its witnesses and twins, into build/ledger.md"
	@echo "make page        change every displayed equation, sign by sign, and name the changes that no claim notices (only=\"03\")"
	@echo "make mutate      change the library in small ways and name the changes that no test notices (modules=\"bounds\")"
	@echo "make site        the course as a site, from the stored notebooks, in build/site"
	@echo "make test-site   build the site and try every page of it in a browser"
	@echo "make student     the edition for students: the solutions of the exercises left out, in build/student"
	@echo "make lab         open the notebooks in JupyterLab"
	@echo "make bench       measure the speed of training on this machine"
	@echo "make reproduce   train rows of the table of published likelihoods and write it (row=\"vae-1\"; without: the table alone)"
	@echo "make speedrun    an official run of a recipe of the speed-run (recipe=\"reference\"; without: the table alone)"
	@echo "make notebooks   execute the notebooks in place and store their outputs (only=\"03 04\": some of them)"
	@echo "make setup       only make .venv; every command above does that first"
	@echo "make clean       remove what was built; .venv stays"

setup check test ledger site test-site student lab bench:
	@$(PYTHON) tools/run.py $@

course notebooks page:
	@$(PYTHON) tools/run.py $@ $(only)

reproduce:
	@$(PYTHON) tools/run.py $@ $(row)

speedrun:
	@$(PYTHON) tools/run.py $@ $(recipe)

mutate:
	@$(PYTHON) tools/run.py $@ $(modules)

clean:
	rm -rf build dist .hypothesis .pytest_cache .ruff_cache
