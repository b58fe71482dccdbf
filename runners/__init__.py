"""How is one model served? One adaptive-batching BentoML service per model, behind one contract."""

import os

# Before anything of ours or of others imports ONNX Runtime, which would tell its makers of the machine and of sessions.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
