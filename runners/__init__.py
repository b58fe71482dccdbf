"""How is one model served? One adaptive-batching BentoML service per model, behind one contract."""

import os

# Set before any import of ONNX Runtime, which would otherwise send telemetry about the machine and its sessions.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
