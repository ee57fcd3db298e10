"""Write the bodies and their index: ``python tests/bodies/make.py``.

``--check`` writes nothing and exits with 1 if a file differs, is missing or is left over.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from body_specs import (  # noqa: E402
    anthropic,
    assistants,
    bedrock,
    chat,
    chat_faults,
    cohere,
    completions,
    gemini,
    gemini_array,
    interactions,
    ollama,
    responses,
)

SPECS = (
    chat, chat_faults, responses, anthropic, gemini, ollama, completions, cohere, interactions,
    assistants, bedrock, gemini_array,
)  # fmt: skip


def files() -> dict[str, bytes]:
    """Return every file of this folder that is generated, by its path in the folder."""
    made: dict[str, bytes] = {}
    rows = []
    for spec in SPECS:
        for body in spec.BODIES:
            assert body.file not in made, f"two bodies are called {body.file}"
            made[body.file] = body.data
            rows.append(json.dumps(body.row(), ensure_ascii=False))
    made["index.json"] = ("[\n" + ",\n".join(rows) + "\n]\n").encode()
    return made


def main(arguments: list[str]) -> int:
    made = files()
    folders = {Path(name).parent for name in made} - {Path(".")}
    there = {
        str(path.relative_to(HERE)) for folder in folders for path in (HERE / folder).glob("*")
    }
    stale = sorted(there - made.keys())
    if "--check" in arguments:
        wrong = [n for n, data in made.items()
                 if not (HERE / n).is_file() or (HERE / n).read_bytes() != data]  # fmt: skip
        for name in wrong + stale:
            print(f"differs from what make.py writes: {name}")
        return 1 if wrong or stale else 0
    for name in stale:
        (HERE / name).unlink()
    for name, data in made.items():
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        (HERE / name).write_bytes(data)
    print(f"{len(made) - 1} bodies, {sum(map(len, made.values())) // 1024} KiB with the index")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
