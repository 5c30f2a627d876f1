"""Files in which a config or a command stands among other things: programs, notebooks, manifests."""
