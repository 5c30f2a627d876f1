#!/usr/bin/env bash
# pyarrow 26.0.1, pyarrow.json.read_json, by which `datasets` loads JSON lines: what a number is read as depends on
# how it is written, not on how large it is.
#   - A whole number of 310 digits is read as infinity, without a word; 1.5e400, which is as much beyond a double,
#     is refused ("Number too big to be stored in double").
#   - A whole number beyond 64 bits is read as the nearest double, and so are all others of its column: the 17 digits
#     of an identifier in another row come back changed.
# Expected: infinity refused in both spellings, and no number of another row changed.
# Output seen:
#   310 digits: [inf]
#   1.5e400: ArrowInvalid
#   beside one of 26 digits: [12345678901234568, 1e+25] from [12345678901234567, 10000000000000000000000000]
set -euo pipefail
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import io
import sys

import pyarrow
import pyarrow.json


def read(*numbers: str) -> object:
    lines = "".join(f'{{"a": {number}}}\n' for number in numbers)
    try:
        return pyarrow.json.read_json(io.BytesIO(lines.encode())).column("a").to_pylist()
    except pyarrow.ArrowInvalid as error:
        return type(error).__name__


digits, exponent = read("1" + "0" * 309), read("1.5e400")
given = (12345678901234567, 10**25)
beside = read(*map(str, given))
print("310 digits:", digits)
print("1.5e400:", exponent)
if isinstance(beside, list):
    print("beside one of 26 digits:", [int(beside[0]), beside[1]], "from", list(given))
same = digits == [float("inf")] and exponent == "ArrowInvalid" and beside == [12345678901234568.0, 1e25]
sys.exit(0 if same else 1)
PYTHON
