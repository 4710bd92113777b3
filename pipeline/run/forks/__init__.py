"""Worker processes of this machine as forks of one server that has imported what they need."""
