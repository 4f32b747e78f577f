"""What `training/export_onnx.py` is made of: the graphs, their int8 weights, and the folder that they come in."""
