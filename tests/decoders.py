"""Finds what decodes bytes or text in our own code, so that a fuzzer can be asked of each."""

import ast
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMES = (
    "parse",
    "unpack",
    "decode",
    "split_",
    "open_",
    "decompress",
    "unwrap",
    "read_",
)
QUERIED = {"sqlite3.Connection", "sqlite3.Cursor"}
"""Who is given one of these and is named for reading, reads the own store."""
KINDS = {"bytes", "str", "bytes | None", "str | None", "str | bytes", "memoryview"}
_CALLS = {
    "unpack_from",
    "unpack",
    "iter_unpack",
    "loads",
    "fromhex",
    "b64decode",
    "decompress",
    "load_der_x509_certificate",
    "load_pem_x509_certificates",
    "load_der_x509_csr",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def decoders_in(*folders: str, besides: Iterable[str] = ()) -> dict[str, Path]:
    """Return the decoders below these folders or files, as ``module.function``, and their files.

    A decoder is a function or method, private or not, that is named for decoding and is given
    bytes or text, or that calls what decodes: msgspec, struct, json, ``int`` of another base.
    """
    return {
        f"{path.stem}.{function.name}": path
        for path in _modules(folders, besides)
        for function in _functions(path)
        if _is_decoder(function)
    }


def unnamed(found: dict[str, Path], named: Collection[str]) -> set[str]:
    """Return the decoders that are not named and that none which is named calls in its module."""
    return {
        name
        for name, path in found.items()
        if name not in named and name.partition(".")[2] not in _reached(path, named)
    }


def _modules(folders: Iterable[str], besides: Iterable[str]) -> Iterator[Path]:
    passed_over = [ROOT / each for each in besides]
    for each in folders:
        place = ROOT / each
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if not any(path.is_relative_to(other) for other in passed_over):
                yield path


@cache
def _functions(path: Path) -> list[Function]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def _is_decoder(function: Function) -> bool:
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    told = {ast.unparse(each.annotation) for each in given if each.annotation is not None}
    is_named = function.name.lstrip("_").startswith(NAMES) and bool(told & KINDS)
    is_query = bool(told & QUERIED)
    return (is_named and not is_query) or any(_decodes(node) for node in ast.walk(function))


def _decodes(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="decode"), args=[ast.Constant(), *_] | []):
            return False  # bytes as text
        case ast.Call(func=ast.Attribute(attr="decode" | "decode_lines")):
            return True
        case ast.Call(func=ast.Attribute(attr=called)):
            return called in _CALLS
        case ast.Call(func=ast.Name(id="int"), args=[_, _]):
            return True
        case _:
            return False


def _reached(path: Path, named: Collection[str]) -> set[str]:
    """Return the functions of a module that those of it which are named come to call."""
    calls = _calls(path)
    waiting = [each for each in calls if f"{path.stem}.{each}" in named]
    reached: set[str] = set()
    while waiting:
        one = waiting.pop()
        if one not in reached:
            reached.add(one)
            waiting += [each for each in calls[one] if each in calls]
    return reached


@cache
def _calls(path: Path) -> dict[str, set[str]]:
    """Return the names that each function of a module calls."""
    return {
        function.name: {
            node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
        }
        for function in _functions(path)
    }
