"""Training and scoring of networks on annotated fields."""
