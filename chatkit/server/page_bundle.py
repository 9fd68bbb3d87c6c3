"""Joins the modules of the page into one script, so that a browser needs one request in place of many.

It knows the forms of `import` and `export` that the page uses, and refuses others:

    import { a, b as c } from "./x.js";
    export function f() {}                (also class, const, and async)
    export { a } from "./x.js";

Each module becomes a function that is called once, after those that it imports, and returns what it exports. Modules
that are imported on demand, `await import("./x.js")`, stay files.
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

_IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "([^"]+)";\n', re.MULTILINE)
_REEXPORT: Final = re.compile(r'^export \{([^}]*)\} from "([^"]+)";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_ON_DEMAND: Final = re.compile(r'\bimport\("([^"]+)"\)')
_OTHER: Final = re.compile(r"^(?:import|export)\b[^\n]*", re.MULTILINE)


class BundleError(ValueError):
    """The modules cannot be joined: an unknown form of `import` or `export`, a missing module, or a cycle."""


def bundle(main: str, modules: Mapping[str, str], *, has_exports: bool) -> str:
    """Return one script that does what a module does. It has its place in the folder of `main`.

    Parameters
    ----------
    main
        The name of the module that is loaded, such as `app.js`.
    modules
        The text of each module by its path from the common folder.
    has_exports
        Whether the script exports what `main` exports, for pages that import it.

    Raise `BundleError` if the modules cannot be joined.
    """
    names = module_order(main, modules)
    parts = [_wrap(name, modules[name]) for name in names]
    if has_exports:
        parts.append(f"export const {{ {', '.join(_exports(modules[main]))} }} = {_variable(main)};\n")
    return "".join(parts)


def module_order(main: str, modules: Mapping[str, str]) -> list[str]:
    """Return the names of a module and all that it imports, each after those that it imports itself."""
    order: list[str] = []

    def visit(name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise BundleError(f"modules import each other: {', '.join((*importers, name))}")
        if name in order:
            return
        if name not in modules:
            raise BundleError(f"there is no module {name}")
        for found in (*_IMPORT.finditer(modules[name]), *_REEXPORT.finditer(modules[name])):
            visit(_resolve(name, found[2]), (*importers, name))
        order.append(name)

    visit(main, ())
    return order


def _wrap(name: str, text: str) -> str:
    exports = [found[2] for found in _EXPORT.finditer(text)]
    exports += [f"{each}: {_variable(_resolve(name, path))}.{each}" for each, path in _reexports(text)]
    text = _IMPORT.sub(lambda found: f"const {{{_renamed(found[1])}}} = {_variable(_resolve(name, found[2]))};\n", text)
    text = _EXPORT.sub(r"\1", _REEXPORT.sub("", text))
    if other := _OTHER.search(text):
        raise BundleError(f"{name}: {other[0]}")
    text = _ON_DEMAND.sub(lambda found: f'import("./{_resolve(name, found[1])}")', text)
    return f"const {_variable(name)} = (() => {{\n{text}\nreturn {{ {', '.join(exports)} }};\n}})();\n"


def _exports(text: str) -> list[str]:
    return [*(found[2] for found in _EXPORT.finditer(text)), *(name for name, _ in _reexports(text))]


def _reexports(text: str) -> list[tuple[str, str]]:
    """Return the names that a module exports from others, with the paths of these."""
    return [
        (name.strip(), found[2]) for found in _REEXPORT.finditer(text) for name in found[1].split(",") if name.strip()
    ]


def _renamed(names: str) -> str:
    return names.replace(" as ", ": ")


def _variable(name: str) -> str:
    """Return the name of the variable that holds what a module exports: `$views_log_js`."""
    return "$" + re.sub(r"\W", "_", name)


def _resolve(importer: str, relative: str) -> str:
    parts = list(PurePosixPath(importer).parent.parts)
    for part in relative.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
