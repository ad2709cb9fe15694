"""The files that a new repository begins with: a commented stack.yaml, a recording, .gitignore, and a pipeline.

The same arguments give the same files. Nothing that exists is overwritten, and either all files are written or none:
the stack file is loaded, with every check, before it has its name. A repository's own .gitignore is kept.

The recording is what an apply ends with. It speaks the language that the model's name tells, else English; for a folder
with a small vocabulary of its own there is none, as nobody here knows which words it has learned.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, assert_never

from whisperctl import __version__
from whisperctl.assets import shipped
from whisperctl.errors import Problem, SpecError, WhisperctlError
from whisperctl.files import is_below
from whisperctl.loading import load_stacks
from whisperctl.loading.assemble import model_folder
from whisperctl.serving import catalog, languages
from whisperctl.serving.checkpoint import Unusable, vocabulary
from whisperctl.spec import Gpu

Pipeline = Literal["github", "gitlab"]
STACK_FILE = "stack.yaml"
GITIGNORE = ".gitignore"
PIPELINES: Mapping[Pipeline, tuple[str, str]] = {
    "github": (".github/workflows/whisperctl.yml", "github.yaml"),
    "gitlab": (".gitlab-ci.yml", "gitlab.yaml"),
}
GROUPS: Mapping[Gpu, str] = {
    # T4 and L4 as in UbiOps' tutorials (reference, 3.7); groups are a project's own, so the others are a guess.
    "T4": "12288 MB + NVIDIA Tesla T4",
    "L4": "16384 MB + 4 vCPU + NVIDIA Ada Lovelace L4",
    "A10": "32768 MB + 8 vCPU + NVIDIA A10",
    "A100": "86016 MB + 12 vCPU + NVIDIA A100",
    "H100": "131072 MB + 16 vCPU + NVIDIA H100",
    "H200": "196608 MB + 16 vCPU + NVIDIA H200",
    "CPU": "16384 MB + 4 vCPU",
}
LONGEST_NAME = 40
RECORDINGS = "recordings"
ENGLISH = "en"
MAX_WER = {ENGLISH: 0.2}
"""Of the English recording, a natural voice; the others are plainer, and small models may mishear some words."""
PLAIN_VOICE_MAX_WER = 0.5
WHOLE_VOCABULARY = 51864
"""Tokens of the smallest vocabulary that OpenAI published; models with fewer know the words of somebody's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What the user chose."""

    folder: Path
    model: str
    gpu: Gpu
    pipeline: Pipeline | None


def write_start(start: Start) -> tuple[Sequence[str], Sequence[Problem]]:
    """Write the files; their names within the folder, and the warnings about the stack file.

    Raises:
        WhisperctlError: a file exists or cannot be written.
        SpecError: the stack would not be valid: the model does not fit the GPU, or is a folder without a model.
    """
    files = {name: _filled(template, start).encode() for name, template in _templates(start).items()}
    if language := smoke_language(start):
        files[_recording_name(language)] = _recording(language)
    return _placed(start, files)


def write_described(folder: Path, files: Mapping[str, str], pipeline: Pipeline | None) -> Sequence[str]:
    """Write stack files that were made elsewhere, with .gitignore and pipeline; the names of all within the folder.

    Raises:
        WhisperctlError: a file exists or cannot be written.
    """
    start = Start(folder=folder, model="", gpu="T4", pipeline=pipeline)
    more = {name: _filled(template, start) for name, template in _templates(start).items() if name != STACK_FILE}
    content = {name: text.encode() for name, text in {**files, **more}.items()}
    return _placed(start, content, check=False)[0]


