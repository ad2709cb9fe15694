"""Settings with which other programs use an endpoint as an OpenAI-compatible transcriber. Pure text; no token in it.

Each takes the token from `$UBIOPS_API_TOKEN`, without UbiOps' prefix `Token `: these programs put `Bearer ` before it.
Sources: litellm's `model_list` (docs.litellm.ai/docs/audio_transcription), Open WebUI's environment variables
(docs.openwebui.com/getting-started/env-configuration), the parameters of n8n's node HTTP Request, version 4, and
`OpenAIWhisperParser` of langchain-community.
"""

from __future__ import annotations

import json
import shlex
from typing import Literal, assert_never, get_args

Client = Literal["openai", "litellm", "open-webui", "n8n", "langchain"]
CLIENTS: tuple[Client, ...] = get_args(Client)
VARIABLE = "UBIOPS_API_TOKEN"
PUBLIC = "none"
"""What stands for a key where the service asks for none, and the program wants one."""


def settings(client: Client, url: str, model: str, audio: str, *, public: bool) -> str:
    """What to paste into that client.

    Args:
        client: whose settings.
        url: of the endpoint, without `/v1`.
        model: the served name.
        audio: a recording, for those whose settings are a program.
        public: whether the service asks for no token.
    """
    match client:
        case "openai":
            return _openai(url, public)
        case "litellm":
            return _litellm(url, model, public)
        case "open-webui":
            return _open_webui(url, model, public)
        case "n8n":
            return _n8n(url, model, public)
        case "langchain":
            return _langchain(url, model, audio, public)
        case _:
            assert_never(client)


def note(client: Client, model: str) -> str:
    """What to do with the settings, in a line or two; for standard error."""
    match client:
        case "openai":
            return f"The variables that OpenAI's SDKs and most tools read; the model is called {model}."
        case "litellm":
            return f"For config.yaml of the proxy. {VARIABLE} without the prefix `Token `, in the proxy's environment."
        case "open-webui":
            return "For the container's environment. What was saved in the admin panel before wins over it."
        case "n8n":
            return (
                "Paste it into a workflow. It takes the recording from the field `data` of the item before it,\n"
                "  and a credential `Header Auth` called UbiOps: name Authorization, value `Bearer ` and the token."
            )
        case "langchain":
            return "pip install langchain-community openai pydub, and ffmpeg on PATH."
        case _:
            assert_never(client)


def _shell_key(public: bool) -> str:
    return PUBLIC if public else f'"${{{VARIABLE}#Token }}"'  # the shell's own way to drop a prefix


def _openai(url: str, public: bool) -> str:
    return f"export OPENAI_BASE_URL={shlex.quote(url + '/v1')}\nexport OPENAI_API_KEY={_shell_key(public)}\n"


def _open_webui(url: str, model: str, public: bool) -> str:
    values = {"ENGINE": "openai", "OPENAI_API_BASE_URL": url + "/v1", "MODEL": model}
    lines = [f"export AUDIO_STT_{name}={shlex.quote(value)}" for name, value in values.items()]
    return "\n".join([*lines, f"export AUDIO_STT_OPENAI_API_KEY={_shell_key(public)}"]) + "\n"


def _litellm(url: str, model: str, public: bool) -> str:
    return f"""\
model_list:
  - model_name: whisper
    litellm_params:
      model: {_quoted("openai/" + model)} # `openai/`: what it speaks; the rest is the served name
      api_base: {_quoted(url + "/v1")}
      api_key: {PUBLIC if public else f"os.environ/{VARIABLE}"}
    model_info:
      mode: audio_transcription
"""


def _n8n(url: str, model: str, public: bool) -> str:
    fields = [
        {"parameterType": "formBinaryData", "name": "file", "inputDataFieldName": "data"},
        {"parameterType": "formData", "name": "model", "value": model},
    ]
    parameters = {
        "method": "POST",
        "url": url + "/v1/audio/transcriptions",
        "sendBody": True,
        "contentType": "multipart-form-data",
        "bodyParameters": {"parameters": fields},
        "options": {"timeout": 600_000},
    }
    node = {
        "name": "Transcribe",
        "type": "n8n-nodes-base.httpRequest",
        "typeVersion": 4.2,
        "position": [0, 0],
        "parameters": parameters,
    }
    if not public:
        parameters |= {"authentication": "genericCredentialType", "genericAuthType": "httpHeaderAuth"}
        node["credentials"] = {"httpHeaderAuth": {"name": "UbiOps"}}
    return json.dumps({"nodes": [node], "connections": {}}, indent=2, ensure_ascii=False) + "\n"


def _langchain(url: str, model: str, audio: str, public: bool) -> str:
    key = _quoted(PUBLIC) if public else f'os.environ["{VARIABLE}"].removeprefix("Token ")'
    return f"""\
import os

from langchain_community.document_loaders.parsers.audio import OpenAIWhisperParser
from langchain_core.documents.base import Blob

parser = OpenAIWhisperParser(
    api_key={key},
    base_url={_quoted(url + "/v1")},
    model={_quoted(model)},
    response_format="json",
)
for document in parser.lazy_parse(Blob.from_path({_quoted(audio)})):
    print(document.page_content)
"""


def _quoted(text: str) -> str:
    """`text` in double quotes, which Python and YAML read as JSON does."""
    return json.dumps(text, ensure_ascii=False)
