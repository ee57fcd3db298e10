"""What simulated models say: first answers, and what they make of being asked again.

An answer is a `Truth`. A model that is asked again may obey, echo, paraphrase, restart,
apologise, refuse or leave the anchor out: the machine must tell these apart by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from random import Random

__all__ = [
    "CONTINUED",
    "REPEATED",
    "Truth",
    "continued",
    "first_truth",
    "repeated",
    "say",
    "weight",
]

_WORDS = (
    "the", "river", "is", "a", "long", "street", "of", "ha", "ha", "no", "very", "stone",
    "quiet,", "and", "then", "(42)", "3.14159", "don't", "naïve", "cafe\u0301", "Übergröße",
    "**bold**", "`code_name`", "\n\n", "\n- ", "\n```py\n", "    return x\n", "x_1", "-",
    "日本語の文章", "東京", "、", "한국어", "สวัสดี", "العربية", "👩‍👩‍👧", "👍🏽", "🇩🇪🇫🇷", "😀",
    "e\u0323\u0301", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef012345",
    '"quoted"', "back\\slash", "tab\there", "data: x", "[DONE]", "</p>", "\u2028", "&amp;",
)  # fmt: skip
_OPENERS = ("I apologize for the interruption. ", "Sorry about that! ", "Sure, here it is:\n\n")
# What a model makes of being asked again, with weights: the same request, and to go on.
REPEATED = {
    "same": 10, "rethought": 3, "reworded": 3, "other": 1, "apology": 1, "refusal": 1,
    "shorter": 2, "no-calls": 1, "other-calls": 1,
}  # fmt: skip
CONTINUED = {
    "obeys": 12, "strips": 4, "spaces": 2, "echoes": 5, "echoes-changed": 1, "paraphrases": 2,
    "skips": 2, "overlaps": 2, "restarts": 1, "apologises": 2, "refuses": 1, "quotes": 1,
    "cuts-short": 2, "filtered": 4, "crosses": 0,
}  # fmt: skip
_NO = "I'm sorry, but I can't help with that."


@dataclass(frozen=True)
class Truth:
    """What one attempt's model says, whole."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, str], ...] = ()  # name and arguments
    finish: str = "stop"
    manner: str = "first"
    others: tuple[str, ...] = ()  # texts of further choices

    def text_of(self, choice: int) -> str:
        """Return the text of one choice."""
        if choice == 0:
            return self.text
        return self.others[choice - 1] if choice <= len(self.others) else ""


def say(draw: Random, words: int) -> str:
    """Return text of so many words; some runs are without spaces, some repeat."""
    style = draw.random()
    out: list[str] = []
    for _ in range(words):
        if style < 0.12:
            out.append(draw.choice("日本語文章東京今日天気良走高山水"))
        elif style < 0.16:
            out.append(draw.choice(("ha ", "ha ", "ha ha ")))
        else:
            word = draw.choice(_WORDS) if draw.random() < 0.6 else f"w{draw.randrange(500)}"
            out.append(word if draw.random() < 0.06 else word + " ")
    text = "".join(out)
    ending = draw.random()
    if ending < 0.6:
        text = text.rstrip()
    elif ending < 0.7:
        text += "\n"
    return " " + text if text and draw.random() < 0.1 else text


def first_truth(
    draw: Random,
    *,
    tools: bool,
    thinking: bool,
    structured: bool,
    loose: bool,
    choices: int = 1,
    stop: str = "",
    long: bool = False,
) -> Truth:
    """Return what the first attempt would say.

    Args:
        draw: Decides.
        tools: It may call tools.
        thinking: It thinks before.
        structured: Its text is JSON.
        loose: Its arguments need not be JSON.
        choices: How many answers it gives.
        stop: What it begins to say again and again, and never says whole.
        long: It says more than usual.
    """
    text = say(draw, 200 if long else draw.choice((0, 1, 3, 8, 12, 16, 20, 24, 30, 40)))
    if stop:
        text = "".join(
            f"{say(draw, 4)} w{draw.randrange(500)} {stop[: draw.randrange(1, len(stop))]} "
            for _ in range(draw.choice((1, 2, 4)))
        ).replace(stop, "")
    if structured and text:
        text = json.dumps({"answer": text}, ensure_ascii=False)
    calls: tuple[tuple[str, str], ...] = ()
    if tools and draw.random() < 0.7:
        calls = tuple(_call(draw) for _ in range(draw.choice((1, 1, 2, 3))))
        if loose and draw.random() < 0.1:
            calls = (*calls[:-1], (calls[-1][0], calls[-1][1] + '{"cut'))
        if draw.random() < 0.4:
            text = ""
    if not text and not calls:
        text = "fine"
    reasoning = say(draw, draw.choice((1, 4, 10))) if thinking else ""
    finish = "tool-calls" if calls else draw.choice(("stop",) * 14 + ("limit", "limit", "filter"))
    if draw.random() < 0.03:
        text, calls, finish = "", (), "stop"  # an answer without content
    others = tuple(say(draw, draw.choice((1, 6, 20))) or "x" for _ in range(choices - 1))
    return Truth(text, reasoning, calls, finish, others=others)


