"""Datasets: their registrations and what stands in their files.

`registrations` is what everything starts from; `reading` makes rows of files, `rows` judges each of them,
`scanning` judges whole datasets, `lengths` counts tokens, `adding` registers what nobody described.
"""
