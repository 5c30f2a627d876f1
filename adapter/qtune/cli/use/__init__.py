"""Commands that use what was trained, and fetch what training needs."""
