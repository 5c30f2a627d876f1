"""Advice on which preset to take: first by memory, then by speed."""
