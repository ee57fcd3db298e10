"""A record of the knowledge base: one error, why it happens, what not to try, what to do.

The form is that of deadends.dev, with fields of our own behind it: `structure`, `scenario`,
`trial`, `measured`, `sources`, `mended` and the Chinese twins (``_zh``) of what that form has only
in English. Records in the old form load unchanged; a field that neither form has is refused.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "DeadEnd",
    "Measured",
    "Mended",
    "OsAdvice",
    "Record",
    "Structure",
    "Transition",
    "TransitionGraph",
    "VersionInfo",
    "Workaround",
]

Tier = Literal["ai_generated", "community", "sourced", "reproduced", "verified"]
"""How sure a record is, the least first: written by a model; told by users; taken from documents or
trackers that are named; seen by running the lab's scenario; seen again by somebody else."""


class VersionInfo(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A version that the record speaks of.

    Attributes:
        version: A requirement as pip writes it (``openai>=1.0``), or a model's name.
        introduced: Since when the error exists there; a date or a version.
        deprecated: Since when what raises it is deprecated.
        removed: Since when it cannot happen there any more.
        behavior_change: What is different in it.
        status: ``active``, ``fixed`` or ``deprecated``.
    """

    version: str
    introduced: str | None = None
    deprecated: str | None = None
    removed: str | None = None
    behavior_change: str | None = None
    status: Literal["active", "fixed", "deprecated"] = "active"


class OsAdvice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is different on one system (the key: ``linux``, ``darwin`` or ``windows``)."""

    notes: str = ""
    notes_zh: str = ""


class Measured(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``make knowledge`` saw when it tried something.

    Attributes:
        tries: How often it was tried.
        worked: How often the application ended with the whole right answer, or with an exception
            where the record's cure is to notice.
        date: When, ``YYYY-MM-DD``.
        with_versions: With what, such as ``openai 3.52.0``.
        note: What was counted, in a sentence.
    """

    tries: int
    worked: int
    date: str
    with_versions: list[str] = []
    note: str = ""


class DeadEnd(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What people try, and why it does not help.

    Attributes:
        action: What is tried, as an order that can follow "do not": ``raise the timeout``.
        why_fails: Why it fails, as a clause that can follow "because".
        fail_rate: How often it fails, claimed: 0 to 1.
        condition: When this holds, or ``""`` for always.
        sources: Addresses, or what was run.
        trial: What ``make knowledge`` does to try it; see ``trials/``. ``""``: cannot be tried.
        measured: What that gave.
    """

    action: str
    why_fails: str
    fail_rate: float
    condition: str = ""
    sources: list[str] = []
    action_zh: str = ""
    why_fails_zh: str = ""
    condition_zh: str = ""
    trial: str = ""
    measured: Measured | None = None


class Workaround(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What helps.

    Attributes:
        action: What to do, in a sentence.
        success_rate: How often it helps, claimed: 0 to 1.
        how: How, with code or commands where they say it better; may equal `action`.
        condition: When it is open to you, or ``""`` for always.
        tradeoff: What it costs.
        sources: Addresses, or what was run.
        trial: What ``make knowledge`` does to try it; ``""``: cannot be tried.
        measured: What that gave.
    """

    action: str
    success_rate: float
    how: str = ""
    condition: str = ""
    tradeoff: str = ""
    sources: list[str] = []
    condition_zh: str = ""
    tradeoff_zh: str = ""
    trial: str = ""
    measured: Measured | None = None


class Transition(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An edge to another record.

    Attributes:
        error_id: The other record's id.
        probability: How often, 0 to 1; None where nobody counted.
        condition: When.
        distinction: How to tell the two apart, for records that are easily confused.
        typical_delay: How long after, in words.
    """

    error_id: str
    probability: float | None = None
    condition: str = ""
    distinction: str = ""
    typical_delay: str = ""
    condition_zh: str = ""
    distinction_zh: str = ""
    typical_delay_zh: str = ""


class TransitionGraph(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What comes after, before, and what is easily taken for it."""

    leads_to: list[Transition] = []
    preceded_by: list[Transition] = []
    frequently_confused_with: list[Transition] = []


class Structure(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The structural signature: what a live failure is matched by, before any words.

    An empty list says nothing; of a list that is not empty one entry must fit.

    Attributes:
        fault_kinds: Stable names of `unbroken.FaultKind`.
        providers: ``openai``, ``anthropic``, ``google``, ``aws``, ``azure``, ``ollama``, ``vllm``,
            ``llama.cpp``, ``cohere``, ``openrouter`` ...
        phases: ``connecting``, ``waiting`` (before the first content), ``thinking``, ``text``,
            ``tool``, ``ending``.
        statuses: HTTP statuses.
        classes: Exception classes by their bare names, such as ``RemoteProtocolError``.
        details: Literal words of a fault's `detail` that tell this record from others of its kind.
    """

    fault_kinds: list[str] = []
    providers: list[str] = []
    phases: list[str] = []
    statuses: list[int] = []
    classes: list[str] = []
    details: list[str] = []


class Mended(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """That a record was corrected, and how.

    Attributes:
        from_tier: Its `verification_tier` before.
        on: When, ``YYYY-MM-DD``.
        what: What was wrong with it, and what was changed.
    """

    from_tier: Tier
    on: str
    what: str
    what_zh: str = ""


class Record(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One error.

    Attributes:
        id: Stable and unique: ``area/words-with-hyphens``.
        signature: The message as one meets it, or the one that stands for all.
        signature_zh: The same in Chinese.
        regex: A pattern for real messages (Python's ``re``, searched in a line, case ignored); each
            alternative holds a literal word. ``""``: found by structure and aliases only.
        domain: ``llm``.
        category: ``network_error``, ``protocol_error``, ``runtime_error``, ``provider_error``,
            ``proxy_error``, ``configuration_error``.
        subcategory: Anything finer, or None.
        root_cause: Why it happens.
        root_cause_type: ``generic``, ``client``, ``middlebox``, ``provider``, ``model``.
        root_cause_zh: The same in Chinese.
        versions: What it was seen with; ranks a record up where one fits what is installed.
        os_specific: What is different by system.
        dead_ends: What not to try.
        workarounds: What to do.
        workarounds_zh: Their actions in Chinese, in the same order.
        transition_graph: Its neighbours.
        official_doc_url: Where the vendor says something of it, or None.
        official_doc_section: Which section.
        error_code: A code that programs see (``ECONNRESET``, ``429``, ``overloaded_error``).
        verification_tier: How sure the record is.
        confidence: That the cause is right: 0 to 1.
        fix_success_rate: How often the workarounds help: 0 to 1.
        resolvable: ``true``; ``partial``; or ``false``: nothing that its user can do.
        first_seen: ``YYYY-MM-DD``.
        last_confirmed: When it was last seen to be so.
        last_updated: When the record was last changed.
        evidence_count: How many independent sources, runs included.
        tags: Free words; a query may ask for them.
        locale: The language of the fields without ``_zh``.
        aliases: Other real messages of the same error, word for word (addresses and numbers may be
            any).
        structure: The structural signature.
        scenario: What reproduces it: the lab's ``model`` names, such as ``lab/cut@12t``; ``""``
            where the lab cannot.
        sources: Addresses of documents, issues, or what was run with which version.
        mended: What was corrected, for records that came from elsewhere.
    """

    id: str
    signature: str
    signature_zh: str = ""
    regex: str = ""
    domain: str = "llm"
    category: str = ""
    subcategory: str | None = None
    root_cause: str
    root_cause_type: str = "generic"
    root_cause_zh: str = ""
    versions: list[VersionInfo] = []
    os_specific: dict[str, OsAdvice] = {}
    dead_ends: list[DeadEnd] = []
    workarounds: list[Workaround] = []
    workarounds_zh: list[str] = []
    transition_graph: TransitionGraph = msgspec.field(default_factory=TransitionGraph)
    official_doc_url: str | None = None
    official_doc_section: str | None = None
    error_code: str | None = None
    verification_tier: Tier = "sourced"
    confidence: float = 0.5
    fix_success_rate: float = 0.5
    resolvable: Literal["true", "partial", "false"] = "partial"
    first_seen: str | None = None
    last_confirmed: str | None = None
    last_updated: str | None = None
    evidence_count: int = 0
    tags: list[str] = []
    locale: str = "en"
    aliases: list[str] = []
    structure: Structure = msgspec.field(default_factory=Structure)
    scenario: str = ""
    sources: list[str] = []
    mended: Mended | None = None
