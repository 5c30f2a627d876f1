"""Every row of whole datasets: what is wrong, what repeats, what passed, what is clean."""
