"""qtune: team-shared presets in, checked LLaMA-Factory and DeepSpeed configs out, training run."""

__version__ = "0.1.0"
