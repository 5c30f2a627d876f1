"""What starts the processes of a training, as values: on one machine, on several, in a Slurm job."""
