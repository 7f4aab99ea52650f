"""python -m jscopes: the jscopes program of the wheel."""
import os
import sys
from pathlib import Path


def main() -> None:
    program = Path(__file__).parent / "bin" / "jscopes"
    if not program.exists():
        sys.exit(f"jscopes: {program} is not there; the package is used beside a library that was built apart: run the program of that build")
    os.execv(program, [str(program), *sys.argv[1:]])


if __name__ == "__main__":
    main()
