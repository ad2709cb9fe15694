"""`curl --for`: what it prints is used as it stands by the client's own package, in front of a server.

The packages are too many for the tests' own environment: they are installed into one of their own, from uv's cache.
Open WebUI and n8n are programs of gigabytes: their settings are held to what their sources read, kept here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL, TOKEN, FakeVllm, Fault
from tests.harness.sweeps import whole
from whisperctl.endpoint.client_settings import CLIENTS, Client, note, settings

PACKAGES = [
    "litellm==1.110.2",
    "langchain-community==0.4.2",
    "pydub==0.25.1",
    "openai",
    "audioop-lts; python_version>='3.13'",
]
OPEN_WEBUI = {"AUDIO_STT_ENGINE", "AUDIO_STT_MODEL", "AUDIO_STT_OPENAI_API_BASE_URL", "AUDIO_STT_OPENAI_API_KEY"}
"""Of open-webui's backend/open_webui/config.py."""
N8N = {
    "type": "object",
    "required": ["method", "url", "sendBody", "contentType", "bodyParameters"],
    "additionalProperties": False,
    "properties": {
        "method": {"enum": ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]},
        "url": {"type": "string"},
        "authentication": {"enum": ["none", "predefinedCredentialType", "genericCredentialType"]},
        "genericAuthType": {"type": "string"},
        "sendBody": {"type": "boolean"},
        "contentType": {"enum": ["form-urlencoded", "multipart-form-data", "json", "binaryData", "raw"]},
        "bodyParameters": {
            "type": "object",
            "properties": {
                "parameters": {
                    "type": "array",
                    "items": {
                        "oneOf": [
                            {
                                "properties": {"parameterType": {"const": "formBinaryData"}},
                                "required": ["inputDataFieldName", "name"],
                            },
                            {"properties": {"parameterType": {"const": "formData"}}, "required": ["value", "name"]},
                        ]
                    },
                }
            },
        },
        "options": {"type": "object"},
    },
}
"""Of n8n's nodes-base/nodes/HttpRequest/V3/Description.ts."""
LITELLM = """\
import asyncio, sys, yaml, litellm
router = litellm.Router(model_list=yaml.safe_load(open(sys.argv[1]))["model_list"])
with open(sys.argv[2], "rb") as audio:
    print(asyncio.run(router.atranscription(file=audio, model="whisper")).text)
"""
OPENAI = """\
import sys
from openai import OpenAI
with open(sys.argv[2], "rb") as audio:
    print(OpenAI().audio.transcriptions.create(model=sys.argv[1], file=audio).text)
"""


@pytest.fixture
def audio(tmp_path: Path) -> str:
    return str(tones.write(tmp_path / "audio.wav", [["ba", "ke"]]))


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with the clients' packages."""
    folder = tmp_path_factory.mktemp("clients")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    install = [*uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode and "error sending request" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    return str(folder / "bin" / "python")


def env(**more: str) -> dict[str, str]:
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, "UBIOPS_API_TOKEN": TOKEN, **quiet, **more}


def text_of(command: list[str], **more: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=env(**more), timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().lower()


def shown(client: Client, vllm: FakeVllm, audio: str, public: bool = False) -> str:
    return settings(client, vllm.url, MODEL, audio, public=public)


@pytest.mark.parametrize("prefix", ["", "Token "])
def test_openai(vllm: FakeVllm, audio: str, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(OPENAI)
    script = shown("openai", vllm, audio) + f"exec {sys.executable} {tmp_path}/program.py {MODEL} {audio}"
    assert text_of(["sh", "-ec", script], UBIOPS_API_TOKEN=prefix + TOKEN) == "ba ke"


@whole  # it takes 14 s of a core to import
def test_litellm(vllm: FakeVllm, audio: str, clients: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(shown("litellm", vllm, audio))
    assert text_of([clients, "-c", LITELLM, str(tmp_path / "config.yaml"), audio]) == "ba ke"


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg, which LangChain's parser needs, is not on PATH")
def test_langchain(vllm: FakeVllm, audio: str, clients: str) -> None:
    """It sends mp3, which vLLM reads and the server here does not: its words are given, what arrives is what counts."""
    vllm.faults = [Fault(200, '{"text": "ba ke"}')]
    assert text_of([clients, "-c", shown("langchain", vllm, audio)]).endswith("ba ke")
    (request,) = vllm.audio_requests
    assert (request.path, request.fields["model"]) == ("/v1/audio/transcriptions", MODEL)


def test_open_webui(vllm: FakeVllm, audio: str) -> None:
    script = shown("open-webui", vllm, audio) + "env"
    lines = text_of(["sh", "-ec", script], UBIOPS_API_TOKEN=f"Token {TOKEN}").splitlines()
    settings = dict(line.split("=", 1) for line in lines if line.startswith("audio_stt_"))
    assert {name.upper() for name in settings} == OPEN_WEBUI
    assert (settings["audio_stt_engine"], settings["audio_stt_model"]) == ("openai", MODEL.lower())
    assert settings["audio_stt_openai_api_key"] == TOKEN.lower()


@pytest.mark.parametrize("public", [False, True])
def test_n8n(vllm: FakeVllm, audio: str, public: bool) -> None:
    from jsonschema import Draft202012Validator

    (node,) = json.loads(shown("n8n", vllm, audio, public))["nodes"]
    assert (node["type"], node["typeVersion"]) == ("n8n-nodes-base.httpRequest", 4.2)
    assert list(Draft202012Validator(N8N).iter_errors(node["parameters"])) == []
    assert node["parameters"]["url"] == f"{vllm.url}/v1/audio/transcriptions"
    assert ("credentials" in node) == (not public)


@pytest.mark.parametrize("client", CLIENTS)
def test_odd_names_stay_what_they_are_and_no_token_is_in_it(client: Client) -> None:
    odd = 'it\'s "odd": ${HOME} {💥} #'
    text = settings(client, "https://x.y", odd, "a.wav", public=False)
    assert "UBIOPS_API_TOKEN" in text + note(client, odd) or client == "n8n"
    match client:
        case "litellm":
            assert yaml.safe_load(text)["model_list"][0]["litellm_params"]["model"] == f"openai/{odd}"
        case "n8n":
            assert json.loads(text)["nodes"][0]["parameters"]["bodyParameters"]["parameters"][1]["value"] == odd
        case "langchain":
            compile(text, "snippet", "exec")
        case "open-webui":
            assert f"audio_stt_model={odd}".lower() in text_of(["sh", "-ec", text + "env"])
        case "openai":
            assert odd in note(client, odd)
