"""Predictions of what a training needs: steps, memory, disk."""
