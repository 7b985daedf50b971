# bootstrap.py does it all; on Windows, without make, type `py bootstrap.py lab`. `make help` lists the verbs.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	command -v $$name && break; done)
VERBS := help lab test setup data doctor lint notebooks assignments grade bench faults clean

.PHONY: $(VERBS)
$(VERBS):
	@$(if $(PYTHON),"$(PYTHON)" -c "" 2>/dev/null || { \
	echo "$(PYTHON) does not run. Say which Python to use: make $@ PYTHON=python3.12"; exit 1; }; \
	exec "$(PYTHON)" bootstrap.py $@,echo "No Python was found. Install 3.11 or newer from python.org."; exit 1)
