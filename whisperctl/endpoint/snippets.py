"""Copy-and-paste ways to use an endpoint: curl and the official OpenAI SDK. Pure text; no token in any of it.

curl takes the token from a configuration on its standard input, because an argument shows in process lists.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from whisperctl.endpoint.client import Answer
from whisperctl.endpoint.transcription import ROUTES, Task, Transcript, read

VARIABLE = "UBIOPS_API_TOKEN"


def curl_command(url: str, model: str, audio: Path, language: str | None) -> list[str]:
    """The arguments of a curl that uploads `audio`; the token comes from `curl_config` on its standard input."""
    quoted = str(audio).replace("\\", "\\\\").replace('"', '\\"')
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--config", "-", url]
    command += ["--form", f'file=@"{quoted}"', "--form-string", f"model={model}"]
    return command + (["--form-string", f"language={language}"] if language else [])


def curl_config(token: str | None) -> str:
    """What curl reads for the token; nothing for a public service."""
    return f'header = "Authorization: Token {token}"\n' if token else ""


def parsed(output: str, asked: str) -> Transcript:
    """The transcript in what curl printed.

    Raises:
        Unhealthy: there is none.
    """
    return read(Answer(status=200, text=output, headers={}), asked)


def curl(url: str, model: str, task: Task, audio: str, *, public: bool) -> str:
    """A shell line that transcribes `audio`."""
    command = curl_command(url + ROUTES[task], model, Path(audio), None)
    if public:
        command = [part for part in command if part not in ("--config", "-")]
    lines = _folded(command)
    if public:
        return lines + "\n"
    shown = f"${{{VARIABLE}#Token }}"  # the shell's own way to drop a prefix
    return f"{lines} <<END\n{curl_config(shown)}END\n"


def python(url: str, model: str, task: Task, audio: str, *, public: bool) -> str:
    """A Python program that transcribes `audio` with the official OpenAI SDK."""
    key = '"none"' if public else f'os.environ["{VARIABLE}"].removeprefix("Token ")'
    routes = "translations" if task == "translation" else "transcriptions"
    lines = [
        *([] if public else ["import os", ""]),
        "from openai import OpenAI",
        "",
        "client = OpenAI(",
        f"    base_url={_literal(url + '/v1')},",
        f"    api_key={key},",
        ")",
        f'with open({_literal(audio)}, "rb") as audio:',
        f"    print(client.audio.{routes}.create(model={_literal(model)}, file=audio).text)",
    ]
    return "\n".join(lines) + "\n"


def _literal(text: str) -> str:
    """`text` as a string literal of Python, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _folded(command: list[str]) -> str:
    """`command` for a shell, an option and its value on a line."""
    lines: list[str] = []
    for part in command:
        quoted = shlex.quote(part)
        if not lines or part.startswith("--form"):
            lines.append(quoted)
        else:
            lines[-1] += f" {quoted}"
    return " \\\n  ".join(lines)
