"""Networks in torch: building blocks, named architectures, checkpoints, prediction."""
