"""UbiOps' tutorial *Deploy Whisper with vLLM*: the calls of its cells, in their order, with the official client.

Names, fields and values are the notebook's, with its contradictions and the fields that UbiOps does not know; the code
of its package is written anew here, and does with plain assignments what the notebook's does.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ubiops

DEPLOYMENT, VERSION, SERVICE = "whisper-vllm", "v1", "whisper-service"
VERSION_FIELDS = {
    "version": VERSION,
    "environment": "python3-12",
    "instance_type_group_name": "12288 MB + NVIDIA Tesla T4",
    "maximum_instances": 1,
    "minimum_instances": 0,
    "maximum_idle_time": 900,
    "labels": {
        "openai-compatible": "true",
        "openai-model-names": "openai/whisper-small",
        "model-type": "speech-to-text",
    },
}
"""What the notebook creates its version with."""
REQUIREMENTS = "vllm[audio]\nopenai\nrequests\n"
APT = "apt:\n  packages:\n    - build-essential\n    - python3-dev\n    - ffmpeg\n"
CODE = """\
import os
import shutil
import subprocess


class Deployment:
    def __init__(self, base_directory, context):
        os.environ["VLLM_ATTENTION_BACKEND"] = "TRITON_ATTN"
        self.model_name = "openai/whisper-large-v3-turbo"
        self.task = os.getenv("WHISPER_TASK", "transcription")
        self.max_model_len = int(os.getenv("MAX_MODEL_LEN", "448"))
        self.server = self.start()

    def request(self, data):
        return {"status": "healthy"}

    def start(self):
        import torch

        vllm = shutil.which("vllm")
        command = [
            vllm, "serve", self.model_name,
            "--task", self.task,
            "--max-model-len", str(self.max_model_len),
            "--gpu-memory-utilization", "0.9",
            "--dtype", "float16",
            "--tensor-parallel-size", str(torch.cuda.device_count()),
            "--host", "0.0.0.0",
            "--port", "8080",
        ]
        return subprocess.Popen(command)
"""


def run_cells(api: ubiops.CoreApi, project: str, folder: Path) -> str:
    """Everything up to the notebook's tests; the URL of the service."""
    api.deployments_create(
        project_name=project,
        data={
            "name": DEPLOYMENT,
            "description": "Whisper small with vLLM",
            "input_type": "plain",
            "output_type": "plain",
        },
    )
    api.deployment_versions_create(project_name=project, deployment_name=DEPLOYMENT, data=VERSION_FIELDS)
    variables = {"VLLM_ATTENTION_BACKEND": "TRITON_ATTN", "WHISPER_TASK": "transcription", "MAX_MODEL_LEN": "448"}
    for name, value in variables.items():
        variable = ubiops.EnvironmentVariableCreate(name=name, value=value, secret=False)
        api.deployment_version_environment_variables_create(project, DEPLOYMENT, VERSION, variable)
    api.revisions_file_upload(
        project_name=project,
        deployment_name=DEPLOYMENT,
        version=VERSION,
        file=_packed(folder),
        _progress_bar=False,
    )
    ubiops.utils.wait_for_deployment_version(
        client=api.api_client, project_name=project, deployment_name=DEPLOYMENT, version=VERSION, quiet=True
    )
    service: Any = api.services_create(
        project_name=project,
        data={
            "name": SERVICE,
            "deployment": DEPLOYMENT,
            "version": VERSION,
            "port": 8080,
            "health_check_path": "/health",
            "health_cheack_interval": 30,
            "request_storage_enabled": True,
            "authentication_required": True,
        },
    )
    return str(service.endpoint)


def _packed(folder: Path) -> str:
    source = folder / "deployment_package"
    source.mkdir()
    for name, text in {"deployment.py": CODE, "requirements.txt": REQUIREMENTS, "ubiops.yaml": APT}.items():
        (source / name).write_text(text)
    return shutil.make_archive(str(source), "zip", source)
