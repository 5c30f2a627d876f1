"""How children are started, watched and ended: those of every command."""
