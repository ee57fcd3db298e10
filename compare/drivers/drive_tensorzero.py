"""TensorZero's embedded gateway: ``TensorZeroGateway.build_embedded``, without a database.

Its configuration is a file: ../settings/tensorzero-plain.toml and tensorzero-configured.toml, in
which ``@MODEL@``, ``@BASE@`` and the times are filled in for each run. What is set there, and where
it is documented, stands in the files.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ["RUST_LOG"] = "off"  # its log goes to stdout, where the answer goes

from driver import TOOL, Job, run
from tensorzero import TensorZeroGateway

_SETTINGS = Path(__file__).resolve().parents[1] / "settings"


def drive(job: Job) -> None:
    text = (_SETTINGS / f"tensorzero-{job.variant}.toml").read_text("utf-8")
    text = text.replace("@MODEL@", json.dumps(job.model))
    text = text.replace("@BASE@", json.dumps(job.env("OPENAI_BASE_URL") + "/"))
    text = text.replace("@LIMIT_MS@", str(int(job.limit_s * 1000)))
    text = text.replace("@TOTAL_MS@", str(int(job.patience_s * 450)))  # two of them fit in
    params: dict[str, Any] = {} if job.seed is None else {"seed": job.seed}
    request: dict[str, Any] = {"params": {"chat_completion": params}} if params else {}
    if job.tool:
        request["additional_tools"] = [{**TOOL, "strict": False}]
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as config:
        config.write(text)
        config.flush()
        gateway = TensorZeroGateway.build_embedded(config_file=config.name)
    for part in gateway.inference(
        function_name="answer", input={"messages": job.messages}, stream=True, **request
    ):
        for block in part.content:
            if block.type == "text":
                job.say(block.text)
            elif block.type == "tool_call":
                job.call(block.raw_arguments)


run(drive, ("plain", "configured"))
