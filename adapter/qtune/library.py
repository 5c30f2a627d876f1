"""The name of an older room, in scripts for Ray that were rendered then: it says to render again."""

import sys

print("this was rendered by an older qtune: `qtune render PRESET` again, or `qtune train`", file=sys.stderr)
sys.exit(2)
