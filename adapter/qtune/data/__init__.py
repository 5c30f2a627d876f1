"""Datasets: their registrations and what stands in their files."""