def _call(draw: Random) -> tuple[str, str]:
    arguments = {f"k{i}": say(draw, draw.choice((0, 1, 3))) for i in range(draw.choice((0, 1, 2)))}
    return draw.choice(("look", "find", "write_file")), json.dumps(arguments, ensure_ascii=False)


def _reworded(draw: Random, text: str, at: int) -> str:
    """Return the text with other words from a place on."""
    return text[:at] + say(draw, draw.choice((1, 3, 9))) + " other"


def repeated(draw: Random, first: Truth) -> Truth:
    """Return what a model says to the very same request."""
    truth = _repeated(draw, first)
    if first.others and truth.manner != "same" and draw.random() < 0.5:
        others = tuple(_reworded(draw, each, _place(draw, each)) for each in first.others)
        truth = replace(truth, others=others)
    return truth


def _repeated(draw: Random, first: Truth) -> Truth:
    manner = draw.choices(tuple(REPEATED), tuple(REPEATED.values()))[0]
    truth = replace(first, manner=manner)
    match manner:
        case "rethought" if first.reasoning:
            return replace(truth, reasoning=say(draw, 5))
        case "reworded":
            return replace(truth, text=_reworded(draw, first.text, _place(draw, first.text)))
        case "other":
            return replace(truth, text=say(draw, 9) or "well", calls=(), finish="stop")
        case "apology":
            return replace(truth, text=draw.choice(_OPENERS) + first.text)
        case "refusal":
            return replace(truth, text=_NO, calls=(), finish="stop")
        case "shorter" if first.text:
            finish = "filter" if draw.random() < 0.5 else first.finish
            return replace(
                truth, text=first.text[: _place(draw, first.text)] or "so", finish=finish
            )
        case "no-calls" if first.text:
            return replace(truth, calls=(), finish="stop")
        case "other-calls" if first.calls:
            return replace(truth, calls=tuple(_call(draw) for _ in first.calls))
    return truth


def _place(draw: Random, text: str) -> int:
    return draw.randrange(len(text) + 1)


def continued(
    draw: Random,
    first: Truth,
    *,
    heard: str,
    sent: str,
    anchor: str,
    tools: bool,
    stop: str = "",
) -> Truth:
    """Return what a model says that is asked to go on.

    Args:
        draw: Decides.
        first: What the first attempt would have said.
        heard: What the consumer has so far.
        sent: The begun answer that the request shows to the model.
        anchor: What the instruction asks to begin with; empty where there is none.
        tools: Whether it may call tools.
        stop: A stop sequence, which it may go on with across the cut.
    """
    tail = first.text[len(heard) :] if first.text.startswith(heard) else " " + say(draw, 8)
    due = anchor or (heard[len(sent) :] if heard.startswith(sent) else heard[-12:])
    rest = due + tail
    manner = draw.choices(tuple(CONTINUED), tuple(CONTINUED.values()))[0]
    begun = max((n for n in range(1, len(stop)) if heard.endswith(stop[:n])), default=0)
    if begun and draw.random() < 0.6:
        manner, rest = "crosses", due + stop[begun:] + " " + say(draw, 5)
    text = rest
    match manner:
        case "strips":
            text = rest.lstrip()
        case "spaces":
            text = "\n\n" + rest.lstrip()
        case "echoes":
            text = heard + tail
        case "echoes-changed":
            text = _reworded(draw, heard + tail, _place(draw, heard))
        case "paraphrases":
            text = _reworded(draw, due, _place(draw, due)) + tail
        case "skips":
            text = tail
        case "overlaps":
            text = heard[_place(draw, heard) :] + tail
        case "restarts":
            text = say(draw, 12)
        case "apologises":
            text = draw.choice(_OPENERS) + rest
        case "refuses":
            text = _NO
        case "quotes":
            text = f'"{due}"{tail}'
        case "cuts-short":
            text = rest[: _place(draw, rest)]
        case "filtered":
            text = rest[: _place(draw, due)]
    calls: tuple[tuple[str, str], ...] = ()
    if tools and manner not in ("refuses", "filtered"):
        calls = first.calls if draw.random() < 0.8 else (_call(draw),)
    reasoning = say(draw, 4) if first.reasoning and draw.random() < 0.5 else ""
    finish = "tool-calls" if calls else first.finish if first.finish != "tool-calls" else "stop"
    if manner == "filtered":
        finish = "filter"
    return Truth(text, reasoning, calls, finish, manner)


def weight(text: str) -> int:
    """How many letters or digits a text holds, an ideograph or kana counting two."""
    return sum(
        2 if "\u3040" <= char <= "\u9fff" or "\u0e00" <= char <= "\u0eff" else 1
        for char in text
        if char.isalnum() or char == "_"
    )