def _placed(start: Start, files: dict[str, bytes], check: bool = True) -> tuple[Sequence[str], Sequence[Problem]]:
    """Give the files their places, all or none; a .gitignore that is there stays."""
    there = [name for name in files if (start.folder / name).exists() or (start.folder / name).is_symlink()]
    if there == [GITIGNORE]:
        del files[there.pop()]
    if there:
        alone = " A pipeline alone can be taken from a new folder." if start.pipeline and STACK_FILE in there else ""
        raise WhisperctlError(
            f"{', '.join(os.fspath(start.folder / name) for name in there)} "
            f"{'exists' if len(there) == 1 else 'exist'} already.\n"
            f"  Nothing was written. Choose another folder, or move what is there away.{alone}"
        )
    try:
        with _written(start.folder, files) as partial:
            warnings = _checked(partial[STACK_FILE], start) if check else ()
    except OSError as error:
        raise WhisperctlError(f"{start.folder} cannot be written to: {error.strerror}.") from None
    return list(files), warnings


def _templates(start: Start) -> dict[str, str]:
    templates = {STACK_FILE: "stack.yaml", GITIGNORE: "gitignore"}
    return templates | ({PIPELINES[start.pipeline][0]: PIPELINES[start.pipeline][1]} if start.pipeline else {})


def _filled(template: str, start: Start) -> str:
    text = (shipped("templates") / "init" / template).read_text(encoding="utf-8")
    for name, value in _values(start).items():
        text = text.replace(f"\n@{name}@\n", f"\n{value}\n" if value else "\n").replace(f"@{name}@", value)
    return text


def _values(start: Start) -> dict[str, str]:
    known = catalog.model(start.model)
    model = known.name if known else start.model
    local = _is_folder(start)
    served = Path(os.path.normpath(start.folder / model)).name if local else model
    name = stack_name(start.folder)
    return {
        "STACK": name,
        "STACKS": STACK_FILE,
        "PACKAGE": f"whisperctl-ubiops=={__version__}",
        "MODEL": _scalar(model),
        "MODEL_NOTE": "a folder beside this file, packed along" if local else "a Hugging Face id, or a folder",
        "REVISION": _revision(known.revision if known else "", local),
        "VLLM": vllm_version(start.gpu),
        "VLLM_NOTE": _version_note(start.gpu),
        "DTYPE_NOTE": {"T4": "float16: a T4 has no bfloat16", "CPU": "bfloat16"}.get(start.gpu, "the model's own"),
        "DESCRIPTION": _scalar(f"{served} with vLLM"),
        "GROUP": GROUPS[start.gpu],
        "GPU": start.gpu,
        "SERVED": _scalar(served),
        "SMOKE": _smoke(smoke_language(start)),
        "ENV": '  VLLM_CPU_KVCACHE_SPACE: "1" # GiB; without it vLLM takes most of the memory'
        if start.gpu == "CPU"
        else "",
    }


def smoke_language(start: Start) -> str:
    """The code of the language that the recording speaks; empty: there is none that the model surely hears right."""
    folder = model_folder(start.folder, start.model)
    if folder is not None:
        try:
            return ENGLISH if vocabulary(folder) >= WHOLE_VOCABULARY else ""
        except Unusable:
            return ""  # the checks of the stack say what is wrong with it
    if catalog.model(start.model):
        return ENGLISH
    named = {languages.code(word) for word in re.split(r"[^a-z]+", start.model.lower()) if len(word) > 1}
    return next((language for language in _sentences() if language in named), ENGLISH)


def _sentences() -> Mapping[str, str]:
    text = (shipped("templates") / "init" / RECORDINGS / "sentences.json").read_text(encoding="utf-8")
    sentences: dict[str, str] = json.loads(text)
    return sentences


def _recording_name(language: str) -> str:
    return f"samples/{language}.flac"


def _recording(language: str) -> bytes:
    return (shipped("templates") / "init" / RECORDINGS / f"{language}.flac").read_bytes()


def _smoke(language: str) -> str:
    """The lines of `rollout.smoke`."""
    if not language:
        return (
            "  # smoke: # a recording that this model hears right: then apply succeeds only if it is transcribed\n"
            "  #   audio: samples/hello.wav\n  #   expect: hello world\n  #   max_wer: 0.2"
        )
    lines = (
        "  smoke: # apply succeeds only if the new endpoint transcribes this recording; better is one of your own",
        f"    audio: {_recording_name(language)}",
        f"    expect: {json.dumps(_sentences()[language], ensure_ascii=False)}",
        f"    max_wer: {MAX_WER.get(language, PLAIN_VOICE_MAX_WER)} # the share of its words that may be wrong",
        f"    language: {language}",
    )
    return "\n".join(lines)


