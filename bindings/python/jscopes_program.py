#!python
"""jscopes: runs the program inside the installed package, which is found without importing it (numpy would take longer than the program)."""
import importlib.util
import os
import sys

found = importlib.util.find_spec("jscopes")
if found is None or not found.submodule_search_locations:
    sys.exit("jscopes: the package is not installed for this Python")
program = os.path.join(found.submodule_search_locations[0], "bin", "jscopes")
os.execv(program, [program, *sys.argv[1:]])
