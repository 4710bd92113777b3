"""Names of the files that make a model's folder."""

CARD_NAME = "card.json"
WEIGHTS_NAME = "weights.safetensors"
NETWORK_NAME = "network.onnx"
