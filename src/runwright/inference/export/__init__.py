"""Models in forms that need no Runwright: ONNX, safetensors, torch.export; checked before they are kept."""
