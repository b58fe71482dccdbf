"""The examples of the OpenAPI document: bodies and their answers.

No example contains null: FastAPI would omit the field, and the example would no longer match its schema.
"""

from __future__ import annotations

from typing import Any, Final

INSTANT: Final = "2026-01-01T12:00:00.000Z"
ID: Final = "5f3a0c1e9b7d4f60a1c2d3e4f5061728"

DEPLOY: Final[dict[str, Any]] = {
    "config": {
        "model_id": "tcm_diagnosis_v2",
        "name": "中医诊断模型 v2.0",
        "version": "2.0.0",
        "model_type": "tcm_diagnosis",
        "framework": "onnx",
        "docker_image": "atelier/tcm-diagnosis:2.0.0",
        "resource_requirements": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "0"},
        "scaling_config": {"min_replicas": 1, "max_replicas": 5, "target_cpu_utilization": 70},
    }
}
UPDATE: Final[dict[str, Any]] = {
    "config": {
        "version": "2.1.0",
        "docker_image": "atelier/tcm-diagnosis:2.1.0",
        "resource_requirements": {"cpu": "4", "memory": "16Gi"},
    }
}
SCALE: Final[dict[str, Any]] = {"replicas": 3}
ITEM: Final[dict[str, Any]] = {"input_data": {"symptoms": ["头痛", "乏力", "食欲不振"]}, "parameters": {"top_k": 3}}
INFER: Final[dict[str, Any]] = {**ITEM, "timeout": 30, "priority": "normal"}
BATCH: Final[dict[str, Any]] = {"requests": [ITEM, ITEM], "timeout": 60, "priority": "normal"}

DEPLOYED: Final[dict[str, Any]] = {"deployment_id": ID, "message": "..."}
SCALED: Final[dict[str, Any]] = {"message": "...", "current_replicas": 1, "target_replicas": 3}
DELETED: Final[dict[str, Any]] = {"message": "..."}
_LISTED: Final[dict[str, Any]] = {
    "model_id": "tcm_diagnosis_v2",
    "name": "中医诊断模型 v2.0",
    "version": "2.0.0",
    "status": "running",
    "model_type": "tcm_diagnosis",
    "created_at": INSTANT,
    "updated_at": INSTANT,
}
LISTED: Final[list[Any]] = [_LISTED]
_MODELS: Final = "http://localhost:8080/api/v1/models/tcm_diagnosis_v2"
STATUS: Final[dict[str, Any]] = {
    **_LISTED,
    "replicas": {"desired": 1, "current": 1, "ready": 1},
    "endpoints": [
        {"type": "inference", "url": f"{_MODELS}/inference"},
        {"type": "batch_inference", "url": f"{_MODELS}/batch_inference"},
    ],
    "resource_usage": {"cpu": "3m", "memory": "160Mi", "gpu": "0"},
    "deployment_id": ID,
    "revision": 1,
    "message": "1/1 个副本就绪",
    "config": {
        "framework": "onnx",
        "docker_image": "atelier/tcm-diagnosis:2.0.0",
        "resource_requirements": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "0"},
        "scaling_config": {"min_replicas": 1, "max_replicas": 5, "target_cpu_utilization": 70},
        "environment_variables": {"LOG_LEVEL": "******"},
    },
    "replica_details": [],
}
LOGS: Final[dict[str, Any]] = {
    "model_id": "tcm_diagnosis_v2",
    "replicas": [{"replica_id": ID, "state": "ready", "lines": ["..."]}],
}
EVENTS: Final[list[Any]] = [
    {"timestamp": INSTANT, "actor": "admin", "action": "scale", "deployment_id": ID, "details": {"from": 1, "to": 3}}
]
INFERRED: Final[dict[str, Any]] = {
    "request_id": ID,
    "model_id": "tcm_diagnosis_v2",
    "output_data": {"syndromes": [{"name": "脾气虚", "probability": 0.05}]},
    "confidence": 0.05,
    "processing_time": 0.004,
    "timestamp": INSTANT,
}
INFERRED_BATCH: Final[list[Any]] = [{**INFERRED, "request_id": f"{ID}.{number}"} for number in range(2)]
HEALTHY: Final[dict[str, Any]] = {
    "status": "healthy",
    "database": "ok",
    "lease": "held",
    "backend": "process",
    "backend_state": "ok",
    "models": {"wanted": 2, "ready": 2},
    "timestamp": INSTANT,
}
UNHEALTHY: Final[dict[str, Any]] = {
    "status": "unhealthy",
    "database": "unavailable",
    "backend": "process",
    "timestamp": INSTANT,
}
METRICS: Final = """# HELP atelier_model_waiting Requests that wait for a place
# TYPE atelier_model_waiting gauge
atelier_model_waiting{model="tcm_diagnosis_v2"} 3.0
"""
