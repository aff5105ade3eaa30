"""The dialogue about an account: server, TLS, port, authentication, user name, password, destination.

**Invariants:** only the draft is changed; an answer that the configuration could not have is asked for again.
"""

from __future__ import annotations

from pipeline.cli.account_draft import Draft
from pipeline.cli.account_fields import QUESTIONS, Question, as_typed, usual_port, value_of
from pipeline.cli.account_passwords import require_place
from pipeline.cli.dialogue import ask, ask_password
from stages.secret import Secret


def ask_for_account(draft: Draft, password: Secret | None) -> Secret | None:
    """Ask for all that is not in the draft; answers the password, unless it is had from elsewhere."""
    if "name" not in draft.values:
        draft.values["name"] = ask("name of the account", check=lambda text: draft.objections("name", text))
    needs_password = password is None and not draft.has_password_source()
    if needs_password:
        require_place(draft)
    for question in QUESTIONS:
        if question.key not in draft.values:
            _ask(draft, question)
        if question.key == "username" and needs_password:
            password = _password(draft, "password", is_needed=True)
    return password


def ask_for_changes(draft: Draft) -> Secret | None:
    """Ask for everything, with what is there as the usual answer; answers the password if there is a new one."""
    password = None
    for question in QUESTIONS:
        _ask(draft, question)
        if question.key == "username" and "oauth2" not in draft.values:
            password = _password(draft, "password [as it is]", is_needed=False)
    return password


def _ask(draft: Draft, question: Question) -> None:
    key = question.key
    if key in draft.values:
        usual: str | None = as_typed(draft.values[key])
    else:
        usual = usual_port(draft.values.get("tls", "implicit")) if key == "port" else question.usual
    answer = ask(question.text, usual=usual, check=lambda text: draft.objections(key, value_of(key, text)))
    value = value_of(key, answer)
    if answer != usual and value is not None:
        draft.values[key] = value


def _password(draft: Draft, text: str, *, is_needed: bool) -> Secret | None:
    answer = ask_password(text, is_needed=is_needed, check=draft.objections_to_password)
    return Secret(answer) if answer else None
