"""How good a trained model is: losses, answers beside their references, and other people's benchmarks."""
