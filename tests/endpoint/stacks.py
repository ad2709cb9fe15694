"""Stack files for the endpoint's tests, loaded by the product's own loader."""

from __future__ import annotations

from pathlib import Path

from tests.endpoint.fake_vllm import MODEL
from whisperctl.loading import load_stacks
from whisperctl.spec import Stack

TEXT = """\
apiVersion: whisperctl/v1
stack: tones
model: {{name: {model}, revision: 973afd24965f72e36ca33b3055d56a652f456b4d, served_name: {served}}}
vllm: {{version: {version}, allow_unlisted: true}}
deployment: {{name: tones}}
instance_type_group: {{name: {group}, gpu: {gpu}}}
version: {{name: v1, minimum_instances: 0, maximum_instances: 1, maximum_idle_time: 300,
  labels: {{openai-model-names: {served}}}}}
service: {{name: tones-service, port: 8080, authentication_required: {private}}}
rollout: {{timeout: 60{smoke}}}
"""


def write(
    folder: Path,
    *,
    model: str = "openai/whisper-small",
    version: str = "0.30.0",
    group: str = "12288 MB + NVIDIA Tesla T4",
    gpu: str = "T4",
    smoke: str = "",
    private: str = "true",
) -> Path:
    """A stack file that serves `MODEL`; `smoke` is the inside of rollout.smoke."""
    path = folder / "stack.yaml"
    declared = f", smoke: {{{smoke}}}" if smoke else ""
    path.write_text(
        TEXT.format(model=model, version=version, served=MODEL, group=group, gpu=gpu, smoke=declared, private=private)
    )
    return path


def stack(folder: Path, **more: str) -> Stack:
    """The stack of `write`."""
    return load_stacks([write(folder, **more)], {}).stacks[0]