def _is_folder(start: Start) -> bool:
    return model_folder(start.folder, start.model) is not None


def _scalar(text: str) -> str:
    """`text` as YAML: plain where that is safe, else in double quotes, which YAML shares with JSON."""
    plain = re.fullmatch(r"[A-Za-z./][A-Za-z0-9 ._/-]*", text) and not text.endswith(" ")
    return text if plain else json.dumps(text, ensure_ascii=False)


def _revision(revision: str, local: bool) -> str:
    if revision:
        return f"  revision: {revision} # pinned: a new upload to the hub changes nothing here"
    if local:
        return ""
    return "  # revision: 0123… # pin a commit of the model's repository, so that a new upload changes nothing here"


def vllm_version(gpu: Gpu) -> str:
    """The newest release in the catalogue that runs Whisper on `gpu`; for a T4 the newest that needs no new driver."""
    good = [
        release.version
        for release in catalog.releases()
        if not any(rule.refuse for rule in catalog.rules(release.version, gpu))
        and (release.vllm_cpu or gpu != "CPU")
        and (release.cuda == 12 or gpu != "T4")
    ]
    return max(good, key=catalog.numbers)


def _version_note(gpu: Gpu) -> str:
    match gpu:
        case "T4":
            return "the last for CUDA 12: newer ones need driver 580 on the host; keep the service authenticated"
        case "CPU":
            return "the newest that is built for CPUs"
        case "L4" | "A10" | "A100" | "H100" | "H200":
            return "for CUDA 13: the host needs driver 580; 0.19.1 is the last for older ones"
        case _:
            assert_never(gpu)


def stack_name(folder: Path) -> str:
    """A name for the stack from its folder: lowercase letters, digits, dashes, beginning with a letter."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    if not name[:1].isalpha():
        name = f"whisper-{name}".strip("-")
    return name[:LONGEST_NAME].strip("-")


@contextmanager
def _written(folder: Path, files: Mapping[str, bytes]) -> Iterator[dict[str, Path]]:
    """Write the files under other names; give them theirs, the stack file when the block succeeds.

    What a stack file names must lie beside it when the block reads it. A failure leaves nothing behind.
    """
    made = [path for name in files for path in _missing_folders(folder / name)]
    partial = {name: (folder / name).with_name(f".{Path(name).name}.{os.getpid()}.yaml") for name in files}
    placed: list[Path] = []
    try:
        for name, content in files.items():
            if not is_below(partial[name].parent, folder):
                raise WhisperctlError(f"{folder / name} is behind a link out of {folder}: nothing is written.")
            partial[name].parent.mkdir(parents=True, exist_ok=True)
            with partial[name].open("xb") as file:
                file.write(content)
        for name in sorted(files, key=STACK_FILE.__eq__):
            if name == STACK_FILE:
                yield partial
            os.link(partial[name], folder / name)  # unlike a rename, this fails if the name has been taken meanwhile
            placed.append(folder / name)
        if STACK_FILE not in files:
            yield partial
    except BaseException:
        for path in placed:
            path.unlink(missing_ok=True)
        _remove(partial.values())
        for path in sorted(set(made), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
    _remove(partial.values())


def _missing_folders(file: Path) -> list[Path]:
    return [parent for parent in file.parents if not parent.exists()]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _checked(partial: Path, start: Start) -> Sequence[Problem]:
    """The warnings about the stack file, under the name that it will have.

    Raises:
        SpecError: it is not valid.
    """
    final = os.fspath(start.folder / STACK_FILE)
    try:
        return [_renamed(problem, final) for problem in load_stacks([partial], os.environ).warnings]
    except SpecError as error:
        raise SpecError([_renamed(problem, final) for problem in error.problems]) from None


def _renamed(problem: Problem, file: str) -> Problem:
    return replace(problem, where=replace(problem.where, file=file))
