"""Applies Salt states and tells of it. Runs on the minion's host, which has nothing of ours; see saltstate.

Standard input: JSON with the keyword arguments of ``state.apply``. Standard output: a line for each state,
the failed ones first. Standard error: what the failed ones say. Return code: 0 if none failed, 2 else.
"""

import json
import logging
import os
import sys
import warnings
from typing import Any


def word_for(state: "dict[str, Any]") -> str:
    """How it went with one state, in a word."""
    if state.get("result") is None:
        return "would change"
    if not state["result"]:
        return "failed"
    return "changed" if state.get("changes") else "ok"


def one_line(text: object) -> str:
    """Text without line ends."""
    return " ".join(str(text).split())


def parts(key: str, state: "dict[str, Any]") -> "tuple[str, str, str]":
    """(id, function, name) of a state, from the key that Salt gives it."""
    module, name_of_state, name, function = [*key.split("_|-"), "", "", ""][:4]
    return state.get("__id__") or name_of_state, f"{module}.{function}", state.get("name") or name


def tell(result: Any) -> "tuple[str, str, int]":
    """(standard output, standard error, return code) for what ``state.apply`` returned."""
    if not isinstance(result, dict) or not all(isinstance(state, dict) for state in result.values()):
        problems = result if isinstance(result, list) else [result]
        return "", "".join(f"{problem}\n" for problem in problems), 2
    lines, complaints = [], []
    in_order = sorted(
        result.items(), key=lambda pair: (word_for(pair[1]) != "failed", pair[1].get("__run_num__", 0))
    )
    for key, state in in_order:
        name_of_state, function, name = parts(key, state)
        word = word_for(state)
        changes = state.get("changes") or ""
        if changes:
            changes = "  " + json.dumps(changes, ensure_ascii=False, sort_keys=True, default=str)
        lines.append(f"{word}  {one_line(name_of_state)}  {function}  {one_line(name)}{changes}\n")
        if word == "failed":
            complaints.append(f"{one_line(name_of_state)}: {state.get('comment', '')}\n")
    return "".join(lines), "".join(complaints), 2 if complaints else 0


def apply(folder: str, asked: "dict[str, Any]") -> Any:
    """What ``state.apply`` returns, done as ``salt-call`` does it."""
    import salt.cli.caller
    import salt.config

    opts = salt.config.minion_config(os.path.join(folder, "minion"))  # noqa: PTH118 -- Salt wants text
    # The answer goes by the way that the order came; the master needs no second one.
    own = {"fun": "state.apply", "arg": [{"__kwarg__": True, **asked}], "local": False}
    opts.update(own, no_return_event=True, print_metadata=False)
    opts["return"] = ""
    return salt.cli.caller.ZeroMQCaller(opts).call().get("return")


def main() -> None:
    """Read, apply, tell."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        result = apply(sys.argv[1], json.load(sys.stdin))
    except SystemExit as error:
        result = f"Salt gave up: {error}"
    except Exception as error:  # noqa: BLE001 -- whatever it is, the one who asked has to know
        result = f"{type(error).__name__}: {error}"
    out, err, code = tell(result)
    sys.stdout.buffer.write(out.encode("utf-8", "surrogateescape"))
    sys.stderr.write(err)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
