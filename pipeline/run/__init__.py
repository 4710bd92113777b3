"""Running slides: the cluster, the three kinds of task, the driver of an archive."""
