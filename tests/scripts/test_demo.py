"""What `make demo` shows of what whisperctl says: everything but other programs' logs."""

from __future__ import annotations

from scripts.demo import without_logs


def test_lines_of_logs_are_counted_and_all_others_shown() -> None:
    said = [
        "version/demo/v1: proving the endpoint...\n",
        *("version/demo/v1: | (EngineCore) INFO Loading weights\n" for _ in range(3)),
        "version/demo/v1: demo: healthy\n",
        "[demo] package/demo/v1: | Build started\n",
        "error: it did not start\n",
    ]
    assert list(without_logs(said)) == [
        said[0],
        "  (3 lines of its log; `whisperctl logs` shows them)\n",
        said[4],
        "  (1 line of its log; `whisperctl logs` shows it)\n",
        said[6],
    ]
