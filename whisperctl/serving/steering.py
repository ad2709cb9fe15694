"""Environment variables that steer a package or the server in it, whoever sets them: a version's, a project's. Pure.

The package reads its own (templates/), vLLM `VLLM_*` (vllm/envs.py), huggingface_hub and transformers `HF_*` and
`TRANSFORMERS_*`, CUDA, NCCL and PyTorch theirs, Python and the dynamic loader the last ones.
"""

from __future__ import annotations

PACKAGE = ("MAX_MODEL_LEN", "WHISPER_TASK", "VLLM_EXTRA_ARGS")
"""What overrides rendered values when the package starts."""
_PREFIXES = (
    "WHISPERCTL_", "VLLM_", "HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_", "CUDA_", "NCCL_", "NVIDIA_",
    "TORCH_", "TORCHINDUCTOR_", "PYTORCH_", "TRITON_", "FLASHINFER_", "OMP_", "LD_",
)  # fmt: skip
_NAMES = frozenset({
    *PACKAGE, "PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "PYTHONPATH", "PYTHONHOME", "PYTHONOPTIMIZE",
    "PYTHONSTARTUP", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY",
    "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
})  # fmt: skip


def steers(name: str) -> bool:
    """Whether the package, vLLM, or what these run on reads an environment variable of this name."""
    return name in _NAMES or name.upper().endswith("_PROXY") or name.startswith(_PREFIXES)
