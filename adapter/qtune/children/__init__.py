"""Scripts that run inside LLaMA-Factory's own environment, as child processes; qtune imports none of them."""
