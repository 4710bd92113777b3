"""The ways to a cluster under their former name."""

from pipeline.run.clusters import connect
from pipeline.run.clusters.pool import worker_count

__all__ = ["connect", "worker_count"]
