"""Ways to a cluster: worker processes here, a scheduler that runs, SLURM, Kubernetes, a factory."""

from pipeline.run.clusters.connecting import connect

__all__ = ["connect"]
